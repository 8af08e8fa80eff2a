"""The parameters of a backfill, parsed and bounded. Everything that a person can get wrong is caught here,
before a secret is read or a request sent."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator, model_validator

from async_extractor.entities import ENTITIES, Entity
from async_extractor.errors import RequestError
from async_extractor.windows import DAY, UTC, Step, Window, cut, parse_step, whole_second_up

FilterField = Literal["last_updated", "created", "txn_date"]
Mode = Literal["resume", "reprocess", "retry"]

FILTER_FIELDS: tuple[str, ...] = ("last_updated", "created", "txn_date")
MODES: tuple[str, ...] = ("resume", "reprocess", "retry")
LANGUAGES: tuple[str, ...] = ("en", "es")

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


class BackfillRequest(BaseModel):
    """What to read: one entity's records in a window of one of their dates.

    `window` is `[fecha_inicio, fecha_fin)` in UTC: a bare date means its whole UTC day, so a bare
    `fecha_fin` is inclusive; a timestamp needs an offset or Z, and as `fecha_fin` is exclusive.
    Build it with `BackfillRequest.parse`, which raises `RequestError` with one line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    entity: Entity
    window: Window
    chunk: str = "auto"
    concurrency: int = 5
    filter_field: FilterField = "last_updated"
    mode: Mode = "resume"
    lang: Literal["en", "es"] = "en"

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
        *,
        now: datetime | None = None,
    ) -> BackfillRequest:
        """The request that these texts ask for; `RequestError` names each parameter that is wrong, of the two
        dates the first."""
        now = now or datetime.now(UTC)
        wrong: list[str] = []
        try:
            window = _window(fecha_inicio, fecha_fin, filter_field, now)
        except RequestError as error:
            wrong.append(str(error))
            window = _ANY_DAY
        try:
            request = cls.model_validate(
                {
                    "entity": entity,
                    "window": window,
                    "chunk": chunk,
                    "concurrency": concurrency,
                    "filter_field": filter_field,
                    "mode": mode,
                    "lang": lang,
                }
            )
        except ValidationError as error:
            wrong += (_one_line(detail) for detail in error.errors())
        if wrong:
            raise RequestError("; ".join(wrong))
        return request

    @property
    def step(self) -> Step | None:
        """How to cut the range; None for `auto`, which asks QuickBooks how many rows there are."""
        return None if self.chunk == "auto" else parse_step(self.chunk)

    @field_validator("entity", mode="before")
    @classmethod
    def _known_entity(cls, value: object) -> Entity:
        if isinstance(value, Entity):
            return value
        return ENTITIES[_one_of("entity", value, tuple(ENTITIES))]

    @field_validator("filter_field", "mode", "lang", mode="before")
    @classmethod
    def _known_word(cls, value: object, info: ValidationInfo) -> str:
        name = info.field_name or ""
        return _one_of(name, value, {"filter_field": FILTER_FIELDS, "mode": MODES, "lang": LANGUAGES}[name])

    @field_validator("concurrency", mode="before")
    @classmethod
    def _bounded_concurrency(cls, value: object) -> int:
        text = str(value).strip()
        if isinstance(value, bool) or not re.fullmatch(r"\d{1,4}", text) or not 1 <= int(text) <= MOST_CONCURRENCY:
            raise ValueError(
                f"concurrency: {text!r} is not a whole number from 1 to {MOST_CONCURRENCY} "
                "(Intuit allows 10 requests in flight for a company)"
            )
        return int(text)

    @field_validator("chunk", mode="before")
    @classmethod
    def _known_chunk(cls, value: object) -> str:
        text = str(value).strip()
        word = text.lower() if text.lower() in ("auto", "day", "week") else text.upper()
        if word != "auto":
            try:
                parse_step(word)
            except ValueError as error:
                raise ValueError(
                    f"chunk: {text!r} {error}; use auto, day, week or an ISO 8601 duration such as P1M or PT6H"
                ) from None
        return word

    @model_validator(mode="after")
    def _fits_together(self) -> BackfillRequest:
        step = self.step
        if self.filter_field == "txn_date":
            if not self.entity.has_txn_date:
                raise ValueError(
                    f"filter_field: {self.entity.query_name} records have no TxnDate; use last_updated or created"
                )
            if step is not None and step.span % DAY:
                raise ValueError(f"chunk: {self.chunk!r} cuts days, but TxnDate is a date; use whole days")
        if step is not None:
            try:
                cut(self.window, step)
            except ValueError as error:
                raise ValueError(f"chunk: {self.chunk!r} {error}; use a longer one or auto") from None
        return self


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    text = str(value).strip()
    if text not in allowed:
        raise ValueError(f"{name}: {text!r} is not one of {', '.join(allowed)}")
    return text


def _one_line(detail: Any) -> str:
    message: str = detail["msg"].removeprefix("Value error, ")
    return " ".join(message.split())


def _window(fecha_inicio: object, fecha_fin: object, filter_field: object, now: datetime) -> Window:
    """The window between the two, or RequestError."""
    start, _ = _instant("fecha_inicio", fecha_inicio)
    end, end_is_day = _instant("fecha_fin", fecha_fin)
    latest_day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if str(filter_field).strip() == "txn_date":
        for name, moment in (("fecha_inicio", start), ("fecha_fin", end)):
            if moment.time() != datetime.min.time():
                raise RequestError(f"{name}: {moment.isoformat()} has a time, but TxnDate is a date; use YYYY-MM-DD")
        latest_day += TXN_DATE_AHEAD
    latest = latest_day + DAY
    for name, moment, value, bound in (
        ("fecha_inicio", start, fecha_inicio, latest),
        ("fecha_fin", end, fecha_fin, latest_day if end_is_day else latest),
    ):
        if moment < EARLIEST:
            raise RequestError(f"{name}: {value} is out of range; the earliest is {EARLIEST.date()}")
        if moment > bound:
            raise RequestError(
                f"{name}: {value} is in the future, where nothing can be read yet; "
                f"the latest day is {latest_day.date()} (UTC)"
            )
    if end_is_day:
        end += DAY
    if not start < end:
        raise RequestError(
            f"fecha_fin: {fecha_fin} is not after fecha_inicio {fecha_inicio}; "
            "a bare date means its whole UTC day, a timestamp is an exclusive end"
        )
    return Window(start, end)


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
