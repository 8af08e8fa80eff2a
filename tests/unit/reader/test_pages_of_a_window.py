"""No row of a window is lost and none is read twice, whatever order QuickBooks answers in."""

from __future__ import annotations

from collections import Counter
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from async_extractor.entities import ENTITIES
from async_extractor.qbo.query import CREATED, LAST_UPDATED, TXN_DATE, DateField
from async_extractor.windows import DAY
from tests.unit.reader.company import Company, Row, at
from tests.unit.reader.reading import FIELDS, inside, read, rows_at, window


@pytest.mark.parametrize("date_field", FIELDS)
async def test_an_empty_window_is_closed_by_its_count(date_field: DateField) -> None:
    company = Company([])
    reading = await read(company, date_field, *window(date_field, 0, 100))
    assert reading.ids == []
    assert reading.requests == 2
    assert company.asked[1].startswith("SELECT COUNT(*) FROM Invoice WHERE ")
    assert [page.number for page in reading.pages] == [1]


async def test_each_page_begins_at_the_last_value_of_the_one_before_and_repeats_no_record() -> None:
    company = Company(rows_at(range(12)))
    reading = await read(company, LAST_UPDATED, at(0), at(60))
    assert reading.ids == [str(number) for number in range(1, 13)]
    starts = ["00:00:00", "00:00:04", "00:00:08"]
    assert company.asked == [
        f"SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime >= '2024-01-01T{start}Z' "
        "AND MetaData.LastUpdatedTime < '2024-01-01T00:01:00Z' "
        "ORDERBY MetaData.LastUpdatedTime ASC STARTPOSITION 1 MAXRESULTS 5"
        for start in starts
    ]
    assert [len(page.records) for page in reading.pages] == [5, 4, 3]
    assert [page.number for page in reading.pages] == [1, 2, 3]
    assert {page.size for page in reading.pages} == {5}
    assert [page.request_payload["query"] for page in reading.pages] == company.asked
    assert [page.tid for page in reading.pages] == ["tid-1", "tid-2", "tid-3"]


async def test_a_full_last_page_is_followed_by_one_that_says_so() -> None:
    reading = await read(Company(rows_at(range(5))), LAST_UPDATED, at(0), at(60))
    assert sorted(reading.ids) == sorted("12345")
    assert reading.requests == 2


async def test_only_the_windows_own_rows_are_read() -> None:
    reading = await read(Company(rows_at(range(20))), CREATED, at(5), at(15))
    assert reading.ids == [str(second + 1) for second in range(5, 15)]


async def test_the_inactive_are_read_too() -> None:
    rows = rows_at(range(20))
    for row in rows[::3]:
        row.active = False
    reading = await read(Company(rows, ENTITIES["customers"]), LAST_UPDATED, at(0), at(60))
    assert sorted(reading.ids) == sorted(row.id for row in rows)


async def test_rows_that_are_younger_than_the_range_are_left_out_of_the_catch_up() -> None:
    company = Company(rows_at(range(10)))
    for row in company.rows:
        company.touch(row)
    reading = await read(company, LAST_UPDATED, at(60), None, created_before=at(7))
    assert set(reading.ids) == {"1", "2", "3", "4", "5", "6", "7"}


@pytest.mark.parametrize("stable_ties", [True, False])
async def test_ties_across_a_page_break_are_neither_lost_nor_read_twice(stable_ties: bool) -> None:
    company = Company(rows_at([0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 5, 5]), stable_ties=stable_ties)
    reading = await read(company, LAST_UPDATED, at(0), at(60))
    assert sorted(reading.ids, key=int) == [row.id for row in company.rows]


@pytest.mark.parametrize("rows", [5, 6, 14, 15, 33])
@pytest.mark.parametrize("date_field", [LAST_UPDATED, TXN_DATE])
async def test_more_rows_of_one_value_than_fit_a_page_are_read_by_their_creation(
    date_field: DateField, rows: int
) -> None:
    # Created long before the edit, or, for their TxnDate, long after it: booked in arrears.
    created = -1000 if date_field == LAST_UPDATED else 10**7
    company = Company(
        [Row(str(n), created=at(created + n), updated=at(7), txn_date=date(2024, 1, 3)) for n in range(1, rows + 1)]
    )
    start, end = (at(0), at(60)) if date_field == LAST_UPDATED else (at(0), at(0) + 31 * DAY)
    reading = await read(company, date_field, start, end)
    assert set(reading.ids) == {row.id for row in company.rows}
    assert not any(event.name == "order_ignored" for event in reading.told)


