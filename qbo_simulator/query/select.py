"""Which rows a statement means, and in which order.

A window over one indexed property, ordered by it, costs its page; anything else costs the smallest
interval that an index offers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal
from zlib import crc32

import msgspec

from qbo_simulator.company.ordered_index import OrderedIndex
from qbo_simulator.company.table import Table, index_key, slot_of, value_of
from qbo_simulator.query.conditions import Bound, Interval, bind, comparable
from qbo_simulator.query.grammar import DEFAULT_PAGE, Condition, OrderBy, Query, QueryFault
from qbo_simulator.query.properties import NAME_LISTS, Property, property_of
from qbo_simulator.times import NaiveTimes

_UPDATED = "MetaData.LastUpdatedTime"
_LARGEST_KEY = 2**31
_LOW = 0xFFFFFFFF

_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class QueryRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not known of the real server, as switches.

    `order_by_id`: Intuit's pages and reports disagree whether `ORDERBY Id` is honoured, silently ignored or refused.
    `compare_id`: `Id > '5'` was seen to compare numbers; Intuit's query page allows only `=` and `IN`.
    `order_by`: `ignored` drops every ORDERBY without a word.
    `ties`: equal values come in an order that is the same for a statement's pages (`by-statement`), always
    (`stable`), or another in each answer (`shuffled`).
    `naive_times`: how a filter's time without offset is read.
    `over_1000`: MAXRESULTS above 1000 is cut to it or refused.
    `hidden_fractions`: the server compares with fractions of seconds that it does not show, so that a row is not at
    the second it shows, but after it.
    `absent`: entities that this company doesn't have (its edition, its country, a feature that is off), and
    `absent_says` the code by which it says so.
    `sku`: whether `SELECT * FROM Item` gives Sku, or only `SELECT *, Sku` does.
    """

    order_by_id: Literal["honoured", "ignored", "refused"] = "ignored"
    compare_id: Literal["number", "refused"] = "number"
    order_by: Literal["honoured", "ignored"] = "honoured"
    ties: Literal["by-statement", "stable", "shuffled"] = "by-statement"
    naive_times: NaiveTimes = "pacific"
    over_1000: Literal["capped", "refused"] = "capped"
    hidden_fractions: bool = False
    sku: Literal["always", "named"] = "always"
    absent: tuple[str, ...] = ()
    absent_says: Literal["4001", "5020", "5030"] = "4001"


@dataclass(frozen=True)
class Selection:
    """The rows of one page, or for COUNT only how many there are in all."""

    slots: list[int]
    total: int


def select(query: Query, table: Table, rules: QueryRules, turn: int = 0) -> Selection:
    """`turn` numbers the answer, for ties that differ each time. QueryFault 4001 when the statement is not valid."""
    limit = _limit(query, rules)
    bounds = [bind(table.entity, condition, rules.naive_times) for condition in _conditions(query, table)]
    if rules.compare_id == "refused":
        _refuse_compared_ids(query)
    order = _order(query, table, rules)
    bounds = [bound for bound in bounds if not _always_true(bound)]
    exact = [bound for bound in bounds if bound.interval is None or not _index_says_all(bound, table, rules)]
    intervals = _intervals(bound for bound in bounds if bound not in exact)
    salt = 1 if rules.ties == "stable" else _salt(query, turn if rules.ties == "shuffled" else 0)
    start = query.start - 1

    if query.count and len(intervals) == 1:
        order = OrderBy(next(iter(intervals)))  # a count has no order, so any interval's index will do
    index = _index_of(table, order.property)
    if not exact and index is not None and set(intervals) <= {order.property}:
        first, last = _positions(index, intervals.get(order.property, Interval()))
        if query.count:
            return Selection([], last - first)
        low, high = (last - start - limit, last - start) if order.descending else (first + start, first + start + limit)
        keys = _tied(index, max(low, first), min(high, last), first, last, salt)
        return Selection([slot_of(key) for key in (reversed(keys) if order.descending else keys)], last - first)

    slots = _matching(table, intervals, exact, rules)
    if query.count:
        return Selection([], len(slots))
    return Selection(_sorted(table, slots, order, salt)[start : start + limit], len(slots))


def _index_says_all(bound: Bound, table: Table, rules: QueryRules) -> bool:
    """Whether the interval alone decides. Planted rows may have Ids no index can hold, or none."""
    if bound.property.name == "Id":
        return not table.raw_ids
    return bound.property.kind != "instant" or not rules.hidden_fractions


def _limit(query: Query, rules: QueryRules) -> int:
    limit = query.limit or DEFAULT_PAGE
    if limit > 1000:
        if rules.over_1000 == "refused":
            raise QueryFault("4001", f"QueryValidationError: value {limit} is too large. Max allowed value is 1000")
        return 1000
    return limit


def _conditions(query: Query, table: Table) -> list[Condition]:
    conditions = list(query.conditions)
    if table.entity in NAME_LISTS and not any(c.property.lower() == "active" for c in conditions):
        # Inactive names are left out, of counts too, unless the statement speaks of Active.
        conditions.append(Condition("Active", "=", (True,)))
    return conditions


def _order(query: Query, table: Table, rules: QueryRules) -> OrderBy:
    default = OrderBy("FullyQualifiedName") if table.is_name_list else OrderBy(_UPDATED, descending=True)
    if query.order is None:
        return default
    found = property_of(table.entity, query.order.property)
    if found.kind == "id":
        if rules.order_by_id == "refused":
            raise QueryFault("4001", "QueryValidationError: property 'Id' is not sortable")
        if rules.order_by_id == "ignored":
            return default
    if rules.order_by == "ignored":
        return default
    return OrderBy(found.name, query.order.descending)


