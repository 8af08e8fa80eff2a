"""`qbo-backfill run`: the backfill of an entity, of several, of several companies."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from async_extractor.backfill import Backfill
from async_extractor.cli.company_report import company_report
from async_extractor.cli.event_lines import event_lines
from async_extractor.cli.many import CONNECTIONS as AT_MOST
from async_extractor.cli.many import Job, Outcome, Turn, each, status_of, tell
from async_extractor.cli.on_end import telling
from async_extractor.cli.options import (
    AS_JSON,
    CHUNK,
    CHUNKS,
    CONCURRENCY,
    CONNECTIONS,
    DRY_RUN,
    ENTITY,
    EVENTS,
    FECHA_FIN,
    FECHA_INICIO,
    FILTER_FIELD,
    INCLUDE,
    LANG,
    MODE,
    NO_LIMITS,
    ON_END,
    PROFILES,
)
from async_extractor.cli.plan import plan
from async_extractor.cli.progress import name_of, progress
from async_extractor.cli.result import print_result
from async_extractor.cli.screen import screen
from async_extractor.entity_names import entities_named
from async_extractor.errors import BackfillError, IncompleteError
from async_extractor.events import Event, Listener
from async_extractor.mage.profiles import profiles_named, shown
from async_extractor.mage.secrets import MageSecrets
from async_extractor.request import BackfillRequest
from async_extractor.result import BackfillResult
from async_extractor.spoken import say
from async_extractor.verification import Verification

T = TypeVar("T")

# A run that was told to stop has this long to release its chunks and to say so in the ledger.
STOP_SECONDS = 4.0


def run(
    entity: str = ENTITY,
    fecha_inicio: str = FECHA_INICIO,
    fecha_fin: str = FECHA_FIN,
    chunk: str = CHUNK,
    concurrency: str = CONCURRENCY,
    filter_field: str = FILTER_FIELD,
    mode: str = MODE,
    as_json: bool = AS_JSON,
    no_limits: bool = NO_LIMITS,
    profile: str = PROFILES,
    lang: str = LANG,
    include: str = INCLUDE,
    events: str = EVENTS,
    chunks: bool = CHUNKS,
    dry_run: bool = DRY_RUN,
    connections: int = CONNECTIONS,
    on_end: str = ON_END,
) -> int:
    """Backfill an entity, several or all; of one company or several.

    Exit 0: all chunks done; 2: bad parameters; 3: chunks left, resumable; 4: configuration; the gravest of several.
    """
    if dry_run:
        cut = (chunk, concurrency, filter_field, mode)
        return plan(entity, fecha_inicio, fecha_fin, *cut, profile=profile, include=include, as_json=as_json)
    try:
        requests = [
            BackfillRequest.parse(one, fecha_inicio, fecha_fin, chunk, concurrency, filter_field, mode, lang, include)
            for one in entities_named(entity)
        ]
        profiles = profiles_named(profile)
    except BackfillError as error:
        if as_json:
            print(json.dumps(_refused(entity, error)), flush=True)
        raise
    jobs = [Job(one, request) for one in profiles for request in requests]
    if len(jobs) > 1:
        return run_side_by_side(
            jobs, as_json=as_json, limits=not no_limits, events=events, connections=connections, on_end=on_end
        )
    return run_request(
        requests[0],
        as_json=as_json,
        limits=not no_limits,
        profile=profiles[0],
        events=events,
        chunks=chunks,
        on_end=on_end,
    )


def run_side_by_side(
    jobs: Sequence[Job],
    *,
    as_json: bool,
    limits: bool,
    events: str = "",
    connections: int = AT_MOST,
    on_end: str = "",
) -> int:
    """The backfills of several entities and companies, side by side; a table at the end, and the gravest exit code."""
    profiles = dict.fromkeys(job.profile for job in jobs)
    several = len(profiles) > 1
    with telling(jobs, on_end) as ends, progress(len(jobs)) as bars, event_lines(events) as more:

        async def work(job: Job, turn: Turn) -> BackfillResult:
            name = name_of(job.profile, job.entity, several_companies=several)
            secrets = MageSecrets.locate(profile=job.profile)
            with bars.of(name) as listeners:
                told = [*listeners, *(_labelled(listener, job) for listener in more)]
                return await _run(job.request, secrets, told, limits=limits, profile=job.profile, turn=turn)

        def ended(outcome: Outcome) -> None:
            bars.ended(outcome, several_companies=several)

        outcomes = asyncio.run(each(jobs, work, connections=connections, ended=ended))
        ends.extend(outcomes)
        for profile in profiles:
            if path := company_report(profile, [one for one in outcomes if one.job.profile == profile]):
                print(say(f"report   {path}"), file=sys.stderr, flush=True)
    return tell(outcomes, "All companies" if several else "All entities", as_json=as_json)


def _labelled(listener: Listener, job: Job) -> Listener:
    """Events of several runs in one file say whose they are."""
    whose = {"profile": shown(job.profile), "entity": job.entity}
    return lambda event: listener(replace(event, fields={**whose, **event.fields}))


def run_request(
    request: BackfillRequest,
    *,
    as_json: bool,
    limits: bool,
    profile: str,
    events: str = "",
    chunks: bool = False,
    on_end: str = "",
    listeners: Sequence[Listener] = (),
) -> int:
    """The backfill with its progress and its result on the screen; what every command that reads does."""
    job = Job(profile, request)
    with telling([job], on_end) as ends:
        try:
            secrets = MageSecrets.locate(profile=profile)
            with progress() as bars, bars.of("") as shown_by, event_lines(events) as more:
                told = [*listeners, *shown_by, *more]
                result = asyncio.run(_run(request, secrets, told, limits=limits, profile=profile))
        except BackfillError as error:
            if as_json:
                print(json.dumps(_refused(request.entity.name, error)), flush=True)
            raise
        ends.append(Outcome(job, result))
        if not as_json:
            print_result(result, screen(), chunks=chunks)
        else:
            print(json.dumps(result.as_dict()), flush=True)
    if result.status != "done":
        raise IncompleteError(result.error or "chunks are left; run the same again to resume")
    return 0


def run_requests(
    requests: Iterable[BackfillRequest], *, as_json: bool, limits: bool, profile: str, events: str = ""
) -> int:
    """One after the other; what one of them leaves incomplete keeps none of the others from being read.

    Unless QuickBooks is away: each would wait for it as long as the first.
    """
    incomplete: list[tuple[str, str]] = []
    away = False

    def heard(event: Event) -> None:
        nonlocal away
        if event.name in ("breaker", "throttled"):
            away = event.fields.get("state") != "closed"
        elif event.name == "page_loaded":
            away = False

    for request in requests:
        try:
            run_request(request, as_json=as_json, limits=limits, profile=profile, events=events, listeners=[heard])
        except IncompleteError as error:
            if away:
                raise IncompleteError(f"{error}; the rest was not asked: run the same again") from None
            incomplete.append((request.entity.name, str(error)))
    if len(incomplete) == 1:
        raise IncompleteError(incomplete[0][1])
    if incomplete:
        raise IncompleteError("\n".join(f"{name}: {why}" for name, why in incomplete))
    return 0


async def _run(
    request: BackfillRequest,
    secrets: MageSecrets,
    listeners: list[Listener],
    *,
    limits: bool,
    profile: str,
    turn: Turn | None = None,
) -> BackfillResult:
    def stop(reason: str) -> None:
        backfill.stop(reason)

    if turn is not None:
        listeners = [*listeners, turn.listener(stop)]
    backfill = Backfill(request, secrets, listeners, limits=limits, profile=profile)

    async def work() -> BackfillResult:
        run_id = await backfill.plan()
        try:
            await backfill.extract(run_id)
            await backfill.validate(run_id)
        except IncompleteError as error:
            # The report below says it in full; the line here is for whoever watches.
            for listener in listeners:
                listener(Event("incomplete", "extract", "warning", str(error)))
        return await backfill.report(run_id)

    return await until_signalled(backfill, work)


async def until_signalled(stoppable: Backfill | Verification, work: Callable[[], Awaitable[T]]) -> T:
    """What the work in the opened run comes to. SIGTERM and Ctrl-C stop it.

    What hasn't ended after STOP_SECONDS is left: a Postgres that hangs can't be told. The next command closes the run.
    """
    if _signalled:
        raise IncompleteError(f"{_signalled[0]} before it began; run the same again")
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    told: list[str] = []

    def stop(reason: str) -> None:
        stoppable.stop(reason)
        told.append(reason)
        if task is not None:
            loop.call_later(STOP_SECONDS, task.cancel)

    _under_way.add(stop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop_all, f"stopped by {number.name}")
    try:
        async with stoppable:
            return await work()
    except asyncio.CancelledError:
        if not told:
            raise
        why = (
            f"what was under way did not end within {STOP_SECONDS:.0f} s (do Postgres and QuickBooks answer?) and was "
            "left as it was"
        )
        raise IncompleteError(f"{told[0]}; {why}; run the same again") from None
    finally:
        _under_way.discard(stop)


# What is under way in this process: a signal stops all of it, and what would begin after it.
_under_way: set[Callable[[str], None]] = set()
_signalled: list[str] = []


def _stop_all(reason: str) -> None:
    _signalled.append(reason)
    for stop in list(_under_way):
        stop(reason)


def _refused(entity: str, error: BackfillError) -> dict[str, Any]:
    """The JSON object of a run that could not begin, or had to end at once."""
    return {
        "run_id": None,
        "entity": entity,
        "status": status_of(error),
        "error": str(error),
        "exit_code": error.exit_code,
    }
