"""An empty page closes nothing by itself, and what can't be decoded is set aside by its bytes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import pytest

from async_extractor.events import Events
from async_extractor.qbo.client import Answer
from async_extractor.qbo.faults import PageFault, TransientFault
from async_extractor.qbo.paging.reader import WindowReader
from async_extractor.qbo.query import CREATED, LAST_UPDATED, TXN_DATE
from async_extractor.windows import Window
from tests.unit.reader.company import Company, at
from tests.unit.reader.reading import FIELDS, read, rows_at, window


class Empty(Company):
    """Answers so many of its first pages empty, whatever COUNT(*) says."""

    empty = 10**6

    async def fetch(self, query: Any, spent: Any, _patience: Any = None) -> Answer:
        answer = await super().fetch(query, spent)
        if query.what == "*" and self.empty:
            self.empty -= 1
            return replace(answer, page=replace(answer.page, records=[]))
        return answer


@pytest.mark.parametrize("date_field", FIELDS)
async def test_empty_pages_of_a_window_with_rows(date_field: Any) -> None:
    """COUNT(*) says there are rows: asked again, then the chunk fails."""
    company = Empty(rows_at(range(7)))
    with pytest.raises(TransientFault, match="counts 7 rows and has sent 0") as fault:
        await read(company, date_field, *window(date_field, 0, 60))
    assert not isinstance(fault.value, PageFault)
    assert sum("COUNT" not in asked for asked in company.asked) == company.patience.page_fault_tries


async def test_empty_page_once() -> None:
    """A page that comes when it is asked for again is a page."""
    company = Empty(rows_at(range(7)))
    company.empty = 1
    assert len((await read(company, LAST_UPDATED, at(0), at(60))).ids) == 7


class Short(Company):
    """Leaves the last record out of so many of its first full pages."""

    short = 1

    async def fetch(self, query: Any, spent: Any, _patience: Any = None) -> Answer:
        answer = await super().fetch(query, spent)
        if query.what == "*" and len(answer.page.records) == query.max_results and self.short:
            self.short -= 1
            return replace(answer, page=replace(answer.page, records=answer.page.records[:-1]))
        return answer


@pytest.mark.parametrize("expected", [25, None])
async def test_a_page_that_comes_short(expected: int | None) -> None:
    """Fewer have come than were counted, or nobody has counted: no other count may find what is left out."""
    reading = await read(Short(rows_at(range(25))), LAST_UPDATED, at(0), None, page_size=10, expected=expected)
    assert len(reading.ids) == 25


@pytest.mark.parametrize("expected", [25, None])
async def test_pages_that_go_on_coming_short(expected: int | None) -> None:
    company = Short(rows_at(range(25)))
    company.short = 10**6
    with pytest.raises(TransientFault, match="counts 25 rows and has sent 9"):
        await read(company, LAST_UPDATED, at(0), None, page_size=10, expected=expected)


async def test_rows_beyond_a_cut_are_none_of_the_window() -> None:
    """Another reader has the far part by now: what the page has of it makes up for no row before the cut."""

    class WithoutTheTwelfth(Company):
        left_out = False

        async def fetch(self, query: Any, spent: Any, patience: Any = None) -> Answer:
            answer = await super().fetch(query, spent, patience)
            records = [record for record in answer.page.records if record.id != "12"]
            if query.what == "COUNT(*)" or self.left_out or len(records) == answer.page.rows:
                return answer
            self.left_out = True
            return replace(answer, page=replace(answer.page, records=records))

    company = WithoutTheTwelfth(rows_at(range(25)))
    reader = WindowReader(company, company.entity, Events(), 10)  # type: ignore[arg-type]
    ends = iter([at(25), at(25)])

    async def until() -> datetime:
        return next(ends, at(13))

    read_of = {
        record.id
        async for page in reader.pages(LAST_UPDATED, at(0), at(25), until=until, expected=25)
        for record in page.records
    }
    assert "12" in read_of


@pytest.mark.parametrize("end", [None, at(60)])
async def test_what_leaves_after_a_page_makes_up_for_no_row_that_it_lacks(end: datetime | None) -> None:
    """One record of it is edited once it has come, so that COUNT(*) of what is past is no higher than what came."""
    company = Short(rows_at(range(10)))

    def edit(company: Company) -> None:
        if "COUNT" in company.asked[-1] and not company.short and company.rows[8].sync_token == 0:
            company.touch(company.rows[8])

    company.between = edit
    reading = await read(company, LAST_UPDATED, at(0), end, page_size=10, expected=26)
    assert "10" in reading.ids


@pytest.mark.parametrize("expected", [60, None])
@pytest.mark.parametrize("end", [None, at(60)])
async def test_edits_at_each_request_are_no_fault(end: datetime | None, expected: int | None) -> None:
    """What leaves a window's last page between COUNT(*) and the next page has come with the one before."""
    company = Company(rows_at(range(50)))

    def edit(company: Company) -> None:
        company.touch(company.rows[49 - len(company.asked) % 10])

    company.between = edit
    reading = await read(company, LAST_UPDATED, at(0), end, page_size=100, expected=expected)
    assert len(set(reading.ids)) >= 48  # what was edited before the first page has left