@pytest.mark.parametrize("stable_ties", [True, False])
@pytest.mark.parametrize("honours_order", [True, False])
@pytest.mark.parametrize("date_field", FIELDS)
async def test_an_import_of_one_second_is_read_whole_by_position(
    date_field: DateField, honours_order: bool, stable_ties: bool
) -> None:
    company = Company(rows_at([3] * 17), honours_order=honours_order, stable_ties=stable_ties)
    reading = await read(company, date_field, *window(date_field, 0, 60))
    assert set(reading.ids) == {row.id for row in company.rows}


async def test_an_import_of_one_second_whose_rows_are_edited_meanwhile_is_still_whole() -> None:
    company = Company(rows_at([3] * 23))
    as_of = company.now.replace(microsecond=0)
    untouched = {row.id for row in company.rows}

    def edit(company: Company) -> None:
        if len(company.asked) % 3 == 2 and len(untouched) > 12:
            row = company.rows[len(company.asked) % 23]
            company.touch(row)
            untouched.discard(row.id)

    company.between = edit
    reading = await read(company, LAST_UPDATED, at(0), at(60))
    company.between = lambda _company: None
    caught_up = await read(company, LAST_UPDATED, as_of, None, created_before=at(60))
    assert set(reading.ids) | set(caught_up.ids) == {row.id for row in company.rows}


async def test_when_the_order_is_not_honoured_the_window_is_cut_until_each_piece_fits_a_page() -> None:
    company = Company(rows_at([second * 7 for second in range(23)]), honours_order=False)
    reading = await read(company, CREATED, at(0), at(200))
    assert set(reading.ids) == {row.id for row in company.rows}
    assert "order_ignored" in reading.names
    assert {event.level for event in reading.told if event.name == "order_ignored"} == {"warning"}


async def test_a_page_that_happens_to_be_in_order_is_not_taken_for_one_that_was_ordered() -> None:
    # The newest first, and here the newest were created first.
    company = Company(
        [Row(str(n), created=at(n), updated=at(1000 - n)) for n in range(1, 24)],
        honours_order=False,
    )
    reading = await read(company, CREATED, at(0), at(500))
    assert set(reading.ids) == {row.id for row in company.rows}


@given(
    st.lists(st.integers(0, 25), max_size=40),
    st.sampled_from(FIELDS),
    st.integers(2, 7),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.integers(0, 20),
    st.integers(1, 26),
    st.sets(st.integers(0, 39), max_size=3),
)
@settings(max_examples=300)
async def test_every_row_of_a_quiet_window_arrives_and_no_other(
    seconds: list[int],
    date_field: DateField,
    page_size: int,
    honours_order: bool,
    stable_ties: bool,
    tells_ids: bool,
    compares_ids: bool,
    first: int,
    length: int,
    poisoned: set[int],
) -> None:
    company = Company(rows_at(seconds), tells_ids=tells_ids, compares_ids=compares_ids)
    ties = Counter(row.value(date_field.path) for row in company.rows)
    # A page that is full of one value looks ordered, also where the order is not honoured.
    company.honours_order = honours_order or max(ties.values(), default=0) >= page_size
    # Rows of one value can be told apart by their Ids, or by their position where that stays.
    company.stable_ties = stable_ties or not (tells_ids or compares_ids)
    for number in poisoned & set(range(len(seconds))):
        company.rows[number].poisoned = True
    start, end = window(date_field, first, first + length)
    expected = inside(company, date_field, start, end)
    reading = await read(company, date_field, start, end, page_size)
    bad = {row.id for row in company.rows if row.poisoned}
    assert set(reading.ids) == expected - bad
    assert len(reading.poisoned) == len(expected & bad)
    if tells_ids or compares_ids:
        assert set(reading.poisoned) == expected & bad
