"""The text of queries, in QuickBooks' own language."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from async_extractor.entities import ENTITIES
from async_extractor.qbo.query import CREATED, DATE_FIELDS, LAST_UPDATED, TXN_DATE, Query, has_id
from async_extractor.windows import UTC

INVOICES, CUSTOMERS, ITEMS = ENTITIES["invoices"], ENTITIES["customers"], ENTITIES["items"]
JANUARY = datetime(2024, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2024, 2, 1, tzinfo=UTC)


def test_invoices_of_a_window_in_the_order_of_their_date() -> None:
    query = Query(INVOICES, (LAST_UPDATED.at_least(JANUARY), LAST_UPDATED.before(FEBRUARY)), order=LAST_UPDATED)
    assert query.text() == (
        "SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime >= '2024-01-01T00:00:00Z' "
        "AND MetaData.LastUpdatedTime < '2024-02-01T00:00:00Z' "
        "ORDERBY MetaData.LastUpdatedTime ASC STARTPOSITION 1 MAXRESULTS 1000"
    )


@pytest.mark.parametrize(("entity", "name"), [(CUSTOMERS, "Customer"), (ITEMS, "Item")])
def test_the_inactive_are_asked_for_in_rows_and_counts_alike(entity: object, name: str) -> None:
    conditions = (CREATED.before(FEBRUARY),)
    assert Query(entity, conditions).text() == (  # type: ignore[arg-type]
        f"SELECT * FROM {name} WHERE MetaData.CreateTime < '2024-02-01T00:00:00Z' AND Active IN (true, false) "
        "STARTPOSITION 1 MAXRESULTS 1000"
    )
    assert Query(entity, conditions, what="COUNT(*)").text() == (  # type: ignore[arg-type]
        f"SELECT COUNT(*) FROM {name} WHERE MetaData.CreateTime < '2024-02-01T00:00:00Z' AND Active IN (true, false)"
    )


def test_an_invoice_has_no_active_to_ask_for() -> None:
    assert Query(INVOICES, what="COUNT(*)").text() == "SELECT COUNT(*) FROM Invoice"


def test_a_count_has_neither_an_order_nor_a_position() -> None:
    query = Query(INVOICES, ("TxnDate >= '2024-01-01'",), order=TXN_DATE, start_position=5, what="COUNT(*)")
    assert query.text() == "SELECT COUNT(*) FROM Invoice WHERE TxnDate >= '2024-01-01'"


def test_a_txn_date_is_compared_with_a_date_and_the_others_with_an_instant() -> None:
    evening = datetime(2024, 1, 31, 19, 0, tzinfo=timezone(timedelta(hours=-5)))
    assert LAST_UPDATED.at_least(evening) == "MetaData.LastUpdatedTime >= '2024-02-01T00:00:00Z'"
    assert CREATED.before(evening) == "MetaData.CreateTime < '2024-02-01T00:00:00Z'"
    assert TXN_DATE.at_least(FEBRUARY) == "TxnDate >= '2024-02-01'"
    assert TXN_DATE.before(FEBRUARY) == "TxnDate < '2024-02-01'"


def test_a_literal_never_holds_the_plus_sign_that_a_url_would_lose() -> None:
    ahead = datetime(2024, 2, 1, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert LAST_UPDATED.literal(ahead) == "'2024-02-01T00:00:00Z'"


def test_positions_and_page_sizes_are_said() -> None:
    query = Query(ITEMS, order=CREATED, start_position=1001, max_results=1, what="Id")
    assert query.text() == (
        "SELECT Id FROM Item WHERE Active IN (true, false) ORDERBY MetaData.CreateTime ASC "
        "STARTPOSITION 1001 MAXRESULTS 1"
    )


def test_conditions_are_added_to_those_there_are() -> None:
    query = Query(INVOICES, ("a = '1'",), order=CREATED)
    more = query.where("b = '2'", "c = '3'")
    assert more.conditions == ("a = '1'", "b = '2'", "c = '3'")
    assert more.order == CREATED
    assert query.conditions == ("a = '1'",)


def test_every_field_that_a_request_may_name_is_a_date_of_a_query() -> None:
    assert {name: (field.path, field.granularity) for name, field in DATE_FIELDS.items()} == {
        "last_updated": ("MetaData.LastUpdatedTime", timedelta(seconds=1)),
        "created": ("MetaData.CreateTime", timedelta(seconds=1)),
        "txn_date": ("TxnDate", timedelta(days=1)),
    }


def test_ids_are_asked_for_as_literals_that_nothing_in_them_can_end() -> None:
    assert has_id(["7", "O'Hara", "a\\"]) == r"Id IN ('7', 'O\'Hara', 'a\\')"
