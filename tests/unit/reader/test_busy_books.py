"""No row of a window is lost while its books are edited."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta

import pytest

from async_extractor.qbo.faults import TransientFault
from async_extractor.qbo.query import CREATED, LAST_UPDATED, TXN_DATE, DateField
from async_extractor.windows import DAY, SECOND
from tests.unit.reader.company import Company, at
from tests.unit.reader.reading import FIELDS, read, rows_at


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
