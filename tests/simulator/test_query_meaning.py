"""Whatever the parser accepts means the same as a plain Python filter over the same records."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qbo_simulator.config import SimulatorConfig
from qbo_simulator.query.grammar import parse
from qbo_simulator.query.select import QueryRules, select
from qbo_simulator.service import Service

Test = Callable[[dict[str, Any]], bool]
FIELDS: dict[str, dict[str, str]] = {
    "Invoice": {"Id": "id", "MetaData.CreateTime": "instant", "MetaData.LastUpdatedTime": "instant", "TxnDate": "day",
                "DueDate": "day", "TotalAmt": "number", "Balance": "number", "DocNumber": "text", "CustomerRef": "ref"},
    "Customer": {"Id": "id", "MetaData.CreateTime": "instant", "DisplayName": "text", "FullyQualifiedName": "text",
                 "CompanyName": "text", "Balance": "number", "Active": "boolean", "Job": "boolean", "ParentRef": "ref"},
    "Item": {"Id": "id", "MetaData.LastUpdatedTime": "instant", "Name": "text", "Type": "text", "Sku": "text",
             "UnitPrice": "number", "QtyOnHand": "number", "Active": "boolean", "Taxable": "boolean"},
}  # fmt: skip
OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda a, b: a == b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}


@lru_cache(maxsize=1)
def company() -> Service:
    service = Service(SimulatorConfig(seed=11, invoices=400, customers=150, items=80, years=1))
    for entity, edits in (("Invoice", 30), ("Customer", 12), ("Item", 9)):
        table = service.company.tables[entity]
        slots = service.company.pick(table, edits, service.chance)
        service.company.edit(table, slots[: edits // 2], service.now())
        service.company.delete(table, slots[edits // 2 :], service.now())
    return service


@lru_cache(maxsize=3)
def records(entity: str) -> list[dict[str, Any]]:
    table = company().company.tables[entity]
    return [json.loads(table.payload(slot), parse_float=Decimal) for slot in table.slots()]


def value_of(record: dict[str, Any], field: str, kind: str) -> Any:
    value: Any = record
    for step in field.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    if value is None:
        return None
    if kind == "id":
        return int(value)
    if kind == "instant":
        return datetime.fromisoformat(value)
    if kind == "day":
        return date.fromisoformat(value)
    if kind == "number":
        return Decimal(value)
    if kind == "ref":
        return value["value"]
    return value.lower() if kind == "text" else value


def literal_of(value: Any, kind: str, draw: st.DrawFn) -> tuple[str, Any]:
    """How a statement writes the value, and the value it then means."""
    if kind == "boolean":
        return str(value).lower(), value
    if kind == "instant":
        moment = value + timedelta(seconds=draw(st.integers(-2, 2)), milliseconds=draw(st.sampled_from([0, 0, 500])))
        moment = moment.astimezone(timezone(timedelta(hours=draw(st.sampled_from([0, -8, -5, 9])))))
        text = moment.isoformat()
        return f"'{text.replace('+00:00', draw(st.sampled_from(['Z', '+00:00'])))}'", moment
    if kind == "day":
        day = value + timedelta(days=draw(st.integers(-1, 1)))
        return f"'{day}'", day
    if kind in ("id", "number"):
        number = max(value + draw(st.integers(-1, 1)), 0)
        return f"'{number}'", number
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return (
        f"'{draw(st.sampled_from([escaped, escaped.upper() if escaped.upper().lower() == value else escaped]))}'",
        value,
    )


@st.composite
def conditions(draw: st.DrawFn, entity: str) -> tuple[str, Test, str]:
    field = draw(st.sampled_from(sorted(FIELDS[entity])))
    kind = FIELDS[entity][field]
    known = [found for record in records(entity) if (found := value_of(record, field, kind)) is not None]
    written = draw(st.sampled_from([field, field.lower(), field.upper()]))
    operator = draw(st.sampled_from(["=", "IN"] if kind == "boolean" else [*OPERATORS, "IN", "LIKE"]))
    if operator == "LIKE" and kind in ("text", "ref"):
        start = draw(st.sampled_from(known))[: draw(st.integers(0, 4))]
        text = start.replace("\\", "\\\\").replace("'", "\\'")
        return (
            f"{written} LIKE '{text}%'",
            lambda record: (found := value_of(record, field, kind)) is not None and found.startswith(start),
            field,
        )
    count = draw(st.integers(1, 3)) if operator == "IN" else 1
    pairs = [literal_of(draw(st.sampled_from(known)), kind, draw) for _ in range(count)]
    if operator == "IN":
        meant = [value for _, value in pairs]
        return (
            f"{written} IN ({', '.join(text for text, _ in pairs)})",
            lambda record: value_of(record, field, kind) in meant,
            field,
        )
    operator = "=" if operator == "LIKE" else operator
    text, wanted = pairs[0]

    def test(record: dict[str, Any]) -> bool:
        found = value_of(record, field, kind)
        return found is not None and OPERATORS[operator](found, wanted)

    return f"{written}{draw(st.sampled_from(['', ' ']))}{operator} {text}", test, field


@st.composite
def statements(draw: st.DrawFn) -> tuple[str, str, list[Test], str | None, bool]:
    entity = draw(st.sampled_from(sorted(FIELDS)))
    chosen = draw(st.lists(conditions(entity), max_size=3))
    tests = [test for _, test, _ in chosen]
    if "Active" in FIELDS[entity] and not any(field == "Active" for _, _, field in chosen):
        tests.append(lambda record: record["Active"] is True)
    order = draw(st.sampled_from([None, *sorted(set(FIELDS[entity]) - {"Id"})]))
    descending = draw(st.booleans())
    where = " AND ".join(text for text, _, _ in chosen)
    text = (f" WHERE {where}" if chosen else "") + (
        f" {draw(st.sampled_from(['ORDERBY', 'order by']))} {order} {'DESC' if descending else ''}" if order else ""
    )
    return entity, text, tests, order, descending


@pytest.mark.slow
@given(statements(), st.sampled_from(["by-statement", "stable"]), st.integers(30, 150))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_statement_means_what_a_plain_filter_means(
    statement: tuple[str, str, list[Test], str | None, bool], ties: Any, page: int
) -> None:
    entity, text, tests, order, descending = statement
    table = company().company.tables[entity]
    rules = QueryRules(ties=ties)
    wanted = {record["Id"] for record in records(entity) if all(test(record) for test in tests)}

    count = select(parse(f"SELECT COUNT(*) FROM {entity}{text}"), table, rules)
    assert count.total == len(wanted)

    slots: list[int] = []
    for start in range(1, len(wanted) + 2, page):
        query = parse(f"select * from {entity.lower()}{text} STARTPOSITION {start} MAXRESULTS {page}")
        slots.extend(select(query, table, rules).slots)
    assert len(slots) == len(wanted)
    assert {table.id_text(slot) for slot in slots} == wanted

    if order is not None:
        kind = FIELDS[entity][order]
        found = [value_of(json.loads(table.payload(slot), parse_float=Decimal), order, kind) for slot in slots]
        if kind not in ("text", "ref"):  # text is ordered by its bytes, which another test looks at
            known = [value for value in found if value is not None]
            assert known == sorted(known, reverse=descending)
            nulls = len(found) - len(known)
            assert found == (known + [None] * nulls if descending else [None] * nulls + known)


VALID = (
    "SELECT * FROM Invoice WHERE TxnDate >= '2025-01-01' AND Balance > '0' ORDERBY TxnDate STARTPOSITION 1 MAXRESULTS 5"
)
PIECES = st.sampled_from([
    "SELECT", "*", "COUNT(*)", "FROM", "Invoice", "Customer", "item", "Vendor", "CompanyInfo", "Nonsense", "WHERE",
    "AND", "OR", "IN", "LIKE", "(", ")", ",", "=", "<", ">=", "!=", "'", "''", "'1'", "'x%'", "'2025-01-01T00:00:00Z'",
    "true", "FALSE", "ORDERBY", "ORDER", "BY", "Id", "TxnDate", "Balance", "Active", "MetaData.CreateTime", "Line",
    "DESC", "STARTPOSITION", "MAXRESULTS", "0", "1", "-5", "1001", "99999999999999999999", "\\", "\0", "🌵", ";", "--",
])  # fmt: skip


@given(
    st.one_of(
        st.text(max_size=200),
        st.lists(PIECES, max_size=25).map(" ".join),
        st.tuples(st.integers(0, len(VALID)), st.integers(0, 12), st.text(max_size=5)).map(
            lambda cut: VALID[: cut[0]] + cut[2] + VALID[cut[0] + cut[1] :]
        ),
        st.tuples(PIECES, PIECES, PIECES).map(lambda p: f"SELECT * FROM Invoice WHERE {p[0]} {p[1]} {p[2]}"),
    )
)
@settings(max_examples=600, deadline=None)
def test_whatever_is_refused_is_4000_or_4001_and_never_500(statement: str) -> None:
    answer = company().query(statement)
    body = json.loads(answer.body)
    if answer.status == 200:
        assert set(body) == {"QueryResponse", "time"}
    else:
        assert answer.status == 400
        assert body["Fault"]["type"] == "ValidationFault"
        (error,) = body["Fault"]["Error"]
        kinds = {"4000": ("Error parsing query", "QueryParserError"), "4001": ("Invalid query", "QueryValidationError")}
        assert (error["Message"], error["Detail"].split(":")[0]) == kinds[error["code"]]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT * FROM Nonsense", "invalid context declaration: Nonsense"),
        ("SELECT * FROM Invoice WHERE Nonsense = '1'", "Property Nonsense not found for Entity Invoice"),
        ("SELECT * FROM Invoice WHERE ClassRef = '1'", "property 'ClassRef' is not queryable"),
        ("SELECT * FROM Customer WHERE CustomerTypeRef = '1'", "property 'CustomerTypeRef' is not queryable"),
        ("SELECT * FROM Invoice WHERE TxnDate >= 'soon'", "Invalid value 'soon' for property TxnDate"),
        ("SELECT * FROM Invoice WHERE Id = 'abc'", "Invalid value 'abc' for property Id"),
        ("SELECT * FROM Invoice WHERE Balance = 'NaN'", "Invalid value 'NaN' for property Balance"),
        ("SELECT * FROM Invoice WHERE Balance LIKE '1%'", "Operator LIKE is not valid for Balance"),
        ("SELECT * FROM Item WHERE Active > true", "Operator > is not valid for Active"),
        ("SELECT * FROM Invoice ORDERBY Line", "property 'Line' is not queryable"),
    ],
)
def test_what_parses_but_is_not_valid_is_4001(statement: str, told: str) -> None:
    body = json.loads(company().query(statement).body)
    assert body["Fault"]["Error"][0]["code"] == "4001"
    assert body["Fault"]["Error"][0]["Detail"] == f"QueryValidationError: {told}"
