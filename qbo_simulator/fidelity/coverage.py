"""Which key paths genuine records have, and which of them the simulator's records have too."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from qbo_simulator.company import Company, CompanySize
from qbo_simulator.fidelity.recordings import Exchange
from qbo_simulator.query.properties import EMPTY_ENTITIES, PROPERTIES, RESPONSE_KEYS

MADE_UP = ("Invoice", "Customer", "Item")
_NAMES = frozenset([*PROPERTIES, *EMPTY_ENTITIES, *RESPONSE_KEYS.values()]) - {"Term", "Class"}
_LISTED_ONLY = frozenset(["Term", "Class"])  # as a key of one record these could be anything


def records(document: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The whole records in an answer, by entity; stubs of deleted ones are none, nor are those of the API before v3."""
    if isinstance(document, list):
        for member in document:
            yield from records(member)
    elif isinstance(document, dict):
        for key, value in document.items():
            known = key in _NAMES or (key in _LISTED_ONLY and isinstance(value, list))
            for member in value if isinstance(value, list) else [value]:
                if known and isinstance(member, dict) and isinstance(member.get("Id"), str):
                    if member.get("status") != "Deleted":
                        yield key, member
                else:
                    yield from records(member)


def key_paths(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Each key path of a record, members of lists taken together, and the type of what is there."""
    if isinstance(value, dict):
        for key, inner in value.items():
            below = f"{path}.{key}" if path else key
            yield below, _type(inner)
            yield from key_paths(inner, below)
    elif isinstance(value, list):
        for member in value:
            yield from key_paths(member, f"{path}[]")


def key_order(value: Any, path: str = "") -> Iterator[tuple[str, str, str]]:
    """Each pair of keys of one object, in the order they stand in."""
    if isinstance(value, dict):
        keys = list(value)
        for at, key in enumerate(keys):
            for later in keys[at + 1 :]:
                yield path, key, later
            yield from key_order(value[key], f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for member in value:
            yield from key_order(member, f"{path}[]")


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, dict):
        return "object"
    if isinstance(value, list):
        return "list"
    return "text" if isinstance(value, str) else "null"


@dataclass
class Coverage:
    """What was found of one entity. `missing`, `types` and `order` count records; `outside` names them."""

    entity: str
    records: int = 0
    distinct: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    types: Counter[str] = field(default_factory=Counter)
    order: Counter[str] = field(default_factory=Counter)
    outside: list[tuple[str, str, list[str]]] = field(default_factory=list)
    never_seen: set[str] = field(default_factory=set)

    @property
    def by_kind(self) -> float:
        """The share of key paths that the simulator produces, in percent."""
        return 100 * (1 - len(self.missing) / len(self.seen)) if self.seen else 100.0

    @property
    def by_occurrence(self) -> float:
        total = sum(self.seen.values())
        return 100 * (1 - sum(self.missing.values()) / total) if total else 100.0


class Simulated:
    """The key paths, types and orders of one entity's simulated records."""

    def __init__(self, company: Company, entity: str) -> None:
        self.types: dict[str, set[str]] = {}
        self.order: set[tuple[str, str, str]] = set()
        table = company.tables[entity]
        for slot in table.slots():
            record = json.loads(table.payload(slot))
            for path, kind in key_paths(record):
                self.types.setdefault(path, set()).add(kind)
            self.order.update(key_order(record))


def coverage(found: Iterable[Exchange], size: CompanySize) -> list[Coverage]:
    """By entity, how the simulator's records cover the genuine ones."""
    company = Company(size)
    simulated = {entity: Simulated(company, entity) for entity in MADE_UP}
    results = {entity: Coverage(entity) for entity in MADE_UP}
    for exchange in found:
        for entity, record in records(exchange.document):
            if entity in simulated:
                _hold(results[entity], simulated[entity], record, exchange)
    for entity, result in results.items():
        result.never_seen = set(simulated[entity].types) - set(result.seen)
    return list(results.values())


def _hold(result: Coverage, simulated: Simulated, record: dict[str, Any], exchange: Exchange) -> None:
    result.records += 1
    result.distinct.add(json.dumps(record, sort_keys=True))
    has = dict(key_paths(record))
    result.seen.update(has.keys())
    missing = sorted(path for path in has if path not in simulated.types)
    result.missing.update(missing)
    is_xml = exchange.answer.lstrip()[:1] == b"<"  # in XML all is text, and attributes come first
    if not is_xml:
        result.types.update(
            f"{path} is {kind}" for path, kind in has.items() if kind not in simulated.types.get(path, {kind})
        )
        result.order.update(
            f"{path or result.entity}: {first} before {then}"
            for path, first, then in set(key_order(record))
            if (path, then, first) in simulated.order and (path, first, then) not in simulated.order
        )
    if missing:
        result.outside.append((exchange.source, str(record.get("Id")), missing))
