"""`qbo-backfill resume`: go on where a run stopped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer

from async_extractor.cli.many import Job, places_for
from async_extractor.cli.options import CONNECTIONS, EVENTS, NO_LIMITS, ON_END, PROFILES
from async_extractor.cli.reading import MOST_NUMBER, as_json, read
from async_extractor.cli.run import run_request, run_side_by_side
from async_extractor.errors import ConfigurationError, IncompleteError, RequestError
from async_extractor.mage.profiles import profiles_named, require_own, shown
from async_extractor.profile_option import with_profile
from async_extractor.request import BackfillRequest
from async_extractor.spoken import say
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import Window, iso

RUN = typer.Argument(
    None, metavar="[RUN]", min=1, max=MOST_NUMBER, help="A run's number; without it every run with chunks left"
)
DRY_RUN = typer.Option(False, "--dry-run", help="Say what would be done, and do nothing")
AS_JSON = typer.Option(False, "--json", help="One JSON object; with --dry-run one a line for each run")


def resume(
    run: int = RUN,
    dry_run: bool = DRY_RUN,
    json_lines: bool = AS_JSON,
    no_limits: bool = NO_LIMITS,
    profile: str = PROFILES,
    events: str = EVENTS,
    connections: int = CONNECTIONS,
    on_end: str = ON_END,
) -> int:
    """Go on where a run stopped: only chunks that are not done are read. Safe to repeat.

    Several go on side by side. A run that later ones of its range followed goes on as the newest of them. Exit 0: all
    chunks done, or there was nothing to do; 3: chunks are left again, or a run is under way; 4: configuration.
    """
    profiles = profiles_named(profile)
    if run is not None and len(profiles) > 1:
        raise RequestError("RUN: a run is of one company; name its profile alone")
    found, under_way, worst = _left(profiles, run)
    jobs = [Job(one, _request(left)) for one, left in found]
    if len(jobs) > 1:
        places_for(jobs, connections)  # which may refuse, and then nothing has been begun
    for one, left in found:
        _say(left, _company(one, profiles), dry_run=dry_run, as_lines=json_lines)
    worst = max(worst, _told_as_under_way(under_way))
    if not jobs and json_lines:
        print(as_json({"resumed": 0, "under_way": len(under_way)}), flush=True)
    elif not jobs and not worst:
        print(say("Nothing to resume: every chunk that a run set out to do is done."), flush=True)
    if dry_run or not jobs:
        return worst
    if len(jobs) == 1:
        job = jobs[0]
        code = run_request(
            job.request,
            as_json=json_lines,
            limits=not no_limits,
            profile=job.profile,
            events=events,
            on_end=on_end,
        )
    else:
        code = run_side_by_side(
            jobs, as_json=json_lines, limits=not no_limits, events=events, connections=connections, on_end=on_end
        )
    return max(code, worst)


def _left(profiles: Sequence[str], run: int | None) -> tuple[list[tuple[str, dict[str, Any]]], list[str], int]:
    """Runs to go on with, each after its company's profile; what is under way; the exit code for what can't be read."""
    found: list[tuple[str, dict[str, Any]]] = []
    under_way: list[str] = []
    worst = 0
    for one in profiles:
        try:
            require_own(one)
            runs = read(lambda connection, realm_id: _unfinished(connection, realm_id, run), one)
        except ConfigurationError as error:
            if len(profiles) == 1:
                raise
            worst = error.exit_code
            print(f"{shown(one)}: {say(str(error))}", file=sys.stderr, flush=True)
            continue
        found += [(one, left) for left in runs if left["ended"]]
        under_way += [f"{_company(one, profiles)}{_which(left)}" for left in runs if not left["ended"]]
    return found, under_way, worst


def _company(profile: str, profiles: Sequence[str]) -> str:
    return f"company {shown(profile)}, " if len(profiles) > 1 else ""


def _say(left: dict[str, Any], company: str, *, dry_run: bool, as_lines: bool) -> None:
    what = f"{company}{_which(left)}: {left['left']} of {left['planned']} chunks are left"
    if dry_run:
        print(as_json({**left, "dry_run": True}) if as_lines else say(f"Would resume {what}."), flush=True)
    elif not as_lines:
        print(say(f"Resuming {what}. What is done is not asked again."), flush=True)


def _told_as_under_way(runs: list[str]) -> int:
    for run in runs:
        told = say(with_profile(f"{run} is under way; `qbo-backfill status` shows it"))
        print(f"qbo-backfill: {told}", file=sys.stderr, flush=True)
    return IncompleteError.exit_code if runs else 0


def _which(left: dict[str, Any]) -> str:
    window = Window(left["range_start"], left["range_end"])
    return f"run {left['run_id']}: {left['entity']} by {left['filter_field']} in {window}"


def _request(left: dict[str, Any]) -> BackfillRequest:
    return BackfillRequest.parse(
        left["entity"],
        iso(left["range_start"]),
        iso(left["range_end"]),
        left["chunk"],
        left["concurrency"],
        left["filter_field"],
        "resume",
    )


async def _unfinished(connection: Connection, realm_id: str, run: int | None) -> list[dict[str, Any]]:
    if run is not None:
        found = await connection.fetchrow(statement("select_run"), run)
        if found is None or found["realm_id"] != realm_id:
            raise RequestError(f"RUN: there is no run {run} of this company; `qbo-backfill status` lists them")
    return [dict(row) for row in await connection.fetch(statement("unfinished_runs"), realm_id, run)]
