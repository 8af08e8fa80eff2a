"""`qbo-backfill run`: one entity's backfill, with a progress bar on a terminal and plain lines elsewhere."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from async_extractor.backfill import Backfill
from async_extractor.cli.event_lines import event_lines
from async_extractor.cli.result import print_result
from async_extractor.cli.screen import screen
from async_extractor.errors import BackfillError, IncompleteError
from async_extractor.events import Event, Listener
from async_extractor.mage.secrets import MageSecrets
from async_extractor.monitoring.progress import ProgressLines
from async_extractor.request import BackfillRequest
from async_extractor.result import BackfillResult

ENTITY = typer.Argument(..., help="invoices, customers or items")
FECHA_INICIO = typer.Option(..., "--fecha-inicio", help="First day (2024-01-01), or a timestamp with an offset or Z")
FECHA_FIN = typer.Option(
    ..., "--fecha-fin", help="Last day, the whole UTC day included; or a timestamp, which is an exclusive end"
)
CHUNK = typer.Option("auto", help="auto, day, week or an ISO 8601 duration such as P1M")
CONCURRENCY = typer.Option("5", help="Chunks fetched at once, 1 to 10")
FILTER_FIELD = typer.Option("last_updated", help="last_updated, created or txn_date (invoices only)")
MODE = typer.Option("resume", help="resume: what is not done; reprocess: all again; retry: only what failed")
AS_JSON = typer.Option(False, "--json", help="The last line of stdout is one JSON object")
NO_LIMITS = typer.Option(False, "--no-limits", help="No budget of requests; in the simulator's environment only")
PROFILE = typer.Option("", help="Which company's secrets: acme reads ACME_QBO_REALM_ID and fills schema raw_acme")

LANG = typer.Option("en", "--lang", help="The report's language: en or es")
CHUNKS = typer.Option(False, "--chunks", help="List each chunk at the end, also where there are many")
DRY_RUN = typer.Option(False, "--dry-run", help="Only say what it would cost, as `plan` does")
EVENTS = typer.Option("", "--events", metavar="FILE", help="Every event as a JSON line, appended to FILE; - is stderr")


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
    profile: str = PROFILE,
    lang: str = LANG,
    events: str = EVENTS,
    chunks: bool = CHUNKS,
    dry_run: bool = DRY_RUN,
) -> int:
    """Backfill one entity. Exit 0: all chunks done; 2: bad parameters; 3: chunks left, resumable; 4: configuration."""
    if dry_run:
        from async_extractor.cli.plan import plan  # noqa: PLC0415 - it has this module's options

        return plan(
            entity, fecha_inicio, fecha_fin, chunk, concurrency, filter_field, mode, profile=profile, as_json=as_json
        )
    try:
        request = BackfillRequest.parse(entity, fecha_inicio, fecha_fin, chunk, concurrency, filter_field, mode, lang)
    except BackfillError as error:
        if as_json:
            print(json.dumps(_refused(entity, error)), flush=True)
        raise
    return run_request(request, as_json=as_json, limits=not no_limits, profile=profile, events=events, chunks=chunks)


def run_request(
    request: BackfillRequest, *, as_json: bool, limits: bool, profile: str, events: str = "", chunks: bool = False
) -> int:
    """The backfill with its progress and its result on the screen; what every command that reads does."""
    # Progress goes to stderr, so that stdout is the result alone.
    console = Console(stderr=True)
    progress: ProgressBar | PlainLines = ProgressBar(console) if console.is_terminal else PlainLines()
    try:
        secrets = MageSecrets.locate(profile=profile)
        with progress, event_lines(events) as more:
            rate = [ProgressLines(progress)] if isinstance(progress, PlainLines) else []
            result = asyncio.run(_run(request, secrets, [progress, *rate, *more], limits=limits, profile=profile))
    except BackfillError as error:
        if as_json:
            print(json.dumps(_refused(request.entity.name, error)), flush=True)
        raise
    if not as_json:
        print_result(result, screen(), chunks=chunks)
    else:
        print(json.dumps(result.as_dict()), flush=True)
    if result.status != "done":
        raise IncompleteError(result.error or "chunks are left; run the same again to resume")
    return 0


async def _run(
    request: BackfillRequest, secrets: MageSecrets, listeners: list[Listener], *, limits: bool, profile: str
) -> BackfillResult:
    async with Backfill(request, secrets, listeners, limits=limits, profile=profile) as backfill:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, backfill.stop, f"stopped by {number.name}")
        run_id = await backfill.plan()
        try:
            await backfill.extract(run_id)
            await backfill.validate(run_id)
        except IncompleteError as error:
            # The report below says it in full; the line here is for whoever watches.
            for listener in listeners:
                listener(Event("incomplete", "extract", "warning", str(error)))
        return await backfill.report(run_id)


def _refused(entity: str, error: BackfillError) -> dict[str, Any]:
    """The JSON object of a run that could not begin, or had to end at once."""
    return {
        "run_id": None,
        "entity": entity,
        "status": "failed",
        "error": str(error),
        "exit_code": error.exit_code,
    }


class PlainLines:
    """Events as lines on stderr, for logs and pipes."""

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *exc: object) -> None:
        sys.stderr.flush()

    def __call__(self, event: Event) -> None:
        if event.level != "debug":
            print(f"{event.phase:8} {event.message}", file=sys.stderr, flush=True)


class ProgressBar:
    """A live bar of chunks with rows and rate; warnings stand above it."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("chunks, {task.fields[rows]:,} rows"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._task = self._progress.add_task("planning", total=None, rows=0)
        self._rows = 0

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def __call__(self, event: Event) -> None:
        if event.name == "planned":
            self._progress.update(self._task, description="loading", total=event.fields["chunks"])
        elif event.name == "extract_begun":
            left = event.fields["chunks"]
            self._progress.update(self._task, total=left or 1, completed=0 if left else 1)
        elif event.name == "page_loaded":
            self._rows += event.fields["read"]
            self._progress.update(self._task, rows=self._rows)
        elif event.name == "chunk_done":
            self._progress.advance(self._task)
        if event.name in ("planned", "run_finished", "validated") or event.level in ("warning", "error"):
            self._progress.console.print(f"{event.phase:8} {event.message}", highlight=False, markup=False)
