"""`qbo-backfill report`: a run's report, on the screen or as a file."""

from __future__ import annotations

import sys

import typer

from async_extractor.cli.options import PROFILE
from async_extractor.cli.reading import MOST_NUMBER, as_json, read
from async_extractor.errors import RequestError
from async_extractor.language import LANGUAGES
from async_extractor.paths import from_home
from async_extractor.report import RunFigures, as_html, as_markdown, compose, gather
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement

RUN = typer.Argument(None, metavar="[RUN]", min=1, max=MOST_NUMBER, help="The run's number; the newest without it")
LANG = typer.Option("en", "--lang", help="en or es")
HTML = typer.Option("", "--html", metavar="FILE", help="Write the page there instead of printing the text")
MARKDOWN = typer.Option("", "--markdown", metavar="FILE", help="Write the text there instead of printing it")
AS_JSON = typer.Option(False, "--json", help="The figures as one JSON object")


def report(
    run: int = RUN,
    lang: str = LANG,
    html: str = HTML,
    markdown: str = MARKDOWN,
    json_object: bool = AS_JSON,
    profile: str = PROFILE,
) -> None:
    """A run's report: verdict, what to do, figures, checks, volume, where the time went."""
    if lang not in LANGUAGES:
        raise RequestError(f"lang: {lang!r} is not one of {', '.join(LANGUAGES)}")
    figures = read(lambda connection, realm_id: _figures(connection, realm_id, run), profile)
    made = compose(figures, lang)
    for target, text in ((html, as_html), (markdown, as_markdown)):
        if target:
            _write("html" if text is as_html else "markdown", target, text(made))
    if json_object:
        print(as_json(_plain(figures, made.verdict)))
    elif not html and not markdown:
        sys.stdout.write(as_markdown(made))


async def _figures(connection: Connection, realm_id: str, run: int | None) -> RunFigures:
    if run is None:
        run = await connection.fetchval(statement("newest_run"), realm_id)
        if run is None:
            raise RequestError("RUN: there is no run yet; begin with `qbo-backfill run`")
    return await gather(connection, run)


def _write(name: str, target: str, text: str) -> None:
    try:
        from_home(target).write_text(text, encoding="utf-8")
    except OSError as error:
        raise RequestError(f"{name}: {target} can't be written ({error.strerror})") from None
    print(f"Written: {target}", file=sys.stderr)


def _plain(figures: RunFigures, verdict: str) -> dict[str, object]:
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
