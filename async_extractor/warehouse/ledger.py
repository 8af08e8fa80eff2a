"""The ledger of runs and chunks. State changes are named statements of `sql/statements/`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import asyncpg

from async_extractor.errors import IncompleteError
from async_extractor.profile_option import with_profile
from async_extractor.warehouse.connection import Connection, holders
from async_extractor.warehouse.session import Session
from async_extractor.warehouse.statements import statement
from async_extractor.windows import Window

# So long another run's planning is waited for: it takes seconds, and minutes where QuickBooks is slow.
PLANNING_SECONDS = 600
# So often it is looked whether another run's chunk grows, and so long it may stand still.
SLICE_SECONDS = 60
STANDSTILL_SECONDS = 1800

ChunkKind = Literal["window", "catch_up"]

# Why a run was closed that nobody works on any more.
GONE = "its process is gone; `qbo-backfill resume` goes on where it stopped"


@dataclass(frozen=True)
class Series:
    """Whose chunks: a company's entity, by one of its dates. Chunks of different series don't meet."""

    realm_id: str
    entity: str
    filter_field: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.realm_id, self.entity, self.filter_field


@dataclass(frozen=True)
class Chunk:
    """A chunk that this session has begun. A catch-up chunk has no end until it is done."""

    chunk_id: int
    attempt: int
    run_id: int
    kind: ChunkKind
    window_start: datetime
    window_end: datetime | None
    range_start: datetime
    range_end: datetime
    expected_rows: int | None

    def __str__(self) -> str:
        end = f"{self.window_end:%Y-%m-%d %H:%M}" if self.window_end else "now"
        kind = "catch-up" if self.kind == "catch_up" else "chunk"
        return f"{kind} {self.chunk_id} [{self.window_start:%Y-%m-%d %H:%M}, {end}) UTC"


@dataclass(frozen=True)
class KnownChunk:
    """A window of the ledger that touches a range; `held`: a living worker has it now. `expected_rows` as planned."""

    chunk_id: int
    window: Window
    status: str
    held: bool
    expected_rows: int | None


@dataclass(frozen=True)
class Owed:
    """Moments of QuickBooks' clock since when edits and deletions of a range are owed; None where none are."""

    edits: datetime | None
    deletions: datetime | None


@dataclass(frozen=True)
class Plan:
    """What a run sets out to do, as the ledger takes it.

    `pieces` are new windows, each with QuickBooks' COUNT(*) (None: not asked; 0: done without a read); `adopted` and
    `superseded` are chunks by number. Moments are of QuickBooks' clock: `as_of` when the run began, `edits_from` and
    `deletions_from` since when these are owed for the new windows, `catch_up_from` where the catch-up begins.
    """

    pieces: Sequence[tuple[Window, int | None]]
    adopted: Sequence[int]
    superseded: Sequence[int]
    as_of: datetime
    edits_from: datetime
    deletions_from: datetime | None
    catch_up_from: datetime | None
    source_count: int | None


