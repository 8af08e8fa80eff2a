"""Checks after a run: keys, windows, counts, volume. One request: QuickBooks' COUNT(*) of the range.

Each check is a query and a rule; its words are in `messages`. A check that raises is an error of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterable
from datetime import date, datetime
from typing import Any, Protocol

from async_extractor.checks import suggested_commands
from async_extractor.checks.coverage import Coverage, coverage
from async_extractor.checks.day_checksums import Seals
from async_extractor.checks.reprocessing import proof
from async_extractor.checks.result import MOST_NAMED, CheckResult, Severity
from async_extractor.checks.volume import judge, volume_result
from async_extractor.entities import Entity
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import DAY, UTC, Window

# Single records that Postgres or Intuit refuses. More than these, or more than half of what a run read, and it is no
# longer the records that are at fault.
HANDFUL = 10


class Source(Protocol):
    """QuickBooks' count of a range, and raw's."""

    @property
    def at_source(self) -> int: ...
    @property
    def in_raw(self) -> int: ...


class Validator:
    """Checks what one run left in raw."""

    def __init__(self, connection: Connection, entity: Entity, raw_schema: str) -> None:
        self._connection = connection
        self._entity = entity
        self._raw_schema = raw_schema

    async def check(
        self, run_id: int, filter_field: str, window: Window, source: Source, *, sound: bool
    ) -> list[CheckResult]:
        """All checks. None is ever left out: one that can't be made says so.

        `sound`: each difference between the counts is known by its record, and none is an error.
        """
        run = await self._row("run_metrics", run_id)
        realm_id = run["realm_id"]
        written = asyncio.ensure_future(self._rows("check_rows", run_id))
        checks = [
            await made("keys", self._keys(run_id, written)),
            await made("utc", self._utc(filter_field, written)),
            await made("pages", self._pages(run_id, written)),
            await made("chunk_counts", self._chunk_counts(run_id, run["chunks_worked_on"])),
            await made("ledger", self._ledger(realm_id, filter_field, window, run["as_of"])),
            await made("quarantine", self._quarantine(realm_id, run_id, run["rows_read"] + run["rows_quarantined"])),
        ]
        counted = await made("source_count", self._source_count(realm_id, filter_field, window, source, sound))
        checks.append(counted)
        if run["mode"] == "reprocess":
            proved = proof(self._connection, run_id, self._entity, self._raw_schema, window, filter_field)
            checks.append(await made("reprocess", proved))
        # What is in quarantine is known to be missing, and no doubt about the rest.
        same = counted.severity == "ok" or counted.says == ("source_count.explained",)
        volume = self.volume(run_id, realm_id, filter_field, window, same_as_source=same)
        verify = suggested_commands.verify(self._entity.name, window, filter_field, repair=True)
        return [*checks, await made("volume", volume), await made("seals", self._seal(run_id, verify))]

    async def write(self, run_id: int, checks: Iterable[CheckResult]) -> None:
        """Keeps the results in ops.validations: all of them or none, since some alone would look like all."""
        values = [(run_id, c.name, c.severity, c.message, c.stored, c.advice) for c in checks]
        await self._connection.executemany(statement("insert_validation"), values)

    async def _ledger(self, realm_id: str, filter_field: str, window: Window, as_of: datetime | None) -> CheckResult:
        """Whether the chunks that are marked done were read, and whether they cover the range without holes."""
        covered = await coverage(self._connection, realm_id, self._entity.name, filter_field, window, as_of)
        return ledger_result(covered, self._entity.name, window, filter_field)

    async def volume(
        self, run_id: int, realm_id: str, filter_field: str, window: Window, *, same_as_source: bool
    ) -> CheckResult:
        """Empty days, gaps, outliers, and rows that raw has lost since the last run; the days go to ops.daily_volume.

        What QuickBooks confirms is a fact of the company's books and only worth knowing.
        """
        rows = await self._rows("days_in_raw", window.start, window.end, filter_field)
        by_day: dict[date, int] = {row["day"]: row["rows"] for row in rows}
        await self._connection.execute(statement("record_daily_volume"), run_id, list(by_day), list(by_day.values()))
        table_rows = int(await self._value("count_table"))
        before = await self._row("rows_after_last_run", realm_id, self._entity.name, run_id, filter_field)
        last_day = (min(window.end, datetime.now(UTC)) - DAY).date()
        lost = max(0, before["table_rows"] - table_rows) if before is not None else 0
        looked_at = Window(before["range_start"], before["range_end"]) if lost and same_as_source else window
        return volume_result(
            judge(by_day, last_day if filter_field != "txn_date" else None),
            table_rows=table_rows,
            lost=lost,
            lost_since=before["run_id"] if before is not None else None,
            same_as_source=same_as_source,
            repair=suggested_commands.verify(self._entity.name, looked_at, filter_field, repair=True),
        )

    async def _keys(self, run_id: int, written: Awaitable[list[Any]]) -> CheckResult:
        found = _sums(await written, "rows", "empty", "unlike_payload")
        return keys_result({**found, "twice": await self._value("ids_twice", run_id)}, "keys.ok")

    async def _utc(self, filter_field: str, written: Awaitable[list[Any]]) -> CheckResult:
        found = _sums(await written, "rows", "without_date", "outside")
        outside = filter_field == "last_updated" and found["outside"]
        return CheckResult("utc", "error" if outside else "warning" if found["without_date"] else "ok", found)

    async def _pages(self, run_id: int, written: Awaitable[list[Any]]) -> CheckResult:
        """Page numbers in raw against the pages read; one missing in the middle brought nothing new.

        Rows that were read before the window's far part was taken over say where it ended then.
        """
        numbers: dict[datetime, list[tuple[datetime, int]]] = {}
        for row in await written:
            numbers.setdefault(row["window_start"], []).append((row["window_end"], row["page_number"]))
        beyond, holes = list[int](), list[int]()
        for chunk in await self._rows("pages_read", run_id):
            rows = numbers.get(chunk["window_start"], [])
            there = {number for end, number in rows if end >= chunk["window_end"]}
            if max(there, default=0) > chunk["pages"]:
                beyond.append(chunk["chunk_id"])
            elif len(there) < max(there, default=0):
                holes.append(chunk["chunk_id"])
        found = {"beyond": beyond[:MOST_NAMED], "holes": holes[:MOST_NAMED]}
        return CheckResult("pages", "error" if beyond else "notice" if holes else "ok", found)

    async def _chunk_counts(self, run_id: int, worked_on: int) -> CheckResult:
        rows = await self._rows("chunks_short_of_plan", run_id)
        short = [{"chunk_id": r["chunk_id"], "expected": r["expected_rows"], "read": r["rows_read"]} for r in rows]
        return CheckResult("chunk_counts", "notice" if short else "ok", {"chunks": short, "read": worked_on})

    async def _quarantine(self, realm_id: str, run_id: int, read: int) -> CheckResult:
        standing = int(await self._value("count_quarantine", realm_id, self._entity.name))
        of_run = int(await self._value("count_quarantine_of_run", run_id))
        found = {"standing": standing, "of_this_run": of_run, "read": read}
        return CheckResult(
            "quarantine", quarantine_severity(**found), found, suggested_commands.quarantine() if standing else ""
        )

    async def _source_count(
        self, realm_id: str, filter_field: str, window: Window, source: Source, sound: bool
    ) -> CheckResult:
        quarantined = int(
            await self._value(
                "quarantined_not_in_raw", realm_id, self._entity.name, window.start, window.end, filter_field
            )
        )
        # What the records themselves explain is edited since, in quarantine, or gone.
        explained = max(quarantined, source.at_source - source.in_raw) if sound else quarantined
        repair = suggested_commands.verify(self._entity.name, window, filter_field, repair=True)
        return source_count_result(source=source.at_source, raw=source.in_raw, quarantined=explained, repair=repair)

    async def _seal(self, run_id: int, verify: str) -> CheckResult:
        seals = Seals(self._connection, self._entity, self._raw_schema)
        sealed, changed = await seals.seal_run(run_id), sorted(await seals.changed())
        found = {"sealed": sealed, "changed": len(changed), "changed_days": [str(day) for day in changed[:MOST_NAMED]]}
        if changed:
            return CheckResult("seals", "notice", found, verify, says=("seals.changed",))
        return CheckResult("seals", "ok", found, says=("seals.sealed",))

    @property
    def _table(self) -> dict[str, str]:
        return {"table": self._entity.table, "raw_schema": self._raw_schema}

    async def _row(self, name: str, *values: object) -> Any:
        return await self._connection.fetchrow(statement(name, **self._table), *values)

    async def _rows(self, name: str, *values: object) -> list[Any]:
        return list(await self._connection.fetch(statement(name, **self._table), *values))

    async def _value(self, name: str, *values: object) -> Any:
        return await self._connection.fetchval(statement(name, **self._table), *values)


def _sums(rows: Iterable[Any], *names: str) -> dict[str, int]:
    found = [[row[name] for name in names] for row in rows]
    return dict(zip(names, map(sum, zip(*found, strict=True)), strict=True)) if found else dict.fromkeys(names, 0)


async def made(name: str, check: Awaitable[CheckResult]) -> CheckResult:
    """The check's result; an error with the reason when it couldn't be made."""
    try:
        return await check
    except Exception as error:
        logging.getLogger("async_extractor").debug("check %s", name, exc_info=True)
        return CheckResult.not_made(name, error)


def keys_result(found: dict[str, Any], ok: str) -> CheckResult:
    """Ids that are empty, there twice, or not their payload's own; `ok` is the sentence when there are none."""
    if any(found[name] for name in ("twice", "empty", "unlike_payload")):
        return CheckResult("keys", "error", found)
    return CheckResult("keys", "ok", found, says=(ok,))


