"""The parameters of a backfill, parsed and bounded. Everything that a person can get wrong is caught here,
before a secret is read or a request sent."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal

from async_extractor.entities import Entity
from async_extractor.entity_names import entity_named
from async_extractor.errors import RequestError
from async_extractor.windows import DAY, UTC, Step, Window, cut, parse_step, whole_second_up

FilterField = Literal["last_updated", "created", "txn_date"]
Mode = Literal["resume", "reprocess", "retry"]

FILTER_FIELDS: tuple[str, ...] = ("last_updated", "created", "txn_date")
MODES: tuple[str, ...] = ("resume", "reprocess", "retry")
_CHUNKS = "auto, day, week or an ISO 8601 duration such as P1M or PT6H"
LANGUAGES: tuple[str, ...] = ("en", "es")
# Intuit's parameter, which brings the custom fields beyond the first three; `none` takes them back.
CUSTOM_FIELDS = "enhancedAllCustomFields"
INCLUDES: tuple[str, ...] = (CUSTOM_FIELDS, "none")

# What a pipeline of Mage's takes; the last two say how, and for whom, Mage runs it.
VARIABLES: tuple[str, ...] = (
    *("entity", "fecha_inicio", "fecha_fin", "chunk", "concurrency", "filter_field", "mode", "lang", "include"),
    *("profile", "workers"),
)
_OTHER_WORDS = {
    "entidad": "entity",
    "entities": "entity",
    "start_date": "fecha_inicio",
    "fecha_desde": "fecha_inicio",
    "end_date": "fecha_fin",
    "fecha_final": "fecha_fin",
    "fecha_hasta": "fecha_fin",
    "concurrencia": "concurrency",
    "campo": "filter_field",
    "modo": "mode",
    "idioma": "lang",
    "incluir": "include",
    "language": "lang",
    "perfil": "profile",
    "trabajadores": "workers",
}

# Intuit allows 10 requests in flight for a company, so more workers could only wait.
MOST_CONCURRENCY = 10
# QuickBooks Online has kept books since 2001; imported documents may be dated earlier.
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
# Invoices may be dated ahead (subscriptions); a decade is beyond any that is meant.
TXN_DATE_AHEAD = timedelta(days=3653)

# Stands in for a window that was refused, so that what else is wrong is named, too.
_ANY_DAY = Window(EARLIEST, EARLIEST + DAY)

_BARE_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?(Z|[+-]\d{2}:?\d{2})?", re.IGNORECASE)


@dataclass(frozen=True)
class BackfillRequest:
    """What to read: one entity's records in a window of one of their dates.

    `window` is `[fecha_inicio, fecha_fin)` in UTC: a bare date means its whole UTC day, so a bare
    `fecha_fin` is inclusive; a timestamp needs an offset or Z, and as `fecha_fin` is exclusive.
    `include` is empty for what the entity was read with before, and for `none` where it never was.
    Build it with `BackfillRequest.parse`, which raises `RequestError` with one line.
    """

    entity: Entity
    window: Window
    chunk: str = "auto"
    concurrency: int = 5
    filter_field: FilterField = "last_updated"
    mode: Mode = "resume"
    lang: Literal["en", "es"] = "en"
    include: Literal["", "enhancedAllCustomFields", "none"] = ""

    @classmethod
    def parse(
        cls,
        entity: object,
        fecha_inicio: object,
        fecha_fin: object,
        chunk: object = "auto",
        concurrency: object = 5,
        filter_field: object = "last_updated",
        mode: object = "resume",
        lang: object = "en",
        include: object = "",
        *,
        now: datetime | None = None,
    ) -> BackfillRequest:
        """The request that these texts ask for; an empty one stands for its default.

        `RequestError` names each parameter that is wrong.
        """
        now = now or datetime.now(UTC)
        wrong: list[str] = []
        given = {"chunk": chunk, "concurrency": concurrency, "filter_field": filter_field, "mode": mode, "lang": lang}
        given = {name: value for name, value in {**given, "include": include}.items() if not _is_empty(value)}
        try:
            window = _window(fecha_inicio, fecha_fin, given.get("filter_field"), now)
        except RequestError as error:
            wrong.append(str(error))
            window = _ANY_DAY
        try:
            request = cls.of(entity, window, **given)
        except RequestError as error:
            wrong.append(str(error))
        if wrong:
            raise RequestError("; ".join(wrong))
        return request

    @classmethod
    def of(cls, entity: object, window: Window, **given: object) -> BackfillRequest:
        """The request of these parameters in a window. Raises as `parse` does."""
        found: dict[str, Any] = {}
        wrong: list[str] = []
        for name, value in {"entity": entity, **given}.items():
            try:
                found[name] = _READERS[name](value)
            except RequestError as error:
                wrong.append(" ".join(str(error).split()))
        if wrong:
            raise RequestError("; ".join(wrong))
        request = cls(window=window, **found)
        request._refuse_what_does_not_fit()
        return request

    @classmethod
    def of_variables(cls, variables: Mapping[str, Any], *, now: datetime | None = None) -> BackfillRequest:
        """The request that a pipeline's variables ask for; others among them are not looked at."""
        given = {name: variables.get(name) for name in VARIABLES if name not in ("profile", "workers")}
        return cls.parse(**given, now=now)

    @classmethod
    def of_run(cls, row: Mapping[str, Any]) -> BackfillRequest:
        """The request as it was when the run was planned, from its row in ops.runs."""
        return cls.of(
            row["entity"],
            Window(row["range_start"], row["range_end"]),
            chunk=row["chunk"],
            concurrency=row["concurrency"],
            filter_field=row["filter_field"],
            mode=row["mode"],
            lang=json.loads(row["settings"]).get("lang", "en"),
        )

    @property
    def step(self) -> Step | None:
        """How to cut the range; None for `auto`, which asks QuickBooks how many rows there are."""
        return None if self.chunk == "auto" else parse_step(self.chunk)

    def _refuse_what_does_not_fit(self) -> None:
        step = self.step
        if self.filter_field == "created" and not self.entity.has_create_time:
            raise RequestError(f"filter_field: {self.entity.query_name} records have no CreateTime; use last_updated")
        if self.filter_field == "txn_date":
            if not self.entity.has_txn_date:
                raise RequestError(
                    f"filter_field: {self.entity.query_name} records have no TxnDate; use last_updated or created"
                )
            if step is not None and step.span % DAY:
                raise RequestError(f"chunk: {self.chunk!r} cuts days, but TxnDate is a date; use whole days")
        if step is not None:
            try:
                cut(self.window, step)
            except ValueError as error:
                raise RequestError(f"chunk: {self.chunk!r} {error}; use a longer one or auto") from None


