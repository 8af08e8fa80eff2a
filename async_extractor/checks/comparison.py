"""QuickBooks' records held against raw's rows, one by one, by the database: Ids that are missing, surplus, altered."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Literal, Protocol

import asyncpg

from async_extractor.entities import Entity
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.failures import refuses_the_data
from async_extractor.warehouse.raw_table import STAGED, rows_of
from async_extractor.warehouse.statements import statement
from async_extractor.windows import DAY, SETTLING, UTC, Window

FindingKind = Literal[
    "missing",
    "outdated",
    "unheld",
    "unmoved",
    "altered",
    "renamed",
    "surplus",
    "misplaced",
    "quarantined",
    "unread",
    "moved",
    "superseded",
]

# What each means, in the order of how much it matters.
KINDS: dict[FindingKind, str] = {
    "missing": "QuickBooks has it, raw doesn't",
    "outdated": "raw has an older version, though the newer one was there when the range was read",
    "unheld": "QuickBooks has a version that raw can't hold, and no run has set it aside",
    "unmoved": "QuickBooks has a newer version with the same LastUpdatedTime, which no window or catch-up shows",
    "renamed": "names inside its references differ, which QuickBooks fills in when it answers, without a new version",
    "altered": "raw has other contents under the same version, or a version that QuickBooks never had",
    "surplus": "raw has it, QuickBooks doesn't: deleted there, or never there",
    "misplaced": "its window in raw can't be the one that it was read in",
    "quarantined": "QuickBooks has it, raw can't hold it: it is in quarantine",
    "unread": "created or edited at QuickBooks since the range was read",
    "superseded": "QuickBooks lists it no more, and raw keeps it: what was in effect on a day",
    "moved": "edited at QuickBooks since it was read, and out of the range by that; raw has the version before",
}

# What a repair reads again. A surplus one is marked deleted; one in quarantine or moved is left.
READ_AGAIN: frozenset[FindingKind] = frozenset(
    ("missing", "outdated", "unheld", "unmoved", "altered", "misplaced", "unread")
)
# What makes raw wrong; the others are worth knowing.
WRONG: frozenset[FindingKind] = frozenset(
    ("missing", "outdated", "unheld", "unmoved", "altered", "surplus", "misplaced")
)


class SourceRecord(Protocol):
    """What a comparison needs of a record of QuickBooks."""

    @property
    def id(self) -> str: ...
    @property
    def sync_token(self) -> int: ...
    @property
    def last_updated(self) -> datetime | None: ...
    @property
    def created(self) -> datetime | None: ...
    @property
    def txn_date(self) -> date | None: ...


class SourcePage(Protocol):
    """A page of them. `records` are also what `rows_of` takes."""

    @property
    def records(self) -> Sequence[Any]: ...
    @property
    def server_time(self) -> datetime | None: ...
    @property
    def unreadable(self) -> Sequence[Any]: ...
    @property
    def poisoned(self) -> Sequence[Any]: ...


@dataclass(frozen=True)
class LookedUp:
    """Records that QuickBooks has of the Ids asked for, and the Ids that it has but can't serve, or nobody can read.

    `inside`: those of the latter that are in the verified range.
    """

    records: dict[str, Any]
    unserved: frozenset[str] = frozenset()
    inside: frozenset[str] = frozenset()


LookUp = Callable[[Sequence[str]], Awaitable[LookedUp]]
# Whether raw should have this version of a record: a run has read a range that it is in, or is about to.
Planned = Callable[[SourceRecord], bool]


@dataclass(frozen=True)
class Finding:
    """One Id that differs. `moment` is its date at QuickBooks by the filter field, where it has one there.

    `place`: the window of the filter field in which it was met, where nothing tells its date. `counted`: whether
    QuickBooks' count has it, which is as of when the range was read.
    """

    id: str
    kind: FindingKind
    moment: datetime | None = None
    reason: str = ""
    place: Window | None = None
    counted: bool = True


@dataclass
class Compared:
    """What a comparison came to: QuickBooks gave `rows` records, and `unreadable` ones that no Id can name.

    `outside` counts records and rows of the windows that are not in the verified range, and that raw has otherwise than
    QuickBooks though a run has read them, or that nobody can read. `refused` are the records that Postgres refuses, by
    Id.
    """

    rows: int = 0
    unreadable: int = 0
    outside: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)
    refused: dict[str, SourceRecord] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        """Of two of an Id, met as a record and as a row that lies elsewhere, the one that matters more stays."""
        told = self.findings.get(finding.id)
        if told is None or _rank(finding) <= _rank(told):
            self.findings[finding.id] = finding

    def include(self, other: Compared) -> None:
        self.rows += other.rows
        self.unreadable += other.unreadable
        self.outside += other.outside
        for finding in other.findings.values():
            self.add(finding)

    def of(self, *kinds: FindingKind) -> list[Finding]:
        """Those of these kinds, in the order of their Ids."""
        found = [finding for finding in self.findings.values() if finding.kind in kinds]
        return sorted(found, key=lambda finding: (len(finding.id), finding.id))


def _rank(finding: Finding) -> tuple[bool, int, timedelta]:
    """Lower matters more. What is known to lie in a day is more than that it lies somewhere in a window."""
    width = timedelta(0) if finding.place is None else finding.place.end - finding.place.start
    return finding.kind not in WRONG, list(KINDS).index(finding.kind), width


def moment_of(record: SourceRecord, filter_field: str) -> datetime | None:
    """The record's date that a filter field is about, as a UTC instant."""
    if filter_field == "last_updated":
        return record.last_updated
    if filter_field == "created":
        return record.created
    day = record.txn_date
    return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)


