"""QuickBooks' records held against raw's rows, one by one, by the database: Ids that are missing, surplus, altered."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal, Protocol

from async_extractor.entities import Entity
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.loader import rows_of
from async_extractor.warehouse.statements import statement
from async_extractor.windows import DAY, UTC, Window

Kind = Literal["missing", "outdated", "altered", "surplus", "moved", "quarantined", "misplaced"]

KINDS: dict[Kind, str] = {
    "missing": "QuickBooks has it, raw doesn't",
    "outdated": "raw has an older version of it",
    "altered": "raw has the same version of it with other contents, or one that QuickBooks never had",
    "surplus": "raw has it, QuickBooks doesn't",
    "moved": "edited at QuickBooks since it was read, out of the range; raw has the version of before",
    "quarantined": "QuickBooks has it, raw can't hold it: it is in quarantine",
    "misplaced": "its window in raw isn't the one that it was read in",
}

# What a repair reads again; a surplus one is marked deleted, a moved or quarantined one is left.
READ_AGAIN: frozenset[Kind] = frozenset(("missing", "outdated", "altered", "misplaced"))


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
    def unreadable(self) -> Sequence[Any]: ...
    @property
    def poisoned(self) -> Sequence[Any]: ...


LookUp = Callable[[Sequence[str]], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Finding:
    """One Id that differs. `moment` is its date at QuickBooks by the filter field, where it has one there."""

    id: str
    kind: Kind
    moment: datetime | None = None
    reason: str = ""


@dataclass
class Compared:
    """What a comparison came to: QuickBooks gave `rows` records, and `unreadable` ones that no Id can name."""

    rows: int = 0
    unreadable: int = 0
    findings: dict[str, Finding] = field(default_factory=dict)

    def add(self, finding: Finding) -> None:
        self.findings[finding.id] = finding

    def include(self, other: Compared) -> None:
        self.rows += other.rows
        self.unreadable += other.unreadable
        self.findings.update(other.findings)

    def of(self, *kinds: Kind) -> list[Finding]:
        return [finding for finding in self.findings.values() if finding.kind in kinds]


def moment_of(record: SourceRecord, filter_field: str) -> datetime | None:
    """The record's date that a filter field is about, as a UTC instant."""
    if filter_field == "last_updated":
        return record.last_updated
    if filter_field == "created":
        return record.created
    day = record.txn_date
    return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)


class Comparison:
    """Compares windows of one entity, through one connection that nobody else uses."""

    def __init__(
        self,
        connection: Connection,
        entity: Entity,
        raw_schema: str,
        filter_field: str,
        verified: Window,
        quarantined: Collection[str],
        look_up: LookUp,
    ) -> None:
        self._connection = connection
        self._table = {"table": entity.table, "raw_schema": raw_schema}
        self._filter_field = filter_field
        self._verified = verified
        self._quarantined = quarantined
        self._look_up = look_up

    async def window(self, field_name: str, window: Window, pages: AsyncIterable[SourcePage]) -> Compared:
        """The pages of a window of `field_name` against the rows of raw. Only what is in the verified range counts."""
        compared = Compared()
        await self._connection.execute(statement("create_staging"))
        await self._connection.execute(statement("create_seen"))
        await self._connection.execute(statement("forget_seen"))
        async for page in pages:
            compared.unreadable += len(page.unreadable) + len(page.poisoned)
            if page.records:
                await self._page(page, compared)
        rows = await self._connection.fetch(
            statement("unseen_in_raw", **self._table),
            field_name,
            window.start,
            window.end,
            self._filter_field,
            self._verified.start,
            self._verified.end,
        )
        await self._explain(rows, compared)
        return compared

    async def _page(self, page: SourcePage, compared: Compared) -> None:
        async with self._connection.transaction():
            await self._connection.copy_records_to_table(
                "staging",
                records=rows_of(page.records),
                columns=("id", "payload", "last_updated_utc", "sync_token", "line"),
            )
            await self._connection.execute(statement("remember_seen"))
            different = await self._connection.fetch(statement("compare_page", **self._table))
        by_id = {record.id: record for record in page.records}
        compared.rows += len(by_id)
        for row in different:
            moment = moment_of(by_id[row["id"]], self._filter_field)
            if moment is None or not self._verified.start <= moment < self._verified.end:
                continue
            kind: Kind = "missing" if row["kind"] == "undeleted" else row["kind"]
            if kind in ("missing", "outdated") and row["id"] in self._quarantined:
                kind = "quarantined"
            compared.add(Finding(row["id"], kind, moment))

    async def _explain(self, rows: Sequence[Any], compared: Compared) -> None:
        """Rows of raw that QuickBooks didn't give for the window: deleted there, edited since, or wrong here."""
        in_raw = {row["id"]: row for row in rows}
        at_source = await self._look_up(list(in_raw)) if in_raw else {}
        for record_id, row in in_raw.items():
            record = at_source.get(record_id)
            if record is None:
                compared.add(Finding(record_id, "surplus", row["moment"]))
                continue
            moment = moment_of(record, self._filter_field)
            newer = _version(record.last_updated, record.sync_token) > _version(
                row["last_updated_utc"], row["sync_token"]
            )
            inside = moment is not None and self._verified.start <= moment < self._verified.end
            if newer:
                compared.add(Finding(record_id, "outdated" if inside else "moved", moment))
            else:
                compared.add(Finding(record_id, "altered", moment))


def _version(last_updated: datetime | None, sync_token: int) -> tuple[datetime, int]:
    return last_updated or datetime.min.replace(tzinfo=UTC), sync_token


def days_to_read(findings: Iterable[Finding], verified: Window) -> list[Window]:
    """The whole UTC days of the findings that a repair reads again, neighbours as one window.

    Of a day that the verified range cuts, its part inside. A finding whose date is outside the range
    gets its day all the same: raw put it into the range.
    """
    days = sorted(
        {
            finding.moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
            for finding in findings
            if finding.kind in READ_AGAIN and finding.moment is not None
        }
    )
    windows: list[Window] = []
    for day in days:
        inside = Window(max(day, verified.start), min(day + DAY, verified.end)) if _meets(day, verified) else None
        window = inside or Window(day, day + DAY)
        if windows and windows[-1].end == window.start:
            window = Window(windows.pop().start, window.end)
        windows.append(window)
    return windows


def _meets(day: datetime, verified: Window) -> bool:
    return day < verified.end and verified.start < day + DAY