def whole_number(name: str, value: object, most: int) -> int:
    """A number from 1 to `most`, also as text or as JSON's 5.0; RequestError otherwise."""
    text = str(value).strip()
    if isinstance(value, bool) or not re.fullmatch(r"[0-9]{1,4}(\.0+)?", text) or not 1 <= int(float(text)) <= most:
        raise RequestError(f"{name}: {text!r} is not a whole number from 1 to {most}")
    return int(float(text))


def misspelt(names: Iterable[str]) -> list[str]:
    """What is wrong with the names of variables that are close to one of a pipeline's, a sentence each."""
    wrong = []
    for name in names:
        if name not in VARIABLES:
            word = name.strip().lower().replace("-", "_")
            close = [_OTHER_WORDS[word]] if word in _OTHER_WORDS else difflib.get_close_matches(word, VARIABLES, 1, 0.8)
            if close:
                wrong.append(f"{name}: is not a variable of this pipeline; {close[0]} is")
    return wrong


def _is_empty(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if _is_empty(value):
        raise RequestError(f"{name}: is missing; one of {', '.join(allowed)}")
    text = str(value).strip()
    if text not in allowed:
        raise RequestError(f"{name}: {text!r} is not one of {', '.join(allowed)}")
    return text


def _concurrency(value: object) -> int:
    try:
        return whole_number("concurrency", value, MOST_CONCURRENCY)
    except RequestError as error:
        raise RequestError(f"{error} (Intuit allows 10 requests in flight for a company)") from None


def _chunk(value: object) -> str:
    text = str(value).strip()
    word = text.lower() if text.lower() in ("auto", "day", "week") else text.upper()
    if word != "auto":
        try:
            parse_step(word)
        except ValueError as error:
            why = "is not" if "is not day" in str(error) else f"{error}; use"
            raise RequestError(f"chunk: {text!r} {why} {_CHUNKS}") from None
    return word


# How each parameter but the window is read.
_READERS: dict[str, Callable[[Any], Any]] = {
    "entity": lambda value: value if isinstance(value, Entity) else entity_named(value),
    "chunk": _chunk,
    "concurrency": _concurrency,
    "filter_field": lambda value: _one_of("filter_field", value, FILTER_FIELDS),
    "mode": lambda value: _one_of("mode", value, MODES),
    "lang": lambda value: _one_of("lang", value, LANGUAGES),
    "include": lambda value: "" if value == "" else _one_of("include", value, INCLUDES),
}


def _window(fecha_inicio: object, fecha_fin: object, filter_field: object, now: datetime) -> Window:
    """The window between the two, or RequestError that says what is wrong with either."""
    by_day = str(filter_field).strip() == "txn_date"
    latest = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if by_day:
        latest += TXN_DATE_AHEAD
    bounds: list[datetime] = []
    wrong: list[str] = []
    for name, value in (("fecha_inicio", fecha_inicio), ("fecha_fin", fecha_fin)):
        try:
            moment, is_day = _bounded(name, value, latest, by_day)
        except RequestError as error:
            wrong.append(str(error))
        else:
            # A bare fecha_fin is inclusive.
            bounds.append(moment + DAY if is_day and name == "fecha_fin" else moment)
    if wrong:
        raise RequestError("; ".join(wrong))
    start, end = bounds
    if not start < end:
        raise RequestError(
            f"fecha_fin: {fecha_fin} is not after fecha_inicio {fecha_inicio}; "
            "a bare date means its whole UTC day, a timestamp is an exclusive end"
        )
    return Window(start, end)


def _bounded(name: str, value: object, latest_day: datetime, by_day: bool) -> tuple[datetime, bool]:
    """The value in UTC, and whether it is a bare date; RequestError where nothing can be read."""
    moment, is_day = _instant(name, value)
    if by_day and moment.time() != datetime.min.time():
        raise RequestError(f"{name}: {moment.isoformat()} has a time, but TxnDate is a date; use YYYY-MM-DD")
    if moment < EARLIEST:
        raise RequestError(f"{name}: {value} is out of range; the earliest is {EARLIEST.date()}")
    # A timestamp, and a start, may be the very end of the latest day.
    if moment > (latest_day if is_day and name == "fecha_fin" else latest_day + DAY):
        raise RequestError(
            f"{name}: {value} is in the future, where nothing can be read yet; "
            f"the latest day is {latest_day.date()} (UTC)"
        )
    return moment, is_day


def _instant(name: str, value: object) -> tuple[datetime, bool]:
    """The value in UTC on a whole second, and whether it is a bare date."""
    if isinstance(value, date):  # noqa: SIM108 - a datetime is one, too; three cases in one line hide it
        text = value.isoformat()
    else:
        text = "" if value is None else str(value).strip()
    if not text:
        raise RequestError(f"{name}: is missing; give an ISO date such as 2024-01-31")
    bare = _BARE_DATE.fullmatch(text) is not None
    match = _INSTANT.fullmatch(text)
    if not bare and match is None:
        raise RequestError(
            f"{name}: {text!r} is not an ISO date (2024-01-31) or timestamp with an offset (2024-01-31T12:00:00Z)"
        )
    if match is not None and match[3] is None:
        raise RequestError(f"{name}: {text!r} has a time but no offset; add Z for UTC, or one such as -05:00")
    normal = re.sub(r"([+-]\d{2})(\d{2})$", r"\1:\2", re.sub(r"[zZ]$", "+00:00", text)).replace("t", "T")
    if match is not None and match[2]:
        # Python 3.10 reads a fraction of 3 or 6 digits only.
        normal = normal.replace(match[2], match[2].ljust(7, "0"), 1)
    try:
        moment = datetime.fromisoformat(normal)
        if bare:
            moment = moment.replace(tzinfo=UTC)
        return whole_second_up(moment.astimezone(UTC)), bare
    except (ValueError, OverflowError) as error:
        raise RequestError(f"{name}: {text!r} is not a date of the calendar ({error})") from None
