"""A run is alive as long as a process works on it, whatever happens to connections."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from pathlib import Path
from typing import Any

import asyncpg

from async_extractor.backfill import Backfill
from async_extractor.events import Events
from async_extractor.request import BackfillRequest
from async_extractor.resources import opened_warehouse
from async_extractor.settings import Settings
from async_extractor.warehouse.ledger import Ledger, Series
from async_extractor.warehouse.statements import statement
from local_postgres.embedded import EmbeddedPostgres
from qbo_simulator import Simulator
from tests.conftest import Database
from tests.support.backfilling import backfill, secrets_for
from tests.support.databases import execute, until
from tests.support.small_books import SMALL

RANGE = ("2015-01-01", "2026-01-01")


async def test_a_new_connection_says_at_once_that_the_run_is_alive(database: Any) -> None:
    """Another run of the company begins after this one's connection was lost, while it waits for QuickBooks."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with Backfill(BackfillRequest.parse("invoices", *RANGE), secrets, limits=False) as run:
            run_id = await run.plan()
            ended = execute(database, "SELECT pg_terminate_backend(backend_pid, 5000) FROM ops.runs")
            assert ended == [(True,)]
            await until(lambda: execute(database, "SELECT ops.is_held('ops.runs', run_id) FROM ops.runs") == [(True,)])
            async with Backfill(BackfillRequest.parse("customers", *RANGE), secrets, limits=False):
                assert execute(database, "SELECT finished_at FROM ops.runs") == [(None,)]
            await run.extract(run_id)
            await run.validate(run_id)
            assert (await run.report(run_id)).status == "done"


async def test_a_run_that_is_entered_while_others_look_is_alive(database: Any) -> None:
    """Whoever closes runs that are gone waits for the row, and by then a new session works on this one."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with Backfill(BackfillRequest.parse("invoices", *RANGE), secrets, limits=False) as run:
            run_id = await run.plan()
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


async def test_a_server_that_has_just_begun_takes_nobody_for_gone(tmp_path: Path) -> None:
    """Whoever was connected to it before holds nothing any more, and comes back within seconds."""
    server = EmbeddedPostgres(tmp_path / "postgres", throwaway=True)
    database = Database(**asdict(server.up()))
    gone = "SELECT ops.is_gone(r), clock_timestamp() - pg_postmaster_start_time() < interval '5 s' FROM ops.runs r"
    try:
        async with Simulator(SMALL) as simulator:
            await backfill(secrets_for(simulator, database), "items")
        execute(database, "UPDATE ops.runs SET finished_at = NULL, status = 'running', backend_pid = 1")
        server.down()
        database = Database(**asdict(server.up()))
        ((is_gone, has_begun),) = execute(database, gone)
        assert is_gone is not has_begun
        await until(lambda: execute(database, gone) == [(True, False)])
    finally:
        server.destroy()
