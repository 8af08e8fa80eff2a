"""Verification on demand: raw held against QuickBooks, and repaired where they differ.

What is looked at costs as few requests as can be:

* **Counts.** One COUNT(*) of the range; where raw has another number, halves of it, down to a page's worth.
* **Seals.** Days that raw holds otherwise than the last run left them, found without a request.
* **Deep.** On demand every record of the range, when even an exchange within a day that kept the count and
  broke no seal must show. It costs as many requests as reading the range.

The windows so found are read, and each record is compared with raw in the database. A repair reads again the
days that hold a difference, by the same path as a backfill (chunks of the ledger, merge, metrics), and marks
as deleted what QuickBooks has no more. Then all is looked at again.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from async_extractor.backfill import Backfill
from async_extractor.checks import CheckResult, Validator, findings, latest, suggested_commands, worst
from async_extractor.checks.after_run import ledger_result
from async_extractor.checks.bisection import CountsByHour, differing
from async_extractor.checks.comparison import Compared, Comparison, Finding, LookedUp, days_to_read
from async_extractor.checks.coverage import Coverage, coverage
from async_extractor.checks.day_checksums import BrokenSeal, Seals, windows_to_read
from async_extractor.checks.verification_result import VerificationResult
from async_extractor.error_mapping import endings
from async_extractor.errors import BackfillError, IncompleteError
from async_extractor.planning.chunking import cut_into_pieces
from async_extractor.planning.planner import versions
from async_extractor.qbo.client import PLANNING, Spent
from async_extractor.qbo.counting import count
from async_extractor.qbo.faults import PageFault
from async_extractor.qbo.paging.reader import WindowReader
from async_extractor.qbo.query import CREATED, DATE_FIELDS, MOST_ROWS, DateField, Query, has_id
from async_extractor.warehouse.connection import Connection, connect
from async_extractor.warehouse.statements import statement
from async_extractor.windows import SECOND, UTC, Window

# Ids in one lookup; longer statements travel in a POST body.
IDS_A_LOOKUP = 200


@dataclass(frozen=True)
class Task:
    """A window to be compared, and by which date it is read."""

    field: DateField
    window: Window


@dataclass
class Examined:
    """One look at the range: its checks, the differences, and the ledger's holes."""

    checks: list[CheckResult]
    compared: Compared
    covered: Coverage


