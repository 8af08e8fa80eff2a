"""`qbo-backfill report`: a run's report, on the screen or as a file."""

from __future__ import annotations

import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path

import typer

from async_extractor.cli.options import LANG, PROFILE
from async_extractor.cli.reading import MOST_NUMBER, as_json, read
from async_extractor.errors import RequestError
from async_extractor.language import LANGUAGES
from async_extractor.paths import from_home
from async_extractor.report import (
    RunFigures,
    as_html,
    as_markdown,
    compose,
    compose_index,
    gather,
    gather_runs,
    reports_folder,
    write_pages,
    write_report,
)
from async_extractor.spoken import say
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement

RUN = typer.Argument(None, metavar="[RUN]", min=1, max=MOST_NUMBER, help="The run's number; the newest without it")
HTML = typer.Option("", "--html", metavar="FILE", help="Write the page there instead of printing the text")
MARKDOWN = typer.Option("", "--markdown", metavar="FILE", help="Write the text there instead of printing it")
INDEX = typer.Option(False, "--index", help="A page of all runs instead, beside their reports: index.html")
OPEN = typer.Option(False, "--open", help="Open the page in the browser")
AS_JSON = typer.Option(False, "--json", help="The figures as one JSON object")


def report(
    run: int = RUN,
    lang: str = LANG,
    html: str = HTML,
    markdown: str = MARKDOWN,
    index: bool = INDEX,
    show: bool = OPEN,
    json_object: bool = AS_JSON,
    profile: str = PROFILE,
) -> None:
    """A run's report: verdict, what to do, figures, checks, volume, where the time went. Or a page of all runs."""
    if lang not in LANGUAGES:
        raise RequestError(f"lang: {lang!r} is not one of {', '.join(LANGUAGES)}")
    if index:
        if any((run, html, markdown, json_object)):
            raise RequestError("index: is a page of all runs; RUN, --html, --markdown and --json are of one run")
        runs = read(lambda connection, _realm_id: gather_runs(connection), profile)
        _keep(lambda folder: write_pages(compose_index(runs, folder, lang), folder, "index"), show=show)
        return
    figures = read(lambda connection, realm_id: _figures(connection, realm_id, run), profile)
    made = compose(figures, lang)
    for target, text in ((html, as_html), (markdown, as_markdown)):
        if target:
            _write("html" if text is as_html else "markdown", target, text(made))
    if show and html:
        _open(from_home(html))
    elif show:
        _keep(lambda folder: write_report(figures, lang, folder), show=True)
    if json_object:
        print(as_json(_as_dict(figures, made.verdict)))
    elif not html and not markdown and not show:
        sys.stdout.write(as_markdown(made))


async def _figures(connection: Connection, realm_id: str, run: int | None) -> RunFigures:
    if run is None:
        run = await connection.fetchval(statement("newest_run"), realm_id)
        if run is None:
            raise RequestError("RUN: there is no run yet; begin with `qbo-backfill run`")
    return await gather(connection, run)


def _keep(write: Callable[[Path], tuple[Path, Path]], *, show: bool) -> None:
    """Writes pages into the folder of reports, and opens the first one where that is asked for."""
    folder = reports_folder()
    try:
        page, _ = write(folder)
    except OSError as error:
        raise RequestError(
            f"{folder} can't be written ({error.strerror}); QBO_BACKFILL_REPORTS names another"
        ) from None
    print(say(f"Written: {page}"), file=sys.stderr)
    if show:
        _open(page)


def _open(page: Path) -> None:
    if not webbrowser.open(page.resolve().as_uri()):
        print(say(f"There is no browser here; the page is {page}"), file=sys.stderr)


def _write(name: str, target: str, text: str) -> None:
    try:
        from_home(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{name}: {target} can't be written ({error.strerror})") from None
    print(say(f"Written: {target}"), file=sys.stderr)


def _as_dict(figures: RunFigures, verdict: str) -> dict[str, object]:
    run = figures.run
    parts = ("wait", "fetch", "split", "copy", "merge", "overlapped")
    return {
        **{name: run[name] for name in ("run_id", "realm_id", "raw_schema", "entity", "status", "mode")},
        "verdict": verdict,
        "severity": figures.severity,
        "error": run["error"],
        "window": {"start": figures.window.start, "end": figures.window.end},
        "chunks": {name: run[f"chunks_{name}"] for name in ("planned", "done", "failed")},
        "rows": {name: run[f"rows_{name}"] for name in ("read", "inserted", "updated", "unchanged", "quarantined")},
        "pages": run["pages"],
        "bytes": run["bytes_read"],
        "requests": {"sent": run["requests"], "retried": run["retries"], "throttled": run["throttled"]},
        "seconds": round(run["seconds"], 3),
        "seconds_by_part": {name: run[f"{name}_seconds"] for name in parts} | {"attempts": run["worker_seconds"]},
        "resume_at": figures.resume_at,
        "checks": [check.as_dict() for check in figures.checks],
        "control_totals": list(figures.control_totals),
        "chunk_table": list(figures.chunks),
        "days": [{"day": day, "rows": rows} for day, rows in figures.days],
        "events": list(figures.events),
    }
