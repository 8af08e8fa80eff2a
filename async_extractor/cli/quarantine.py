"""`qbo-backfill quarantine`: the records that raw could not hold."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import typer

from async_extractor.cli.options import NO_LIMITS, PROFILE
from async_extractor.cli.reading import MOST_NUMBER, as_json, read
from async_extractor.cli.resume import DRY_RUN
from async_extractor.cli.retry import request_for
from async_extractor.cli.run import run_requests
from async_extractor.cli.screen import Column, print_fitted, screen
from async_extractor.entities import ENTITIES
from async_extractor.errors import RequestError
from async_extractor.profile_option import with_profile
from async_extractor.request import BackfillRequest
from async_extractor.spoken import say
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import UTC

app = typer.Typer(no_args_is_help=True)

ENTITY = typer.Argument(None, metavar="[ENTITY]", help="an entity, such as invoices; all without it")
ALL = typer.Option(False, "--all", help="Those that have arrived since, too")
AS_JSON = typer.Option(False, "--json", help="One JSON object a line")
COLUMNS = (
    Column("number"),
    Column("entity"),
    Column("Id"),
    Column("bytes", 3, number=True),
    Column("since", 2),
    Column("state", 1),
    Column("why", folds=30),
)
NUMBER = typer.Argument(
    ..., metavar="NUMBER", min=1, max=MOST_NUMBER, help="The entry's number, from `quarantine list`"
)
NUMBERS = typer.Argument(
    None, metavar="[NUMBER]...", min=1, max=MOST_NUMBER, help="The entries' numbers; all that stand without them"
)


@app.command("list")
def list_entries(
    entity: str = ENTITY, everything: bool = ALL, json_lines: bool = AS_JSON, profile: str = PROFILE
) -> None:
    """What is in quarantine, and why."""
    if entity is not None and entity not in ENTITIES:
        raise RequestError(f"entity: {entity!r} is not one of {', '.join(ENTITIES)}")

    async def look(connection: Connection, realm_id: str) -> list[dict[str, Any]]:
        rows = await connection.fetch(statement("list_quarantine"), realm_id, entity, everything)
        return [dict(row) for row in rows]

    entries = read(look, profile)
    if json_lines:
        for entry in entries:
            print(as_json(entry))
        return
    if not entries:
        print(say("Nothing is in quarantine."))
        return
    rows = [
        (
            str(entry["quarantine_id"]),
            entry["entity"],
            entry["record_id"] or say("none"),
            "not served" if entry["bytes"] is None else f"{entry['bytes']:,}",
            f"{entry['quarantined_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
            say("arrived since" if entry["resolved_at"] else "stands"),
            say(entry["reason"]),
        )
        for entry in entries
    ]
    print_fitted(screen(), "Quarantine (UTC)", COLUMNS, rows)
    again = "read them again with `qbo-backfill quarantine retry`"
    print(say(with_profile(f"Look at one with `qbo-backfill quarantine show NUMBER`; {again}.")))


@app.command()
def show(number: int = NUMBER, json_lines: bool = AS_JSON, profile: str = PROFILE) -> None:
    """One entry: why it is here, the request that brought it, and the record as Intuit sent it."""

    async def look(connection: Connection, realm_id: str) -> dict[str, Any] | None:
        row = await connection.fetchrow(statement("show_quarantine"), realm_id, number)
        return None if row is None else dict(row)

    entry = read(look, profile)
    if entry is None:
        raise RequestError(f"NUMBER: there is no entry {number}; `qbo-backfill quarantine list --all` shows them")
    entry["request_payload"] = json.loads(entry["request_payload"])
    if json_lines:
        print(as_json(entry))
        return
    record = entry.pop("record")
    for name, value in entry.items():
        told = say(value) if name == "reason" else value
        print(f"{name:16} {as_json(told) if isinstance(told, dict) else told}")
    print(say("record, as Intuit sent it:" if record is not None else "record: Intuit could not send it"))
    if record is not None:
        sys.stdout.flush()
        sys.stdout.buffer.write(record + b"\n")


@app.command()
def retry(
    numbers: list[int] = NUMBERS,
    dry_run: bool = DRY_RUN,
    json_lines: bool = AS_JSON,
    no_limits: bool = NO_LIMITS,
    profile: str = PROFILE,
) -> int:
    """Read the chunks of these entries again: what has been corrected in QuickBooks arrives, the rest comes back here.

    Exit 0: the chunks were read; 3: some are left.
    """
    wanted = list(numbers) if numbers else None

    async def look(connection: Connection, realm_id: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(statement("quarantine_windows"), realm_id, wanted)]

    entries = read(look, profile)
    missing = sorted(set(wanted or ()) - {entry["quarantine_id"] for entry in entries})
    if missing:
        raise RequestError(f"NUMBER: no entry {missing[0]} stands; `qbo-backfill quarantine list` shows those that do")
    # A catch-up reads by LastUpdatedTime, whatever its run is about.
    field = {"catch_up": "last_updated"}
    chunks = {
        entry["chunk_id"]: {
            **entry,
            "status": "done",
            "filter_field": field.get(entry["kind"], entry["filter_field"]),
        }
        for entry in entries
    }
    if not chunks:
        print(as_json({"retried": 0}) if json_lines else say("Nothing to retry: nothing is in quarantine."), flush=True)
        return 0

    def requests() -> Iterator[BackfillRequest]:
        for chunk in chunks.values():
            request = request_for(chunk)
            window = request.window
            ids = [entry["quarantine_id"] for entry in entries if entry["chunk_id"] == chunk["chunk_id"]]
            what = f"{len(ids)} entries: {chunk['entity']} by {chunk['filter_field']} in {window}"
            if dry_run:
                told = {"entries": ids, "window": str(window), "dry_run": True}
                print(as_json(told) if json_lines else say(f"Would read {what}."))
                continue
            if not json_lines:
                print(say(f"Reading again for {what}."))
            yield request

    return run_requests(requests(), as_json=json_lines, limits=not no_limits, profile=profile)
