"""Whatever QuickBooks ignores of what it was asked, the reading of a window ends: whole, or with a fault."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from async_extractor.qbo.client import Answer
from async_extractor.qbo.faults import PageFault, TransientFault
from async_extractor.qbo.query import CREATED, LAST_UPDATED
from async_extractor.windows import SECOND
from tests.unit.reader.company import Company, Row, at
from tests.unit.reader.reading import FIELDS, read, rows_at, window


class Without(Company):
    """Ignores what of a statement matches `ignored`, except in COUNT(*)."""

    ignored = ""

    def _respond(self, text: str) -> dict[str, Any]:
        return super()._respond(text if "COUNT" in text else re.sub(self.ignored, "", text))


@pytest.mark.parametrize("order", [True, False])
@pytest.mark.parametrize("date_field", FIELDS)
async def test_where_ignored(date_field: Any, order: bool) -> None:
    """Full pages from before the window take it nowhere."""
    company = Without(rows_at(range(0, 600, 10)), honours_order=order)
    company.ignored = r" WHERE .*?(?= ORDERBY)"
    with pytest.raises(TransientFault, match="from elsewhere"):
        await read(company, date_field, *window(date_field, 300, 600))


async def test_rows_that_end_where_the_window_begins() -> None:
    """A page that goes from before the window to its first second would be asked for again and again."""
    company = Without(rows_at(range(5)))
    company.ignored = r" WHERE .*?(?= ORDERBY)"
    with pytest.raises(TransientFault, match="from elsewhere"):
        await read(company, CREATED, at(4), at(60))


@pytest.mark.parametrize("tells_ids", [True, False])
async def test_position_ignored(tells_ids: bool) -> None:
    """The same rows at every position are not read for ever."""
    company = Without(rows_at([3] * 17), tells_ids=tells_ids, compares_ids=False)
    company.ignored = r"(?<=STARTPOSITION )\d+"

    def respond(text: str) -> dict[str, Any]:
        return Company._respond(company, re.sub(r"STARTPOSITION \d+", "STARTPOSITION 1", text))

    company._respond = respond  # type: ignore[method-assign]
    with pytest.raises(TransientFault, match="rows that came before"):
        await read(company, CREATED, at(0), at(60))


class Clockless(Company):
    """Tells no time, or one that stands still."""

    told: Any = None

    async def fetch(self, query: Any, spent: Any, _patience: Any = None) -> Answer:
        answer = await super().fetch(query, spent)
        return replace(answer, page=replace(answer.page, server_time=self.told))


@pytest.mark.parametrize("stands_still", [True, False])
async def test_present_that_does_not_end(stands_still: bool) -> None:
    """The present second, by QuickBooks' clock, is waited for so long, and the machine's own clock is not asked."""
    company = Clockless([Row(str(n), at(0), at(0)) for n in range(1, 9)])
    company.told = at(0) if stands_still else None
    with pytest.raises(TransientFault, match="is not past it after 60 s"):
        await read(company, LAST_UPDATED, at(0), None)
    assert company.now - company.began >= timedelta(seconds=60)


async def test_ids_answered_in_part() -> None:
    """A record asked for by Id that is counted and not sent isn't gone."""

    class Short(Company):
        async def fetch(self, query: Any, spent: Any, _patience: Any = None) -> Answer:
            answer = await super().fetch(query, spent)
            if "Id IN" in query.text() and query.what == "*":
                return replace(answer, page=replace(answer.page, records=answer.page.records[:-1]))
            return answer

    company = Short(rows_at([3] * 17))
    company.rows[4].poisoned = True
    with pytest.raises(TransientFault, match="records asked for by Id QuickBooks sends"):
        await read(company, CREATED, at(3), at(3) + SECOND)


class Unserved(Company):
    """Serves no page of a catch-up, which has no end; counts are answered."""

    async def fetch(self, query: Any, spent: Any, patience: Any = None) -> Answer:
        if "LastUpdatedTime < " not in str(query) and "COUNT" not in str(query):
            spent.requests += 1
            raise PageFault("QuickBooks answered HTTP 400, code 10000")
        return await super().fetch(query, spent, patience)


async def test_a_catch_up_that_is_not_served_and_counted_empty() -> None:
    company = Unserved(rows_at(range(5)))
    reading = await read(company, LAST_UPDATED, at(60), None)
    assert (reading.ids, reading.requests) == ([], 2)


async def test_a_catch_up_that_is_not_served_and_never_comes_to_what_is_counted() -> None:
    """A record that is dated years ahead."""
    company = Unserved([*rows_at(range(5)), Row("9", at(0), at(900_000_000))])
    with pytest.raises(TransientFault, match="is not past it after 60 s"):
        await read(company, LAST_UPDATED, at(60), None)


async def test_records_none_of_which_is_served() -> None:
    """It isn't the records then: a hundred requests for each of a large company would be months' allowance."""
    company = Company(rows_at(range(100)))
    for row in company.rows[10:]:
        row.poisoned = True
    with pytest.raises(TransientFault, match="serves none of 21 records one after the other"):
        await read(company, CREATED, at(0), at(100))
