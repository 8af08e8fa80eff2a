"""Workers that share a window: what the ledger says of the parts, and that together they are the whole."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta, timezone
from typing import Any

import asyncpg
import pytest

from async_extractor.warehouse.schema import bring_up_to_date
from async_extractor.warehouse.statements import statement
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import EVERYTHING, backfill, in_raw, secrets_for, simulate, truth
from tests.support.databases import execute

COMPANY = SimulatorConfig(seed=5, invoices=8_000, years=4, limits=False, latency_ms=100)
START = datetime(2024, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "field", ["last_updated", *(pytest.param(field, marks=pytest.mark.slow) for field in ("created", "txn_date"))]
)
async def test_the_parts_of_a_window_are_the_whole(database: Any, field: str) -> None:
    async with Simulator(COMPANY) as simulator:
        result = await backfill(secrets_for(simulator, database), "invoices", concurrency=4, filter_field=field)
        assert result.status == "done", result.error
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
    assert result.rows["read"] == result.rows["inserted"] == 8_000
    parts = execute(
        database,
        """SELECT c.window_start, c.window_end, c.expected_rows, a.rows_read, c.as_of, a.outcome,
                  EXISTS (SELECT FROM ops.run_chunks x WHERE x.chunk_id = c.chunk_id)
             FROM ops.chunks c JOIN ops.attempts a USING (chunk_id) WHERE c.kind = 'window' ORDER BY 1""",
    )
    assert len(parts) > 1
    assert [part[1] for part in parts[:-1]] == [part[0] for part in parts[1:]]
    assert parts[0][0].isoformat()[:10] == EVERYTHING[0]
    assert [part[2] for part in parts] == [part[3] for part in parts]
    assert {part[4] for part in parts} == {parts[0][4]}
    assert {part[5:] for part in parts} == {("done", True)}
    checks = dict(execute(database, "SELECT name, severity FROM ops.latest_validations"))
    assert checks["pages"] == checks["chunk_counts"] == checks["utc"] == "ok"


@pytest.mark.parametrize("rows_of_a_second", [600, 900, 999])
async def test_seconds_that_nearly_fill_a_page_are_shared_or_left_with_their_holder(
    database: Any, rows_of_a_second: int
) -> None:
    """As an import makes them: the page that finds a cut may hold two values and no more."""
    moments = (START + timedelta(seconds=number // rows_of_a_second) for number in range(9_000))
    records = [
        {
            "payload": f'{{"Id":"{number}","SyncToken":"0","MetaData":'
            f'{{"CreateTime":"{moment.isoformat()}","LastUpdatedTime":"{moment.isoformat()}"}}}}'
        }
        for number, moment in enumerate(moments, 1)
    ]
    async with Simulator(SimulatorConfig(invoices=0, years=1, limits=False, latency_ms=30)) as simulator:
        await simulate(simulator, "load", {"entity": "Invoice", "replace": True, "records": records})
        result = await backfill(secrets_for(simulator, database), "invoices", concurrency=4)
    assert (result.status, result.rows["inserted"]) == ("done", 9_000), result.error
    assert execute(database, "SELECT DISTINCT outcome FROM ops.attempts") == [("done",)]


@contextlib.asynccontextmanager
async def window_being_read(database: Any) -> AsyncIterator[tuple[asyncpg.Connection, asyncpg.Connection]]:
    """A window of ten days and 100 rows that the first session reads for two runs; the second session is idle."""
    holder, idle = await asyncpg.connect(database.dsn), await asyncpg.connect(database.dsn)
    await bring_up_to_date(holder)
    try:
        for run in (1, 2):
            await holder.execute(
                """INSERT INTO ops.runs (realm_id, entity, filter_field, mode, range_start, range_end, chunk,
                                         concurrency)
                   VALUES ('1', 'invoices', 'created', 'resume', $1, $2, 'auto', 2)""",
                START,
                START + timedelta(days=10),
            )
            if run == 1:
                await holder.execute(
                    """INSERT INTO ops.chunks (realm_id, entity, filter_field, kind, window_start, window_end,
                                               range_start, range_end, expected_rows, as_of, deletions_known_until)
                       VALUES ('1', 'invoices', 'created', 'window', $1, $2, $1, $2, 100, $2, $2)""",
                    START,
                    START + timedelta(days=10),
                )
            await holder.execute("INSERT INTO ops.run_chunks VALUES ($1, 1)", run)
        await holder.execute("SELECT FROM ops.claim_chunk(1)")
        yield holder, idle
    finally:
        await holder.close()
        await idle.close()


async def take(idle: asyncpg.Connection, day: int, attempt: int = 1) -> Any:
    call = "SELECT * FROM ops.take_over(1, $1, $2, 60, 1, '1 s')"
    return await idle.fetchrow(call, attempt, START + timedelta(days=day))


async def test_a_part_is_owed_what_the_whole_was_and_belongs_to_all_its_runs(database: Any) -> None:
    async with window_being_read(database) as (holder, idle):
        part = await take(idle, 6)
        whole = await holder.fetchrow("SELECT * FROM ops.chunks WHERE chunk_id = 1")
        assert (part["window_start"], part["window_end"]) == (whole["window_end"], START + timedelta(days=10))
        assert (whole["expected_rows"], part["expected_rows"]) == (60, 40)
        for name in ("as_of", "edits_known_until", "deletions_known_until", "planned_at", "range_start", "range_end"):
            assert part[name] == whole[name]
        runs = "SELECT array_agg(run_id ORDER BY run_id) FROM ops.run_chunks WHERE chunk_id = $1"
        assert await holder.fetchval(runs, part["chunk_id"]) == [1, 2]
        assert await holder.fetchval("SELECT ops.is_held('ops.chunks', $1)", part["chunk_id"])
        # Nobody else can begin it, and once its session is gone anybody can.
        other = await asyncpg.connect(database.dsn)
        assert await other.fetchrow("SELECT * FROM ops.claim_chunk(2)") is None
        await idle.execute("SELECT pg_advisory_unlock_all()")
        again = await other.fetchrow("SELECT * FROM ops.claim_chunk(2)")
        await other.close()
        assert (again["chunk_id"], again["attempt"]) == (part["chunk_id"], 2)


@pytest.mark.parametrize(("day", "attempt"), [(0, 1), (10, 1), (12, 1), (6, 2)])
async def test_nothing_is_cut_off_outside_the_window_or_from_another_attempt(
    database: Any, day: int, attempt: int
) -> None:
    async with window_being_read(database) as (_, idle):
        assert await take(idle, day, attempt) is None


async def test_a_window_that_is_done_is_not_cut(database: Any) -> None:
    async with window_being_read(database) as (holder, idle):
        await holder.execute("UPDATE ops.chunks SET status = 'done', done_at = now() WHERE chunk_id = 1")
        assert await take(idle, 6) is None


async def test_nothing_is_cut_while_somebody_plans(database: Any) -> None:
    """The plan may have read the window as it was, and would lack the part."""
    async with window_being_read(database) as (holder, idle):
        key = "hashtext('ops.planning'), hashtext('1/invoices')"
        await holder.execute(f"SELECT pg_advisory_lock({key})")
        assert await take(idle, 6) is None
        await holder.execute(f"SELECT pg_advisory_unlock({key})")
        assert await take(idle, 6) is not None


async def test_a_window_that_another_run_has_planned_in_the_range_is_waited_for_or_read(database: Any) -> None:
    """A catch-up waits for all windows of its range; a run that only waited for its own gave up beside them."""
    async with window_being_read(database) as (holder, idle):
        await holder.execute(
            "UPDATE ops.chunks SET status = 'done', done_at = now() WHERE chunk_id = 1; SELECT pg_advisory_unlock_all()"
        )
        for kind, status in (("catch_up", "planned"), ("window", "running")):
            await holder.execute(
                """INSERT INTO ops.chunks (realm_id, entity, filter_field, kind, window_start, window_end, range_start,
                                           range_end, as_of, status)
                   SELECT realm_id, entity, filter_field, $1, window_start, window_end - interval '1 day', range_start,
                          range_end, as_of, $2 FROM ops.chunks WHERE chunk_id = 1""",
                kind,
                status,
            )
        await holder.execute("INSERT INTO ops.run_chunks VALUES (1, 2), (2, 3)")
        other = "SELECT pg_advisory_lock(hashtext('ops.chunks'), 3)"
        await holder.execute(other)
        assert await idle.fetchrow("SELECT FROM ops.claim_chunk(1)") is None
        left = statement("chunk_in_other_hands")
        assert tuple(await idle.fetchrow(left, 1, [])) == (3, True)
        await holder.execute("SELECT pg_advisory_unlock_all()")
        assert tuple(await idle.fetchrow(left, 1, [])) == (3, False)
        assert (await idle.fetchrow("SELECT * FROM ops.claim_chunk(1)"))["chunk_id"] == 3
        await idle.execute("UPDATE ops.chunks SET status = 'done', done_at = now() WHERE chunk_id = 3")
        assert tuple(await holder.fetchrow(left, 1, [])) == (2, False)
        assert (await holder.fetchrow("SELECT * FROM ops.claim_chunk(1)"))["kind"] == "catch_up"
