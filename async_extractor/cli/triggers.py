"""`qbo-backfill triggers`: one-time triggers for Mage, planned in a chain, and how they stand."""

from __future__ import annotations

from datetime import datetime, timedelta

import typer
from rich.table import Table

from async_extractor.cli.options import CHUNK, CONCURRENCY, ENTITY, FECHA_FIN, FECHA_INICIO, FILTER_FIELD, LANG
from async_extractor.cli.reading import as_json
from async_extractor.cli.resume import DRY_RUN
from async_extractor.cli.screen import screen
from async_extractor.errors import RequestError
from async_extractor.mage.location import MageData
from async_extractor.mage.triggers import PlannedTrigger, chain, in_both_zones, known_triggers, rearm, write
from async_extractor.request import BackfillRequest
from async_extractor.windows import UTC, cut, iso, parse_step

app = typer.Typer(no_args_is_help=True)

EVERY = typer.Option(..., "--every", metavar="DURATION", help="How much of the range each trigger reads: P1Y, P6M, day")
GAP = typer.Option("PT30M", "--gap", metavar="DURATION", help="From one trigger's start to the next one's")
START = typer.Option(
    ..., "--start", metavar="MOMENT", help="When the first starts: 2026-12-01T02:00:00Z; an offset is needed"
)
ACTIVE = typer.Option(False, "--active", help="Switch them on: Mage starts them when their moment has come")
DATES = ("fecha_inicio", "fecha_fin")
AS_JSON = typer.Option(False, "--json", help="One JSON object a line for each trigger")


@app.command()
def plan(
    entity: str = ENTITY,
    fecha_inicio: str = FECHA_INICIO,
    fecha_fin: str = FECHA_FIN,
    every: str = EVERY,
    gap: str = GAP,
    start: str = START,
    active: bool = ACTIVE,
    chunk: str = CHUNK,
    concurrency: str = CONCURRENCY,
    filter_field: str = FILTER_FIELD,
    lang: str = LANG,
    dry_run: bool = DRY_RUN,
    json_lines: bool = AS_JSON,
) -> None:
    """Cut a range into parts and write one one-time trigger for each into the pipeline's triggers.yaml.

    Writing the same again replaces them; other triggers stay. They are inactive unless --active is given.
    """
    request = BackfillRequest.parse(entity, fecha_inicio, fecha_fin, chunk, concurrency, filter_field, "resume", lang)
    try:
        windows = cut(request.window, parse_step(every))
    except ValueError as error:
        raise RequestError(f"every: {every!r} {error}") from None
    settings = {
        "chunk": request.chunk,
        "concurrency": request.concurrency,
        "filter_field": request.filter_field,
        "lang": request.lang,
        "mode": "resume",
    }
    planned = chain(request.entity.name, windows, _moment(start), _gap(gap), settings)
    if not dry_run:
        path, replaced = write(MageData.locate().project, planned, active=active)
    if json_lines:
        for trigger in planned:
            print(as_json({**_plain(trigger), "active": active, "dry_run": dry_run}))
        return
    _show(planned)
    if dry_run:
        print(f"Would write these {len(planned)} triggers, {'active' if active else 'inactive'}. Nothing was written.")
        return
    print(
        f"Written to {path}: {len(planned)} triggers, {'active' if active else 'inactive'}"
        + (f"; {len(replaced)} of them replaced" if replaced else "")
    )


@app.command("list")
def list_triggers(json_lines: bool = AS_JSON) -> None:
    """The one-time triggers of the pipelines: when, what they read, and whether file and Mage agree."""
    known = known_triggers(MageData.locate())
    if json_lines:
        for trigger in known:
            print(as_json({**vars(trigger), "used_up": trigger.used_up, "unquoted_dates": trigger.unquoted}))
        return
    if not known:
        print("No one-time trigger is planned. Plan some with `qbo-backfill triggers plan`.")
        return
    table = Table(title="One-time triggers", title_justify="left")
    for name in ("trigger", "starts", "reads", "file", "Mage", "last run"):
        table.add_column(name, overflow="fold")
    for trigger in known:
        table.add_row(
            trigger.name,
            in_both_zones(trigger.start) if trigger.start else "",
            " to ".join(str(trigger.variables[name]) for name in DATES if name in trigger.variables),
            trigger.in_file or "not there",
            trigger.in_mage or "not there",
            f"{trigger.last_run.lower()}; used up, won't start again" if trigger.used_up else "none",
        )
    screen().print(table, markup=False, highlight=False)
    if any(trigger.used_up for trigger in known):
        print("Mage starts a one-time trigger once: `qbo-backfill triggers rearm NAME` makes a used one fire again.")
    for trigger in known:
        for name in trigger.unquoted:
            print(f"{trigger.file}: {trigger.name}: {name} is a date without quotes; write it in quotes: '2024-01-31'")


@app.command("rearm")
def rearm_trigger(
    name: str = typer.Argument(..., metavar="NAME", help="As `triggers list` shows it."),
    at: str = typer.Option("", "--at", metavar="MOMENT", help="When: 2026-12-01T02:00:00Z; now unless given"),
) -> None:
    """Make a one-time trigger fire, also one that has had its run. Its earlier runs stay in Mage under another name."""
    moment = _moment(at, "at") if at.strip() else datetime.now(UTC)
    path = rearm(MageData.locate(), name, moment)
    print(f"{name} is active in {path} and starts at {in_both_zones(moment)}.")


def _show(planned: list[PlannedTrigger]) -> None:
    table = Table(title=f"Triggers of {planned[0].pipeline}", title_justify="left")
    for name in ("trigger", "starts (UTC)", "starts (America/Guayaquil)", "fecha_inicio", "fecha_fin"):
        table.add_column(name)
    for trigger in planned:
        utc, local = trigger.description.split(", ")
        table.add_row(
            trigger.name,
            utc.removesuffix(" UTC"),
            local.removesuffix(" America/Guayaquil"),
            trigger.variables["fecha_inicio"],
            trigger.variables["fecha_fin"],
        )
    screen().print(table, markup=False, highlight=False)


def _plain(trigger: PlannedTrigger) -> dict[str, object]:
    return {
        "name": trigger.name,
        "pipeline": trigger.pipeline,
        "start": iso(trigger.start),
        "description": trigger.description,
        "variables": trigger.variables,
    }


def _moment(text: str, option: str = "start") -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        raise RequestError(f"{option}: {text!r} is not a timestamp such as 2026-12-01T02:00:00Z") from None
    if moment.tzinfo is None:
        raise RequestError(f"{option}: {text!r} has no offset; add Z for UTC, or -05:00 for Guayaquil")
    return moment.astimezone(UTC).replace(microsecond=0)


def _gap(text: str) -> timedelta:
    try:
        step = parse_step(text)
    except ValueError as error:
        raise RequestError(f"gap: {text!r} {error}") from None
    if step.months:
        raise RequestError(f"gap: {text!r} has months or years, which are not of one length; use days or hours")
    return step.span
