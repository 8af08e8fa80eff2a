"""Checks after a run: what arrived against what QuickBooks says it has, keys, windows."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from async_extractor.entities import Entity
from async_extractor.events import Level
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import Window

Severity = Literal["ok", "notice", "warning", "error"]


@dataclass(frozen=True)
class Validation:
    """One check: its result in a sentence, and the figures behind it."""

    name: str
    severity: Severity
    message: str
    found: dict[str, Any] = field(default_factory=dict)

    @property
    def level(self) -> Level:
        """How loudly an event should say it."""
        return self.severity if self.severity in ("warning", "error") else "info"


class Validator:
    """Checks what one run left in raw."""

    def __init__(self, connection: Connection, entity: Entity, raw_schema: str) -> None:
        self._connection = connection
        self._table = {"table": entity.table, "raw_schema": raw_schema}

    async def check(
        self,
        run_id: int,
        filter_field: str,
        window: Window,
        count_at_source: Callable[[], Awaitable[int]] | None,
    ) -> list[Validation]:
        """All checks, written to ops.validations. Without `count_at_source` the source isn't asked."""
        checks = [
            await self._keys(run_id),
            await self._utc(run_id, filter_field),
            await self._chunk_counts(run_id),
        ]
        if count_at_source is not None:
            checks.append(await self._source_count(filter_field, window, await count_at_source()))
        for check in checks:
            await self._connection.execute(
                statement("insert_validation"),
                run_id,
                check.name,
                check.severity,
                check.message,
                json.dumps(check.found).encode(),
            )
        return checks

    async def _keys(self, run_id: int) -> Validation:
        found = dict(await self._connection.fetchrow(statement("check_keys", **self._table), run_id))
        if any(found[name] for name in ("twice", "empty", "unlike_payload")):
            return Validation(
                "keys", "error", "some Ids are empty, stand twice or differ from their payload's Id", found
            )
        return Validation(
            "keys",
            "ok",
            f"{found['rows']:,} rows written by this run: every id is there once and is its payload's Id",
            found,
        )

    async def _utc(self, run_id: int, filter_field: str) -> Validation:
        found = dict(await self._connection.fetchrow(statement("check_utc", **self._table), run_id))
        if filter_field == "last_updated" and found["outside"]:
            return Validation(
                "utc",
                "error",
                f"{found['outside']:,} rows have a LastUpdatedTime outside the window they were read in",
                found,
            )
        if found["without_date"]:
            return Validation("utc", "warning", f"{found['without_date']:,} rows have no LastUpdatedTime", found)
        return Validation("utc", "ok", "windows, LastUpdatedTime and time of ingestion agree in UTC", found)

    async def _chunk_counts(self, run_id: int) -> Validation:
        rows = await self._connection.fetch(statement("chunks_short_of_plan"), run_id)
        found = {
            "chunks": [
                {"chunk_id": r["chunk_id"], "expected": r["expected_rows"], "read": r["rows_read"]} for r in rows
            ]
        }
        if rows:
            return Validation(
                "chunk_counts",
                "notice",
                f"{len(rows)} chunks gave fewer rows than COUNT(*) said when they were planned: rows edited since then "
                "have left their window and are in the catch-up chunk",
                found,
            )
        return Validation(
            "chunk_counts",
            "ok",
            "every chunk gave at least the rows that COUNT(*) said when it was planned",
            found,
        )

    async def _source_count(self, filter_field: str, window: Window, at_source: int) -> Validation:
        in_raw = await self._connection.fetchval(
            statement(f"count_{filter_field}_in_raw", **self._table), window.start, window.end
        )
        found = {"source": at_source, "raw": in_raw}
        if in_raw < at_source:
            return Validation(
                "source_count",
                "error",
                f"QuickBooks has {at_source:,} records in the range, raw {in_raw:,}: "
                f"{at_source - in_raw:,} are missing; "
                "run the range again with mode=reprocess",
                found,
            )
        if in_raw > at_source:
            return Validation(
                "source_count",
                "notice",
                f"raw has {in_raw - at_source:,} records more in the range than QuickBooks' {at_source:,}: "
                "edited or deleted there since they were read",
                found,
            )
        return Validation(
            "source_count", "ok", f"QuickBooks and raw both have {at_source:,} records in the range", found
        )
