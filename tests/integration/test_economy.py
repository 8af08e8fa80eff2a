"""What a backfill costs in requests, counted by the simulator, and that the plan said so before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import asyncpg
import pytest

from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import Recorder, backfill, secrets_for, simulate
from tests.support.commands import CommandLine, store

DECADE = ("2015-01-01", "2024-12-31")
BUSY_DAYS = [datetime(*day, tzinfo=timezone.utc) for day in ((2017, 3, 1), (2019, 11, 29), (2023, 6, 30))]


def invoices(count: int, moments: Iterator[datetime]) -> Iterator[dict[str, str]]:
    for number, moment in zip(range(1, count + 1), moments, strict=False):
        at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        payload = {"Id": str(number), "SyncToken": "0", "MetaData": {"CreateTime": at, "LastUpdatedTime": at}}
        yield {"payload": json.dumps(payload), "id": str(number), "created": at, "updated": at}


async def plant(simulator: Simulator, count: int, moments: Iterator[datetime]) -> None:
    """Replaces the company's invoices."""
    body = {"entity": "Invoice", "replace": True, "records": list(invoices(count, moments))}
    await simulate(simulator, "load", body)


def over_busy_days(count: int) -> Iterator[datetime]:
    """From 08:00 on, as many each second as it takes: a third of them on each day."""
    for day in BUSY_DAYS:
        for number in range(-(-count // len(BUSY_DAYS))):
            yield day + timedelta(hours=8, seconds=number * 4)


def evenly(count: int) -> Iterator[datetime]:
    step = timedelta(days=3650) / count
    for number in range(count):
        yield datetime(2015, 1, 1, 1, tzinfo=timezone.utc) + number * step


async def cost_of(database: Any, simulator: Simulator, **more: Any) -> tuple[int, dict[str, Any]]:
    """Requests that the simulator saw, and what the plan said."""
    recorder = Recorder()
    simulator.service.ledger.reset()
    result = await backfill(secrets_for(simulator, database), "invoices", *DECADE, listeners=[recorder], **more)
    assert result.status == "done", result.error
    seen = simulator.service.ledger.requests
    (planned,) = recorder.named("planned")
    assert result.requests["sent"] == sum(seen.values()) - seen["token"]
    return result.requests["sent"], planned.fields["cost"]


async def test_twenty_thousand_invoices_in_three_busy_days_of_ten_years_cost_at_most_30_requests(
    database: Any,
) -> None:
    async with Simulator(SimulatorConfig(invoices=1, customers=1, items=1, limits=False)) as simulator:
        await plant(simulator, 20_000, over_busy_days(20_000))
        sent, said = await cost_of(database, simulator)
    assert 20 <= sent <= 30
    assert abs(said["requests"] - sent) <= 2


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("concurrency", [1, 10])
async def test_evenly_spread_rows_cost_their_pages_and_at_most_seven_requests_more(
    database: Any, concurrency: int
) -> None:
    """However many workers share the window, each reads whole pages of it."""
    async with Simulator(SimulatorConfig(invoices=1, customers=1, items=1, limits=False)) as simulator:
        await plant(simulator, 30_000, evenly(30_000))
        sent, said = await cost_of(database, simulator, concurrency=concurrency)
    assert 31 <= sent <= 31 + 7
    assert abs(said["requests"] - sent) <= 3


@pytest.mark.slow
async def test_a_hundred_pages_cost_at_most_six_percent_more_than_a_plain_pager_s(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=1, customers=1, items=1, limits=False, latency_ms=50)) as simulator:
        await plant(simulator, 100_000, over_busy_days(100_000))
        sent, _ = await cost_of(database, simulator, concurrency=10)
    assert sent <= 1.06 * 101


@pytest.mark.long
@pytest.mark.timeout(1800)
async def test_a_million_evenly_spread_cost_at_most_1120_requests(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=1, customers=1, items=1, limits=False)) as simulator:
        await plant(simulator, 1_000_000, evenly(1_000_000))
        sent, said = await cost_of(database, simulator, concurrency=4)
    assert 1000 <= sent <= 1120
    assert abs(said["requests"] - sent) <= 30


async def test_an_empty_decade_costs_seven_requests(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10, years=1, limits=False)) as simulator:
        sent, said = await cost_of(database, simulator)
    assert sent == said["requests"] == 7


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("chunk", ["P1M", "P1Y"])
async def test_windows_that_were_not_counted_cost_about_what_the_plan_says(database: Any, chunk: str) -> None:
    async with Simulator(SimulatorConfig(invoices=4_000, years=3, limits=False)) as simulator:
        sent, said = await cost_of(database, simulator, chunk=chunk)
    # A window that was not counted may take a page, or an empty page and its count: the plan says the more.
    assert sent - 4 <= said["requests"] <= sent + 3 * 12 + 4


async def test_the_command_says_what_it_would_cost_and_loads_nothing(command_line: CommandLine, database: Any) -> None:
    arguments = ["invoices", "--fecha-inicio", DECADE[0], "--fecha-fin", "2026-01-31"]
    async with Simulator(SimulatorConfig(invoices=1_200, years=2)) as simulator:
        store(command_line, simulator, database)
        ended = await asyncio.to_thread(command_line.run, "plan", *arguments, "--json")
        assert ended.code == 0, ended.stderr
        said = ended.result
        assert simulator.service.ledger.requests["query"] == 0
        connection = await asyncpg.connect(database.dsn)
        assert await connection.fetchval("SELECT count(*) FROM ops.runs") == 0
        assert await connection.fetchval("SELECT count(*) FROM ops.chunks") == 0
        again = await asyncio.to_thread(command_line.run, "plan", *arguments)
        run = await asyncio.to_thread(command_line.run, "run", *arguments, "--json")
        assert run.code == 0, run.stderr
        after = await asyncio.to_thread(command_line.run, "plan", *arguments, "--json")
        spent = simulator.service.ledger.gate.metered
        assert await connection.fetchval("SELECT sum(requests) FROM ops.usage") == spent
        await connection.close()
    assert said["rows"] == 1_200
    assert said["monthly_allowance"] == 500_000
    assert said["spent_this_month"] == said["counted"] >= 1
    assert abs(run.result["requests"]["sent"] - said["requests"]) <= 2
    assert "1,200 rows at QuickBooks" in again.stdout
    assert "requests" in run.stderr
    assert "of a month's 500,000 calls" in run.stderr
    assert after.result["requests"] == 3  # when it was, what was deleted, and the check's
    assert after.result["spent_this_month"] == spent