class Comparison:
    """Compares windows of one entity, through one connection that nobody else uses.

    `read_until` and `counted_at` are QuickBooks' clock: what was edited since the one needn't be in raw, what is
    younger than the other is in no count. `changed`: the days of CreateTime that another hand has changed.
    """

    def __init__(
        self,
        connection: Connection,
        entity: Entity,
        raw_schema: str,
        filter_field: str,
        verified: Window,
        read_until: datetime,
        counted_at: datetime,
        quarantined: Collection[str],
        changed: Collection[date],
        look_up: LookUp,
        planned: Planned,
    ) -> None:
        self._connection = connection
        self._entity = entity
        self._table = {"table": entity.table, "raw_schema": raw_schema}
        self._filter_field = filter_field
        self._verified = verified
        self._read_until = read_until
        self._counted_at = counted_at
        self._quarantined = quarantined
        self._changed = changed
        self._look_up = look_up
        self._planned = planned

    async def window(self, field_name: str, window: Window, pages: AsyncIterable[SourcePage]) -> Compared:
        """The pages of a window of `field_name` against the rows of raw. Only what is in the verified range counts."""
        compared = Compared()
        elsewhere = set[str]()
        await self._connection.execute(statement("create_staging"))
        await self._connection.execute(statement("create_seen"))
        await self._connection.execute(statement("forget_seen"))
        async for page in pages:
            for bad in (*page.unreadable, *page.poisoned):
                if bad.id is None:
                    compared.unreadable += 1
                elif bad.id in self._quarantined:
                    compared.add(Finding(bad.id, "quarantined"))
                elif field_name == self._filter_field:
                    compared.add(Finding(bad.id, "unheld", place=window))
                else:
                    elsewhere.add(bad.id)
            if page.records:
                await self._page(page, compared)
        rows = await self._connection.fetch(
            statement("unseen_in_raw", **self._table), field_name, window.start, window.end, self._filter_field
        )
        inside = [row for row in rows if self._is_verified(row["moment"])]
        compared.outside += len(rows) - len(inside)
        await self._explain(inside, compared)
        if elsewhere:
            # Met by another date than the range's, which may not hold them.
            looked_up = await self._look_up(sorted(elsewhere))
            found = {i for i, r in looked_up.records.items() if self._is_verified(moment_of(r, self._filter_field))}
            found |= looked_up.inside & elsewhere
            for record_id in found:
                compared.add(Finding(record_id, "unheld", place=self._verified))
            compared.outside += len(elsewhere - found)
        return compared

    async def _page(self, page: SourcePage, compared: Compared) -> None:
        different = await self._different(list(page.records), page.server_time, compared)
        by_id = {record.id: record for record in page.records}
        verified = {i for i, record in by_id.items() if self._is_verified(moment_of(record, self._filter_field))}
        compared.rows += len(verified)
        for row in different:
            record = by_id[row["id"]]
            if row["id"] in verified:
                kind: FindingKind = "missing" if row["kind"] == "undeleted" else row["kind"]
                compared.add(self._finding(record, kind, page.server_time, held=True))
            elif row["changed"] or row["kind"] not in ("missing", "outdated") or self._planned(record):
                compared.outside += 1

    async def _different(self, records: list[Any], now: datetime | None, compared: Compared) -> list[Any]:
        """The records that raw hasn't, or has otherwise. Those that Postgres refuses are found by halves."""
        try:
            async with self._connection.transaction():
                await self._connection.copy_records_to_table(
                    "staging",
                    schema_name="pg_temp",
                    records=rows_of(records),
                    columns=STAGED,
                )
                await self._connection.execute(statement("remember_seen"))
                return list(await self._connection.fetch(statement("compare_page", **self._table)))
        except asyncpg.PostgresError as error:
            if not refuses_the_data(error):
                raise
        if len(records) == 1:
            record = records[0]
            compared.refused[record.id] = record
            if self._is_verified(moment_of(record, self._filter_field)):
                there = await self._connection.fetch(statement("known_in_raw", **self._table), [record.id])
                compared.add(self._finding(record, "unheld", now, absent=not there))
            else:
                compared.outside += 1
            return []
        middle = len(records) // 2
        return [
            *await self._different(records[:middle], now, compared),
            *await self._different(records[middle:], now, compared),
        ]

    def _finding(
        self,
        record: SourceRecord,
        kind: FindingKind,
        now: datetime | None = None,
        *,
        held: bool = False,
        absent: bool = False,
    ) -> Finding:
        """The record's finding; `now` is QuickBooks' clock at its answer.

        `held`: Postgres has just taken it, so that no entry in quarantine explains why raw lacks it. `absent`: raw has
        no version of it, as it has none of what is missing.
        """
        moment, updated = moment_of(record, self._filter_field), record.last_updated
        if kind in ("outdated", "unheld") and not held and record.id in self._quarantined:
            kind = "quarantined"
        elif kind in ("missing", "outdated", "unmoved", "unheld") and updated is not None:
            # What is dated ahead of all clocks may have been there for long. What was created before, raw has had: an
            # edit explains an older version, and not that there is none. By TxnDate it may have been moved in, unless
            # another hand has been there.
            ahead = now is not None and updated > now + SETTLING
            created = record.created
            lost = (absent or kind == "missing") and created is not None and created < self._read_until - SETTLING
            if self._filter_field == "txn_date":
                lost = lost and created is not None and created.astimezone(UTC).date() in self._changed
            if updated >= self._read_until and not ahead and not lost:
                kind = "unread"
        return Finding(record.id, kind, moment, counted=self._is_counted(record))

    def _keep(self, row: Any, record: SourceRecord, compared: Compared) -> None:
        """A row of raw whose record Postgres refuses now: no repair can mend it, so none is to change it."""
        moment = moment_of(record, self._filter_field)
        newer = _is_newer(record, row["last_updated_utc"], row["sync_token"])
        if newer and self._is_verified(moment):
            compared.add(self._finding(record, "unheld"))
            return
        kind: FindingKind = "quarantined" if record.id in self._quarantined else "moved" if newer else "unheld"
        compared.add(Finding(record.id, kind, moment or row["moment"], counted=self._is_counted(record)))

    async def _explain(self, rows: Sequence[Any], compared: Compared) -> None:
        """Rows of raw that QuickBooks didn't give for the window: deleted there, edited since, or wrong here."""
        ids = [row["id"] for row in rows if row["id"] not in compared.findings and row["id"] not in compared.refused]
        superseded = self._entity.leaves == "superseded"
        looked_up = LookedUp({}) if superseded or not ids else await self._look_up(ids)
        tried = Compared(refused=compared.refused)
        if looked_up.records:
            await self._different(list(looked_up.records.values()), None, tried)
        for row in rows:
            record = looked_up.records.get(row["id"])
            if row["id"] in tried.refused:
                self._keep(row, tried.refused[row["id"]], compared)
            elif row["id"] in compared.findings:
                continue  # QuickBooks gave it for the window, and nobody can read it
            elif superseded:
                compared.add(Finding(row["id"], "superseded", row["moment"]))
            elif row["id"] in looked_up.unserved:
                compared.add(self._unserved(row, row["id"] in looked_up.inside))
            elif record is None:
                compared.add(Finding(row["id"], "surplus", row["moment"]))
            elif not _is_newer(record, row["last_updated_utc"], row["sync_token"]):
                moment = moment_of(record, self._filter_field)
                counted = self._is_verified(moment) and self._is_counted(record)
                compared.add(Finding(row["id"], "altered", moment, counted=counted))
            elif self._is_verified(moment_of(record, self._filter_field)):
                compared.add(self._finding(record, "outdated"))
            else:
                compared.add(Finding(row["id"], "moved", moment_of(record, self._filter_field)))

    def _unserved(self, row: Any, inside: bool) -> Finding:
        """A row whose record can't be had. Where in the range it is, the window tells in which it is met."""
        if row["id"] in self._quarantined:
            return Finding(row["id"], "quarantined", row["moment"])
        if inside:
            return Finding(row["id"], "unheld", place=self._verified)
        return Finding(row["id"], "moved", row["moment"])

    def _is_counted(self, record: SourceRecord) -> bool:
        """Whether it is old enough for the counts. To a TxnDate records come at any time: it goes by their edits."""
        by = "last_updated" if self._filter_field == "txn_date" else self._filter_field
        moment = moment_of(record, by)
        return moment is None or moment < self._counted_at

    def _is_verified(self, moment: datetime | None) -> bool:
        return moment is not None and self._verified.start <= moment < self._verified.end


