"""`qbo-backfill triggers`: one-time triggers for Mage, planned in a chain, and how they stand."""

from __future__ import annotations

from datetime import datetime, timedelta

import typer

from async_extractor.cli.options import CHUNK, CONCURRENCY, ENTITY, FECHA_FIN, FECHA_INICIO, FILTER_FIELD, LANG
from async_extractor.cli.reading import as_json
from async_extractor.cli.resume import DRY_RUN
from async_extractor.cli.screen import Column, print_fitted, screen
from async_extractor.errors import RequestError
from async_extractor.mage.location import MageData
from async_extractor.mage.triggers import PlannedTrigger, chain, in_both_zones, in_zones, known_triggers, rearm, write
from async_extractor.request import BackfillRequest
from async_extractor.spoken import say
from async_extractor.windows import UTC, cut, iso, parse_step

app = typer.Typer(no_args_is_help=True)

EVERY = typer.Option(..., "--every", metavar="DURATION", help="How much of the range each trigger reads: P1Y, P6M, day")
GAP = typer.Option("PT30M", "--gap", metavar="DURATION", help="From one trigger's start to the next one's")
START = typer.Option(
    ..., "--start", metavar="MOMENT", help="When the first starts: 2026-12-01T02:00:00Z; an offset is needed"
)
ACTIVE = typer.Option(False, "--active", help="Switch them on: Mage starts them when their moment has come")
DATES = ("fecha_inicio", "fecha_fin")
# A trigger's name holds its dates, so that they give way first.
TRIGGER = (Column("trigger"), Column("starts (UTC)"), Column("starts (America/Guayaquil)", 3, folds=19))
PLANNED = (*TRIGGER, Column("fecha_inicio", 5), Column("fecha_fin", 4))
LISTED = (*TRIGGER, Column("reads", 5), Column("file", 1), Column("Mage", 4), Column("last run", 2))
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
            print(as_json({**_as_dict(trigger), "active": active, "dry_run": dry_run}))
        return
    _show(planned)
    triggers = f"{len(planned)} triggers, {'active' if active else 'inactive'}"
    if dry_run:
        print(say(f"Would write these {triggers}. Nothing was written."))
        return
    print(say(f"Written to {path}: {triggers}" + (f"; {len(replaced)} of them replaced" if replaced else "")))


@app.command("list")
def list_triggers(json_lines: bool = AS_JSON) -> None:
    """The one-time triggers of the pipelines: when, what they read, and whether file and Mage agree."""
    known = known_triggers(MageData.locate())
    if json_lines:
        for trigger in known:
            print(as_json({**vars(trigger), "used_up": trigger.used_up, "unquoted_dates": trigger.unquoted}))
        return
    if not known:
        print(say("No one-time trigger is planned. Plan some with `qbo-backfill triggers plan`."))
        return
    rows = [
        (
            trigger.name,
            *(in_zones(trigger.start) if trigger.start else ("", "")),
            " - ".join(str(trigger.variables[name]) for name in DATES if name in trigger.variables),
            say(trigger.in_file or "not there"),
            say(trigger.in_mage or "not there"),
            say(trigger.last_run.lower() or "none"),
        )
        for trigger in known
    ]
    print_fitted(screen(), "One-time triggers", LISTED, rows)
    if used := [trigger.name for trigger in known if trigger.used_up]:
        again = "`qbo-backfill triggers rearm NAME` makes a used one fire again"
        print(say(f"Used up: {', '.join(used)}. Mage starts a one-time trigger once: {again}."))
    for trigger in known:
        for name in trigger.unquoted:
            told = f"{name} is a date without quotes; write it in quotes: '2024-01-31'"
            print(f"{trigger.file}: {trigger.name}: {say(told)}")


@app.command("rearm")
def rearm_trigger(
    name: str = typer.Argument(..., metavar="NAME", help="As `triggers list` shows it."),
    at: str = typer.Option("", "--at", metavar="MOMENT", help="When: 2026-12-01T02:00:00Z; now unless given"),
) -> None:
    """Make a one-time trigger fire, also one that has had its run. Its earlier runs stay in Mage under another name."""
    moment = _moment(at, "at") if at.strip() else datetime.now(UTC)
    path = rearm(MageData.locate(), name, moment)
    print(say(f"{name} is active in {path} and starts at {in_both_zones(moment)}."))


def _show(planned: list[PlannedTrigger]) -> None:
    rows = [(one.name, *in_zones(one.start), *(str(one.variables[name]) for name in DATES)) for one in planned]
    print_fitted(screen(), f"Triggers of {planned[0].pipeline}", PLANNED, rows)


def _as_dict(trigger: PlannedTrigger) -> dict[str, object]:
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
