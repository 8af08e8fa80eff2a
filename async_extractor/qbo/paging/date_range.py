"""Spans of a record's date: what is left of a window to read, and where a record stands in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from async_extractor.entities import Entity
from async_extractor.qbo.query import CREATED, LAST_UPDATED, DateField, Query
from async_extractor.qbo.split import Record
from async_extractor.windows import UTC, iso


@dataclass(frozen=True)
class Span:
    """What is left to read: `[start, end)` of a field, without an end for "until now", under extra conditions."""

    field: DateField
    start: datetime
    end: datetime | None
    conditions: tuple[str, ...] = ()

    def query(self, entity: Entity) -> Query:
        bounds = [self.field.at_least(self.start)]
        if self.end is not None:
            bounds.append(self.field.before(self.end))
        return Query(entity, (*bounds, *self.conditions), order=self.field)

    def halves(self) -> tuple[Span, Span] | None:
        """The span cut in two, or None when it is one instant."""
        if self.end is None:
            raise ValueError("a span without an end has no half")
        units = (self.end - self.start) // self.field.granularity
        if units <= 1:
            return None
        middle = self.start + self.field.granularity * (units // 2)
        return self.until(middle), self.since(middle)

    def since(self, start: datetime) -> Span:
        return replace(self, start=start)

    def beyond(self, part: Span) -> Span | None:
        """What is left after a part of this span; None when that is nothing."""
        if part.end is None or part.end == self.end:
            return None
        return self.since(part.end)

    def at(self, moment: datetime) -> Span:
        """The one instant of the span, as fine as the field goes, that begins at this moment."""
        return replace(self, start=moment, end=moment + self.field.granularity)

    def until(self, end: datetime) -> Span:
        return replace(self, end=end)

    def __str__(self) -> str:
        end = iso(self.end) if self.end else "now"
        return f"{self.field.path} from {iso(self.start)} to {end}"


def value_of(record: Record, field: DateField) -> datetime | None:
    """The record's date of this name, None where it has none."""
    if field == LAST_UPDATED:
        return record.last_updated
    if field == CREATED:
        return record.created
    if record.txn_date is None:
        return None
    return datetime(record.txn_date.year, record.txn_date.month, record.txn_date.day, tzinfo=UTC)
