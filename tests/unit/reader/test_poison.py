"""What QuickBooks can't serve is reported, and everything else of the window arrives."""

from __future__ import annotations

from datetime import timedelta

import pytest

from async_extractor.qbo.query import CREATED, LAST_UPDATED, DateField
from async_extractor.windows import SECOND
from tests.unit.reader.company import Company, Row, at
from tests.unit.reader.reading import FIELDS, read, rows_at, window


@pytest.mark.parametrize(("tells_ids", "compares_ids"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("date_field", FIELDS)
@pytest.mark.parametrize("poisoned", [[1], [23], [7, 8], [1, 12, 23]])
async def test_a_record_that_cant_be_served_is_reported_and_everything_else_arrives(
    date_field: DateField, poisoned: list[int], tells_ids: bool, compares_ids: bool
) -> None:
    company = Company(rows_at(range(0, 46, 2)), tells_ids=tells_ids, compares_ids=compares_ids)
    for number in poisoned:
        company.rows[number - 1].poisoned = True
    reading = await read(company, date_field, *window(date_field, 0, 60))
    assert set(reading.ids) == {row.id for row in company.rows if not row.poisoned}
    expected = [str(number) for number in poisoned] if tells_ids or compares_ids else [None] * len(poisoned)
    assert sorted(reading.poisoned, key=str) == sorted(expected, key=str)
    for page in reading.pages:
        for bad in page.poisoned:
            assert "code 10000" in bad.reason
            assert bad.tid == "tid-poison"


@pytest.mark.parametrize(("tells_ids", "compares_ids"), [(True, False), (False, True), (False, False)])
async def test_of_several_rows_of_one_second_only_the_poisoned_are_reported(
    tells_ids: bool, compares_ids: bool
) -> None:
    company = Company(rows_at([3] * 5), tells_ids=tells_ids, compares_ids=compares_ids)
    company.rows[2].poisoned = True
    reading = await read(company, CREATED, at(0), at(60), page_size=10)
    assert set(reading.ids) == {"1", "2", "4", "5"}
    assert reading.poisoned == (["3"] if tells_ids or compares_ids else [None])


async def test_finding_one_poisoned_record_in_a_year_takes_few_requests() -> None:
    hours = range(0, 365 * 24, 24)
    company = Company([Row(str(n), at(hour * 3600), at(hour * 3600)) for n, hour in enumerate(hours)])
    company.rows[234].poisoned = True
    reading = await read(company, CREATED, at(0), at(365 * 86_400), page_size=100)
    assert set(reading.ids) == {row.id for row in company.rows} - {"234"}
    assert reading.poisoned == ["234"]
    # 4 pages, and for each of about 25 halvings two counts and a page or two.
    assert reading.requests <= 4 + 25 * 4 + 10


async def test_a_catch_up_gets_past_a_poisoned_record() -> None:
    company = Company(rows_at(range(10)))
    as_of = company.now.replace(microsecond=0)
    for row in company.rows:
        company.touch(row)
        company.began += SECOND
    company.rows[4].poisoned = True
    reading = await read(company, LAST_UPDATED, as_of, None, created_before=at(60))
    assert set(reading.ids) == {row.id for row in company.rows if not row.poisoned}
    assert set(reading.poisoned) == {"5"}


async def test_what_has_no_id_is_handed_on_once_and_hides_nothing() -> None:
    rows = rows_at(range(14))
    rows[3].has_id = rows[9].has_id = False
    reading = await read(Company(rows), LAST_UPDATED, at(0), at(60))
    assert set(reading.ids) == {row.id for row in rows if row.has_id}
    unreadable = [bad.raw for page in reading.pages for bad in page.unreadable]
    assert len(unreadable) == len(set(unreadable)) == 2


@pytest.mark.parametrize("shuffled", range(10))
@pytest.mark.parametrize("poisoned", [[2], [1, 5]])
@pytest.mark.parametrize("rows", [3, 6, 17])
@pytest.mark.parametrize("honours_order", [True, False])
async def test_where_only_places_tell_rows_apart_and_these_change_no_record_is_missing_without_a_word(
    honours_order: bool, rows: int, poisoned: list[int], shuffled: int
) -> None:
    company = Company(
        rows_at([3] * rows), honours_order=honours_order, stable_ties=False, tells_ids=False, compares_ids=False
    )
    company.asked += [""] * shuffled  # another course of shuffles
    for number in poisoned:
        if number <= rows:
            company.rows[number - 1].poisoned = True
    reading = await read(company, CREATED, at(0), at(60))
    assert len(reading.ids) + len(reading.poisoned) == rows
    assert not {row.id for row in company.rows if row.poisoned} & set(reading.ids)
    assert set(reading.poisoned) == {None}
    for page in reading.pages:
        for bad in page.poisoned:
            assert "code 10000" in bad.reason
            assert "doesn't tell its Id" in bad.reason or f"one of its {rows} records" in bad.reason


async def test_the_ids_of_a_second_whose_rows_come_in_another_order_each_time_are_gathered_in_several_passes() -> None:
    company = Company(rows_at([3] * 17), stable_ties=False, compares_ids=False)
    company.rows[4].poisoned = True
    reading = await read(company, CREATED, at(0), at(60))
    assert set(reading.ids) == {row.id for row in company.rows} - {"5"}
    assert reading.poisoned == ["5"]


async def test_a_catch_up_reports_a_poisoned_record_once_and_waits_for_the_second_it_was_edited_in() -> None:
    company = Company(rows_at(range(12)), request_takes=timedelta(milliseconds=100))
    as_of = company.now.replace(microsecond=0)
    for row in company.rows:
        company.touch(row)
    company.rows[3].poisoned = True
    reading = await read(company, LAST_UPDATED, as_of, None)
    assert set(reading.ids) == {row.id for row in company.rows} - {"4"}
    assert reading.poisoned == ["4"]