@pytest.mark.parametrize("end", [6, 4])
async def test_what_lies_outside_a_part_makes_up_for_no_row_of_it(end: int) -> None:
    """Its first page is asked for by a place: it begins with rows of another reader's, and may end with such."""
    company = Company(rows_at([0, 1, 2, 2, 2, 3, 4, 5]))
    reader = WindowReader(company, company.entity, Events(), 10)  # type: ignore[arg-type]
    begun = await reader.from_row(LAST_UPDATED, Window(at(0), at(6)), 2)
    assert begun is not None
    assert begun.before == 3
    in_part = [record for record in begun.answer.page.records if begun.start <= record.last_updated < at(end)]
    lacks_one = [record for record in begun.answer.page.records if record.id != in_part[-1].id]
    short = replace(begun.answer, page=replace(begun.answer.page, records=lacks_one))
    expected = begun.before + len(in_part)
    pages = reader.pages(LAST_UPDATED, begun.start, at(end), begun=replace(begun, answer=short), expected=expected)
    assert in_part[-1].id in {record.id async for page in pages for record in page.records}


class CountedBefore(Short):
    """Its first count is older than the first page: a record has come meanwhile."""

    counts = 0

    async def fetch(self, query: Any, spent: Any, patience: Any = None) -> Answer:
        if query.what == "*":
            await asyncio.sleep(0)
        answer = await super().fetch(query, spent, patience)
        if query.what == "COUNT(*)":
            self.counts += 1
            if self.counts == 1 and answer.page.total_count:
                return replace(answer, page=replace(answer.page, total_count=answer.page.total_count - 1))
        return answer


async def test_a_count_that_is_older_than_its_page_confirms_no_row() -> None:
    company = CountedBefore(rows_at(range(10)))
    reading = await read(company, LAST_UPDATED, at(0), None, page_size=10, expected=None)
    assert len(reading.ids) == 10


class Undecodable(Company):
    """Pages with a record of which nothing can be decoded."""

    async def fetch(self, query: Any, spent: Any, _patience: Any = None) -> Answer:
        try:
            return await super().fetch(query, spent)
        except PageFault as fault:
            fault.body = b'{"QueryResponse":{"Invoice": [ {"Id":"3","A":[[[[ ] ,"startPosition":1},"time":"%d"}' % len(
                self.asked
            )
            raise


@pytest.mark.parametrize("tells_ids", [True, False])
async def test_undecodable_record(tells_ids: bool) -> None:
    """It is found by halves, and its own bytes are kept; all others arrive."""
    company = Undecodable(rows_at(range(7)), tells_ids=tells_ids, compares_ids=False)
    company.rows[2].poisoned = True
    reading = await read(company, CREATED, at(0), at(60))
    assert set(reading.ids) == {"1", "2", "4", "5", "6", "7"}
    (bad,) = [bad for page in reading.pages for bad in page.poisoned]
    assert (bad.id, bad.raw) == ("3" if tells_ids else None, b'{"Id":"3","A":[[[[')


async def test_seam() -> None:
    """A record at a seam whose time moved and whose SyncToken didn't is read again."""
    company = Company(rows_at([0, 1, 2, 3, 4, 5, 6]))

    def touch(company: Company) -> None:
        if len(company.asked) == 2:
            company.rows[4].updated = at(5)

    company.between = touch
    assert (await read(company, LAST_UPDATED, at(0), None)).ids.count("5") == 2


async def test_record_without_date() -> None:
    """In a window of TxnDates a record whose TxnDate can't be read is set aside by its Id; elsewhere it is loaded."""

    class Odd(Company):
        async def fetch(self, query: Any, spent: Any, _patience: Any = None) -> Answer:
            answer = await super().fetch(query, spent)
            records = [msgspec.structs.replace(r, txn_date=None) if r.id == "2" else r for r in answer.page.records]
            return replace(answer, page=replace(answer.page, records=records))

    reading = await read(Odd(rows_at(range(3))), TXN_DATE, *window(TXN_DATE, 0, 60))
    assert set(reading.ids) == {"1", "3"}
    assert [(bad.id, bad.reason) for page in reading.pages for bad in page.unreadable] == [
        ("2", "its TxnDate can't be read")
    ]
    assert set((await read(Odd(rows_at(range(3))), CREATED, at(0), at(60))).ids) == {"1", "2", "3"}
