"""A run is alive as long as a process works on it, whatever happens to connections."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

from async_extractor.backfill import Backfill
from async_extractor.events import Events
from async_extractor.request import BackfillRequest
from async_extractor.resources import opened_warehouse
from async_extractor.settings import Settings
from async_extractor.warehouse.ledger import Ledger, Series
from async_extractor.warehouse.statements import statement
from qbo_simulator import Simulator
from tests.support.backfilling import secrets_for
from tests.support.databases import execute, until
from tests.support.small_books import SMALL

RANGE = ("2015-01-01", "2026-01-01")


async def test_a_new_connection_says_at_once_that_the_run_is_alive(database: Any) -> None:
    """Another run of the company begins after this one's connection was lost, while it waits for QuickBooks."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with Backfill(BackfillRequest.parse("invoices", *RANGE), secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            ended = execute(database, "SELECT pg_terminate_backend(backend_pid, 5000) FROM ops.runs")
            assert ended == [(True,)]
            await until(lambda: execute(database, "SELECT ops.is_held('ops.runs', run_id) FROM ops.runs") == [(True,)])
            async with Backfill(BackfillRequest.parse("customers", *RANGE), secrets, limits=False):
                assert execute(database, "SELECT finished_at FROM ops.runs") == [(None,)]
            await backfill.extract(run_id)
            await backfill.validate(run_id)
            assert (await backfill.report(run_id)).status == "done"


async def test_a_run_that_is_entered_while_others_look_is_alive(database: Any) -> None:
    """Whoever closes runs that are gone waits for the row, and by then a new session works on this one."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with Backfill(BackfillRequest.parse("invoices", *RANGE), secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            settings = Settings.read(secrets)
        execute(database, "UPDATE ops.runs SET backend_pid = 1")
        async with opened_warehouse(settings, Events()) as session:
            entering = await asyncpg.connect(database.dsn)
            async with entering.transaction():
                await entering.execute("SELECT FROM ops.runs FOR UPDATE")
                closing = asyncio.create_task(Ledger(session).close_gone_runs(settings.realm_id))
                await until(lambda: execute(database, "SELECT pid FROM pg_locks WHERE NOT granted"))
                await entering.execute(statement("enter_run"), run_id)
            assert await closing == []
            await entering.close()
            assert await Ledger(session).close_gone_runs(settings.realm_id) == [run_id]


async def test_a_run_that_was_closed_is_called_running_by_nobody(database: Any) -> None:
    """It was taken for gone while its process planned."""
    async with Simulator(SMALL) as simulator:
        settings = Settings.read(secrets_for(simulator, database))
        async with opened_warehouse(settings, Events()) as session:
            ledger, window = Ledger(session), BackfillRequest.parse("invoices", *RANGE).window
            series = Series(settings.realm_id, "invoices", "last_updated")
            run_id = await ledger.insert_run(series, "verify", window, "auto", 1, {})
            await ledger.finish_run(run_id, "incomplete", "its process is gone")
            await ledger.record_clock(run_id, window.end)
    assert execute(database, "SELECT status, as_of IS NULL FROM ops.runs") == [("incomplete", False)]
