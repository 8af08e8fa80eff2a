"""Checks after a run: keys, windows, counts, volume. At most one request: QuickBooks' COUNT(*) of the range."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from async_extractor.checks import suggested_commands
from async_extractor.checks.coverage import Coverage, coverage
from async_extractor.checks.day_checksums import Seals
from async_extractor.checks.reprocessing import proof
from async_extractor.checks.result import MOST_NAMED, Validation, named
from async_extractor.checks.volume import Volume, judge
from async_extractor.entities import Entity
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import DAY, UTC, Window


@dataclass(frozen=True)
class Lost:
    """Rows that raw had after an earlier run and hasn't now, and the command that looks for them."""

    rows: int
    run_id: int
    repair: str


class Validator:
    """Checks what one run left in raw."""

    def __init__(self, connection: Connection, entity: Entity, raw_schema: str) -> None:
        self._connection = connection
        self._entity = entity
        self._raw_schema = raw_schema
        self._table = {"table": entity.table, "raw_schema": raw_schema}

    async def check(
        self,
        run_id: int,
        filter_field: str,
        window: Window,
        *,
        same_as_source: bool,
    ) -> list[Validation]:
        """All checks, written to ops.validations. `same_as_source`: QuickBooks confirms the rows of the range."""
        realm_id = str(await self._connection.fetchval(statement("realm_of_run"), run_id))
        checks = [
            await self._keys(run_id),
            await self._utc(run_id, filter_field),
            await self._pages(run_id),
            await self._chunk_counts(run_id),
            await self.ledger(realm_id, filter_field, window),
            await self._quarantine(realm_id, run_id),
        ]
        proved = await proof(self._connection, run_id, self._entity, self._raw_schema, window, filter_field)
        if proved is not None:
            checks.append(proved)
        checks.append(await self.volume(run_id, realm_id, filter_field, window, same_as_source=same_as_source))
        sealed = await Seals(self._connection, self._entity, self._raw_schema).seal_run(run_id)
        checks.append(
            Validation(
                "seals",
                "ok",
                f"{sealed:,} days sealed: rows that another hand changes from now on show in `qbo-backfill verify`",
                {"days": sealed},
            )
        )
        await self.write(run_id, checks)
        return checks

    async def write(self, run_id: int, checks: Iterable[Validation]) -> None:
        """Keeps the results in ops.validations."""
        for check in checks:
            await self._connection.execute(
                statement("insert_validation"),
                run_id,
                check.name,
                check.severity,
                check.message,
                json.dumps(check.found, default=_plain).encode(),
                check.advice,
            )

    async def ledger(self, realm_id: str, filter_field: str, window: Window) -> Validation:
        """Whether the chunks that are marked done were read, and whether they cover the range without holes."""
        covered = await coverage(self._connection, realm_id, self._entity.name, filter_field, window)
        return ledger_validation(covered, self._entity.name, window, filter_field)

    async def volume(
        self, run_id: int, realm_id: str, filter_field: str, window: Window, *, same_as_source: bool
    ) -> Validation:
        """Empty days, gaps, outliers, and rows that raw has lost since the last run; the days go to ops.daily_volume.

        What QuickBooks confirms is a fact of the company's books and only worth knowing.
        """
        rows = await self._connection.fetch(
            statement("days_in_raw", **self._table), window.start, window.end, filter_field
        )
        by_day: dict[date, int] = {row["day"]: row["rows"] for row in rows}
        await self._connection.execute(
            statement("record_daily_volume"), run_id, list(by_day.keys()), list(by_day.values())
        )
        table_rows = int(await self._connection.fetchval(statement("count_table", **self._table)))
        before = await self._connection.fetchrow(
            statement("rows_after_last_run"), realm_id, self._entity.name, run_id, filter_field
        )
        last_day = (min(window.end, datetime.now(UTC)) - DAY).date()
        lost = None
        if before is not None and before["table_rows"] > table_rows:
            widest = Window(before["range_start"], before["range_end"])
            lost = Lost(
                before["table_rows"] - table_rows,
                before["run_id"],
                suggested_commands.verify(self._entity.name, widest, filter_field, repair=True),
            )
        return volume_validation(
            judge(by_day, last_day if filter_field != "txn_date" else None),
            table_rows=table_rows,
            lost=lost,
            same_as_source=same_as_source,
            repair=suggested_commands.verify(self._entity.name, window, filter_field, repair=True),
        )

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

    async def _pages(self, run_id: int) -> Validation:
        rows = await self._connection.fetch(statement("page_numbers", **self._table), run_id)
        beyond = [row["chunk_id"] for row in rows if row["highest"] > row["pages"]]
        holes = [row["chunk_id"] for row in rows if row["highest"] <= row["pages"]]
        found = {"beyond": beyond[:MOST_NAMED], "holes": holes[:MOST_NAMED]}
        if beyond:
            return Validation(
                "pages", "error", f"chunks {named(map(str, beyond))} have rows of pages that were never read", found
            )
        if holes:
            return Validation(
                "pages",
                "notice",
                f"chunks {named(map(str, holes))} have pages without rows of their own: "
                "what they brought was in a later page or the catch-up, too",
                found,
            )
        return Validation("pages", "ok", "page numbers run from 1 without holes", found)

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

    async def _quarantine(self, realm_id: str, run_id: int) -> Validation:
        await self._connection.execute(statement("resolve_quarantine", **self._table), realm_id, self._entity.name)
        standing = int(await self._connection.fetchval(statement("count_quarantine"), realm_id, self._entity.name))
        of_run = int(await self._connection.fetchval(statement("count_quarantine_of_run"), run_id))
        found = {"standing": standing, "of_this_run": of_run}
        if standing:
            return Validation(
                "quarantine",
                "warning",
                f"{self._entity.name} in quarantine: {standing:,}, since this run: {of_run:,}; "
                "QuickBooks has them, raw can't hold them",
                found,
                "qbo-backfill quarantine list",
            )
        return Validation("quarantine", "ok", "no record is in quarantine", found)


