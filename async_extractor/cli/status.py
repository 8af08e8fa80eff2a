"""`qbo-backfill status`: the newest runs and what is left of each."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from typing import Any

import typer

from async_extractor.cli.options import company
from async_extractor.cli.reading import as_json as as_json_line
from async_extractor.cli.reading import of_all_companies
from async_extractor.cli.screen import Column, print_fitted, screen
from async_extractor.entity_names import entities_named
from async_extractor.errors import ConfigurationError
from async_extractor.mage.profiles import profiles_named, require_own, shown
from async_extractor.mage.secrets import MageSecrets
from async_extractor.planning.estimate import MONTHLY_ALLOWANCE
from async_extractor.profile_option import with_profile
from async_extractor.settings import profile_of, raw_schema_of, warehouse_address
from async_extractor.spoken import say
from async_extractor.warehouse.connection import Address
from async_extractor.warehouse.first_connection import connect_first
from async_extractor.warehouse.ledger import GONE

ENTITY = typer.Argument("", metavar="[ENTITY]", help="Only these: invoices, or invoices,payments")
# As many as there are entities, so that `run all` is seen whole.
LIMIT = typer.Option(40, "--limit", min=1, max=1000, help="How many runs")
PROFILE = typer.Option("", callback=company, help="Only these companies: acme,globex; all that there are without it")
AS_JSON = typer.Option(False, "--json", help="One JSON object a line, newest first")

COLUMNS = (
    Column("run", number=True),
    Column("schema", 9),
    Column("entity"),
    Column("range", 2),
    Column("mode", 6),
    Column("status"),
    Column("done", 4, number=True),
    Column("failed", 5, number=True),
    Column("left", number=True),
    Column("rows read", 1, number=True),
    Column("requests", 7, number=True),
    Column("started", 8),
)


def status(entity: str = ENTITY, limit: int = LIMIT, as_json: bool = AS_JSON, profile: str = PROFILE) -> int:
    """The newest runs: their windows, chunks done and left, rows, and why one stopped.

    Ends with 4 where a company that was named lacks a secret of its own.
    """
    names = [one.name for one in entities_named(entity)] if entity else None
    code = 0
    for one in profiles_named(profile) if profile else ():
        try:
            require_own(one)
        except ConfigurationError as error:
            code = error.exit_code
            print(f"{shown(one)}: {say(str(error))}", file=sys.stderr, flush=True)
    runs = asyncio.run(_recent(limit, names, profile))
    if as_json:
        for run in runs:
            print(as_json_line(run))
        return code
    if not runs:
        begin = "qbo-backfill run invoices --fecha-inicio 2024-01-01 --fecha-fin 2024-12-31"
        print(say(with_profile(f"No run yet. Begin with: {begin}")))
        return code
    console = screen()
    print_fitted(console, "Runs, newest first (UTC)", COLUMNS, [_row(run) for run in runs])
    for realm_id, (schema, spent) in sorted(
        {run["realm_id"]: (run["raw_schema"], run["requests_this_month"]) for run in runs}.items()
    ):
        console.print(
            say(
                f"company {realm_id} ({schema}): {spent:,} requests this month, {spent / MONTHLY_ALLOWANCE:.2%} of "
                f"{MONTHLY_ALLOWANCE:,}"
            ),
            highlight=False,
            markup=False,
        )
    for run in runs:
        if run["is_gone"]:
            run["error"] = with_profile(GONE, profile_of(run["raw_schema"]))
        if run["error"]:
            told = "what it had left was done by a later run" if run["caught_up"] else run["error"]
            console.print(say(f"run {run['run_id']}: {told}"), highlight=False, markup=False)
    return code


def _row(run: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(run["run_id"]),
        run["raw_schema"],
        run["entity"],
        f"{run['range_start']:%Y-%m-%d} - {run['range_end']:%Y-%m-%d}",
        run["mode"],
        say("stopped" if run["is_gone"] else run["status"]),
        f"{run['done']:,}",
        f"{run['failed']:,}",
        f"{run['chunks'] - run['done'] - run['failed']:,}",
        f"{run['rows_read']:,}",
        f"{run['requests_sent']:,}",
        f"{run['started_at']:%Y-%m-%d %H:%M:%S}",
    )


async def _recent(limit: int, entities: Sequence[str] | None, profiles: str) -> list[dict[str, Any]]:
    """Of all companies in the warehouse, or of these, each in its own."""
    if not profiles:
        return await _recent_in(warehouse_address(MageSecrets.locate()), limit, entities, None)
    schemas: dict[Address, list[str]] = {}
    for profile in profiles_named(profiles):
        address = warehouse_address(MageSecrets.locate(profile=profile))
        schemas.setdefault(address, []).append(raw_schema_of(profile))
    found = [run for address, those in schemas.items() for run in await _recent_in(address, limit, entities, those)]
    return sorted(found, key=lambda run: run["started_at"], reverse=True)[:limit]


async def _recent_in(
    address: Address, limit: int, entities: Sequence[str] | None, schemas: Sequence[str] | None
) -> list[dict[str, Any]]:
    connection = await connect_first(address)
    try:
        return await of_all_companies(connection, "recent_runs", limit, entities, schemas)
    finally:
        await connection.close(timeout=5)
