"""An outage of QuickBooks, as one process and as several of a company live through it. Pauses are scaled down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from async_extractor import backfill as conductor
from async_extractor.entities import ENTITIES
from async_extractor.events import Events
from async_extractor.limits import Limits
from async_extractor.qbo.auth.access_tokens import AccessTokens
from async_extractor.qbo.auth.token_endpoint import Client
from async_extractor.qbo.breaker import CircuitBreaker
from async_extractor.qbo.client import Patience, QueryClient, Spent
from async_extractor.qbo.faults import TransientFault, UnavailableFault
from async_extractor.qbo.limits import LocalGate
from async_extractor.qbo.query import Query
from async_extractor.warehouse.connection import Address, connect
from async_extractor.warehouse.outage import SharedOutage
from async_extractor.warehouse.schema import bring_up_to_date
from async_extractor.warehouse.shared_connection import CompanyConnection
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import Recorder, backfill, in_raw, secrets_for, simulate, truth

REALM = "4620816365000004321"
DOWN = {"faults": [{"kind": "unavailable", "rate": 1}]}
# A hundredth of the real pauses: ten minutes are 6 s.
SCALED = {"pause": 0.15, "longest_pause": 0.6, "patience": 9.0}
SCALED_PATIENCE = Patience(first_pause=0.005, longest_pause=0.3)


class Process:
    """A breaker with a board on a connection of its own, as each process has."""

    def __init__(self, company: CompanyConnection, **scale: float) -> None:
        self.company = company
        self.told = Recorder()
        self.breaker = CircuitBreaker(Events([self.told]), SharedOutage(company), **{**SCALED, **scale})  # type: ignore[arg-type]

    @property
    def states(self) -> list[str]:
        return [event.fields["state"] for event in self.told.named("breaker")]

    def fails(self, times: int = 8) -> None:
        for _ in range(times):
            self.breaker.failed(TransientFault("QuickBooks answered HTTP 503"))

    async def until(self, state: str) -> None:
        while self.breaker.state != state:  # noqa: ASYNC110 - what is waited for comes from Postgres
            await asyncio.sleep(0.005)


class Company:
    def __init__(self, address: Address, sql: Any, stack: AsyncExitStack) -> None:
        self._address = address
        self.sql = sql
        self._stack = stack

    async def process(self, **scale: float) -> Process:
        connection = CompanyConnection(self._address, REALM)
        await connection.open()
        self._stack.push_async_callback(connection.close)
        process = Process(connection, **scale)
        self._stack.push_async_callback(process.breaker.close)
        return process


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    address = Address(database.host, database.port, database.dbname, database.user, database.password)
    connection = await connect(address)
    await bring_up_to_date(connection)
    async with AsyncExitStack() as stack:
        yield Company(address, connection, stack)
    await connection.close()


async def test_what_one_process_finds_out_the_others_know(company: Company) -> None:
    first, second = await company.process(), await company.process()
    first.fails()
    await second.until("open")
    assert second.states == ["open"]
    (event,) = second.told.named("breaker")
    assert "as another process of the company found: QuickBooks answered HTTP 503" in event.message
    first.breaker.succeeded()
    await second.until("closed")
    assert second.states == ["open", "closed"]


async def test_a_process_that_begins_in_an_outage_knows_of_it(company: Company) -> None:
    first = await company.process()
    first.fails()
    await first.breaker.close()
    late = await company.process()
    await late.breaker.learn()
    assert late.breaker.state == "open"


async def test_an_outage_that_nobody_probed_for_ten_minutes_is_known_no_more(company: Company) -> None:
    first = await company.process()
    first.fails()
    await first.breaker.close()
    await company.sql.execute("UPDATE ops.outages SET next_probe_at = now() - interval '11 min'")
    late = await company.process()
    await late.breaker.learn()
    assert late.breaker.state == "closed"


async def test_one_process_probes_for_all_and_all_go_on_when_it_succeeds(company: Company) -> None:
    processes = [await company.process() for _ in range(3)]
    processes[0].fails()
    for process in processes:
        await process.until("open")
    probes = 0

    async def request(process: Process) -> None:
        nonlocal probes
        await process.breaker.admit()
        if probes < 3:
            probes += 1
            await asyncio.sleep(0.05)
            process.breaker.failed(TransientFault("QuickBooks answered HTTP 503"))
            await process.breaker.admit()
        process.breaker.succeeded()

    await asyncio.gather(*(request(process) for process in processes for _ in range(4)))
    assert probes == 3
    for process in processes:
        await process.until("closed")
    # One probe at a time, three that failed and the one that succeeded; on a busy machine another process's word that
    # QuickBooks answers may come before the last one has told its state.
    assert 3 <= sum(process.states.count("half-open") for process in processes) <= 4


async def test_a_process_that_dies_while_it_probes_leaves_the_probe_to_another(company: Company) -> None:
    first, second = await company.process(), await company.process()
    first.fails()
    await second.until("open")
    await first.breaker.admit()
    assert first.breaker.state == "half-open"
    waiting = asyncio.ensure_future(second.breaker.admit())
    await asyncio.sleep(0.5)
    assert not waiting.done()
    await first.company.close()
    await waiting
    assert second.breaker.state == "half-open"


async def test_a_process_that_is_answered_believes_that_and_tells_the_others(company: Company) -> None:
    cut_off, answered, third = [await company.process() for _ in range(3)]
    answered.breaker.succeeded()
    cut_off.fails()
    await cut_off.until("closed")
    await third.until("closed")
    assert answered.states == []
    assert cut_off.states == ["open", "closed"]


async def test_processes_that_were_answered_before_an_outage_do_not_talk_each_other_out_of_it(company: Company) -> None:
    processes = [await company.process() for _ in range(3)]
    for process in processes:
        process.breaker.succeeded()
    for process in processes:
        process.fails(1)
    processes[0].fails(7)
    for process in processes:
        await process.until("open")
        await process.breaker.close()
    assert [process.states for process in processes] == [["open"]] * 3


async def test_without_its_board_the_breaker_goes_on_alone(company: Company) -> None:
    process = await company.process()
    await company.sql.execute("DROP FUNCTION ops.report_outage(text, interval, text)")
    process.fails()
    await asyncio.sleep(0.2)
    assert process.breaker.state == "open"
    assert any("could not be told" in event.message for event in process.told.named("breaker"))


@pytest.fixture
def scaled_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run whose breaker has the scaled pauses; everything else is as it is."""
    real = conductor.no_limits

    def scaled(events: Events) -> Any:
        limits = real(events)

        class Scaled:
            async def __aenter__(self) -> Limits:
                found = await limits.__aenter__()
                return Limits(found.gate, CircuitBreaker(events, **SCALED))  # type: ignore[arg-type]

            async def __aexit__(self, *exc: object) -> None:
                await limits.__aexit__(None, None, None)

        return Scaled()

    monkeypatch.setattr(conductor, "no_limits", scaled)


