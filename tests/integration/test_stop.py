"""A run that is told to stop ends, whoever holds what it waits for: another planner, or somebody's lock on a table."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from async_extractor import BackfillRequest, IncompleteError
from async_extractor.backfill import Backfill
from async_extractor.verification import Verification
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import EVERYTHING, backfill, secrets_for
from tests.support.databases import execute

PLANNING = "SELECT pg_advisory_lock(hashtext('ops.planning'), hashtext($1 || '/items'))"
READING = "LOCK TABLE raw.qb_items IN ACCESS EXCLUSIVE MODE"
LOADING = "LOCK TABLE raw.qb_items IN EXCLUSIVE MODE"  # may be read


async def plan(run: Backfill) -> None:
    await run.plan()


async def extract(run: Backfill) -> None:
    await run.extract(await run.plan())


async def validate(run: Backfill) -> None:
    await run.validate(await run.plan())


async def verify(run: Verification) -> None:
    await run.verify()


async def stopped(run: Any, work: Callable[[Any], Awaitable[None]], database: Any, *lock: str) -> str:
    """The line with which the work ends when it is told to stop while another session has the lock."""
    holder, watcher = await asyncpg.connect(database.dsn), await asyncpg.connect(database.dsn)
    try:
        transaction = holder.transaction()
        await transaction.start()
        await holder.fetch(*lock)
        async with run:
            working = asyncio.ensure_future(work(run))
            while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert not working.done(), "it waited for nobody"
                await asyncio.sleep(0.05)
            run.stop("stopped by SIGTERM")
            with pytest.raises(IncompleteError) as ended:
                await asyncio.wait_for(working, 60)
        left = await watcher.fetchval("SELECT count(*) FROM ops.runs WHERE finished_at IS NULL")
        assert left == 0
        return str(ended.value)
    finally:
        await holder.close()
        await watcher.close()


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("work", "mode", "lock"),
    [
        (plan, "resume", PLANNING),
        (plan, "reprocess", READING),
        (extract, "reprocess", LOADING),
        (validate, "resume", READING),
        (verify, "resume", READING),
    ],
)
async def test_stop(database: Any, work: Any, mode: str, lock: str) -> None:
    """Planning, extraction, checks and verification: each with a lock that another session has."""
    async with Simulator(SimulatorConfig(items=40, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "items")
        # Otherwise raw's rows are known to be the same, and nothing is loaded.
        execute(database, "UPDATE raw.qb_items SET digest = NULL")
        request = BackfillRequest.parse("items", *EVERYTHING, mode=mode)
        run = (Verification if work is verify else Backfill)(request, secrets, limits=False)
        values = [secrets.values["QBO_REALM_ID"]] if lock == PLANNING else []
        assert "stopped by SIGTERM" in await stopped(run, work, database, lock, *values)


@pytest.mark.parametrize("work", [plan, extract, verify])
@pytest.mark.parametrize("error", [asyncio.CancelledError(), KeyError("a mistake")], ids=["cancelled", "mistake"])
async def test_left_by_an_error(database: Any, work: Any, error: BaseException) -> None:
    """Whatever a run is left by, between two stages too, closes it: no later command waits for it."""
    async with Simulator(SimulatorConfig(items=40, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        request = BackfillRequest.parse("items", *EVERYTHING)

        async def leave() -> None:
            async with (Verification if work is verify else Backfill)(request, secrets, limits=False) as run:
                await work(run)
                raise error

        with pytest.raises(type(error)):
            await leave()
        connection = await asyncpg.connect(database.dsn)
        runs = await connection.fetch("SELECT status FROM ops.runs WHERE finished_at IS NOT NULL")
        await connection.close()
        assert [run["status"] for run in runs] == ["incomplete"]
