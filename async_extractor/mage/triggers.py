"""One-time triggers: written into a pipeline's triggers.yaml, read from there and from Mage's database.

Mage takes its triggers from the file, and writes the file anew when one is enabled or closed; comments are
lost then, so the local time stands in the `description`. A naive `start_time` is UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml  # type: ignore[import-untyped]

from async_extractor.errors import ConfigurationError, RequestError
from async_extractor.mage.location import MageData
from async_extractor.paths import write_whole
from async_extractor.windows import DAY, UTC, Window, iso

GUAYAQUIL = ZoneInfo("America/Guayaquil")
# More triggers than this are a slip of the hand: each is a row of a page that people read.
MOST_TRIGGERS = 200


@dataclass(frozen=True)
class PlannedTrigger:
    """One run to come: at `start` the pipeline reads `window`."""

    name: str
    pipeline: str
    start: datetime
    window: Window
    variables: dict[str, Any]

    @property
    def description(self) -> str:
        return in_both_zones(self.start)

    def as_yaml(self, *, active: bool) -> dict[str, Any]:
        """The entry of triggers.yaml, with every key that Mage writes itself."""
        return {
            "description": self.description,
            "envs": [],
            "last_enabled_at": None,
            "name": self.name,
            "pipeline_uuid": self.pipeline,
            "schedule_interval": "@once",
            "schedule_type": "time",
            "settings": {},
            "sla": None,
            "start_time": self.start.astimezone(UTC).replace(tzinfo=None),
            "status": "active" if active else "inactive",
            "token": None,
            "variables": self.variables,
        }


@dataclass(frozen=True)
class KnownTrigger:
    """A trigger as the file and Mage's database have it; '' for what isn't known there."""

    pipeline: str
    name: str
    start: datetime | None
    description: str
    in_file: str
    in_mage: str
    last_run: str
    variables: dict[str, Any]
    file: str = ""

    @property
    def used_up(self) -> bool:
        """Mage starts a one-time trigger once: what has a run never starts again, whatever its status says."""
        return bool(self.last_run)

    @property
    def unquoted(self) -> list[str]:
        """Variables that are dates to YAML: a Mage that is started by its own command drops such a trigger."""
        return [name for name, value in self.variables.items() if isinstance(value, date)]


def in_both_zones(moment: datetime) -> str:
    """`2026-12-01 02:00 UTC, 2026-11-30 21:00 America/Guayaquil`."""
    utc, local = in_zones(moment)
    return f"{utc} UTC, {local} America/Guayaquil"


def in_zones(moment: datetime) -> tuple[str, str]:
    """Both without their zones' names."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}", f"{moment.astimezone(GUAYAQUIL):%Y-%m-%d %H:%M}"


def chain(
    entity: str, windows: Sequence[Window], first: datetime, gap: timedelta, settings: dict[str, Any]
) -> list[PlannedTrigger]:
    """One trigger a window, `gap` apart. A run that takes longer than the gap goes on beside the next one:
    they share the company's budget and the ledger, so none is wrong, only slower."""
    if len(windows) > MOST_TRIGGERS:
        raise RequestError(f"every: makes {len(windows):,} triggers, more than {MOST_TRIGGERS}; take a longer step")
    return [
        PlannedTrigger(
            name=f"{entity}_once_{window.start:%Y%m%d}_{_last_day(window):%Y%m%d}",
            pipeline=f"qb_{entity}_backfill",
            start=first + gap * number,
            window=window,
            variables={"fecha_fin": _end(window), "fecha_inicio": _start(window), **settings},
        )
        for number, window in enumerate(windows)
    ]


def write(project: Path, planned: Sequence[PlannedTrigger], *, active: bool) -> tuple[Path, list[str]]:
    """Puts them into their pipeline's triggers.yaml; the path, and the names that stood there before.

    Others stay as they are, and so does the comment at the top. RequestError when one of these names is of a
    trigger that is active: Mage may be about to run it.
    """
    path = project / "pipelines" / planned[0].pipeline / "triggers.yaml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    known = _entries(path, text)
    names = {trigger.name for trigger in planned}
    replaced = [str(entry.get("name")) for entry in known if entry.get("name") in names]
    for entry in known:
        if entry.get("name") in names and entry.get("status") == "active":
            raise RequestError(f"triggers: {entry['name']} is active in {path.name}; set it inactive first")
    kept = [entry for entry in known if entry.get("name") not in names]
    _write_entries(path, text, [*kept, *(trigger.as_yaml(active=active) for trigger in planned)])
    return path, replaced


_SET_ASIDE = "UPDATE pipeline_schedule SET name = :aside, status = 'INACTIVE' WHERE id = :id"


