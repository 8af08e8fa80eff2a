"""The terminal view shows the ledger, and follows it while it changes."""

from __future__ import annotations

from typing import Any

import asyncpg
from textual.widgets import DataTable

from async_extractor.browse import Browser
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import backfill, secrets_for


async def test_the_view_shows_runs_chunks_and_checks_and_follows_them(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=200, years=1, limits=False)) as simulator:
        await backfill(secrets_for(simulator, database), "invoices", "2024-12-01", "2026-01-31", chunk="P1M")
    connection = await asyncpg.connect(database.dsn)
    other = await asyncpg.connect(database.dsn)
    try:
        await connection.execute("SET default_transaction_read_only = on")
        browser = Browser(connection, refresh=60)
        async with browser.run_test(size=(200, 50)) as pilot:
            runs, chunks, checks = (browser.query_one(f"#{name}", DataTable) for name in ("runs", "chunks", "checks"))
            assert runs.get_row("1")[1:4] == ["invoices", "resume", "done"]
            assert chunks.row_count == 15
            assert {row.key.value for row in checks.ordered_rows} >= {"keys", "source_count", "volume", "seals"}
            await other.execute("UPDATE ops.runs SET status = 'incomplete', error = 'the network is gone'")
            await pilot.press("r")
            await pilot.pause()
            assert runs.get_row("1")[3] == "incomplete"
            assert "the network is gone" in str(browser.query_one("#line").render())
            await pilot.press("q")
    finally:
        await connection.close()
        await other.close()


async def test_the_view_of_an_empty_ledger_is_empty(database: Any) -> None:
    from async_extractor.warehouse.schema import bring_up_to_date

    connection = await asyncpg.connect(database.dsn)
    try:
        await bring_up_to_date(connection)
        browser = Browser(connection, refresh=60)
        async with browser.run_test():
            assert browser.query_one("#runs", DataTable).row_count == 0
    finally:
        await connection.close()
