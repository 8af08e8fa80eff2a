"""What a condition means: a test on a record's value, and where it can, an interval of an index."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from qbo_simulator.query.grammar import Condition, QueryFault
from qbo_simulator.query.properties import Property, property_of
from qbo_simulator.times import NaiveTimes, parse_day, parse_instant

_MICRO = 1_000_000
_INDEXED = frozenset(["Id", "MetaData.CreateTime", "MetaData.LastUpdatedTime", "TxnDate"])
_LOWEST, _HIGHEST = -(2**63), 2**63 - 1


@dataclass(frozen=True)
class Interval:
    """Integers in `[low, high)`: instants and days count from 1970, Ids are what they are."""

    low: int = _LOWEST
    high: int = _HIGHEST

    def __and__(self, other: Interval) -> Interval:
        return Interval(max(self.low, other.low), min(self.high, other.high))

    def __contains__(self, value: int) -> bool:
        return self.low <= value < self.high


@dataclass(frozen=True)
class Bound:
    """A condition that fits its property. `test` takes a record's value, already comparable; None never passes."""

    property: Property
    test: Callable[[Any], bool]
    interval: Interval | None


def bind(entity: str, condition: Condition, naive: NaiveTimes) -> Bound:
    """QueryFault 4001 when the property can't be queried so, or a value is none of its kind."""
    found = property_of(entity, condition.property)
    operator = condition.operator
    if operator == "LIKE":
        return Bound(found, _like(found, condition), None)
    if found.kind == "boolean" and operator not in ("=", "IN"):
        raise QueryFault("4001", f"QueryValidationError: Operator {operator} is not valid for {found.name}")
    values = [_literal(found, value, naive) for value in condition.values]
    if operator == "IN":
        wanted = frozenset(values)
        return Bound(found, lambda value: value in wanted, None)
    indexed = found.name in _INDEXED
    interval = _interval(operator, values[0], _MICRO if found.kind == "instant" else 1) if indexed else None
    return Bound(found, _compare(operator, values[0]), interval)


def _compare(operator: str, wanted: Any) -> Callable[[Any], bool]:
    tests: dict[str, Callable[[Any], bool]] = {
        "=": lambda value: bool(value == wanted),
        "<": lambda value: bool(value < wanted),
        ">": lambda value: bool(value > wanted),
        "<=": lambda value: bool(value <= wanted),
        ">=": lambda value: bool(value >= wanted),
    }
    return tests[operator]


def _interval(operator: str, value: int, unit: int) -> Interval:
    floor, ceiling = value // unit, -(-value // unit)
    if operator == "=":
        return Interval(floor, floor + 1) if floor == ceiling else Interval(0, 0)
    return {
        "<": Interval(high=ceiling),
        "<=": Interval(high=floor + 1),
        ">": Interval(low=floor + 1),
        ">=": Interval(low=ceiling),
    }[operator]


def _like(found: Property, condition: Condition) -> Callable[[Any], bool]:
    pattern = condition.values[0]
    if found.kind not in ("text", "id") or isinstance(pattern, bool):
        raise QueryFault("4001", f"QueryValidationError: Operator LIKE is not valid for {found.name}")
    parts = pattern.lower().split("%")
    return lambda value: _matches(parts, str(value))


def _matches(parts: list[str], text: str) -> bool:
    """Whether `text` is the parts in their order with anything between them, in time linear in both."""
    if len(parts) == 1:
        return text == parts[0]
    first, *inner, last = parts
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return False
    at, end = len(first), len(text) - len(last)
    for part in inner:
        found = text.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _literal(found: Property, value: str | bool, naive: NaiveTimes) -> Any:
    """A statement's literal in the form that record values are compared in."""
    kind = found.kind
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
    elif not isinstance(value, bool):
        try:
            if kind == "text":
                return value.lower()
            if kind == "id":
                if not value:
                    raise QueryFault("2030", value)
                return _whole_number(value)
            if kind == "day":
                return parse_day(value[:10])
            if kind == "instant":
                return parse_instant(value, naive)
            return _decimal(value)
        except (ValueError, OverflowError, InvalidOperation):
            pass  # refused below, whatever is wrong with it
    raise QueryFault("4001", f"QueryValidationError: Invalid value '{value}' for property {found.name}")


def _whole_number(value: str) -> int:
    if not value.isascii() or not value.isdecimal():
        raise ValueError(value)
    return int(value)


def _decimal(value: str) -> Decimal:
    number = Decimal(value)
    if not number.is_finite():
        raise ValueError(value)
    return number


def comparable(found: Property, value: Any) -> Any:
    """A record's value in the form conditions compare; None when it has none, or none of the property's kind."""
    if value is None:
        return None
    try:
        if found.kind == "text":
            return str(value).lower()
        if found.kind == "id":
            return _whole_number(str(value))
        if found.kind == "day":
            return parse_day(str(value))
        if found.kind == "instant":
            return parse_instant(str(value))
        if found.kind == "number":
            return _decimal(str(value))
    except (ValueError, InvalidOperation):
        return None
    return value if isinstance(value, bool) else None
