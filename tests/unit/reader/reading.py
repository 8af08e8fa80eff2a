"""Reading a window of a company in memory, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from async_extractor.events import Event, Events
from async_extractor.qbo.paging.reader import WindowReader
from async_extractor.qbo.paging.source import Page
from async_extractor.qbo.query import CREATED, LAST_UPDATED, TXN_DATE, DateField
from async_extractor.windows import DAY
from tests.unit.reader.company import Company, Row, at

FIELDS = [LAST_UPDATED, CREATED, TXN_DATE]


@dataclass
class Reading:
    """What came of a window."""

    pages: list[Page] = field(default_factory=list)
    told: list[Event] = field(default_factory=list)
    requests: int = 0

    @property
    def ids(self) -> list[str]:
        return [record.id for page in self.pages for record in page.records]

    @property
    def newest(self) -> dict[str, int]:
        newest: dict[str, int] = {}
        for page in self.pages:
            for record in page.records:
                newest[record.id] = max(newest.get(record.id, 0), record.sync_token)
        return newest

    @property
    def poisoned(self) -> list[str | None]:
        return [poisoned.id for page in self.pages for poisoned in page.poisoned]

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.told]


async def read(
    company: Company,
    date_field: DateField,
    start: datetime,
    end: datetime | None,
    page_size: int = 5,
    created_before: datetime | None = None,
    expected: int | None = 0,
) -> Reading:
    """The window's pages. Whatever the company does, no version of a record may come twice, and no page bring
    nothing but such."""
    reading = Reading()
    reader = WindowReader(company, company.entity, Events([reading.told.append]), page_size)  # type: ignore[arg-type]
    async for page in reader.pages(date_field, start, end, created_before, expected=expected):
        reading.pages.append(page)
    reading.requests = reader.spent.requests
    assert [page.number for page in reading.pages] == list(range(1, len(reading.pages) + 1))
    assert all(page.records or page.unreadable or page.poisoned for page in reading.pages[1:]), "a page of nothing new"
    versions = Counter((record.id, record.version) for page in reading.pages for record in page.records)
    assert [version for version, times in versions.items() if times > 1] == [], "read more than once"
    return reading


def rows_at(seconds: Sequence[int]) -> list[Row]:
    """A row for each second, created and updated then; a TxnDate for every ten seconds."""
    return [
        Row(str(number), at(second), at(second), date(2024, 1, 1) + timedelta(days=second // 10))
        for number, second in enumerate(seconds, start=1)
    ]


def window(date_field: DateField, first: int, end: int) -> tuple[datetime, datetime]:
    """The seconds from `first` to `end`, or the days that `rows_at` gives them."""
    if date_field == TXN_DATE:
        return at(0) + first // 10 * DAY, at(0) + max(-(-end // 10), first // 10 + 1) * DAY
    return at(first), at(end)


def inside(company: Company, date_field: DateField, start: datetime, end: datetime) -> set[str]:
    found = company._matching(f"{date_field.at_least(start)} AND {date_field.before(end)} AND Active IN (true, false)")
    return {row.id for row in found}
