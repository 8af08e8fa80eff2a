"""An outage of QuickBooks, as one process and as several of a company live through it. Pauses are scaled down."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from async_extractor.events import Events
from async_extractor.limits import SharedLimiter
from async_extractor.qbo.breaker import Pauses
from async_extractor.qbo.client import Patience
from async_extractor.qbo.faults import PageFault, TransientFault, UnavailableFault
from async_extractor.warehouse.connection import connect
from async_extractor.warehouse.session import WarehouseLost
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import Recorder, backfill, in_raw, secrets_for, simulate, truth
from tests.support.commands import CommandLine, store
from tests.support.limiters import REALM, Company, ask, company_on

DOWN = TransientFault("QuickBooks answered HTTP 503")
UNAVAILABLE = {"faults": [{"kind": "unavailable", "rate": 1}]}
# A hundredth of the real pauses: ten minutes are 6 s.
SCALED = Pauses(first=0.15, longest=0.6, outage_patience=9.0)
SCALED_PATIENCE = Patience(first_pause=0.005, longest_pause=0.3)


class Process:
    """A limiter on a connection of its own, as each process has, and what it tells."""

    def __init__(self, company: Company, pauses: Pauses = SCALED) -> None:
        self.told = Recorder()
        self.limiter, self.connection = company.counted(events=Events([self.told]), pauses=pauses)

    @property
    def states(self) -> list[str]:
        return [event.fields["state"] for event in self.told.named("breaker")]

    async def fails(self, times: int = 8) -> None:
        for _ in range(times):
            await ask(self.limiter, DOWN)


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    async with company_on(database) as company:
        yield company


async def test_what_one_process_finds_out_the_others_know(company: Company) -> None:
    first, second = Process(company), Process(company)
    await first.fails()
    assert first.limiter.state == "open"
    await ask(second.limiter)
    assert second.states == ["open", "half-open", "closed"]
    opened, _, closed = second.told.named("breaker")
    assert opened.message == "circuit breaker open for 0 s after 8 failures in a row: QuickBooks answered HTTP 503"
    assert closed.message.startswith("circuit breaker closed: QuickBooks answers again after")
    await ask(first.limiter)
    assert first.states == ["open", "closed"]


async def test_failures_of_all_processes_are_one_row_and_an_answer_to_any_ends_it(company: Company) -> None:
    first, second = Process(company), Process(company)
    for _ in range(3):
        await first.fails(4)
        await second.fails(3)
        await ask(second.limiter)
    await first.fails(1)
    assert first.states == second.states == []
    await second.fails(7)
    assert second.states == ["open"]


async def test_a_page_that_cant_be_served_is_an_answer(company: Company) -> None:
    process = Process(company)
    for _ in range(3):
        await process.fails(7)
        await ask(process.limiter, PageFault("QuickBooks answered HTTP 504"))
    assert process.states == []


async def test_one_request_probes_for_all_and_all_go_on_when_it_succeeds(company: Company) -> None:
    processes = [Process(company) for _ in range(3)]
    await processes[0].fails()
    probing, most, failed = 0, 0, 0

    async def request(process: Process) -> None:
        nonlocal probing, most, failed
        while True:
            async with process.limiter.permit() as permit:
                if failed == 3:
                    permit.answered(None)
                    return
                probing += 1
                most = max(most, probing)
                await asyncio.sleep(0.05)
                probing -= 1
                failed += 1
                permit.answered(DOWN)

    await asyncio.gather(*(request(process) for process in processes for _ in range(4)))
    assert (most, failed) == (1, 3)
    assert sum(process.states.count("half-open") for process in processes) == 4
    assert await company.value("SELECT open_for FROM ops.budget") is None


async def test_a_failed_probe_doubles_the_pause_up_to_the_longest(company: Company) -> None:
    process, seconds = Process(company, Pauses(threshold=2)), []
    await process.fails(2)
    for _ in range(5):
        seconds.append(float(await company.value("SELECT extract(epoch FROM pause) FROM ops.budget")))
        await company.sql.execute("UPDATE ops.budget SET paused_until = now()")
        await process.fails(1)
    assert seconds == [15, 30, 60, 60, 60]


async def test_what_was_under_way_when_it_opened_neither_lengthens_the_pause_nor_is_the_probe(company: Company) -> None:
    process = Process(company, Pauses(threshold=2))
    async with process.limiter.permit() as under_way:
        await process.fails(2)
        before = await company.value("SELECT paused_until FROM ops.budget")
        under_way.answered(DOWN)
    assert await company.value("SELECT paused_until FROM ops.budget") == before
    assert await company.value("SELECT pauses_in_a_row FROM ops.budget") == 1


async def test_an_answer_to_what_was_under_way_ends_the_outage_at_once(company: Company) -> None:
    first, second = Process(company, Pauses(threshold=2)), Process(company, Pauses(threshold=2))
    async with first.limiter.permit() as under_way:
        await first.fails(2)
        waiting = asyncio.ensure_future(ask(second.limiter))
        await company.until("SELECT count(*) = 1 FROM ops.waiting")
        under_way.answered(None)
    await asyncio.wait_for(waiting, 5)
    assert first.states == ["open", "closed"]


async def test_a_process_that_is_gone_leaves_the_probe_to_another(company: Company) -> None:
    first, second = Process(company), Process(company)
    await first.fails()

    async def is_gone_with_the_probe() -> None:
        async with first.limiter.permit():
            assert first.limiter.state == "half-open"
            waiting = asyncio.ensure_future(ask(second.limiter))
            await company.until("SELECT count(*) = 1 FROM ops.waiting")
            await first.connection.close()
            await waiting
            assert second.states[-2:] == ["half-open", "closed"]

    with pytest.raises(WarehouseLost, match="was closed"):  # it doesn't come back to give its turn back
        await is_gone_with_the_probe()


async def test_an_outage_that_nobody_probed_for_ten_minutes_is_known_no_more(company: Company) -> None:
    first, late = Process(company), Process(company)
    await first.fails()
    await company.sql.execute("UPDATE ops.budget SET paused_until = now() - interval '11 min'")
    await ask(late.limiter)
    assert late.states == []


async def test_a_process_that_begins_late_in_an_outage_has_its_own_patience(company: Company) -> None:
    first, late = Process(company), Process(company, Pauses(first=0.15, longest=0.6, outage_patience=1.0))
    await first.fails()
    await company.sql.execute("UPDATE ops.budget SET open_since = now() - interval '1 h'")
    with pytest.raises(UnavailableFault, match=r"has not answered since .* HTTP 503"):
        await late.fails(100)
    assert late.states.count("half-open") >= 1


async def test_forged_notifications_change_nothing(company: Company) -> None:
    """Whoever may connect may NOTIFY: it is a hint that is looked up, and a flood of them holds nobody up."""
    process = Process(company, Pauses(threshold=2))
    liar = await connect(company.address)
    lies = ("circuit", "place 1", "pause", "answers", 'outage {"since": 0, "probe_in": 1e6, "why": "forged"}', "", "?")
    lying = True

    async def lie() -> None:
        while lying:
            for lie in (*lies, *(f"place {process.connection.backend}",)):
                await liar.execute("SELECT pg_notify($1, $2)", f"qbo_{REALM}", lie)

    flood = asyncio.ensure_future(lie())
    for _ in range(10):
        await ask(process.limiter)
    assert process.states == []
    await process.fails(2)
    assert process.limiter.state == "open"
    waiting = asyncio.ensure_future(ask(process.limiter))
    await asyncio.sleep(1)
    lying = False
    await flood
    await liar.close()
    assert not waiting.done()
    assert process.states == ["open"]
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)


@pytest.fixture
def scaled_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose limiter has the scaled pauses, and no rate; everything else is as it is."""
    real = SharedLimiter.__init__

    def scaled(self: SharedLimiter, company: Any, events: Events, _: Any = None, **more: Any) -> None:
        real(self, company, events, SCALED, **{**more, "per_minute": 60_000, "per_second": 1_000})

    monkeypatch.setattr(SharedLimiter, "__init__", scaled)


