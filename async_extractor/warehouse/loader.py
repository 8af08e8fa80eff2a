"""A worker's session: the chunk that it holds, and its pages on their way into raw.

Each page is one transaction: COPY into a temporary table, INSERT ... ON CONFLICT into raw, the
quarantine, and the attempt's metrics. Records whose Id raw doesn't have yet have nothing to be merged
with, so they are copied straight into raw, which saves a first load its staging. Those that raw has byte by byte, by
their digests, aren't sent at all. A kill loses at most a
page, and what is counted is what arrived. The transaction doesn't wait for the disk (synchronous_commit
off); marking the chunk done does, and flushes everything before it.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from operator import itemgetter
from typing import Any

import asyncpg

from async_extractor.errors import ConfigurationError
from async_extractor.events import Events
from async_extractor.printable import printable
from async_extractor.warehouse.connection import Address, Connection, refuses_the_data, told
from async_extractor.warehouse.ledger import Chunk, wait_for_chunk
from async_extractor.warehouse.session import Session
from async_extractor.warehouse.statements import statement

# A record's id, payload, last_updated_utc, sync_token, created_utc, txn_date, digest, and its place in the page.
Row = tuple[str, bytes, "datetime | None", int, "datetime | None", "date | None", "bytes | None", int]
_READ = ("id", "payload", "last_updated_utc", "sync_token", "created_utc", "txn_date", "digest")
STAGED = (*_READ, "line")
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

# Seconds to wait for the lock of a chunk that was ours when the connection was lost.
OWN_LOCK_SECONDS = 3
# Seconds between two looks for a chunk to wait for.
WAIT_AT_LEAST = 1.0


class TableRefusalError(ConfigurationError):
    """The table refuses all records: by a constraint, a column or a trigger that isn't this program's."""


class LostChunk(Exception):  # noqa: N818 - not an error: somebody else has the chunk now
    """Another worker has taken the chunk over; nothing more may be written for it."""


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


@dataclass(frozen=True)
class Cost:
    """What reading has cost since the last page, as `ops.attempts` counts it.

    Wait, fetch and split are what the worker stood still for; `overlapped_seconds` is the rest of them, which went on
    while the page before was loaded.
    """

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes_read: int = 0
    wait_seconds: float = 0.0
    fetch_seconds: float = 0.0
    split_seconds: float = 0.0
    overlapped_seconds: float = 0.0


class WorkerSession:
    """One worker's connection to the warehouse. It holds at most one chunk, by an advisory lock.

    A lost connection is opened again and the lock taken again; where another worker has the chunk by
    then, `LostChunk` is raised.
    """

    def __init__(
        self, address: Address, table: str, raw_schema: str, realm_id: str, entity: str, events: Events
    ) -> None:
        self.table = table
        self.raw_schema = raw_schema
        self.realm_id = realm_id
        self.entity = entity
        self.events = events
        self._chunk: Chunk | None = None
        self._session = Session(address, events, prepare=self._prepare)

    async def close(self) -> None:
        """Ends the connection; a chunk that is still held is free with it."""
        await self._session.close()

    async def claim(self, run_id: int) -> Chunk | None:
        """Begins the run's next free chunk, or None when none is free now."""
        if self._chunk is not None:
            raise RuntimeError("a session holds one chunk at a time")
        row = await self._session.do(lambda c: c.fetchrow(statement("claim_chunk"), run_id))
        if row is None:
            return None
        return self._begun(row, run_id)

    async def take_over(self, holder: Chunk, cut: datetime, before: int, run_id: int, seconds: float) -> Chunk | None:
        """Begins the part from `cut` on of a window that another session of this process reads, as a chunk of its own.

        `before`: how many of the window's rows lie before the cut; `seconds`: how long the part has been asked for.
        None where the window has been read meanwhile, or somebody plans.
        """
        values = (holder.chunk_id, holder.attempt, cut, before, run_id, timedelta(seconds=seconds))
        try:
            row = await self._session.do(lambda c: c.fetchrow(statement("take_over"), *values))
        except asyncpg.UniqueViolationError:
            return None  # another plan has one of the two windows
        return None if row is None else self._begun(row, run_id)

    def _begun(self, row: Any, run_id: int) -> Chunk:
        names = (
            "chunk_id",
            "attempt",
            "kind",
            "window_start",
            "window_end",
            "range_start",
            "range_end",
            "expected_rows",
        )
        self._chunk = Chunk(run_id=run_id, **{name: row[name] for name in names})
        return self._chunk

    async def wait_for_others(self, run_id: int, ours: Sequence[int]) -> bool:
        """Waits until a chunk of this run that another living session holds is finished or its holder is dead.

        False, at once, when no other session holds one. Two waits are a second apart at least.
        """
        began = time.monotonic()

        async def wait(connection: Connection) -> bool:
            other = await connection.fetchval(statement("chunk_in_other_hands"), run_id, list(ours))
            if other is None:
                return False
            await wait_for_chunk(connection, other)
            await connection.execute(statement("release_chunk_lock"), other)
            return True

        waited = await self._session.do(wait)
        if waited:
            await asyncio.sleep(max(0.0, began + WAIT_AT_LEAST - time.monotonic()))
        return waited

    async def load(self, page: PageToLoad, cost: Cost) -> Loaded:
        """One page into raw, with what it cost. `LostChunk` when the chunk is another's by now."""
        chunk = self._held()
        try:
            return await self._session.do(lambda c: self._load(c, chunk, page, cost))
        except Exception as error:
            if not refuses_the_data(error):
                raise
        # A value that Postgres refuses, or an Id that another session has brought meanwhile: the merge knows.
        refused = await self._session.do(lambda c: self._find_refused(c, chunk, page, list(page.rows)))
        self._raise_table_fault(refused, len(page.rows))
        lines = {row[-1] for row, _ in refused}
        cleaned = replace(
            page,
            rows=[row for row in page.rows if row[-1] not in lines],
            refused=[*page.refused, *(Refused(row[0], reason, row[1]) for row, reason in refused)],
        )
        return await self._session.do(lambda c: self._load(c, chunk, cleaned, cost, straight=False))

    async def finish(
        self,
        outcome: str,
        cost: Cost,
        *,
        error: str | None = None,
        tid: str = "",
        window_end: datetime | None = None,
    ) -> None:
        """Ends the chunk: `done`, `failed`, or `released` (back to planned, to be resumed)."""
        chunk = self._held()
        status = {"done": "done", "failed": "failed", "released": "planned"}[outcome]

        async def end(connection: Connection) -> None:
            async with connection.transaction():
                await self._add(connection, chunk, 0, Loaded(), cost)
                await connection.execute(statement("finish_attempt"), chunk.chunk_id, chunk.attempt, outcome, error)
                marked = await connection.fetchval(
                    statement("mark_chunk"),
                    chunk.chunk_id,
                    chunk.attempt,
                    status,
                    error,
                    tid or None,
                    window_end,
                )
                # It may have been marked before a connection was lost; another's attempt is not ours to end.
                if marked is None and await connection.fetchval(statement("attempt_of_chunk"), chunk.chunk_id) != (
                    chunk.attempt
                ):
                    raise LostChunk(f"{chunk} is another worker's")
                if outcome == "done":
                    # With it the ledger says what is known now.
                    known = "know_edits" if chunk.kind == "catch_up" else "resolve_not_met"
                    await connection.execute(statement(known), chunk.chunk_id)
            await connection.execute(statement("release_chunk_lock"), chunk.chunk_id)

        await self._session.do(end)
        self._chunk = None

    def drop(self) -> None:
        """Forgets a chunk that was lost; closing the session frees whatever it still holds."""
        self._chunk = None

    def _held(self) -> Chunk:
        if self._chunk is None:
            raise RuntimeError("no chunk is held")
        return self._chunk

    async def _load(
        self, connection: Connection, chunk: Chunk, page: PageToLoad, cost: Cost, *, straight: bool = True
    ) -> Loaded:
        began = time.perf_counter()
        async with connection.transaction():
            await connection.execute("SET LOCAL synchronous_commit = off")
            await self._own(connection, chunk)
            new, rest = await self._sort(connection, page.rows) if straight else ([], page.rows)
            unchanged = len(page.rows) - len(new) - len(rest)
            copied = await self._copy_straight(connection, chunk, page, new)
            merged = await self._merge(connection, chunk, page, rest)
            copied += merged.copy_seconds
            merged = replace(merged, read=merged.read + len(new) + unchanged, inserted=merged.inserted + len(new))
            quarantined = 0
            for refused in page.refused:
                tag = await connection.execute(
                    statement("quarantine_record"),
                    self.realm_id,
                    self.entity,
                    None if refused.record_id is None else printable(refused.record_id, 100),
                    printable(refused.reason, 1_000),
                    refused.record,
                    chunk.chunk_id,
                    chunk.run_id,
                    page.number,
                    page.request_payload,
                    printable(page.tid, 100) or None,
                )
                quarantined += int(tag.rpartition(" ")[2])
            arrived = [row[0] for row in page.rows]
            ours = (chunk.chunk_id, chunk.attempt)
            await connection.execute(statement("resolve_arrived"), self.realm_id, self.entity, arrived, *ours)
            loaded = replace(merged, quarantined=len(page.refused), copy_seconds=copied)
            # The commit itself is missing from this figure; without waiting for the disk it is microseconds.
            loaded = replace(loaded, merge_seconds=time.perf_counter() - began - copied)
            await self._add(connection, chunk, 1, loaded, cost)
        for refused in page.refused:
            self.events.emit(
                "quarantined",
                "load",
                f"record {refused.record_id or 'without Id'} set aside: {refused.reason}",
                level="warning",
                chunk_id=chunk.chunk_id,
                record_id=refused.record_id,
                new=bool(quarantined),
            )
        return loaded

    async def _sort(self, connection: Connection, rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
        """The rows that have nothing to be merged with, since raw hasn't their Id, and those that have.

        Left out is what raw has already. An Id that the page has twice is merged: its newest version counts. The new
        ones in order of Id, so that two sessions with the same ones wait for each other instead of deadlocking.
        """
        if not rows:
            return [], []
        query = statement("known_in_raw", table=self.table, raw_schema=self.raw_schema)
        times = Counter(row[0] for row in rows)
        found = await connection.fetchrow(query, list(times))
        known = dict(zip(found["ids"], found["digests"], strict=True))
        new, rest = list[Row](), list[Row]()
        for row in rows:
            if times[row[0]] > 1 or (row[0] in known and (row[6] is None or known[row[0]] != row[6])):
                rest.append(row)
            elif row[0] not in known:
                new.append(row)
        return sorted(new, key=itemgetter(0)), rest

    async def _copy_straight(
        self, connection: Connection, chunk: Chunk, page: PageToLoad, rows: Sequence[Row]
    ) -> float:
        """New rows by COPY into raw, which refuses an Id that another session has brought meanwhile. Seconds."""
        if not rows:
            return 0.0
        began = time.perf_counter()
        same = (page.window_start, page.window_end, page.number, page.size, page.request_payload, chunk.run_id)
        await connection.copy_records_to_table(
            self.table,
            schema_name=self.raw_schema,
            records=[row[:-1] + same for row in rows],
            columns=_RAW_COLUMNS,
        )
        return time.perf_counter() - began

    async def _merge(self, connection: Connection, chunk: Chunk, page: PageToLoad, rows: Sequence[Row]) -> Loaded:
        """Rows through staging into raw, the newest version of each Id."""
        if not rows:
            return Loaded()
        began = time.perf_counter()
        await connection.copy_records_to_table("staging", schema_name="pg_temp", records=rows, columns=STAGED)
        copied = time.perf_counter() - began
        counts = await connection.fetchrow(
            statement("merge_page", table=self.table, raw_schema=self.raw_schema),
            page.window_start,
            page.window_end,
            page.number,
            page.size,
            page.request_payload,
            chunk.run_id,
            page.read_at,
        )
        if counts["altered"]:
            await connection.execute(statement("tell_altered"), chunk.run_id, counts["altered"])
        return Loaded(counts["read"], counts["inserted"], counts["updated"], copy_seconds=copied)

    async def _find_refused(
        self, connection: Connection, chunk: Chunk, page: PageToLoad, rows: list[Row]
    ) -> list[tuple[Row, str]]:
        """The rows that Postgres refuses, by halves, each half tried for real and rolled back."""
        transaction = connection.transaction()
        await transaction.start()
        try:
            await self._merge(connection, chunk, page, rows)
            return []
        except Exception as error:
            if not refuses_the_data(error):
                raise
            if isinstance(error, asyncpg.IntegrityConstraintViolationError):
                raise TableRefusalError(
                    f"{self.raw_schema}.{self.table} refuses what it is to hold: {told(error)}"
                ) from None
            if len(rows) == 1:
                return [(rows[0], told(error))]
        finally:
            if not connection.is_closed():
                await transaction.rollback()
        middle = len(rows) // 2
        return [
            *await self._find_refused(connection, chunk, page, rows[:middle]),
            *await self._find_refused(connection, chunk, page, rows[middle:]),
        ]

    def _raise_table_fault(self, refused: Sequence[tuple[Row, str]], rows: int) -> None:
        """A record's fault is one that the others on its page don't have; what all have is the table's."""
        reasons = {reason for _, reason in refused}
        if len(refused) == rows >= FAULT_OF_ALL and len(reasons) == 1:
            raise TableRefusalError(f"{self.raw_schema}.{self.table} refuses each of {rows} records: {reasons.pop()}")

    async def _own(self, connection: Connection, chunk: Chunk) -> None:
        if await connection.fetchval(statement("own_chunk"), chunk.chunk_id, chunk.attempt) is None:
            raise LostChunk(str(chunk))

    async def _add(self, connection: Connection, chunk: Chunk, pages: int, loaded: Loaded, cost: Cost) -> None:
        await connection.execute(
            statement("add_to_attempt"),
            chunk.chunk_id,
            chunk.attempt,
            pages,
            cost.requests,
            cost.retries,
            cost.throttled,
            loaded.read,
            loaded.inserted,
            loaded.updated,
            loaded.unchanged,
            loaded.quarantined,
            cost.bytes_read,
            cost.wait_seconds,
            cost.fetch_seconds,
            cost.split_seconds,
            loaded.copy_seconds,
            loaded.merge_seconds,
            cost.overlapped_seconds,
        )

    async def _prepare(self, connection: Connection) -> None:
        for name in ("create_staging", "keep_staging_plain"):
            await connection.execute(statement(name))
        if self._chunk is None:
            return
        # Our own last session may not have ended yet on the server; somebody else's lasts longer.
        await connection.execute(f"SET lock_timeout = '{OWN_LOCK_SECONDS}s'")
        try:
            await connection.execute(statement("hold_chunk"), self._chunk.chunk_id)
        except asyncpg.LockNotAvailableError:
            raise LostChunk(str(self._chunk)) from None
        await connection.execute("SET lock_timeout = 0")


def rows_of(records: Sequence[Any]) -> list[Row]:
    """Records, as `qbo/split.py` makes them, as rows of staging."""
    return [
        (r.id, r.raw, r.last_updated, r.sync_token, r.created, r.txn_date, digest_of(r.raw), line)
        for line, r in enumerate(records)
    ]


def digest_of(raw: bytes) -> bytes:
    """What tells a record's bytes from all others."""
    return hashlib.sha256(raw).digest()[:16]
