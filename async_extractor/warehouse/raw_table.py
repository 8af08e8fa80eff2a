"""A page's rows into one table of raw: what raw has already is left out, new Ids are copied, the rest is merged.

Records whose Id raw doesn't have yet have nothing to be merged with, so they are copied straight into raw, which saves
a first load its staging. Those that raw has byte by byte, by their digests, aren't sent at all.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import asyncpg

from async_extractor.errors import ConfigurationError
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.failures import refuses_the_data, told
from async_extractor.warehouse.statements import statement

if TYPE_CHECKING:
    from typing_extensions import Buffer

# A record's id, payload, last_updated_utc, sync_token, created_utc, txn_date, digest,
# totals, and its place in the page.
Row = tuple[
    str, "Buffer", "datetime | None", int, "datetime | None", "date | None", "bytes | None", "bytes | None", int
]
_READ = ("id", "payload", "last_updated_utc", "sync_token", "created_utc", "txn_date", "digest", "totals")
STAGED = (*_READ, "line")
_DIGEST = _READ.index("digest")
_RAW_COLUMNS = (
    *_READ,
    "extract_window_start_utc",
    "extract_window_end_utc",
    "page_number",
    "page_size",
    "request_payload",
    "run_id",
)

# So many records on a page, all refused for the same reason, are the table's fault.
FAULT_OF_ALL = 5
# But for \u0000, which jsonb has no place for: that is the records', however many have it.
_NUL = "Postgres 22P05"


class TableRefusalError(ConfigurationError):
    """The table refuses all records: by a constraint, a column or a trigger that isn't this program's."""


@dataclass(frozen=True)
class Refused:
    """Something that raw can't hold, for the quarantine. `record` is None where Intuit couldn't send it."""

    record_id: str | None
    reason: str
    record: bytes | None


@dataclass(frozen=True)
class PageToLoad:
    """A page as the warehouse takes it. `request_payload` is JSON; the window is what raw's rows will say.

    `read_at` is QuickBooks' clock at the answer, for a record that was marked deleted before.
    """

    number: int
    size: int
    window_start: datetime
    window_end: datetime
    request_payload: bytes
    read_at: datetime
    rows: Sequence[Row]
    refused: Sequence[Refused] = ()
    tid: str = ""


@dataclass(frozen=True)
class Loaded:
    """What a page's transaction did. `read` counts distinct Ids."""

    read: int = 0
    inserted: int = 0
    updated: int = 0
    quarantined: int = 0
    copy_seconds: float = 0.0
    merge_seconds: float = 0.0

    @property
    def unchanged(self) -> int:
        return self.read - self.inserted - self.updated