class Ledger:
    """Runs and chunks, through a session that isn't shared with a worker."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def _execute(self, name: str, *values: object) -> None:
        await self._session.do(lambda connection: connection.execute(statement(name), *values))

    async def _row(self, name: str, *values: object) -> Any:
        return await self._session.do(lambda connection: connection.fetchrow(statement(name), *values))

    async def _rows(self, name: str, *values: object) -> Any:
        return await self._session.do(lambda connection: connection.fetch(statement(name), *values))

    async def _value(self, name: str, *values: object) -> Any:
        return await self._session.do(lambda connection: connection.fetchval(statement(name), *values))

    async def claim_schema(self, raw_schema: str, realm_id: str, environment: str) -> list[tuple[str, str, str]]:
        """Takes the schema for the company unless one of them is taken; then (schema, company, environment) of both."""
        await self._execute("claim_schema", raw_schema, realm_id, environment)
        return [tuple(row) for row in await self._rows("companies", raw_schema, realm_id)]

    async def insert_run(
        self,
        series: Series,
        mode: str,
        window: Window,
        chunk: str,
        concurrency: int,
        settings: dict[str, Any],
    ) -> int:
        """A new run, which this process works on; its number."""
        run_id = int(
            await self._value(
                "insert_run",
                *series.key,
                mode,
                window.start,
                window.end,
                chunk,
                concurrency,
                json.dumps(settings).encode(),
            )
        )
        await self.enter_run(run_id)
        return run_id

    async def lock_planning(self, series: Series) -> None:
        """Waits until nobody else plans this company's entity; IncompleteError says who does when that takes long."""

        async def lock(connection: Connection) -> None:
            await connection.execute(f"SET lock_timeout = '{PLANNING_SECONDS}s'")
            try:
                await connection.execute(statement("lock_planning"), series.realm_id, series.entity)
            except asyncpg.LockNotAvailableError:
                number = await connection.fetchval("SELECT hashtext($1)", f"{series.realm_id}/{series.entity}")
                raise IncompleteError(
                    f"another session has been planning {series.entity} for {PLANNING_SECONDS} s "
                    f"({await holders(connection, 'ops.planning', number)}); run the same again when it is done"
                ) from None
            finally:
                if not connection.is_closed():
                    await connection.execute("SET lock_timeout = 0")

        await self._session.do(lock)

    async def unlock_planning(self, series: Series) -> None:
        query = statement("unlock_planning")
        await self._session.give_back(lambda c: c.execute(query, series.realm_id, series.entity))

    async def chunks_in(self, series: Series, window: Window) -> list[KnownChunk]:
        rows = await self._rows("chunks_in_range", *series.key, window.start, window.end)
        return [
            KnownChunk(
                r["chunk_id"], Window(r["window_start"], r["window_end"]), r["status"], r["held"], r["expected_rows"]
            )
            for r in rows
        ]

    async def owed_since(self, series: Series, window: Window, present: datetime) -> Owed:
        """From when on edits and deletions are owed for what the ledger has of a range, now by QuickBooks' clock."""
        row = await self._row("owed_since", *series.key, window.start, window.end, present)
        return Owed(row["edits"], row["deletions"])

    async def write_plan(self, run_id: int, series: Series, window: Window, plan: Plan) -> int:
        """The plan in one transaction: all of it or nothing. Returns how many chunks are to be done."""

        async def write(connection: Connection) -> int:
            async with connection.transaction():
                await connection.execute(statement("supersede_chunks"), list(plan.superseded))
                await connection.execute(statement("supersede_catch_ups"), *series.key)
                await connection.execute(statement("replan_failed"), list(plan.adopted))
                inserted = await connection.fetch(
                    statement("insert_windows"),
                    *series.key,
                    [piece.start for piece, _ in plan.pieces],
                    [piece.end for piece, _ in plan.pieces],
                    [rows for _, rows in plan.pieces],
                    window.start,
                    window.end,
                    plan.edits_from,
                    plan.deletions_from,
                )
                chunks = [*plan.adopted, *(row["chunk_id"] for row in inserted)]
                if plan.catch_up_from is not None:
                    chunks.append(
                        await connection.fetchval(
                            statement("insert_catch_up"),
                            *series.key,
                            plan.catch_up_from,
                            window.start,
                            window.end,
                            plan.as_of,
                        )
                    )
                await connection.execute(statement("adopt_chunks"), run_id, chunks)
                await connection.execute(statement("record_plan"), run_id, plan.as_of, plan.source_count)
            return len(chunks)

        return await self._session.do(write)

    async def record_clock(self, run_id: int, as_of: datetime) -> None:
        """The run's beginning by QuickBooks' clock, for a run without a plan."""
        await self._execute("record_plan", run_id, as_of, None)

    async def enter_run(self, run_id: int) -> None:
        """This process works on the run from now on: as long as the session is connected, and again when it is anew."""

        async def enter(connection: Connection) -> None:
            await connection.execute(statement("enter_run"), run_id)

        await self._session.stand_for(enter)

    async def include_of_run(self, run_id: int) -> str:
        """Intuit's `include` parameter that the run reads with; `none` where it sends none."""
        return str(await self._value("include_of_run", run_id))

    async def include_of(self, series: Series) -> str | None:
        """What the entity's rows in raw are read with; None before its first run."""
        found = await self._value("include_of_entity", series.realm_id, series.entity)
        return None if found is None else str(found)

    async def open_run(self, series: Series) -> int | None:
        """A run of the entity that somebody works on."""
        found = await self._value("open_run", series.realm_id, series.entity)
        return None if found is None else int(found)

    async def reopen_entity(self, series: Series, why: str) -> None:
        """All of the entity's windows, by whichever date, are to be read again, by the next run of each."""
        await self._execute("reopen_entity", series.realm_id, series.entity, why)

    async def leave_run(self, run_id: int) -> None:
        """This process has done its stage."""
        await self._execute("leave_run", run_id)

    async def close_gone_runs(self, realm_id: str) -> list[int]:
        """Closes the company's runs whose process is gone; their numbers."""
        rows = await self._rows("close_gone_runs", realm_id, with_profile(GONE))
        return [row["run_id"] for row in rows]

    async def deletions_owed(self, run_id: int) -> tuple[datetime, datetime, datetime, datetime]:
        """From when on deletions are to be asked for, the run's beginning, and now, all by QuickBooks' clock; and now,
        by Postgres' clock."""
        row = await self._row("deletions_owed", run_id)
        return row["since"], row["as_of"], row["now"], row["asked"]

    async def know_deletions(self, run_id: int, since: datetime, asked: datetime, *, whole: bool) -> None:
        """Deletions since a moment are marked: of the whole entity, or only of the run's range.

        Only for windows that were done by then: `asked` is when they were asked for, by Postgres' clock.
        """
        await self._execute("know_deletions", run_id, since, whole, asked)

    async def reopen(self, series: Series, moments: Sequence[datetime]) -> None:
        """The windows of these moments are to be read again, by the next run."""
        await self._execute("reopen_windows", *series.key, list(moments))

    async def owed(self, run_id: int) -> list[tuple[str, str]]:
        """What is missing for the run to be done: (unread, edits, deletions or checks; a sentence)."""
        return [tuple(row) for row in await self._rows("owed", run_id)]

    async def complete_run(self, run_id: int) -> None:
        """Closes the run: done when nothing is owed, else incomplete with what is."""
        await self._execute("complete_run", run_id)

    async def add_requests(self, run_id: int, sent: int, retried: int, throttled: int) -> None:
        await self._execute("add_run_requests", run_id, sent, retried, throttled)

    async def finish_run(self, run_id: int, status: str, error: str | None) -> None:
        await self._execute("finish_run", run_id, status, error)

    async def later_run(self, run_id: int) -> int | None:
        """An open run of the same range that was begun after this one."""
        found = await self._value("later_run", run_id)
        return None if found is None else int(found)

    async def run(self, run_id: int) -> dict[str, Any]:
        return dict(await self._row("select_run", run_id))

    async def metrics(self, run_id: int) -> dict[str, Any]:
        """The run's row of ops.run_metrics: what was asked, how it ended, and every total."""
        return dict(await self._row("run_metrics", run_id))

    async def totals(self, run_id: int) -> dict[str, int]:
        """Sums over the run's attempts: read, inserted, updated, unchanged, quarantined, pages, bytes, requests."""
        return dict(await self._row("run_totals", run_id))

    async def chunk_counts(self, run_id: int) -> dict[str, int]:
        """planned, done, failed."""
        return dict(await self._row("run_chunk_counts", run_id))

    async def chunk_table(self, run_id: int) -> list[dict[str, Any]]:
        return [dict(row) for row in await self._rows("run_chunk_table", run_id)]

    async def validations(self, run_id: int) -> list[dict[str, Any]]:
        return [dict(row) for row in await self._rows("validations_of", run_id)]


async def wait_for_chunk(connection: Connection, chunk_id: int) -> None:
    """Takes a chunk's lock when its holder lets go; IncompleteError names the holder that doesn't get on for long."""
    await connection.execute(f"SET lock_timeout = '{SLICE_SECONDS}s'")
    pages, since = None, time.monotonic()
    try:
        while True:
            try:
                await connection.execute(statement("wait_for_chunk"), chunk_id)
                return
            except asyncpg.LockNotAvailableError:
                now = await connection.fetchrow(statement("pages_of_chunk"), chunk_id)
                if now != pages:
                    pages, since = now, time.monotonic()
                elif time.monotonic() - since > STANDSTILL_SECONDS:
                    raise IncompleteError(
                        f"chunk {chunk_id} is held by another session, and hasn't grown for "
                        f"{STANDSTILL_SECONDS // 60} minutes ({await holders(connection, 'ops.chunks', chunk_id)}); "
                        "end that session, or run the same again later"
                    ) from None
    finally:
        if not connection.is_closed():
            await connection.execute("SET lock_timeout = 0")
