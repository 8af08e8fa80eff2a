"""`qbo-backfill browse`: the ledger in the terminal, live."""

from __future__ import annotations

import asyncio
import sys

import typer

from async_extractor.cli.run import PROFILE
from async_extractor.errors import RequestError
from async_extractor.secrets import MageSecrets
from async_extractor.settings import warehouse_address
from async_extractor.warehouse.connection import connect_first
from async_extractor.warehouse.schema import bring_up_to_date

REFRESH = typer.Option(2.0, "--refresh", min=0.2, max=3600, help="Seconds between two looks")


def browse(refresh: float = REFRESH, profile: str = PROFILE) -> None:
    """Runs, chunks and checks in the terminal, live while a run goes on. It reads only; q ends it."""
    if not sys.stdout.isatty():
        raise RequestError("browse: needs a terminal; `qbo-backfill status` prints the runs")
    asyncio.run(_browse(refresh, profile))


async def _browse(refresh: float, profile: str) -> None:
    from async_extractor.browse import Browser  # noqa: PLC0415 - a third of a second that other commands don't need

    connection = await connect_first(warehouse_address(MageSecrets.locate(profile=profile)))
    try:
        await bring_up_to_date(connection, f"raw_{profile}" if profile else "raw")
        await connection.execute("SET default_transaction_read_only = on")
        await Browser(connection, refresh).run_async()
    finally:
        await connection.close(timeout=5)
