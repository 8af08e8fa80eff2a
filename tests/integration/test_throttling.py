"""429: the whole company pauses and goes on gently, or the run ends and says what it means."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from async_extractor import IncompleteError
from async_extractor.events import Event
from async_extractor.qbo.breaker import Pauses
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import Recorder, backfill, secrets_for, simulate


def limits(retry_after: int = 0, **more: Any) -> dict[str, Any]:
    """Intuit's 60 s would make the tests long; where it gives Retry-After, that is taken."""
    return {"limits": {"retry_after": "present", "retry_after_seconds": retry_after, **more}}


async def test_a_429_pauses_the_company_and_the_run_ends_well(database: Any) -> None:
    recorder = Recorder()
    async with Simulator(SimulatorConfig(invoices=500, switches=limits(retry_after=1))) as simulator:
        faults = [{"kind": "throttle", "rate": 1, "after": 4, "times": 2}]
        await simulate(simulator, "faults", {"switches": {"faults": faults}})
        result = await backfill(
            secrets_for(simulator, database),
            "invoices",
            "2025-01-01",
            "2025-12-31",
            chunk="P1M",
            concurrency=10,
            limits=True,
            listeners=[recorder],
        )
        answered = [entry for entry in simulator.service.ledger.entries if entry.kind in ("query", "count")]
    assert result.status == "done"
    assert result.requests["throttled"] >= 1
    assert recorder.named("throttled")
    first = next(entry.arrived for entry in answered if entry.status == 429)
    # What had its turn already may be on its way; then nothing for a second.
    assert not [entry for entry in answered if first + 0.3 < entry.arrived < first + 1]


@pytest.mark.slow
async def test_the_logs_and_reports_of_all_pipelines_tell_the_pause(database: Any) -> None:
    entities = ("invoices", "customers")
    recorders = {entity: Recorder() for entity in entities}
    async with Simulator(SimulatorConfig(invoices=400, customers=400, latency_ms=50, switches=limits(1))) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "items", "2025-01-01", "2025-01-02", limits=True)
        faults = [{"kind": "throttle", "rate": 1, "after": 8, "times": 1}]
        await simulate(simulator, "faults", {"switches": {"faults": faults}})
        results = await asyncio.gather(
            *(
                backfill(
                    secrets,
                    entity,
                    "2025-01-01",
                    "2025-12-31",
                    chunk="P1M",
                    limits=True,
                    listeners=[recorders[entity]],
                )
                for entity in entities
            )
        )
        assert simulator.service.ledger.statuses[429] == 1
    assert [result.status for result in results] == ["done", "done"]
    said = [event.message for recorder in recorders.values() for event in recorder.named("throttled")]
    assert said == ["429: the company pauses for 1 s"] * 2
    for recorder in recorders.values():
        (written,) = recorder.named("report_written")
        assert "| QBF-W306 | 1 | QuickBooks answered 429; the whole company pauses." in report(written)


def report(written: Event) -> str:
    return Path(written.fields["path"]).with_suffix(".md").read_text(encoding="utf-8")


@pytest.mark.long
async def test_three_pipelines_at_half_the_quota_find_their_pace(database: Any) -> None:
    # Another app of the same company takes what is missing of Intuit's limits.
    half = limits(1, per_minute=250, per_second=5, in_flight=5)
    async with Simulator(SimulatorConfig(invoices=300, customers=100, items=50, switches=half)) as simulator:
        secrets = secrets_for(simulator, database)
        entities = ("invoices", "customers", "items")
        results = await asyncio.gather(
            *(backfill(secrets, entity, "2025-01-01", "2025-12-31", chunk="P1M", limits=True) for entity in entities)
        )
        ledger = simulator.service.ledger.summary()
    assert [result.status for result in results] == ["done"] * 3
    # It doesn't run into the wall again and again.
    assert ledger["statuses"].get("429", 0) < 0.2 * sum(ledger["requests"].values())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten minutes without a request taken are 3 s, and pauses a twentieth of what they are."""
    monkeypatch.setattr(
        Pauses, "__init__", functools.partialmethod(Pauses.__init__, throttled_again=0.5, throttle_patience=3.0)
    )


async def test_a_month_s_allowance_that_is_used_up_ends_the_run_and_says_so(database: Any, impatient: None) -> None:
    async with Simulator(SimulatorConfig(invoices=500, switches=limits(monthly_calls=18))) as simulator:
        result = await backfill(
            secrets_for(simulator, database),
            "invoices",
            "2025-01-01",
            "2025-12-31",
            chunk="P1M",
            concurrency=10,
            limits=True,
        )
        refused = simulator.service.ledger.statuses[429]
    assert result.status == "incomplete"
    assert result.error is not None
    assert "monthly allowance" in result.error
    assert "\n" not in result.error
    # A probe after each pause, and what was under way at the first.
    assert refused <= 5 + 10
    connection = await asyncpg.connect(database.dsn)
    statuses = await connection.fetch("SELECT DISTINCT status FROM ops.chunks ORDER BY status")
    await connection.close()
    assert [row["status"] for row in statuses] == ["done", "planned"]


@pytest.mark.slow
async def test_it_can_be_resumed_when_intuit_counts_anew(database: Any, impatient: None) -> None:
    async with Simulator(SimulatorConfig(invoices=500, switches=limits(monthly_calls=8))) as simulator:
        secrets = secrets_for(simulator, database)
        range_ = ("2025-07-01", "2025-12-31")
        first = await backfill(secrets, "invoices", *range_, chunk="P1M", concurrency=2, limits=True)
        assert first.status == "incomplete"
        await simulate(simulator, "faults", {"switches": {"limits": {"monthly_calls": None}}})
        assert (await backfill(secrets, "invoices", *range_, chunk="P1M", limits=True)).status == "done"


async def test_an_allowance_that_is_used_up_before_the_run_begins_is_one_line_and_3(
    database: Any, impatient: None
) -> None:
    async with Simulator(SimulatorConfig(invoices=10, switches=limits(monthly_calls=0))) as simulator:
        with pytest.raises(IncompleteError, match="monthly allowance") as ended:
            await backfill(secrets_for(simulator, database), "invoices", "2025-01-01", "2025-12-31", limits=True)
    assert ended.value.exit_code == 3
    assert "\n" not in str(ended.value)


@pytest.mark.slow
async def test_short_429s_without_end_in_sight_are_waited_out(database: Any) -> None:
    """`Retry-After: 1` five times in a row is no used-up allowance: time says that, not a count."""
    async with Simulator(SimulatorConfig(invoices=50, switches=limits(0))) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "items", "2025-01-01", "2025-01-02", limits=True)
        faults = [{"kind": "throttle", "rate": 1, "times": 7}]
        await simulate(simulator, "faults", {"switches": {"faults": faults}})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                Pauses, "__init__", functools.partialmethod(Pauses.__init__, throttled_again=0.1, longest=0.2)
            )
            result = await backfill(secrets, "invoices", "2025-01-01", "2025-12-31", limits=True)
        assert simulator.service.ledger.statuses[429] == 7
    assert result.status == "done"