def _is_newer(record: SourceRecord, last_updated: datetime | None, sync_token: int) -> bool:
    """As `ops.is_newer` says."""
    never = datetime.min.replace(tzinfo=UTC)
    risen = record.sync_token > sync_token and record.last_updated is not None
    return risen or (record.last_updated or never, record.sync_token) > (last_updated or never, sync_token)


def days_to_read(findings: Iterable[Finding], verified: Window) -> list[Window]:
    """The whole UTC days of the findings that a repair reads again, neighbours as one window.

    Of a day that the verified range cuts, its part inside. A finding whose date is outside the range
    gets its day all the same: raw put it into the range. One without a date gets the window in which it was met.
    """
    findings = [finding for finding in findings if finding.kind in READ_AGAIN]
    days = sorted(
        {
            finding.moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            for finding in findings
            if finding.moment is not None
        }
    )
    windows: list[Window] = []
    for day in days:
        inside = Window(max(day, verified.start), min(day + DAY, verified.end)) if _meets(day, verified) else None
        window = inside or Window(day, day + DAY)
        if windows and windows[-1].end == window.start:
            window = Window(windows.pop().start, window.end)
        windows.append(window)
    return windows + [f.place for f in findings if f.moment is None and f.place is not None]


def _meets(day: datetime, verified: Window) -> bool:
    return day < verified.end and verified.start < day + DAY
