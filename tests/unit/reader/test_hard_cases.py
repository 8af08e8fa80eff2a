"""Windows in which several misfortunes meet: still nothing is lost, and nothing but the broken is reported."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from async_extractor.qbo.query import CREATED, LAST_UPDATED, TXN_DATE, DateField
from async_extractor.windows import DAY, SECOND
from tests.unit.reader.company import Company, Row, at
from tests.unit.reader.reading import read, rows_at, window


async def test_a_page_full_of_one_value_is_not_taken_for_ordered_when_there_are_rows_before_it() -> None:
    # ORDERBY is ignored and the newest edits come first: invoices of one TxnDate, edited in a batch.
    company = Company(rows_at(range(0, 60, 3)), honours_order=False)
    company.rows += [Row(str(n), at(500), at(500), date(2024, 1, 4)) for n in range(100, 106)]
    for row in company.rows:
        if row.txn_date == date(2024, 1, 4):
            row.updated = at(9999)
    reading = await read(company, TXN_DATE, at(0), at(0) + 31 * DAY)
    assert set(reading.ids) == {row.id for row in company.rows}


@pytest.mark.parametrize("page_size", [5, 12])
@pytest.mark.parametrize("seed", range(12))
async def test_a_catch_up_that_meets_a_poisoned_record_misses_no_edit_made_meanwhile(seed: int, page_size: int) -> None:
    rng = random.Random(seed)
    company = Company(rows_at(range(40)))
    as_of = company.now.replace(microsecond=0)
    for row in rng.sample(company.rows, 15):
        company.touch(row)
        company.began += 3 * SECOND
    edited = [row for row in company.rows if row.updated >= as_of]
    edited[7].poisoned = True

    def edit(company: Company) -> None:
        if len(company.asked) < 40 and rng.random() < 0.6:
            company.touch(rng.choice([row for row in company.rows if not row.poisoned]))

    company.between = edit
    reading = await read(company, LAST_UPDATED, as_of, None, page_size, created_before=at(60))
    changed = {row.id for row in company.rows if row.updated >= as_of and not row.poisoned}
    late = {row.id for row in company.rows if row.updated >= company.now - 2 * SECOND}
    assert changed - late <= set(reading.ids)
    assert set(reading.poisoned) == {edited[7].id}


@pytest.mark.parametrize("poisoned", [1, 5, 6, 12, 17])
@pytest.mark.parametrize(("tells_ids", "compares_ids"), [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("date_field", [LAST_UPDATED, CREATED, TXN_DATE])
async def test_a_poisoned_record_in_an_import_of_one_second_costs_no_other(
    date_field: DateField, tells_ids: bool, compares_ids: bool, poisoned: int
) -> None:
    company = Company(rows_at([3] * 17), tells_ids=tells_ids, compares_ids=compares_ids)
    company.rows[poisoned - 1].poisoned = True
    reading = await read(company, date_field, *window(date_field, 0, 60))
    assert set(reading.ids) == {row.id for row in company.rows if not row.poisoned}
    assert reading.poisoned == [str(poisoned) if tells_ids or compares_ids else None]


@pytest.mark.parametrize("poisoned", [[1], [2, 4]])
@pytest.mark.parametrize("shuffled", range(10))
async def test_rows_of_one_second_in_another_order_each_time_are_not_taken_for_poisoned(
    shuffled: int, poisoned: list[int]
) -> None:
    company = Company(rows_at([3] * 6), stable_ties=False, tells_ids=False)
    company.asked += [""] * shuffled  # another course of shuffles
    for number in poisoned:
        company.rows[number - 1].poisoned = True
    reading = await read(company, CREATED, at(0), at(60), page_size=10)
    assert set(reading.ids) == {row.id for row in company.rows if not row.poisoned}
    assert sorted(reading.poisoned, key=str) == [str(number) for number in poisoned]


async def test_a_record_without_an_id_in_an_import_of_one_second_is_handed_on_and_hides_nothing() -> None:
    company = Company(rows_at([3] * 17))
    company.rows[8].has_id = False
    reading = await read(company, CREATED, at(0), at(60))
    assert set(reading.ids) == {row.id for row in company.rows if row.has_id}
    assert sum(len(page.unreadable) for page in reading.pages) == 1


async def test_a_record_without_an_id_beside_a_poisoned_one_of_the_same_second_hides_nothing() -> None:
    company = Company(rows_at([3] * 5), tells_ids=False)
    company.rows[1].poisoned = True
    company.rows[3].has_id = False
    reading = await read(company, CREATED, at(0), at(60), page_size=10)
    assert set(reading.ids) == {"1", "3", "5"}
    assert len(reading.poisoned) == 1


async def test_an_invoice_that_is_dated_back_while_its_day_is_read_is_not_lost() -> None:
    company = Company(rows_at(range(0, 200, 4)))
    as_of = company.now.replace(microsecond=0)

    def date_back(company: Company) -> None:
        if len(company.asked) == 3:
            company.rows[-1].txn_date = date(2024, 1, 1)
            company.touch(company.rows[-1])

    company.between = date_back
    reading = await read(company, TXN_DATE, at(0), at(0) + timedelta(days=40))
    caught_up = await read(company, LAST_UPDATED, as_of, None)
    assert set(reading.ids) | set(caught_up.ids) == {row.id for row in company.rows}
