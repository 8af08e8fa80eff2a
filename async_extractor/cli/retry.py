"""`qbo-backfill retry`: read failed chunks again, or the chunk of one date whatever its state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from async_extractor.cli.options import EVENTS, FILTER_FIELD, NO_LIMITS, PROFILE
from async_extractor.cli.reading import as_json, day_or_moment, read
from async_extractor.cli.resume import DRY_RUN
from async_extractor.cli.run import run_requests
from async_extractor.entities import ENTITIES
from async_extractor.errors import RequestError
from async_extractor.request import FILTER_FIELDS, BackfillRequest
from async_extractor.spoken import say
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import Window, iso

ENTITY = typer.Argument(None, metavar="[ENTITY]", help="an entity, such as invoices; may be left out when it is clear")
CHUNK = typer.Option(
    "", "--chunk", metavar="DATE", help="The chunk that holds this UTC day or moment, also if it is done"
)
AS_JSON = typer.Option(False, "--json", help="One JSON object a line for each chunk or range")


def retry(
    entity: str = ENTITY,
    chunk: str = CHUNK,
    filter_field: str = FILTER_FIELD,
    dry_run: bool = DRY_RUN,
    json_lines: bool = AS_JSON,
    no_limits: bool = NO_LIMITS,
    profile: str = PROFILE,
    events: str = EVENTS,
) -> int:
    """Read failed chunks again; with --chunk the one of a date, done or not. Safe to repeat.

    Rows that are there already are not written again. Exit 0: done, or there was nothing to do; 3: chunks are left.
    """
    if entity is not None and entity not in ENTITIES:
        raise RequestError(f"entity: {entity!r} is not one of {', '.join(ENTITIES)}")
    if filter_field not in FILTER_FIELDS:
        raise RequestError(f"filter_field: {filter_field!r} is not one of {', '.join(FILTER_FIELDS)}")
    requests = _of_date(entity, chunk, filter_field, profile) if chunk else _of_failures(entity, profile)
    if not requests:
        print(as_json({"retried": 0}) if json_lines else say("Nothing to retry: no chunk has failed."), flush=True)
        return 0

    def chosen() -> Iterator[BackfillRequest]:
        for what, request in requests:
            if dry_run:
                told = {
                    "entity": request.entity.name,
                    "window": str(request.window),
                    "mode": request.mode,
                    "dry_run": True,
                }
                print(as_json(told) if json_lines else say(f"Would read {what}."), flush=True)
                continue
            if not json_lines:
                print(say(f"Reading {what}."), flush=True)
            yield request

    return run_requests(chosen(), as_json=json_lines, limits=not no_limits, profile=profile, events=events)


def request_for(chunk: dict[str, Any]) -> BackfillRequest:
    """The request that reads one window of the ledger as it is, again if it is done."""
    window = Window(chunk["window_start"], chunk["window_end"])
    whole = f"PT{int((window.end - window.start).total_seconds())}S"
    mode = "reprocess" if chunk["status"] == "done" else "resume"
    # As the ledger has it: QuickBooks' clock, or a record's date, may be ahead of this machine's clock.
    return BackfillRequest.of(
        chunk["entity"], window, chunk=whole, concurrency=1, filter_field=chunk["filter_field"], mode=mode
    )


def _of_date(entity: str | None, date: str, filter_field: str, profile: str) -> list[tuple[str, BackfillRequest]]:
    start, end = day_or_moment("chunk", date)

    async def look(connection: Connection, realm_id: str) -> list[dict[str, Any]]:
        rows = await connection.fetch(statement("chunks_at"), realm_id, start, end, entity, filter_field)
        return [dict(row) for row in rows]

    chunks = read(look, profile)
    if not chunks:
        raise RequestError(f"chunk: no chunk of the ledger holds {date}; `qbo-backfill status` shows what was run")
    failed = [chunk for chunk in chunks if chunk["status"] == "failed"]
    entities = sorted({chunk["entity"] for chunk in failed or chunks})
    if entity is None and len(entities) > 1:
        raise RequestError(f"entity: {', '.join(entities)} have a chunk of {date}; name the one that is meant")
    return [
        (
            f"chunk {c['chunk_id']} of {c['entity']}, {c['status']}, {Window(c['window_start'], c['window_end'])}",
            request_for(c),
        )
        for c in chunks
        if c["entity"] == entities[0]
    ]


def _of_failures(entity: str | None, profile: str) -> list[tuple[str, BackfillRequest]]:
    async def look(connection: Connection, realm_id: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(statement("failed_chunks"), realm_id, entity)]

    ranges: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for chunk in read(look, profile):
        series = (chunk["entity"], chunk["filter_field"], chunk["range_start"], chunk["range_end"])
        ranges.setdefault(series, []).append(chunk)
    return [
        (
            f"{len(chunks)} failed chunks of {name} in {Window(start, end)} again",
            BackfillRequest.parse(name, iso(start), iso(end), filter_field=field, mode="retry"),
        )
        for (name, field, start, end), chunks in ranges.items()
    ]
