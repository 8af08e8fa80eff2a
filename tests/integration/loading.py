"""A warehouse in which workers hold chunks, and pages to be loaded into it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import asyncpg

from async_extractor.events import Event, Events
from async_extractor.warehouse.connection import Address, connect
from async_extractor.warehouse.ledger import Ledger, Plan, Series
from async_extractor.warehouse.loader import WorkerSession
from async_extractor.warehouse.raw_table import Loaded, PageToLoad, Row, digest_of
from async_extractor.warehouse.schema import bring_up_to_date
from async_extractor.warehouse.session import Session
from async_extractor.warehouse.statements import statement
from async_extractor.windows import Window

REALM = "4620816365000007770"
START = datetime(2024, 1, 1, tzinfo=timezone.utc)
WINDOW = Window(START, START + timedelta(days=30))
READ_AT = START + timedelta(days=60)


CREATED, TXN_DATE = START - timedelta(days=3), START.date() - timedelta(days=4)
TOTALS = b'{"TotalAmt":639.00}'


def row(record_id: str, *, day: int = 1, sync_token: int = 0, payload: bytes = b'{"Id":"1"}', line: int = 0) -> Row:
    updated = START + timedelta(days=day)
    return (record_id, payload, updated, sync_token, CREATED, TXN_DATE, digest_of(payload), TOTALS, line)


def page(*rows: Row, number: int = 1) -> PageToLoad:
    return PageToLoad(number, 1000, WINDOW.start, WINDOW.end, b'{"query":"SELECT * FROM Item"}', READ_AT, list(rows))


@dataclass
class Warehouse:
    """A migrated database with a run of two chunks, a worker's session for each, and what these tell."""

    watcher: asyncpg.Connection
    workers: list[WorkerSession]
    run_id: int
    told: list[Event]

    async def raw(self) -> dict[str, tuple[str, int]]:
        found = await self.watcher.fetch("SELECT id, payload::text, sync_token FROM raw.qb_items ORDER BY id")
        return {r["id"]: (r["payload"], r["sync_token"]) for r in found}

    async def mark_deleted(self, deleted: Sequence[tuple[str, datetime | None]]) -> int:
        """Marks records (Id, when) as change data capture lists them; how many were not marked before."""
        query, (ids, moments) = (
            statement("mark_deleted", table="qb_items", raw_schema="raw"),
            zip(*deleted, strict=True),
        )
        return int(await self.watcher.fetchval(query, ids, moments, "raw", "qb_items"))

    async def attempts(self, name: str) -> int:
        return int(await self.watcher.fetchval(f"SELECT sum({name}) FROM ops.attempts"))


@contextlib.asynccontextmanager
async def open_warehouse(database: Any) -> AsyncIterator[Warehouse]:
    address = Address(database.host, database.port, database.dbname, database.user, database.password)
    owner = await connect(address)
    await bring_up_to_date(owner)
    series = Series(REALM, "items", "last_updated")
    ledger = Ledger(Session(address, Events(), connection=owner))
    run_id = await ledger.insert_run(series, "resume", WINDOW, "auto", 2, {})
    middle = START + timedelta(days=15)
    plan = Plan(
        pieces=[(Window(START, middle), None), (Window(middle, WINDOW.end), None)],
        adopted=[],
        superseded=[],
        as_of=WINDOW.end,
        edits_from=WINDOW.end,
        deletions_from=None,
        catch_up_from=None,
        source_count=None,
    )
    await ledger.write_plan(run_id, series, WINDOW, plan)
    told: list[Event] = []
    workers = [WorkerSession(address, "qb_items", "raw", REALM, "items", Events([told.append])) for _ in range(2)]
    for worker in workers:
        assert await worker.claim(run_id) is not None
    watcher = await asyncpg.connect(database.dsn)
    try:
        yield Warehouse(watcher, workers, run_id, told)
    finally:
        for ended in (*workers, owner, watcher):
            await ended.close()


async def staged(warehouse: Warehouse) -> int:
    """How many rows were ever inserted into any session's staging, by Postgres' own count."""
    await asyncio.gather(
        *(worker._session.do(lambda c: c.execute("SELECT pg_stat_force_next_flush()")) for worker in warehouse.workers)
    )
    return int(
        await warehouse.watcher.fetchval(
            "SELECT coalesce(sum(n_tup_ins), 0) FROM pg_stat_all_tables WHERE relname = 'staging'"
        )
    )


async def blocked(warehouse: Warehouse, loading: asyncio.Future[Loaded], *others: asyncio.Future[Loaded]) -> None:
    """Returns when each of them waits for somebody's lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    while await warehouse.watcher.fetchval(waiting) < 1 + len(others):
        assert not any(one.done() for one in (loading, *others)), "it waited for nobody"
        await asyncio.sleep(0.02)


async def insert_as_another(warehouse: Warehouse, record_id: str, sync_token: int) -> None:
    """A record named "theirs", as another worker brings it; in the watcher's own transaction where it has one."""
    await warehouse.watcher.execute("SET qbo_backfill.writes = on")
    await warehouse.watcher.execute(
        """INSERT INTO raw.qb_items (id, payload, extract_window_start_utc, extract_window_end_utc, page_number,
                                     page_size, request_payload, last_updated_utc, sync_token, run_id, digest)
           VALUES ($1, '{"Name": "theirs"}', $2, $2, 1, 1, '{"query": ""}', $3, $4, 1, 'theirs')""",
        record_id, START, START + timedelta(days=1), sync_token,
    )  # fmt: skip