@pytest.mark.parametrize("concurrency", [pytest.param(1, marks=pytest.mark.slow), 10])
async def test_a_run_outlives_an_outage_of_ten_minutes_with_fewer_than_thirty_requests(
    database: Any, scaled_limits: None, concurrency: int
) -> None:
    recorder = Recorder()
    async with Simulator(SimulatorConfig(invoices=2_500, latency_ms=20, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        running = asyncio.ensure_future(
            backfill(
                secrets,
                "invoices",
                chunk="P1M",
                concurrency=concurrency,
                listeners=[recorder],
                patience=SCALED_PATIENCE,
                limits=True,
            )
        )
        while simulator.service.ledger.requests["query"] < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await simulate(simulator, "faults", {"switches": UNAVAILABLE})
        before = simulator.service.ledger.statuses[503]
        await asyncio.sleep(6)
        sent = simulator.service.ledger.statuses[503] - before
        await simulate(simulator, "faults", {"scenario": "calm", "switches": {"latency": {"base_ms": [0, 0]}}})
        result = await running
        assert result.status == "done", result.error
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
    assert 8 <= sent < 30
    states = [event.fields["state"] for event in recorder.named("breaker")]
    assert states[:3] == ["open", "half-open", "open"]
    assert states[-1] == "closed"
    (written,) = recorder.named("report_written")
    told = Path(written.fields["path"]).with_suffix(".md").read_text(encoding="utf-8")
    assert f"| QBF-W307 | {len(states)} | The circuit breaker opened, probed or closed" in told
    assert "circuit breaker closed: QuickBooks answers again after" in told


async def test_an_outage_past_the_patience_ends_the_run_resumable_and_says_since_when_and_why(
    database: Any, scaled_limits: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SCALED", Pauses(first=0.15, longest=0.6, outage_patience=2.0))
    async with Simulator(SimulatorConfig(invoices=2_500, latency_ms=20, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        running = asyncio.ensure_future(
            backfill(secrets, "invoices", chunk="P1M", concurrency=4, patience=SCALED_PATIENCE, limits=True)
        )
        while simulator.service.ledger.requests["query"] < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await simulate(simulator, "faults", {"switches": UNAVAILABLE})
        result = await running
        assert result.status == "incomplete"
        assert result.error is not None
        assert "has not answered since 20" in result.error
        assert "HTTP 503" in result.error
        assert "resumed" in result.error
        connection = await asyncpg.connect(database.dsn)
        failed = await connection.fetchval("SELECT count(*) FROM ops.chunks WHERE status IN ('failed', 'running')")
        await connection.close()
        assert failed == 0
        await simulate(simulator, "faults", {"scenario": "calm", "switches": {"latency": {"base_ms": [0, 0]}}})
        again = await backfill(secrets, "invoices", chunk="P1M")
        assert again.status == "done"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("trouble", ["an outage", "a pause after 429", "a slow answer"])
async def test_sigterm_is_heard_at_once(command_line: CommandLine, database: Any, trouble: str) -> None:
    """The chunk is released, and the exit code says that the run can be resumed."""
    async with Simulator(SimulatorConfig(invoices=900, latency_ms=50)) as simulator:
        store(command_line, simulator, database)
        dates = ["--fecha-inicio", "2015-01-01", "--fecha-fin", "2026-01-31", "--chunk", "P1M"]
        process = command_line.start("run", "invoices", *dates)
        while simulator.service.ledger.requests["query"] < 6:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        switches = {
            "an outage": UNAVAILABLE,
            "a pause after 429": {"faults": [{"kind": "throttle", "rate": 1}]},
            "a slow answer": {"latency": {"base_ms": [60_000, 60_000]}},
        }[trouble]
        await simulate(simulator, "faults", {"switches": switches})
        await asyncio.sleep(3)
        told_at = asyncio.get_running_loop().time()
        process.send_signal(signal.SIGTERM)
        errors = (await asyncio.to_thread(process.communicate))[1]
        assert asyncio.get_running_loop().time() - told_at < 15  # with the report, on a busy machine
        assert process.returncode == 3
        assert "stopped by SIGTERM" in errors
        assert "Traceback" not in errors
    connection = await asyncpg.connect(database.dsn)
    statuses = await connection.fetch("SELECT DISTINCT status FROM ops.chunks")
    run = await connection.fetchval("SELECT status FROM ops.runs")
    await connection.close()
    assert {row["status"] for row in statuses} <= {"planned", "done"}
    assert run == "incomplete"