class RawTable:
    """One entity's table in a company's schema."""

    def __init__(self, table: str, raw_schema: str) -> None:
        self.name = table
        self.schema = raw_schema

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"

    async def load(self, connection: Connection, page: PageToLoad, run_id: int, *, straight: bool) -> Loaded:
        """The page's rows, in the transaction that the connection is in. What Postgres refuses is raised.

        `straight`: new Ids are copied into raw without being merged, which another session's may refuse.
        """
        new, rest = await self._sort(connection, page.rows) if straight else ([], page.rows)
        unchanged = len(page.rows) - len(new) - len(rest)
        copied = await self._copy_straight(connection, page, run_id, new)
        merged = await self._merge(connection, page, run_id, rest)
        return replace(
            merged,
            read=merged.read + len(new) + unchanged,
            inserted=merged.inserted + len(new),
            copy_seconds=merged.copy_seconds + copied,
        )

    async def _sort(self, connection: Connection, rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """The rows that have nothing to be merged with, since raw hasn't their Id, and those that have.

        Left out is what raw has already. An Id that the page has twice is merged: its newest version counts. The new
        ones in order of Id, so that two sessions with the same ones wait for each other instead of deadlocking.
        """
        if not rows:
            return [], []
        query = statement("known_in_raw", table=self.name, raw_schema=self.schema)
        times = Counter(row[0] for row in rows)
        known = {row["id"]: tuple(row)[1:] for row in await connection.fetch(query, list(times))}
        new, rest = list[Row](), list[Row]()
        for row in rows:
            there = known.get(row[0])
            if times[row[0]] == 1 and there is None:
                new.append(row)
            elif times[row[0]] > 1 or row[_DIGEST] is None or there != (row[_DIGEST], row[2], row[3]):
                rest.append(row)
        return sorted(new, key=itemgetter(0)), rest

    async def _copy_straight(self, connection: Connection, page: PageToLoad, run_id: int, rows: Sequence[Row]) -> float:
        """New rows by COPY into raw, which refuses an Id that another session has brought meanwhile. Seconds."""
        if not rows:
            return 0.0
        began = time.perf_counter()
        same = (page.window_start, page.window_end, page.number, page.size, page.request_payload, run_id)
        await connection.copy_records_to_table(
            self.name,
            schema_name=self.schema,
            records=[row[:-1] + same for row in rows],
            columns=_RAW_COLUMNS,
        )
        return time.perf_counter() - began

    async def _merge(self, connection: Connection, page: PageToLoad, run_id: int, rows: Sequence[Row]) -> Loaded:
        """Rows through staging into raw, the newest version of each Id."""
        if not rows:
            return Loaded()
        began = time.perf_counter()
        await connection.copy_records_to_table("staging", schema_name="pg_temp", records=rows, columns=STAGED)
        copied = time.perf_counter() - began
        counts = await connection.fetchrow(
            statement("merge_page", table=self.name, raw_schema=self.schema),
            page.window_start,
            page.window_end,
            page.number,
            page.size,
            page.request_payload,
            run_id,
            page.read_at,
        )
        if counts["altered"]:
            await connection.execute(statement("tell_altered"), run_id, counts["altered"])
        return Loaded(counts["read"], counts["inserted"], counts["updated"], copy_seconds=copied)

    async def find_refused(self, connection: Connection, page: PageToLoad, run_id: int) -> list[tuple[Row, str]]:
        """The page's rows that Postgres refuses, and why. TableRefusalError where that is no record's fault.

        A record's fault is one that the others on its page don't have; what all have is the table's.
        """
        spoilt = [(row, "it is not UTF-8") for row in page.rows if not _is_utf8(row[1])]
        others = [row for row in page.rows if _is_utf8(row[1])]
        refused = await self._refused_of(connection, page, run_id, others)
        reasons = {reason for _, reason in refused}
        if len(refused) == len(others) >= FAULT_OF_ALL and len(reasons) == 1 and not min(reasons).startswith(_NUL):
            raise TableRefusalError(f"{self} refuses each of {len(refused)} records: {reasons.pop()}")
        return [*spoilt, *refused]

    async def _refused_of(
        self, connection: Connection, page: PageToLoad, run_id: int, rows: list[Row]
    ) -> list[tuple[Row, str]]:
        """By halves, each half tried for real and rolled back."""
        transaction = connection.transaction()
        await transaction.start()
        try:
            await self._merge(connection, page, run_id, rows)
            return []
        except Exception as error:
            if not refuses_the_data(error):
                raise
            if isinstance(error, asyncpg.IntegrityConstraintViolationError):
                raise TableRefusalError(f"{self} refuses what it is to hold: {told(error)}") from None
            if len(rows) == 1:
                return [(rows[0], told(error))]
        finally:
            if not connection.is_closed():
                await transaction.rollback()
        middle = len(rows) // 2
        return [
            *await self._refused_of(connection, page, run_id, rows[:middle]),
            *await self._refused_of(connection, page, run_id, rows[middle:]),
        ]


def rows_of(records: Sequence[Any]) -> list[Row]:
    """Records, as `qbo/split.py` makes them, as rows of staging."""
    return [
        (r.id, r.raw, r.last_updated, r.sync_token, r.created, r.txn_date, digest_of(r.raw), r.totals, line)
        for line, r in enumerate(records)
    ]


def _is_utf8(raw: Buffer) -> bool:
    try:
        bytes(raw).decode()
    except UnicodeDecodeError:
        return False
    return True


def digest_of(raw: Buffer) -> bytes:
    """What tells a record's bytes from all others."""
    return hashlib.sha256(raw).digest()[:16]