def rearm(data: MageData, name: str, at: datetime) -> Path:
    """Makes a one-time trigger fire at that moment, also when it has had its run; the file in which it stands.

    Mage never starts one again that has a run. So what Mage's database has of it is set aside under another name, with
    its runs, and Mage takes it from the file as a new one. RequestError when no or more than one trigger has the name,
    or its run is under way.
    """
    found = [trigger for trigger in known_triggers(data) if trigger.name == name and trigger.file]
    if len(found) != 1:
        known = ", ".join(sorted({trigger.name for trigger in known_triggers(data) if trigger.file})) or "none"
        raise RequestError(f"NAME: {name!r} is in {len(found)} triggers.yaml files; known: {known}")
    if found[0].last_run.upper() in ("INITIAL", "RUNNING"):
        raise RequestError(
            f"NAME: {name} has a run under way ({found[0].last_run.lower()}); rearm it when that has ended"
        )
    path = Path(found[0].file)
    content = path.read_text(encoding="utf-8")
    entries = _entries(path, content)
    for entry in entries:
        if entry.get("name") == name:
            entry["description"] = in_both_zones(at)
            entry["start_time"] = at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
            entry["status"], entry["last_enabled_at"], entry["token"] = "active", None, None
            entry["variables"] = {
                key: value.isoformat() if isinstance(value, date) else value
                for key, value in (entry.get("variables") or {}).items()
            }
    # First aside: Mage looks into the file at each of its ticks.
    if data.database.exists():
        with data.database.session() as session:
            for row in session.rows(_TRIGGERS, pipelines=found[0].pipeline):
                if row["name"] == name and row["last_run"] is not None:
                    session.change(_SET_ASIDE, aside=f"{name} (run {row['id']})", id=row["id"])
    _write_entries(path, content, entries)
    return path


def _write_entries(path: Path, text: str, entries: list[dict[str, Any]]) -> None:
    header = "".join(line for line in text.splitlines(keepends=True) if line.startswith("#"))
    content = header + yaml.safe_dump({"triggers": entries}, sort_keys=True, allow_unicode=True)
    try:
        write_whole(path, content)
    except OSError as error:
        raise ConfigurationError(f"{path} can't be written ({error.strerror})") from None


def known_triggers(data: MageData) -> list[KnownTrigger]:
    """Every trigger of the backfill pipelines, from their files and from Mage's database where there is one."""
    mage = {(row["pipeline"], row["name"]): row for row in _in_database(data)}
    found: list[KnownTrigger] = []
    for path in sorted((data.project / "pipelines").glob("qb_*/triggers.yaml")):
        for entry in _entries(path, path.read_text(encoding="utf-8")):
            row = mage.pop((path.parent.name, str(entry.get("name"))), {})
            found.append(replace(_known(path.parent.name, entry, row), file=str(path)))
    found += [_known(pipeline, {}, row) for (pipeline, _), row in sorted(mage.items())]
    return found


def _known(pipeline: str, entry: dict[str, Any], row: dict[str, Any]) -> KnownTrigger:
    start = entry.get("start_time") or row.get("start_time")
    return KnownTrigger(
        pipeline=pipeline,
        name=str(entry.get("name") or row.get("name")),
        start=_utc(start),
        description=str(entry.get("description") or ""),
        in_file=str(entry.get("status") or ""),
        in_mage=str(row.get("status") or "").lower(),
        last_run=str(row.get("last_run") or ""),
        variables=dict(entry.get("variables") or _variables(row.get("variables"))),
    )


_TRIGGERS = """
    SELECT s.id, s.pipeline_uuid AS pipeline, s.name, s.start_time, s.status, s.variables,
           (SELECT r.status FROM pipeline_run r WHERE r.pipeline_schedule_id = s.id ORDER BY r.id DESC LIMIT 1)
           AS last_run
      FROM pipeline_schedule s
     WHERE s.schedule_interval = '@once' AND s.pipeline_uuid LIKE :pipelines
     ORDER BY s.id
"""


def _in_database(data: MageData) -> Iterable[dict[str, Any]]:
    if not data.database.exists():
        return []
    with data.database.session() as session:
        return session.rows(_TRIGGERS, pipelines="qb%")


def _entries(path: Path, text: str) -> list[dict[str, Any]]:
    try:
        parsed = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        told = " ".join(str(error).split())
        raise ConfigurationError(f"{path} is not YAML that can be read: {told}") from None
    entries = parsed.get("triggers") if isinstance(parsed, dict) else None
    if entries is not None and not (isinstance(entries, list) and all(isinstance(e, dict) for e in entries)):
        raise ConfigurationError(f"{path}: `triggers` is not a list of triggers")
    return entries or []


def _variables(value: object) -> dict[str, Any]:
    """Mage's JSON column: Postgres gives the object, SQLite its text."""
    parsed = json.loads(value) if isinstance(value, str) else value
    return parsed if isinstance(parsed, dict) else {}


def _utc(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _is_midnight(moment: datetime) -> bool:
    return (moment.hour, moment.minute, moment.second) == (0, 0, 0)


def _last_day(window: Window) -> datetime:
    return window.end - DAY if _is_midnight(window.end) else window.end


def _start(window: Window) -> str:
    return f"{window.start:%Y-%m-%d}" if _is_midnight(window.start) else iso(window.start)


def _end(window: Window) -> str:
    """A bare date is inclusive, a timestamp is not."""
    return f"{window.end - DAY:%Y-%m-%d}" if _is_midnight(window.end) else iso(window.end)
