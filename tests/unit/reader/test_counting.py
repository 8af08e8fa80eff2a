"""COUNT(*), QuickBooks' own."""

from __future__ import annotations

import pytest

from async_extractor.entities import ENTITIES
from async_extractor.qbo.client import Spent
from async_extractor.qbo.counting import count
from async_extractor.qbo.faults import TransientFault
from async_extractor.qbo.query import CREATED, Query
from tests.unit.reader.company import Company, at
from tests.unit.reader.reading import rows_at


async def test_a_count_that_has_no_total_is_worth_another_try_and_is_not_taken_for_silence() -> None:
    company = Company([])
    company._respond = lambda _text: {}  # type: ignore[method-assign]
    with pytest.raises(TransientFault, match="without a totalCount") as raised:
        await count(company, Query(company.entity), Spent())  # type: ignore[arg-type]
    assert raised.value.status == 200
    assert raised.value.tid == "tid-1"


async def test_rows_are_counted_with_the_inactive_whatever_page_of_them_is_asked_for() -> None:
    rows = rows_at(range(4))
    rows[0].active = False
    company = Company(rows, ENTITIES["customers"])
    third = Query(company.entity, (CREATED.before(at(3)),), CREATED, start_position=3, max_results=1)
    spent = Spent()
    counted = await count(company, third, spent)  # type: ignore[arg-type]
    assert counted.rows == 3
    assert counted.server_time is not None
    assert spent.requests == 1