def ledger_validation(covered: Coverage, entity: str, window: Window, filter_field: str) -> Validation:
    """What the ledger's chunks say of a range, as a check's result."""
    found = {
        "hollow": [{"chunk_id": c.chunk_id, "window": str(c.window)} for c in covered.hollow[:MOST_NAMED]],
        "holes": [str(hole) for hole in covered.holes[:MOST_NAMED]],
        "open": covered.open,
        "overlaps": [str(overlap) for overlap in covered.overlaps[:MOST_NAMED]],
    }
    if covered.hollow:
        return Validation(
            "ledger",
            "error",
            f"{len(covered.hollow):,} chunks are marked done, and no attempt ever read them: "
            + named((f"{c.chunk_id} {c.window}" for c in covered.hollow), 3),
            found,
            suggested_commands.verify(entity, window, filter_field, repair=True),
        )
    if covered.holes:
        return Validation(
            "ledger",
            "warning",
            f"no chunk covers {named((str(hole) for hole in covered.holes), 3)}",
            found,
            suggested_commands.run(entity, window, filter_field),
        )
    if covered.open:
        return Validation(
            "ledger",
            "warning",
            f"{covered.open:,} chunks of the range are not done",
            found,
            suggested_commands.run(entity, window, filter_field),
        )
    return Validation("ledger", "ok", "the chunks cover the range without holes, and each was read", found)


def volume_validation(
    volume: Volume,
    *,
    table_rows: int,
    lost: Lost | None,
    same_as_source: bool,
    repair: str,
) -> Validation:
    """What the days say, as a check's result."""
    high = [day for day in volume.odd if day.kind == "high"]
    other = [day for day in volume.odd if day.kind != "high"]
    found: dict[str, Any] = {
        "rows": volume.rows,
        "table_rows": table_rows,
        "first_day": volume.first,
        "last_day": volume.last,
        "odd_days": [
            {"day": d.day, "rows": d.rows, "kind": d.kind, "usual": d.usual, "spread": d.spread, "why": d.sentence()}
            for d in volume.odd[:MOST_NAMED]
        ],
        "gaps": [
            {"first": g.first, "last": g.last, "expected": round(g.expected), "why": g.sentence()}
            for g in volume.gaps[:MOST_NAMED]
        ],
    }
    if lost is not None:
        found["lost"] = lost.rows
        told = (
            f"raw has {lost.rows:,} rows fewer than when run {lost.run_id} had ended; nothing here ever deletes a row"
        )
        if same_as_source:
            return Validation("volume", "warning", f"{told}. They are not of this range", found, lost.repair)
        return Validation("volume", "error", told, found, repair)
    if volume.first is None:
        return Validation("volume", "notice", "no rows in the range", found)
    parts = []
    if volume.gaps:
        parts.append(
            f"{_counted(len(volume.gaps), 'gap')}, the longest: {max(volume.gaps, key=lambda g: g.days).sentence()}"
        )
    if other:
        parts.append(
            f"{_counted(len(other), 'day')} with too few rows, for example: {min(other, key=_ratio).sentence()}"
        )
    if high:
        parts.append(
            f"{_counted(len(high), 'day')} with unusually many, for example: {max(high, key=_ratio).sentence()}"
        )
    if not parts:
        return Validation(
            "volume",
            "ok",
            f"{volume.rows:,} rows from {volume.first} to {volume.last}, without gaps, empty days or outliers",
            found,
        )
    if same_as_source:
        parts.append("QuickBooks counts the same, so it is so in the company's books")
        return Validation("volume", "notice", "; ".join(parts), found)
    return Validation("volume", "warning", "; ".join(parts), found, repair)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _ratio(day: Any) -> float:
    return float((day.rows + 1) / (day.usual + 1))


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)
