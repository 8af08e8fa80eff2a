"""Reconciliation: raw held against QuickBooks for as few requests as can be.

Change data capture lists what was deleted lately. Then one COUNT(*) of the range: where raw has another number, halves
of it, down to a page's worth, whose records are compared one by one. So every difference has a name: missing,
outdated, altered, deleted, in quarantine, or edited since.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from async_extractor.checks.balance import COUNTED, Counts, Reconciled
from async_extractor.checks.bisection import CountsByHour, differing
from async_extractor.checks.comparison import Compared, Comparison, Finding, LookedUp, SourceRecord, moment_of
from async_extractor.checks.day_checksums import UNDATED, Seals, windows_to_read
from async_extractor.error_mapping import endings
from async_extractor.errors import IncompleteError
from async_extractor.events import Events
from async_extractor.qbo.by_id import ById, can_be_asked_for
from async_extractor.qbo.client import PLANNING, QueryClient, Spent
from async_extractor.qbo.counting import count
from async_extractor.qbo.faults import PageFault, QueryRefusedFault
from async_extractor.qbo.paging.reader import BEGINNING, WindowReader
from async_extractor.qbo.query import (
    CREATED,
    DATE_FIELDS,
    LAST_UPDATED,
    LOOK_BACK,
    MOST_CHANGES,
    MOST_ROWS,
    ChangesSince,
    DateField,
    Query,
)
from async_extractor.request import BackfillRequest
from async_extractor.settings import Settings
from async_extractor.warehouse.connection import connect
from async_extractor.warehouse.session import Session
from async_extractor.warehouse.statements import statement
from async_extractor.windows import DAY, SETTLING, Window, gaps

# How often a count that no record explains is asked again: the books may have changed between count and comparison.
MOST_LOOKS = 3


@dataclass(frozen=True)
class Task:
    """A window to be compared, and by which date it is read."""

    field: DateField
    window: Window


@dataclass(frozen=True)
class Listed:
    """What change data capture gave: how many rows were newly marked, and whether the list was whole."""

    marked: int
    complete: bool


@dataclass(frozen=True)
class Lately:
    """Rows of raw that are too young for the counts, and those of them that QuickBooks has no more."""

    rows: int
    gone: list[Finding]


def costs_as_much_as_all(tasks: Sequence[Task], counts: Counts) -> bool:
    """Whether these are so many places that reading all of the range costs no more."""
    return len(tasks) > max(10, math.ceil(counts.at_source / MOST_ROWS) + 2)


class Reconciliation:
    """Compares a range of one entity with QuickBooks."""

    def __init__(
        self,
        session: Session,
        client: QueryClient,
        settings: Settings,
        request: BackfillRequest,
        query_of: Callable[[Window], Query],
        events: Events,
        spent: Spent,
    ) -> None:
        self._session = session
        self._client = client
        self._settings = settings
        self._request = request
        self._query_of = query_of
        # QuickBooks' clock as of which ranges are counted.
        self._counted_at: datetime | None = None
        self._events = events
        self._spent = spent
        self._by_id = ById(client, request.entity, events, spent, self._query)
        self._table = {"table": request.entity.table, "raw_schema": settings.raw_schema}

    @property
    def field(self) -> DateField:
        return DATE_FIELDS[self._request.filter_field]

    def count_as_of(self, moment: datetime) -> Window | None:
        """Makes all counts be of what had settled by this moment; gives the part of the range that they are of.

        What is younger may still become visible, and would make up in a count for a record that is gone: it is looked
        up instead (`gone_lately`). To a range of TxnDates records come at any time. None: nothing can be counted yet.
        """
        window, self._counted_at = self._request.window, moment - SETTLING
        if self._request.filter_field == "txn_date":
            return window
        return Window(window.start, min(window.end, self._counted_at)) if window.start < self._counted_at else None

    async def mark_reported(self, since: datetime, now: datetime) -> Listed:
        """Asks change data capture for what was deleted since a moment, and marks it. Both are QuickBooks' clock.

        Not complete where the list is cut off, reaches back less than asked, or hasn't the entity: then counts have to
        tell.
        """
        earliest = now - LOOK_BACK
        reaches = since - SETTLING > earliest
        if not self._asks_for_changes:
            return Listed(0, False)
        try:
            changed = await self._client.changes(
                ChangesSince(self._request.entity, max(since - SETTLING, earliest)), self._spent
            )
        except (QueryRefusedFault, PageFault) as fault:
            told = f"change data capture refuses {self._request.entity.query_name} ({fault})"
            self._events.emit(
                "changes_cut_off", "extract", f"{told}: what was deleted is looked for by counts", level="warning"
            )
            return Listed(0, False)
        complete = reaches and changed.rows < MOST_CHANGES
        if not complete:
            self._events.emit(
                "changes_cut_off",
                "extract",
                f"QuickBooks' list of changes doesn't reach from {since:%Y-%m-%d %H:%M} UTC to now "
                f"({changed.rows:,} changes listed; at most {MOST_CHANGES:,}, of 30 days): "
                "what was deleted is looked for by counts",
                level="info",
            )
        deleted = {record.id: record.deleted_at for record in changed.deleted}
        return Listed(await self.mark_deleted(deleted), complete)

    async def note_changed(self) -> None:
        """Notes which days another hand has changed where no trigger looks, while no row of this run hides it."""
        await self._session.do(lambda c: Seals(c, self._request.entity, self._settings.raw_schema).note_changed())

    async def mark_deleted(self, gone: Mapping[str, datetime | None]) -> int:
        """Marks rows that QuickBooks has no more, and since when; the payload stays. How many it marked."""
        query = statement("mark_deleted", **self._table)
        names = self._table["raw_schema"], self._table["table"]
        return int(await self._session.do(lambda c: c.fetchval(query, list(gone), list(gone.values()), *names)))

    @property
    def _asks_for_changes(self) -> bool:
        entity = self._request.entity
        return entity.in_cdc and entity.leaves not in ("stays", "superseded")

    async def reconcile(self, run_id: int, as_of: datetime, *, listed: bool = True) -> Reconciled:
        """The counts of the range, and the records that differ where these do. Raises as the client does.

        `as_of`: QuickBooks' clock when the run began. An edit since, or just before, is the next run's.

        A record in quarantine that can't be left out of the counts may hide one that was merged away, which no list of
        changes tells: all is compared then. So may a row that another hand has deleted: the days that it has changed
        are compared, and are the run's own again where they are equal. `listed`: change data capture has told what was
        deleted; an entity that it hasn't is compared where it is a page anyway.
        """
        verified, since = self.count_as_of(as_of), as_of - SETTLING
        if verified is None:
            return Reconciled(0, 0, Compared(), 0)
        seals = Seals(await self._session.live(), self._request.entity, self._settings.raw_schema)
        filter_field = self._request.filter_field
        changed = [seal for seal in await seals.changed_by_others() if seal.concerns(verified, filter_field)]
        days = [Task(CREATED, window) for window in windows_to_read(changed, MOST_ROWS)]
        undated = any(seal.day <= UNDATED for seal in changed)
        for look in range(MOST_LOOKS):
            counts = await self.counts(verified)
            in_one_page = not self._asks_for_changes and max(counts.at_source, counts.in_raw) < MOST_ROWS
            # What no counts could place is looked for record by record in the end.
            whole = undated or look == MOST_LOOKS - 1 or await self.counts_can_hide() or (not listed and in_one_page)
            tasks = [] if whole else [*await self.differing(verified, counts), *days]
            if whole or costs_as_much_as_all(tasks, counts):
                tasks = [Task(self.field, verified)] if counts.at_source or counts.in_raw else []
                # Only the whole day, by CreateTime, says that none of its records is missing.
                tasks += days if self.field != CREATED else []
            compared, clean = await self.compare(tasks, verified, since)
            counts = await self.without_superseded(verified, counts, compared)
            result = await self.balance(verified, counts, compared)
            if result.whole:
                break
        equal = [seal for seal in changed if seal.day > UNDATED and not gaps(seal.window, clean)]
        if undated and result.whole and not compared.findings and await self.holds_all(counts.at_source, as_of):
            equal += [seal for seal in changed if seal.day <= UNDATED]
        await seals.confirm(run_id, await seals.confirmable(equal, verified, filter_field))
        return result

    async def resolve_gone(self, asked: datetime) -> None:
        """Closes the entries in quarantine of records that QuickBooks has no more: they would stand for ever."""
        ids = sorted(filter(can_be_asked_for, await self._quarantined()))
        if not ids or await self._by_id.all_there(ids):
            return
        looked_up = await self._look_up(ids, self._request.window)
        gone = [i for i in ids if i not in looked_up.records and i not in looked_up.unserved]
        key = self._settings.realm_id, self._request.entity.name
        await self._session.do(lambda c: c.execute(statement("resolve_gone"), *key, gone, asked))

    async def gone_lately(self) -> Lately:
        """The range's rows in raw that are too young for the counts, held against QuickBooks one by one.

        What is merged away is in no list of changes, and edited just before it would be in no count. Mostly raw has no
        such rows, and nothing is asked.
        """
        window, since, field = self._request.window, self._counted_at, self._request.filter_field
        assert since is not None, "count_as_of comes first"
        if field != "txn_date":
            if window.end <= since:
                return Lately(0, [])
            beyond = Window(max(window.start, since), window.end)
            rows = await (await self.hours(beyond))(beyond)
            compared, _ = await self.compare([Task(self.field, beyond)] if rows else [], beyond, since)
            return Lately(rows, compared.of("surplus"))
        query = statement("edited_since_in_raw", **self._table)
        edited = await self._session.do(lambda c: c.fetch(query, window.start, window.end, field, since))
        found = await self._look_up([row["id"] for row in edited], window)
        there = found.records.keys() | found.unserved
        gone = [Finding(row["id"], "surplus", row["moment"]) for row in edited if row["id"] not in there]
        return Lately(len(edited), gone)

    async def counts(self, verified: Window) -> Counts:
        """QuickBooks' count of the range and raw's."""
        ids = sorted(filter(can_be_asked_for, await self._quarantined()))
        aside = await self._by_id.inside(ids, verified)
        there = await self._counted_in_raw(verified, aside)
        hours = await self.hours(verified)
        return Counts(await self.count(verified), await hours(verified), aside, there)

    async def differing(self, verified: Window, counts: Counts) -> list[Task]:
        """The windows in which the counts differ."""
        at_source, in_raw = counts.of_others
        if at_source == in_raw:
            return []

        async def count_others(window: Window) -> int:
            return await self.count(window) - await self._by_id.count(counts.aside, window)

        hours = await self.hours(verified, counts.aside)
        places = await differing(verified, at_source, count_others, hours, MOST_ROWS, self.field.granularity)
        return [Task(self.field, place.window) for place in places]

    async def without_superseded(self, verified: Window, counts: Counts, compared: Compared) -> Counts:
        """The counts without what raw keeps of what was in effect on a day, as far as they have it."""
        ids = [finding.id for finding in compared.of("superseded")]
        return counts.without(await self._counted_in_raw(verified, ids)) if ids else counts

    async def balance(self, verified: Window, counts: Counts, compared: Compared) -> Reconciled:
        """The counts, held against each other and against what the findings explain of their difference.

        What stands in quarantine is a finding from here on, whether or not it was met.
        """
        for i in counts.aside:
            if i not in compared.findings:
                compared.add(Finding(i, "quarantined"))

        async def in_raw(findings: Iterable[Finding]) -> int:
            ids = [finding.id for finding in findings]
            return await self._counted_in_raw(verified, ids) if ids else 0

        counted, later = list[Finding](), list[Finding]()
        for finding in compared.of(*COUNTED):
            # Of those that can be asked for, the count has what was asked for.
            aside = finding.kind == "quarantined" and can_be_asked_for(finding.id)
            is_counted = finding.id in counts.aside if aside else finding.counted
            (counted if is_counted else later).append(finding)
        missing = len(counted) - await in_raw(counted)
        difference = counts.at_source - missing - (counts.in_raw - await in_raw(later))
        # An answer that shows these doesn't say that the count has them, too.
        more = await in_raw(compared.of("surplus", "moved", "misplaced", "quarantined", "unread"))
        unexplained, left_over = max(0, difference), max(0, -difference - more)
        return Reconciled(counts.at_source, counts.in_raw, compared, unexplained, left_over)

    async def _counted_in_raw(self, verified: Window, ids: Sequence[str]) -> int:
        query, field = statement("counted_in_raw", **self._table), self._request.filter_field
        values = (verified.start, verified.end, field, list(ids), self._changed_before)
        found = await self._session.do(lambda c: c.fetchval(query, *values))
        return int(found)

    async def holds_all(self, rows: int, as_of: datetime) -> bool:
        """Whether these rows of the range are all that QuickBooks has: records without a CreateTime are in no day."""
        if self._request.filter_field != "last_updated":
            return False
        return await self.count(Window(BEGINNING, as_of + DAY)) == rows

    async def counts_can_hide(self) -> bool:
        """Whether records stand in quarantine that can't be left out of a count."""
        return not all(map(can_be_asked_for, await self._quarantined()))

    async def _quarantined(self) -> list[str | None]:
        """The Ids that stand in quarantine; None for records without one."""
        entity = self._request.entity.name
        rows = await self._session.do(
            lambda c: c.fetch(statement("standing_quarantine"), self._settings.realm_id, entity)
        )
        return [row["record_id"] for row in rows]

    async def compare(
        self,
        tasks: Sequence[Task],
        verified: Window,
        read_until: datetime,
        stopped: Callable[[], str | None] = lambda: None,
    ) -> tuple[Compared, list[Window]]:
        """The windows against raw, several at once; and those of CreateTime of which all was compared and equal."""
        entity = self._request.entity
        quarantined = {i for i in await self._quarantined() if i is not None}
        total, clean = Compared(), list[Window]()
        waiting = list(reversed(tasks))

        async def look_up(ids: Sequence[str]) -> LookedUp:
            return await self._look_up(ids, verified)

        counted_at = self._counted_at
        assert counted_at is not None, "count_as_of comes first"
        changed = await Seals(await self._session.live(), entity, self._settings.raw_schema).changed()
        rows = await self._session.do(
            lambda c: c.fetch(statement("planned_ranges"), self._settings.realm_id, entity.name)
        )
        planned = [(row["filter_field"], Window(row["range_start"], row["range_end"])) for row in rows]

        def is_planned(record: SourceRecord) -> bool:
            for filter_field, window in planned:
                moment = moment_of(record, filter_field)
                if moment is None or window.start <= moment < window.end:
                    return True
            return False

        async def work() -> None:
            connection = await connect(self._settings.warehouse)
            try:
                comparison = Comparison(
                    connection,
                    entity,
                    self._settings.raw_schema,
                    self._request.filter_field,
                    verified,
                    read_until,
                    counted_at,
                    quarantined,
                    changed,
                    look_up,
                    is_planned,
                )
                while waiting and not stopped():
                    task = waiting.pop()
                    reader = WindowReader(self._client, entity, self._events)
                    try:
                        pages = reader.pages(task.field, task.window.start, task.window.end)
                        part = await comparison.window(task.field.name, task.window, pages)
                    finally:
                        self._spent.add(reader.spent.take())
                    total.include(part)
                    if task.field == CREATED and not part.outside and not part.findings and not part.unreadable:
                        clean.append(task.window)
            finally:
                await connection.close(timeout=5)

        workers = [asyncio.ensure_future(work()) for _ in range(min(self._request.concurrency, len(tasks)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        if stopped():
            raise IncompleteError(f"{stopped()} before all was compared; run the same again")
        return total, clean

    async def count(self, window: Window) -> int:
        """QuickBooks' COUNT(*) of a window."""
        with endings(self._settings, planning=True):
            return (await count(self._client, self._query(window), self._spent, PLANNING)).rows

    def _query(self, window: Window) -> Query:
        query = self._query_of(window)
        return query if self._changed_before is None else query.where(LAST_UPDATED.before(self._changed_before))

    @property
    def _changed_before(self) -> datetime | None:
        return self._counted_at if self._request.filter_field == "txn_date" else None

    async def hours(self, window: Window, without: Sequence[str] = ()) -> CountsByHour:
        """Raw's rows of a window, by the hour."""
        query, field = statement("hours_in_raw", **self._table), self._request.filter_field
        values = (window.start, window.end, field, list(without), self._changed_before)
        rows = await self._session.do(lambda c: c.fetch(query, *values))
        return CountsByHour((row["hour"], row["rows"]) for row in rows)

    async def misplaced(self, verified: Window, compared: Compared) -> list[tuple[str, str]]:
        """Rows whose window is wrong, added to the differences unless these name them already.

        Without what QuickBooks lists no more, and nobody can read again.
        """
        rows = await self._session.do(
            lambda c: c.fetch(
                statement("misplaced_in_raw", **self._table),
                self._request.entity.name,
                verified.start,
                verified.end,
                self._request.filter_field,
                self._settings.realm_id,
            )
        )
        told = {finding.id: finding.kind for finding in compared.findings.values()}
        for row in rows:
            if told.get(row["id"], "renamed") == "renamed":
                compared.add(Finding(row["id"], "misplaced", row["moment"], row["reason"]))
        return [(row["id"], row["reason"]) for row in rows if told.get(row["id"]) != "superseded"]

    async def _look_up(self, ids: Sequence[str], verified: Window) -> LookedUp:
        """What QuickBooks has now of these Ids, whatever their dates."""
        records, unserved = await self._by_id.records(ids)
        # What can't be asked for can't be placed either.
        inside = {i for i in unserved if not can_be_asked_for(i)}
        inside.update(await self._by_id.inside(sorted(unserved - inside), verified))
        return LookedUp(records, frozenset(unserved), frozenset(inside))