class Verification(Backfill):
    """A run that compares, and reads again only to repair. Its stages are those of a backfill but for the plan."""

    _connection: Connection  # the session's first; for checks, which end with it rather than being done twice

    @property
    def _field(self) -> DateField:
        return DATE_FIELDS[self.request.filter_field]

    async def verify(self, *, deep: bool = False, repair: bool = False) -> VerificationResult:
        """Looks at the request's range; with `repair` mends what differs and looks again.

        ConfigurationError or IncompleteError when QuickBooks can't be asked to the end; the run says why.
        """
        request = self.request
        self._connection = await self._session.live()
        run_id = await self._ledger.insert_run(
            self._series, "verify", request.window, "auto", request.concurrency, {**versions(), "deep": deep}
        )
        await self._connection.execute(statement("record_plan"), run_id, None, None)
        try:
            with endings(self.settings, planning=True):
                await self._client.authorise()
            with endings(self.settings):
                return await self._verify(run_id, deep=deep, repair=repair)
        except BackfillError as error:
            await self._count_requests(run_id)
            run = await self._ledger.run(run_id)
            if run["finished_at"] is None:
                await self._ledger.finish_run(run_id, "incomplete", str(error))
            raise

    async def _verify(self, run_id: int, *, deep: bool, repair: bool) -> VerificationResult:
        validator = Validator(self._connection, self.request.entity, self.settings.raw_schema)
        first = await self._examine(run_id, validator, deep=deep)
        self._tell(first.checks)
        await validator.write(run_id, first.checks)
        checks = [*first.checks]
        windows: list[Window] = []
        marked = 0
        if repair and _needs_repair(first):
            windows, marked = await self._repair(run_id, first)
            again = [Task(self._field, window) for window in windows]
            await Seals(self._connection, self.request.entity, self.settings.raw_schema).seal_run(run_id)
            last = await self._examine(run_id, validator, deep=False, also=again)
            last.checks.append(
                CheckResult(
                    "repair",
                    "ok" if worst(last.checks) != "error" else "error",
                    {"windows": [str(window) for window in windows], "marked_deleted": marked},
                )
            )
            self._tell(last.checks)
            await validator.write(run_id, last.checks)
            checks += last.checks
        await self._count_requests(run_id)
        await self._ledger.finish_run(run_id, "done", None)
        run, totals = await self._ledger.run(run_id), await self._ledger.totals(run_id)
        await self._write_report(run_id)
        status = "different" if worst(latest(checks)) == "error" else "repaired" if windows or marked else "equal"
        return VerificationResult(
            run_id=run_id,
            entity=run["entity"],
            status=status,
            window=self.request.window,
            found=first.compared,
            windows_read=windows,
            marked_deleted=marked,
            checks=latest(checks),
            requests=run["requests_sent"] + totals["requests"],
            seconds=(run["finished_at"] - run["started_at"]).total_seconds(),
        )

    async def _examine(self, run_id: int, validator: Validator, *, deep: bool, also: Sequence[Task] = ()) -> Examined:
        request, entity, field_name = self.request, self.request.entity, self.request.filter_field
        table = {"table": entity.table, "raw_schema": self.settings.raw_schema}
        keys = findings.table_keys(dict(await self._connection.fetchrow(statement("check_table_keys", **table))))
        read_until = await self._read_until()
        verified = self._verified(read_until)
        covered = await coverage(self._connection, self.settings.realm_id, entity.name, field_name, verified)
        seals = Seals(self._connection, entity, self.settings.raw_schema)
        sealed = await seals.any()
        broken = [seal for seal in await seals.broken() if _concerns(seal, verified, field_name)] if sealed else []
        counted, hours = await self._count(verified), await self._hours(verified)
        in_raw = await hours(verified)
        tasks = [*also]
        if not deep:
            places = await differing(verified, counted, self._count, hours, MOST_ROWS, self._field.granularity)
            tasks += [Task(self._field, place.window) for place in places]
            tasks += [Task(CREATED, window) for window in windows_to_read(broken, MOST_ROWS)]
            # So many places that reading all of it costs no more.
            deep = len(tasks) > max(10, math.ceil(counted / MOST_ROWS) + 2)
        if deep:
            pieces, _ = await cut_into_pieces(
                [verified], None, self._count, request.concurrency, self._field.granularity
            )
            tasks = [Task(self._field, piece.window) for piece in pieces]
        compared, clean = await self._compare(tasks, verified, read_until)
        # Days of which QuickBooks confirms every row are as they should be, whoever wrote them.
        confirmed = [seal for seal in broken if any(window.contains(seal.window) for window in clean)]
        await seals.seal(run_id, [seal.day for seal in confirmed])
        misplaced = await self._misplaced(verified, compared)
        repair = suggested_commands.verify(entity.name, request.window, field_name, repair=True)
        source = findings.source_rows(compared, counted, in_raw, whole=deep, repair=repair)
        volume = await validator.volume(
            run_id,
            self.settings.realm_id,
            field_name,
            request.window,
            same_as_source=source.severity != "error",
        )
        return Examined(
            checks=[
                keys,
                findings.windows(misplaced, repair),
                ledger_result(covered, entity.name, request.window, field_name),
                findings.seals([seal for seal in broken if seal not in confirmed], sealed=sealed),
                source,
                volume,
            ],
            compared=compared,
            covered=covered,
        )

    async def _compare(
        self, tasks: Sequence[Task], verified: Window, read_until: datetime
    ) -> tuple[Compared, list[Window]]:
        """The windows against raw, several at once; and those of CreateTime of which all was compared and equal."""
        rows = await self._connection.fetch(
            statement("standing_quarantine"), self.settings.realm_id, self.request.entity.name
        )
        quarantined = {row["record_id"] for row in rows if row["record_id"] is not None}
        total, clean = Compared(), list[Window]()
        waiting = list(reversed(tasks))

        async def work() -> None:
            connection = await connect(self.settings.warehouse)
            try:
                comparison = Comparison(
                    connection,
                    self.request.entity,
                    self.settings.raw_schema,
                    self.request.filter_field,
                    verified,
                    read_until,
                    quarantined,
                    self._look_up,
                )
                while waiting and self._stopped_for is None:
                    task = waiting.pop()
                    reader = WindowReader(self._client, self.request.entity, self._events)
                    try:
                        pages = reader.pages(task.field, task.window.start, task.window.end)
                        part = await comparison.window(task.field.name, task.window, pages)
                    finally:
                        _charge(self._spent, reader.spent.take())
                    total.include(part)
                    if task.field == CREATED and not part.outside and not part.findings and not part.unreadable:
                        clean.append(task.window)
            finally:
                await connection.close(timeout=5)

        workers = [asyncio.ensure_future(work()) for _ in range(min(self.request.concurrency, len(tasks)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if self._stopped_for is not None:
            raise IncompleteError(f"{self._stopped_for} before all was compared; run the same again")
        return total, clean

    async def _look_up(self, ids: Sequence[str]) -> LookedUp:
        """What QuickBooks has now of these Ids, whatever their dates; a page that it can't serve is halved."""
        records: dict[str, Any] = {}
        unserved: set[str] = set()
        waiting = [list(ids[start : start + IDS_A_LOOKUP]) for start in range(0, len(ids), IDS_A_LOOKUP)]
        while waiting:
            some = waiting.pop()
            try:
                answer = await self._client.fetch(Query(self.request.entity, (has_id(some),)), self._spent)
            except PageFault:
                middle = len(some) // 2
                if middle == 0:
                    unserved.update(some)
                else:
                    waiting += [some[:middle], some[middle:]]
                continue
            records.update((record.id, record) for record in answer.page.records)
        return LookedUp(records, frozenset(unserved))

    async def _misplaced(self, verified: Window, compared: Compared) -> list[tuple[str, str]]:
        """Rows whose window is wrong, added to the differences unless these name them already."""
        rows = await self._connection.fetch(
            statement("misplaced_in_raw", table=self.request.entity.table, raw_schema=self.settings.raw_schema),
            self.request.entity.name,
            verified.start,
            verified.end,
            self.request.filter_field,
            self.settings.realm_id,
        )
        for row in rows:
            if row["id"] not in compared.findings:
                compared.add(Finding(row["id"], "misplaced", row["moment"], row["reason"]))
        return [(row["id"], row["reason"]) for row in rows]

    async def _repair(self, run_id: int, examined: Examined) -> tuple[list[Window], int]:
        """Reads again what differs, through the ledger; marks deleted what QuickBooks has no more."""
        entity, covered = self.request.entity, examined.covered
        table = {"table": entity.table, "raw_schema": self.settings.raw_schema}
        windows = _joined(
            [
                *days_to_read(examined.compared.findings.values(), self.request.window),
                *(chunk.window for chunk in covered.hollow),
                *covered.holes,
            ]
        )
        surplus = [finding.id for finding in examined.compared.of("surplus")]
        self._events.emit(
            "repair_begun",
            "plan",
            f"reading {len(windows):,} windows again, marking {len(surplus):,} rows deleted",
            run_id=run_id,
            windows=[str(window) for window in windows],
        )
        async with self._alone():
            known = await self._ledger.chunks_in(self._series, self.request.window)
            hollow = {chunk.chunk_id for chunk in covered.hollow}
            async with self._connection.transaction():
                # The next read of these wins, whatever version raw pretends to have.
                again = [f.id for f in examined.compared.of("altered", "misplaced")]
                await self._connection.execute(statement("forget_versions", **table), again)
                await self._ledger.write_plan(
                    run_id,
                    self._series,
                    self.request.window,
                    pieces=[(window, None) for window in windows],
                    adopted=[c.chunk_id for c in known if c.status in ("planned", "failed") and not c.held],
                    superseded=[
                        c.chunk_id
                        for c in known
                        if not c.held and (c.chunk_id in hollow or (c.status == "done" and c.window in windows))
                    ],
                    catch_up_from=None,
                    as_of=None,
                    source_count=None,
                )
        await self.extract(run_id)
        marked = 0
        if surplus:
            tag = await self._connection.execute(statement("mark_deleted", **table), surplus)
            marked = int(tag.rpartition(" ")[2])
        return windows, marked

    async def _count(self, window: Window) -> int:
        with endings(self.settings, planning=True):
            counted = await count(self._client, self._planner.counting(window), self._spent, PLANNING)
        return counted.rows

    async def _hours(self, window: Window) -> CountsByHour:
        rows = await self._connection.fetch(
            statement("hours_in_raw", table=self.request.entity.table, raw_schema=self.settings.raw_schema),
            window.start,
            window.end,
            self.request.filter_field,
        )
        return CountsByHour((row["hour"], row["rows"]) for row in rows)

    async def _read_until(self) -> datetime:
        """Up to when runs have read; now, when there was none."""
        newest: datetime | None = await self._connection.fetchval(statement("read_until"), *self._series.key)
        return newest or datetime.now(UTC).replace(microsecond=0) - 2 * SECOND

    def _verified(self, read_until: datetime) -> Window:
        """The part of the range that runs can have read: what is younger is the next run's."""
        window = self.request.window
        if self.request.filter_field == "txn_date" or read_until <= window.start:
            return window
        return Window(window.start, min(window.end, read_until))

    def _tell(self, checks: Sequence[CheckResult]) -> None:
        for check in checks:
            self._events.emit("validated", "validate", check.sentence, level=check.level, **check.fields())


def _needs_repair(examined: Examined) -> bool:
    covered = examined.covered
    return bool(examined.compared.findings or covered.hollow or covered.holes or covered.open)


def _concerns(seal: BrokenSeal, verified: Window, filter_field: str) -> bool:
    """Whether a broken day can have to do with the verified range."""
    if filter_field == "created":
        return seal.window.start < verified.end and verified.start < seal.window.end
    if filter_field == "last_updated":
        return seal.updated_from < verified.end and seal.updated_to >= verified.start
    return True


def _joined(windows: Sequence[Window]) -> list[Window]:
    """The windows without overlaps, in order; those that touch stay apart, as chunks of their own."""
    joined: list[Window] = []
    for window in sorted(windows):
        if joined and window.start < joined[-1].end:
            joined[-1] = Window(joined[-1].start, max(joined[-1].end, window.end))
        else:
            joined.append(window)
    return joined


def _charge(account: Spent, cost: Spent) -> None:
    for name, value in vars(cost).items():
        setattr(account, name, getattr(account, name) + value)
