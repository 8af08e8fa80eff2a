"""A run is alive as long as a process works on it, whatever happens to connections."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import psycopg2

from async_extractor.backfill import Backfill
from async_extractor.events import Events
from async_extractor.request import BackfillRequest
from async_extractor.resources import opened_warehouse
from async_extractor.settings import Settings
from async_extractor.warehouse.ledger import Ledger
from qbo_simulator import Simulator
from tests.support.backfilling import secrets_for
from tests.support.databases import execute, until
from tests.support.small_books import SMALL

ENTER = "UPDATE ops.runs SET (backend_pid, backend_start) = (SELECT pid, backend_start FROM pg_stat_get_activity(%s))"
RANGE = ("2015-01-01", "2026-01-01")


async def test_a_new_connection_says_that_the_run_is_alive(database: Any) -> None:
    """Another run of the company begins after this one's connection was lost and made again: it leaves it alone."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with Backfill(BackfillRequest.parse("invoices", *RANGE), secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            ended = execute(database, "SELECT pg_terminate_backend(backend_pid, 5000) FROM ops.runs")
            assert ended == [(True,)]
            assert await backfill.take_up(run_id) == run_id
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
            await backfill.plan()
            execute(database, "SELECT pg_terminate_backend(backend_pid, 5000) FROM ops.runs")
            settings = Settings.read(secrets)
            async with opened_warehouse(settings, Events()) as session:
                with contextlib.closing(psycopg2.connect(database.url(show_password=True))) as entering:
                    entering.cursor().execute("SELECT FROM ops.runs FOR UPDATE")
                    closing = asyncio.create_task(Ledger(session).close_gone_runs(settings.realm_id))
                    await until(lambda: bool(execute(database, "SELECT pid FROM pg_locks WHERE NOT granted")))
                    with contextlib.closing(psycopg2.connect(database.url(show_password=True))) as later:
                        entering.cursor().execute(ENTER, (later.info.backend_pid,))
                        entering.commit()
                        assert await closing == []
