"""`qbo-backfill resume`: go on where a run stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from async_extractor.cli.options import EVENTS, NO_LIMITS, PROFILE
from async_extractor.cli.reading import MOST_NUMBER, as_json, read
from async_extractor.cli.run import run_requests
from async_extractor.errors import RequestError
from async_extractor.request import BackfillRequest
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import Window, iso

RUN = typer.Argument(
    None, metavar="[RUN]", min=1, max=MOST_NUMBER, help="A run's number; without it every run with chunks left"
)
DRY_RUN = typer.Option(False, "--dry-run", help="Say what would be done, and do nothing")
AS_JSON = typer.Option(False, "--json", help="One JSON object a line for each run")


def resume(
    run: int = RUN,
    dry_run: bool = DRY_RUN,
    json_lines: bool = AS_JSON,
    no_limits: bool = NO_LIMITS,
    profile: str = PROFILE,
    events: str = EVENTS,
) -> int:
    """Go on where a run stopped: only chunks that are not done are read. Safe to repeat.

    Exit 0: all chunks done, or there was nothing to do; 3: chunks are left again.
    """
    runs = read(lambda connection, realm_id: _unfinished(connection, realm_id, run), profile)
    if not runs:
        told = "Nothing to resume: every chunk that a run set out to do is done."
        print(as_json({"resumed": 0}) if json_lines else told, flush=True)
        return 0

    def requests() -> Iterator[BackfillRequest]:
        for left in runs:
            window = Window(left["range_start"], left["range_end"])
            what = (
                f"run {left['run_id']}: {left['entity']} by {left['filter_field']} in {window}: "
                f"{left['left']} of {left['planned']} chunks are left"
            )
            if dry_run:
                print(as_json({**left, "dry_run": True}) if json_lines else f"Would resume {what}.", flush=True)
                continue
            if not json_lines:
                print(f"Resuming {what}. What is done is not asked again.", flush=True)
            yield BackfillRequest.parse(
                left["entity"],
                iso(window.start),
                iso(window.end),
                left["chunk"],
                left["concurrency"],
                left["filter_field"],
                "resume",
            )

    return run_requests(requests(), as_json=json_lines, limits=not no_limits, profile=profile, events=events)


async def _unfinished(connection: Connection, realm_id: str, run: int | None) -> list[dict[str, Any]]:
    if run is not None and await connection.fetchrow(statement("select_run"), run) is None:
        raise RequestError(f"RUN: there is no run {run}; `qbo-backfill status` lists them")
    return [dict(row) for row in await connection.fetch(statement("unfinished_runs"), realm_id, run)]