def _refuse_compared_ids(query: Query) -> None:
    for condition in query.conditions:
        if condition.property.lower() == "id" and condition.operator not in ("=", "IN"):
            raise QueryFault("4001", "QueryValidationError: Id can only be used with = and IN")


def _always_true(bound: Bound) -> bool:
    return bound.property.name == "Active" and bound.test(True) and bound.test(False)


def _intervals(bounds: Iterable[Bound]) -> dict[str, Interval]:
    found: dict[str, Interval] = {}
    for bound in bounds:
        if bound.interval is not None:
            name = bound.property.name
            found[name] = found.get(name, Interval()) & bound.interval
    return found


def _salt(query: Query, turn: int) -> int:
    """An odd number by which ties are ordered: one for all pages of a statement."""
    return crc32(repr((query.entity, query.conditions, query.order, turn)).encode()) | 1


def _index_of(table: Table, name: str) -> OrderedIndex | None:
    return {
        _UPDATED: table.by_updated,
        "MetaData.CreateTime": table.by_created,
        "TxnDate": table.by_day,
        "Id": table.by_id,
    }.get(name)


def _column_of(table: Table, name: str) -> Callable[[int], int]:
    return {
        _UPDATED: table.updated,
        "MetaData.CreateTime": table.created,
        "TxnDate": table.days,
        "Id": table.ids,
    }[name].__getitem__


def _positions(index: OrderedIndex, interval: Interval) -> tuple[int, int]:
    low = min(max(interval.low, 0), _LARGEST_KEY)
    high = min(max(interval.high, 0), _LARGEST_KEY)
    first = index.rank(low << 32) if low < _LARGEST_KEY else len(index)
    last = index.rank(high << 32) if high < _LARGEST_KEY else len(index)
    return first, max(first, last)


def _tied(index: OrderedIndex, low: int, high: int, first: int, last: int, salt: int) -> list[int]:
    """The keys at positions `[low, high)` of the window `[first, last)`, rows of one value ordered by `salt`.

    The window's edges fall between values, so that only the groups at the page's edges reach beyond the page.
    """
    if low >= high:
        return []
    keys = index.slice(low, high)
    if salt == 1:
        return list(keys)
    from_, until = _positions(index, Interval(value_of(keys[0]), value_of(keys[-1]) + 1))
    from_, until = max(from_, first), min(until, last)
    ordered = sorted(index.slice(from_, until), key=lambda key: (key >> 32, (key & _LOW) * salt & _LOW))
    return ordered[low - from_ : high - from_]


def _matching(table: Table, intervals: dict[str, Interval], exact: list[Bound], rules: QueryRules) -> list[int]:
    """Every live row that the statement means, from the smallest interval an index offers."""
    windows = {}
    for name, interval in intervals.items():
        index = _index_of(table, name)
        if index is not None:
            first, last = _positions(index, interval)
            windows[name] = (last - first, first, last, index)
    smallest = min(windows.values(), key=lambda window: window[0], default=None)
    keys = table.by_updated if smallest is None else smallest[3].slice(smallest[1], smallest[2])
    slots = [slot_of(key) for key in keys]
    for name, interval in intervals.items():
        column = _column_of(table, name)
        slots = [slot for slot in slots if column(slot) in interval]
    for bound in exact:
        value_at = _reader(table, bound.property, hidden_fractions=rules.hidden_fractions)
        slots = [slot for slot in slots if (value := value_at(slot)) is not None and bound.test(value)]
    return slots


def _sorted(table: Table, slots: list[int], order: OrderBy, salt: int) -> list[int]:
    found = property_of(table.entity, order.property)
    if _index_of(table, found.name) is not None:
        value_at: Callable[[int], Any] = _column_of(table, found.name)
    elif found.kind == "text":
        # Text is ordered by its bytes, and so by case, though it is compared without.
        text_at = _text_reader(table, found)
        value_at = lambda slot: None if (text := text_at(slot)) is None else text.encode(errors="replace")  # noqa: E731
    else:
        value_at = _reader(table, found)

    def position(slot: int) -> tuple[Any, ...]:
        value = value_at(slot)
        tie = (index_key(0, slot) & _LOW) * salt & _LOW
        return (0, 0, tie) if value is None else (1, value, tie)

    return sorted(slots, key=position, reverse=order.descending)


def _text_reader(table: Table, found: Property) -> Callable[[int], str | None]:
    if found.name == "FullyQualifiedName" and table.is_name_list:
        return table.name

    def text_at(slot: int) -> str | None:
        value = _value(table, found, slot)
        return None if value is None else str(value)

    return text_at


def _reader(table: Table, found: Property, *, hidden_fractions: bool = False) -> Callable[[int], Any]:
    """How a property's comparable value is read from a row."""
    name = found.name
    if name == "Active":
        return table.is_active
    if name == "Id":
        return lambda slot: comparable(found, table.id_text(slot))
    if _index_of(table, name) is not None:
        column = _column_of(table, name)
        if found.kind != "instant":
            return column
        # Any fraction that is not 0 and does not change with the order of questions.
        fraction = 1 if hidden_fractions else 0
        return lambda slot: column(slot) * 1_000_000 + fraction * (1_000 + slot * 7_919 % 998_000)
    if name == "FullyQualifiedName" and table.is_name_list:
        return lambda slot: table.name(slot).lower()
    return lambda slot: comparable(found, _value(table, found, slot))


def _value(table: Table, found: Property, slot: int) -> Any:
    try:
        value = _decode(table.payload(slot))
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # a planted record that is no JSON has no values
    for step in found.path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value
