"""A worker's session: the chunk that it holds, and its pages on their way into raw.

Each page is one transaction: its rows (raw_table.py), the quarantine, and the attempt's metrics. A kill loses at most
a page, and what is counted is what arrived. The transaction doesn't wait for the disk (synchronous_commit off); marking
the chunk done does, and flushes everything before it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from async_extractor.events import Events
from async_extractor.printable import printable
from async_extractor.warehouse.connection import Address, Connection
from async_extractor.warehouse.failures import refuses_the_data
from async_extractor.warehouse.ledger import Chunk, wait_for_chunk
from async_extractor.warehouse.raw_table import Loaded, PageToLoad, RawTable, Refused
from async_extractor.warehouse.session import Session
from async_extractor.warehouse.statements import statement

# Seconds to wait for the lock of a chunk that was ours when the connection was lost.
OWN_LOCK_SECONDS = 3
# Seconds between two looks for a chunk to wait for.
WAIT_AT_LEAST = 1.0


class LostChunk(Exception):  # noqa: N818 - not an error: somebody else has the chunk now
    """Another worker has taken the chunk over; nothing more may be written for it."""


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
        self._table = RawTable(table, raw_schema)
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

        True, too, when one is free by now. False, at once, when none is left but ours. Two waits are a second apart at
        least.
        """
        began = time.monotonic()

        async def wait(connection: Connection) -> bool:
            other = await connection.fetchrow(statement("chunk_in_other_hands"), run_id, list(ours))
            if other is None:
                return False
            if other["is_held"]:
                await wait_for_chunk(connection, other["chunk_id"])
                await connection.execute(statement("release_chunk_lock"), other["chunk_id"])
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
        refused = await self._session.do(lambda c: self._table.find_refused(c, page, chunk.run_id))
        lines = {row[-1] for row, _ in refused}
        cleaned = replace(
            page,
            rows=[row for row in page.rows if row[-1] not in lines],
            refused=[*page.refused, *(Refused(row[0], reason, bytes(row[1])) for row, reason in refused)],
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
            merged = await self._table.load(connection, page, chunk.run_id, straight=straight)
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
            # Of an Id that came in two versions, one of them refused, nobody knows which one counts: the entry stands.
            aside = {refused.record_id for refused in page.refused}
            arrived = [row[0] for row in page.rows if row[0] not in aside]
            ours = (chunk.chunk_id, chunk.attempt)
            await connection.execute(statement("resolve_arrived"), self.realm_id, self.entity, arrived, *ours)
            loaded = replace(merged, quarantined=len(page.refused))
            # The commit itself is missing from this figure; without waiting for the disk it is microseconds.
            loaded = replace(loaded, merge_seconds=time.perf_counter() - began - loaded.copy_seconds)
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
