"""Records given as bytes: found by queries by what they say, served exactly as they are."""

from __future__ import annotations

import json
from typing import Any

from qbo_simulator.company.table import Table
from qbo_simulator.times import pacific_day, parse_day, parse_instant

_KNOWN = frozenset(["payload", "id", "created", "updated", "txn_date", "name", "active"])


class PlantingError(ValueError):
    """What the caller says of a record can't be: one line."""


def plant(table: Table, record: dict[str, Any], now: int) -> int:
    """Plant `record["payload"]` (bytes). What else it says goes before what the payload says, and that before now."""
    unknown = set(record) - _KNOWN
    if unknown:
        raise PlantingError(f"unknown key {min(unknown)!r} of a record: {', '.join(sorted(_KNOWN))}")
    payload: bytes = record["payload"]
    said = _object(payload)
    times = said.get("MetaData")
    times = times if isinstance(times, dict) else {}
    created = _instant(record, "created", times.get("CreateTime"), now)
    updated = _instant(record, "updated", times.get("LastUpdatedTime"), created)
    identifier = record["id"] if "id" in record else said.get("Id")
    if identifier is not None and table.slot_of_id(str(identifier)) is not None:
        raise PlantingError(f"there is a {table.entity} with Id {identifier} already")
    # Accounts are ordered by their own name, other lists by the whole path.
    own = said.get("Name") if table.entity == "Account" else None
    name = (
        record.get("name") or own or said.get("FullyQualifiedName") or said.get("DisplayName") or said.get("Name") or ""
    )
    active = record.get("active", said.get("Active", True))
    return table.plant(
        payload,
        id_text=None if identifier is None else str(identifier),
        created=created,
        updated=updated,
        day=_day(record, said.get("TxnDate"), created),
        name=str(name),
        active=active is not False,
    )


def _object(payload: bytes) -> dict[str, Any]:
    """What the payload says, if it is an object; planted records may be anything."""
    try:
        said = json.loads(payload)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _instant(record: dict[str, Any], key: str, said: Any, otherwise: int) -> int:
    if key in record:
        try:
            return parse_instant(str(record[key])) // 1_000_000
        except (ValueError, OverflowError) as error:
            raise PlantingError(f"{key} is no timestamp: {record[key]!r}") from error
    try:
        return parse_instant(said) // 1_000_000 if isinstance(said, str) else otherwise
    except (ValueError, OverflowError):
        return otherwise


def _day(record: dict[str, Any], said: Any, created: int) -> int:
    if "txn_date" in record:
        try:
            return parse_day(str(record["txn_date"]))
        except ValueError as error:
            raise PlantingError(f"txn_date is no date: {record['txn_date']!r}") from error
    try:
        return parse_day(said) if isinstance(said, str) else pacific_day(created)
    except ValueError:
        return pacific_day(created)
