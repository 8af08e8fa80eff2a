"""No row of a window is lost, whatever order QuickBooks answers in, whatever it can't serve, whatever is edited."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from async_extractor.entities import ENTITIES
from async_extractor.events import Event, Events
from async_extractor.qbo.faults import TransientFault
from async_extractor.qbo.page_source import Page
from async_extractor.qbo.query import CREATED, LAST_UPDATED, TXN_DATE, DateField, Query
from async_extractor.qbo.reader import WindowReader
from async_extractor.qbo.span import Span
from async_extractor.windows import DAY, SECOND
from tests.unit.company import Company, Row, at
from tests.unit.virtual_time import VirtualTimePolicy

FIELDS = [LAST_UPDATED, CREATED, TXN_DATE]


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


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
) -> Reading:
    reading = Reading()
    reader = WindowReader(company, company.entity, Events([reading.told.append]), page_size)  # type: ignore[arg-type]
    async for page in reader.pages(date_field, start, end, created_before):
        reading.pages.append(page)
    reading.requests = reader.spent.requests
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


# The course of the pages.


@pytest.mark.parametrize("date_field", FIELDS)
async def test_an_empty_window_takes_one_request(date_field: DateField) -> None:
    company = Company([])
    reading = await read(company, date_field, *window(date_field, 0, 100))
    assert reading.ids == []
    assert reading.requests == 1
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


# What can't be served.


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


# The books change while they are read.


async def test_a_row_that_leaves_the_window_takes_no_other_row_with_it() -> None:
    company = Company(rows_at(range(20)))

    def edit(company: Company) -> None:
        if len(company.asked) == 2:  # between the first page and the second
            company.touch(company.rows[0])
            company.touch(company.rows[2])

    company.between = edit
    reading = await read(company, LAST_UPDATED, at(0), at(60))
    assert set(reading.ids) == {row.id for row in company.rows}


async def test_a_deleted_row_takes_no_other_row_with_it() -> None:
    company = Company(rows_at(range(20)))

    def delete(company: Company) -> None:
        if len(company.asked) == 2:
            del company.rows[1:3]

    company.between = delete
    reading = await read(company, CREATED, at(0), at(60))
    assert set(reading.ids) == {str(number) for number in range(1, 21)}


async def test_a_newer_version_at_the_anchor_is_read_again() -> None:
    company = Company(rows_at(range(9)))

    def edit(company: Company) -> None:
        if len(company.asked) == 2:
            company.rows[4].sync_token += 1  # in the same second as before: a CreateTime stays

    company.between = edit
    reading = await read(company, CREATED, at(0), at(60))
    assert Counter(reading.ids)["5"] == 2
    assert reading.newest["5"] == 1


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("honours_order", [True, False])
@pytest.mark.parametrize("date_field", FIELDS)
async def test_the_window_and_the_catch_up_after_it_miss_nothing_of_busy_books(
    date_field: DateField, honours_order: bool, seed: int
) -> None:
    rng = random.Random(seed)
    company = Company(rows_at(rng.choices(range(80), k=120)), honours_order=honours_order, stable_ties=seed % 2 == 0)
    for row in company.rows:
        row.txn_date = date(2024, 1, 1) + timedelta(days=rng.randrange(30))
    # A second that gets a whole page of edits looks ordered, also where the order is not honoured.
    company.request_takes = timedelta(milliseconds=rng.choice([100, 300, 1000])) if honours_order else SECOND
    before = {row.id: row.sync_token for row in company.rows}
    as_of = company.now.replace(microsecond=0)

    def edit(company: Company) -> None:
        if len(company.asked) < 150:
            for row in rng.sample(company.rows, rng.choice([0, 0, 1, 3])):
                company.touch(row)

    company.between = edit
    start, end = (at(0), at(0) + 30 * DAY) if date_field == TXN_DATE else (at(0), at(80))
    # Pages of so many rows don't come in order by chance.
    reading = await read(company, date_field, start, end, page_size=12)
    created_before = None if date_field == TXN_DATE else end
    caught_up = await read(company, LAST_UPDATED, as_of, None, page_size=12, created_before=created_before)
    newest = Counter({**reading.newest}) | Counter({**caught_up.newest})
    assert set(reading.ids) | set(caught_up.ids) == before.keys()
    assert all(newest[record_id] >= version for record_id, version in before.items())
    # Whoever was edited before the last request of the catch-up was read in that version.
    assert all(newest[row.id] == row.sync_token for row in company.rows if row.updated < company.now - 2 * SECOND)


async def test_rows_that_are_edited_without_end_are_given_up_with_a_line_that_says_so() -> None:
    company = Company(rows_at([3] * 12))

    def restless(company: Company) -> None:
        # A row vanishes from the second, and another comes back to it, before each request.
        company.rows.append(company.rows.pop(0))
        company.rows[0].id = str(1000 + len(company.asked))

    company.between = restless
    company.stable_ties = False
    with pytest.raises(TransientFault, match="change faster than they can be read"):
        await read(company, CREATED, at(0), at(60))


async def test_a_count_that_has_no_total_is_worth_another_try() -> None:
    company = Company([])
    reader = WindowReader(company, company.entity, Events())  # type: ignore[arg-type]
    company._respond = lambda _text: {}  # type: ignore[method-assign]
    with pytest.raises(TransientFault, match="without a totalCount"):
        await reader.count(Query(company.entity))


async def test_rows_are_counted_with_the_inactive() -> None:
    rows = rows_at(range(4))
    rows[0].active = False
    company = Company(rows, ENTITIES["customers"])
    reader = WindowReader(company, company.entity, Events())  # type: ignore[arg-type]
    assert await reader.count(Query(company.entity, (CREATED.before(at(3)),))) == 3


def test_a_span_is_halved_down_to_its_granularity() -> None:
    span = Span(LAST_UPDATED, at(0), at(3), ("x",))
    first, second = span.halves() or (None, None)
    assert (first, second) == (
        Span(LAST_UPDATED, at(0), at(1), ("x",)),
        Span(LAST_UPDATED, at(1), at(3), ("x",)),
    )
    assert Span(LAST_UPDATED, at(0), at(1)).halves() is None
    assert Span(TXN_DATE, at(0), at(0) + DAY).halves() is None
    with pytest.raises(ValueError, match="without an end"):
        Span(LAST_UPDATED, at(0), None).halves()


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
    # Single rows of one value can be told apart by their Ids, or by their position where that stays.
    company.stable_ties = stable_ties or not tells_ids
    # So many rows of one value that they don't fit a page, and a poisoned one among them, are a case of their own.
    for number in poisoned & set(range(len(seconds))):
        company.rows[number].poisoned = ties[company.rows[number].value(date_field.path)] <= page_size
    start, end = window(date_field, first, first + length)
    expected = inside(company, date_field, start, end)
    reading = await read(company, date_field, start, end, page_size)
    bad = {row.id for row in company.rows if row.poisoned}
    assert set(reading.ids) == expected - bad
    assert len(reading.poisoned) == len(expected & bad)
    if tells_ids or compares_ids:
        assert set(reading.poisoned) == expected & bad
