"""QuickBooks' query grammar: what parses, and what is refused with which code."""

from __future__ import annotations

import pytest

from qbo_simulator.query.grammar import Condition, OrderBy, Query, QueryFault, parse

WINDOW = (
    Condition("MetaData.LastUpdatedTime", ">=", ("2024-01-01T00:00:00Z",)),
    Condition("MetaData.LastUpdatedTime", "<", ("2024-02-01T00:00:00-08:00",)),
)


@pytest.mark.parametrize(
    ("statement", "meaning"),
    [
        ("SELECT * FROM Invoice", Query("Invoice")),
        ("select count(*) from Customer", Query("Customer", count=True)),
        ("SELECT COUNT( * ) FROM Customer", Query("Customer", count=True)),
        ("SELECT *, Sku FROM Item", Query("Item", also=("Sku",))),
        ("SELECT Id, MetaData.CreateTime FROM Item", Query("Item", columns=("Id", "MetaData.CreateTime"))),
        (
            """SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime >= '2024-01-01T00:00:00Z'
            AND MetaData.LastUpdatedTime < '2024-02-01T00:00:00-08:00' ORDERBY MetaData.LastUpdatedTime
            STARTPOSITION 101 MAXRESULTS 1000""",
            Query("Invoice", (), False, WINDOW, OrderBy("MetaData.LastUpdatedTime"), 101, 1000),
        ),
        (
            "SELECT * FROM Invoice ORDER BY TxnDate DESC MAXRESULTS 5 STARTPOSITION 6",
            Query("Invoice", order=OrderBy("TxnDate", True), start=6, limit=5),
        ),
        ("SELECT * FROM Invoice ORDERBY TxnDate ASC", Query("Invoice", order=OrderBy("TxnDate"))),
        (
            "SELECT * FROM Item WHERE Active IN (true, FALSE)",
            Query("Item", conditions=(Condition("Active", "IN", (True, False)),)),
        ),
        (
            r"SELECT * FROM Customer WHERE DisplayName = 'Amy\'s Bird \\ Sanctuary'",
            Query("Customer", conditions=(Condition("DisplayName", "=", ("Amy's Bird \\ Sanctuary",)),)),
        ),
        (
            "SELECT * FROM Customer WHERE DisplayName LIKE '🌵%'\n\tMAXRESULTS 1 ",
            Query("Customer", conditions=(Condition("DisplayName", "LIKE", ("🌵%",)),), limit=1),
        ),
    ],
)
def test_a_documented_statement_parses(statement: str, meaning: Query) -> None:
    assert parse(statement) == meaning


@pytest.mark.parametrize(
    ("statement", "because"),
    [
        ("", "nothing is asked"),
        ("SELECT FROM Invoice", "no columns"),
        ("SELECT * Invoice", "no FROM"),
        ("SELECT * FROM", "no entity"),
        ("SELECT * FROM Invoice, Customer", "one entity only"),
        ("SELECT * FROM Invoice WHERE", "no condition"),
        ("SELECT * FROM Invoice WHERE Id = '1' OR Id = '2'", "there is no OR"),
        ("SELECT * FROM Invoice WHERE NOT Id = '1'", "there is no NOT"),
        ("SELECT * FROM Invoice WHERE (Id = '1')", "there are no parentheses"),
        ("SELECT * FROM Invoice WHERE Balance > 0", "numbers stand in quotes"),
        ("SELECT * FROM Invoice WHERE Id != '1'", "there is no !="),
        ("SELECT * FROM Invoice WHERE Id IN '1'", "IN takes parentheses"),
        ("SELECT * FROM Invoice WHERE Id IN ()", "IN takes a value"),
        ("SELECT * FROM Customer WHERE DisplayName = 'Peet''s'", "quotes are escaped by a backslash"),
        ("SELECT * FROM Customer WHERE DisplayName = 'open", "the text does not end"),
        ('SELECT * FROM Customer WHERE DisplayName = "Amy"', "text stands in single quotes"),
        ("SELECT * FROM Invoice GROUP BY TxnDate", "there is no GROUP BY"),
        ("SELECT * FROM Invoice ORDERBY", "no property"),
        ("SELECT * FROM Invoice ORDERBY TxnDate, Id", "one property"),
        ("SELECT * FROM Invoice STARTPOSITION -1", "no negative position"),
        ("SELECT * FROM Invoice MAXRESULTS 1.5", "whole numbers only"),
        ("SELECT * FROM Invoice MAXRESULTS '10'", "positions are bare"),
        ("SELECT * FROM Invoice MAXRESULTS 1 MAXRESULTS 2", "once"),
        ("SELECT * FROM Invoice MAXRESULTS 1 WHERE Id = '1'", "in order"),
        ("SELECT * FROM Invoice;", "no semicolon"),
        ("SELECT COUNT(Id) FROM Invoice", "COUNT counts rows"),
        ("DELETE FROM Invoice", "only SELECT"),
    ],
)
def test_what_does_not_parse_is_4000(statement: str, because: str) -> None:
    """Errors: 400 with code 4000, `QueryParserError: ...`."""
    with pytest.raises(QueryFault) as refused:
        parse(statement)
    assert (refused.value.code, refused.value.detail.split(":")[0]) == ("4000", "QueryParserError"), because


@pytest.mark.parametrize("clause", ["STARTPOSITION 0", "MAXRESULTS 0", "STARTPOSITION 99999999999"])
def test_a_position_out_of_range_is_4001(clause: str) -> None:
    """STARTPOSITION 0 -> 4001 (`value 0 is too small`)."""
    with pytest.raises(QueryFault, match=r"value [09]+ is too (small|large)") as refused:
        parse(f"SELECT * FROM Invoice {clause}")
    assert refused.value.code == "4001"