def quarantine_severity(*, standing: int, of_this_run: int, read: int) -> Severity:
    """How grave it is that raw lacks these records: a handful is worth a look, more is an error."""
    if standing > HANDFUL or (of_this_run > 1 and 2 * of_this_run > read):
        return "error"
    return "warning" if standing else "ok"


def source_count_result(*, source: int, raw: int, quarantined: int, repair: str) -> CheckResult:
    """QuickBooks' count of the range against raw's; `quarantined` counts Ids that are in quarantine and not in raw."""
    missing = source - raw
    found = {"source": source, "raw": raw, "quarantined": quarantined}
    if missing == 0:
        return CheckResult("source_count", "ok", found)
    if missing < 0:
        return CheckResult(
            "source_count", "notice", {**found, "surplus": -missing}, repair, says=("source_count.more",)
        )
    found["missing"] = missing
    if missing <= quarantined:
        return CheckResult(
            "source_count", "notice", found, suggested_commands.quarantine(), says=("source_count.explained",)
        )
    return CheckResult("source_count", "error", found, repair)


def ledger_result(covered: Coverage, entity: str, window: Window, filter_field: str) -> CheckResult:
    """What the ledger's chunks say of a range: each done one was read, none is open, and there is no hole."""
    found = {
        "hollow": [f"{c.chunk_id} {c.window}" for c in covered.hollow[:MOST_NAMED]],
        "hollow_chunks": len(covered.hollow),
        "holes": [str(hole) for hole in covered.holes[:MOST_NAMED]],
        "open": covered.open,
        "overlaps": [str(overlap) for overlap in covered.overlaps[:MOST_NAMED]],
    }
    if covered.hollow:
        repair = suggested_commands.verify(entity, window, filter_field, repair=True)
        return CheckResult("ledger", "error", found, repair, says=("ledger.hollow",))
    if covered.holes or covered.open:
        says = tuple(f"ledger.{name}" for name in ("holes", "open") if found[name])
        return CheckResult("ledger", "error", found, suggested_commands.run(entity, window, filter_field), says)
    return CheckResult("ledger", "ok", found)
