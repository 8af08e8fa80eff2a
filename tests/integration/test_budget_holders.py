"""What the shared limiter takes back from processes and workers that are gone, and from connections that were cut."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from async_extractor.qbo.limits import IN_FLIGHT
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import backfill, secrets_for
from tests.support.limiters import REALM, Company, company_on

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    async with company_on(database) as company:
        yield company


async def test_the_places_of_a_killed_process_come_free_by_themselves(company: Company) -> None:
    address = [getattr(company.address, name) for name in ("host", "port", "database", "user", "password")]
    holder = subprocess.Popen(  # noqa: ASYNC220 - it is killed by its Popen
        [sys.executable, "-c", HOLDER, json.dumps(address)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert await asyncio.to_thread(holder.stdout.readline) == "holding\n"
    assert await company.next_turn() is None
    holder.kill()
    holder.wait()
    holder.stdout.close()
    limiter = company.limiter()
    taken = [limiter.permit() for _ in range(IN_FLIGHT)]
    for turn in taken:
        await turn.__aenter__()
    for turn in taken:
        await turn.__aexit__(None, None, None)


async def test_what_is_in_flight_is_the_new_connections(company: Company) -> None:
    """It was cut while QuickBooks takes far longer than of late: the process lives, and so do its requests."""
    await company.past_requests(1, answered_ago=1, taking=0.1)
    limiter = company.limiter()
    async with contextlib.AsyncExitStack() as taken:
        for _ in range(IN_FLIGHT):
            permit = await taken.enter_async_context(limiter.permit())
            permit.outcome = "taken"
        in_flight = "ops.turns WHERE arrived_by = 'infinity'"
        cut = await company.value(f"SELECT backend_pid FROM {in_flight} LIMIT 1")
        assert await company.value("SELECT pg_terminate_backend($1, 5000)", cut)
        await company.until(f"SELECT NOT EXISTS (SELECT FROM {in_flight} AND backend_pid = {cut})")
        await company.sql.execute("UPDATE ops.turns SET moment = moment - interval '20 s'")
        assert await company.next_turn() is None
    assert await company.next_turn() is not None


HOLDER = f"""
import asyncio, json, sys
from async_extractor.qbo.limits import IN_FLIGHT
from async_extractor.events import Events
from async_extractor.limits import SharedLimiter
from async_extractor.warehouse.shared_connection import CompanyConnection
from async_extractor.warehouse.connection import Address

async def hold():
    company = CompanyConnection(Address(*json.loads(sys.argv[1])), {REALM!r}, Events())
    limiter = SharedLimiter(company, Events(), per_minute=6000)
    turns = [limiter.permit() for _ in range(IN_FLIGHT)]
    for turn in turns:
        await turn.__aenter__()
    print("holding", flush=True)
    await asyncio.sleep(3600)

asyncio.run(hold())
"""


async def test_a_killed_process_s_request_is_in_flight_for_as_long_as_others_took(company: Company) -> None:
    await company.past_requests(1, answered_ago=0.1, taking=30)
    await company.sql.execute(
        """INSERT INTO ops.turns (realm_id, moment, backend_pid, backend_start)
           SELECT $1, clock_timestamp() - interval '20 s', 0, now() FROM generate_series(1, 10)""",
        REALM,
    )
    assert await company.next_turn() is None
    await company.sql.execute("UPDATE ops.turns SET moment = moment - interval '18 s' WHERE backend_pid = 0")
    assert await company.next_turn() is not None


async def test_a_turn_that_a_killed_process_never_used_is_the_next_ones(company: Company) -> None:
    await company.sql.execute(
        """INSERT INTO ops.turns (realm_id, moment, backend_pid, backend_start)
           VALUES ($1, clock_timestamp() + interval '30 s', 2147483000, now())""",
        REALM,
    )
    await company.sql.execute("SELECT ops.count_request($1, 1)", REALM)
    assert await company.next_turn() == 0
    assert await company.requests() == 1


async def test_a_worker_that_goes_away_from_its_request_leaves_the_place_taken_for_a_while(company: Company) -> None:
    limiter = company.limiter(places=1)

    async def request() -> None:
        async with limiter.permit():
            await asyncio.sleep(3600)

    asked = asyncio.ensure_future(request())
    await company.until("SELECT count(*) > 0 FROM ops.turns")
    await asyncio.sleep(0.2)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert await company.next_turn(places=1) is None
    assert await company.value("SELECT backend_pid FROM ops.turns") == 0
    await company.sql.execute("UPDATE ops.turns SET moment = moment - interval '3 s'")
    assert await company.next_turn(places=1) is not None


async def test_a_worker_that_goes_away_while_it_waits_leaves_nothing_behind(company: Company) -> None:
    limiter = company.limiter(per_minute=2)
    async with limiter.permit() as permit:
        permit.answered(None)
    waiting = asyncio.ensure_future(limiter.permit().__aenter__())
    await company.until("SELECT requests = 2 FROM ops.usage")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await company.value("SELECT count(*) FROM ops.turns WHERE arrived_by = 'infinity'") == 0
    assert await company.requests() == 1


async def test_a_limiter_whose_connection_is_cut_again_and_again_loses_neither_a_request_nor_the_count(
    database: Any,
) -> None:
    async with Simulator(SimulatorConfig(invoices=400, latency_ms=20)) as simulator:
        secrets = secrets_for(simulator, database)
        running = asyncio.ensure_future(
            backfill(secrets, "invoices", "2024-01-01", "2025-12-31", chunk="P1M", concurrency=5, limits=True)
        )
        administrator = await asyncpg.connect(database.dsn)
        cut = 0
        while not running.done():
            await asyncio.sleep(0.3)
            cut += await administrator.fetchval(
                """SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND query ~ 'ops.(take|end)_turn' AND pid <> pg_backend_pid()"""
            )
        result = await running
        counted = await administrator.fetchval("SELECT requests FROM ops.usage")
        await administrator.close()
        ledger = simulator.service.ledger.summary()
    assert result.status == "done", result.error
    assert cut > 3
    assert ledger["violations_total"] == 0
    # A turn whose handing out was cut off may have been counted without being used.
    assert ledger["metered_calls"] <= counted <= ledger["metered_calls"] + cut