@pytest.mark.parametrize("concurrency", [1, 10])
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
            )
        )
        while simulator.service.ledger.requests["query"] < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await simulate(simulator, "faults", {"switches": DOWN})
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
    monkeypatch.setitem(SCALED, "patience", 2.0)
    async with Simulator(SimulatorConfig(invoices=2_500, latency_ms=20, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        running = asyncio.ensure_future(
            backfill(secrets, "invoices", chunk="P1M", concurrency=4, patience=SCALED_PATIENCE)
        )
        while simulator.service.ledger.requests["query"] < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await simulate(simulator, "faults", {"switches": DOWN})
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


async def test_a_query_is_not_given_up_while_the_breaker_is_open(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10, limits=False)) as simulator, aiohttp.ClientSession() as session:
        address = simulator.address()
        events = Events()
        breaker = CircuitBreaker(events, pause=0.05, longest_pause=0.1, patience=1.5, threshold=3)
        client = QueryClient(
            session,
            simulator.url,
            simulator.realm_id,
            AccessTokens(
                session,
                f"{simulator.url}/oauth2/v1/tokens/bearer",
                Client(str(address["client_id"]), str(address["client_secret"])),
                secrets_for(simulator, database),
                events,
            ),
            LocalGate(spacing=0.001),
            breaker,
            events,
            Patience(tries=4, first_pause=0.01),
        )
        await simulate(simulator, "faults", {"switches": DOWN})
        with pytest.raises(UnavailableFault, match="has not answered since"):
            await client.fetch(Query(ENTITIES["items"]), Spent())
        assert simulator.service.ledger.requests["query"] > 4
