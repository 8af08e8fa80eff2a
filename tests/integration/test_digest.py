"""A row's digest: what raw has byte by byte isn't sent again, and whoever changes the row takes its digest away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from async_extractor.warehouse.loader import Cost
from async_extractor.warehouse.raw_table import digest_of
from async_extractor.warehouse.schema import bring_up_to_date
from tests.conftest import Database
from tests.integration.loading import READ_AT, Warehouse, open_warehouse, page, row, staged
from tests.integration.test_upgrade import MADE_BY_0_1_0

RECORD = b'{"Id":"1","TotalAmt":639.00,"Name":"as it was read"}'


@pytest.fixture
async def warehouse(database: Any) -> AsyncIterator[Warehouse]:
    async with open_warehouse(database) as opened:
        yield opened


async def digest(warehouse: Warehouse) -> Any:
    return await warehouse.watcher.fetchrow("SELECT digest, created_utc, txn_date, totals FROM raw.qb_items")


async def test_a_record_that_raw_has_is_not_sent_again(warehouse: Warehouse) -> None:
    worker = warehouse.workers[0]
    await worker.load(page(row("1", payload=RECORD), row("2")), Cost())
    before = await warehouse.watcher.fetch("SELECT xmin::text, * FROM raw.qb_items ORDER BY id")
    loaded = await worker.load(page(row("1", payload=RECORD), row("2"), number=2), Cost())
    assert (loaded.read, loaded.unchanged, await staged(warehouse)) == (2, 2, 0)
    assert await warehouse.watcher.fetch("SELECT xmin::text, * FROM raw.qb_items ORDER BY id") == before


async def test_another_order_of_keys_is_compared_and_changes_nothing(warehouse: Warehouse) -> None:
    """Nothing rests on the order of Intuit's keys: by the payload it is the same record."""
    worker = warehouse.workers[0]
    await worker.load(page(row("1", payload=b'{"Id":"1","Name":"a"}')), Cost())
    loaded = await worker.load(page(row("1", payload=b'{"Name":"a","Id":"1"}')), Cost())
    assert (loaded.read, loaded.unchanged, await staged(warehouse)) == (1, 1, 1)
    assert (await digest(warehouse))["digest"] == digest_of(b'{"Id":"1","Name":"a"}')


async def test_a_record_without_a_digest_is_compared(warehouse: Warehouse) -> None:
    """Two that aren't known are never taken for the same."""
    worker = warehouse.workers[0]
    without = [(*row("1", payload=payload)[:6], None, None, 0) for payload in (RECORD, b'{"Name":"other"}')]
    for each in without:
        await worker.load(page(each), Cost())
    assert (await warehouse.raw())["1"][0] == '{"Name": "other"}'


HANDS = {
    "payload": """payload = payload || '{"Name": "by hand"}'""",
    "another scale of a number": """payload = payload || '{"TotalAmt": 639.0}'""",
    "SyncToken": "sync_token = 7",
    "LastUpdatedTime": "last_updated_utc = last_updated_utc - interval '1 day'",
    "no LastUpdatedTime": "last_updated_utc = NULL",
    "CreateTime": "created_utc = created_utc + interval '1 day'",
    "TxnDate": "txn_date = NULL",
    "totals": """totals = '{"TotalAmt": 0}'""",
    "Id": "id = '9'",
}


@pytest.mark.parametrize("change", HANDS.values(), ids=HANDS)
async def test_another_hand_takes_the_digest_away(warehouse: Warehouse, change: str) -> None:
    worker = warehouse.workers[0]
    await worker.load(page(row("1", payload=RECORD)), Cost())
    await warehouse.watcher.execute(f"UPDATE raw.qb_items SET {change}")
    assert tuple(await digest(warehouse)) == (None, None, None, None)


async def test_the_next_reading_mends_what_another_hand_has_changed(warehouse: Warehouse) -> None:
    worker = warehouse.workers[0]
    await worker.load(page(row("1", payload=RECORD)), Cost())
    before = await digest(warehouse)
    await warehouse.watcher.execute("UPDATE raw.qb_items SET " + HANDS["another scale of a number"])
    assert (await worker.load(page(row("1", payload=RECORD)), Cost())).updated == 1
    assert "639.00" in (await warehouse.raw())["1"][0]
    assert await digest(warehouse) == before


BRINGS = {
    "put back": "INSERT INTO raw.qb_items SELECT * FROM kept",
    "put over it": """INSERT INTO raw.qb_items SELECT * FROM kept
                      ON CONFLICT (id) DO UPDATE SET payload = excluded.payload, digest = excluded.digest""",
}


@pytest.mark.parametrize("how", BRINGS)
async def test_a_row_that_another_hand_brings_has_no_digest(warehouse: Warehouse, how: str) -> None:
    """As a dump that somebody has edited does, with the digest that the row had."""
    worker = warehouse.workers[0]
    await worker.load(page(row("1", payload=RECORD)), Cost())
    await warehouse.watcher.execute(
        """CREATE TEMPORARY TABLE kept AS SELECT * FROM raw.qb_items;
           UPDATE kept SET payload = payload || '{"Name": "edited"}', digest = sha256('x')"""
    )
    if how == "put back":
        await warehouse.watcher.execute("DELETE FROM raw.qb_items")
    await warehouse.watcher.execute(BRINGS[how])
    assert tuple(await digest(warehouse)) == (None, None, None, None)
    assert (await worker.load(page(row("1", payload=RECORD)), Cost())).updated == 1
    assert "as it was read" in (await warehouse.raw())["1"][0]


@pytest.mark.parametrize("created", ["infinity", "-infinity", "20000-01-01", "2020-01-01"])
async def test_columns_that_another_hand_brings_without_a_digest(warehouse: Warehouse, created: str) -> None:
    await warehouse.watcher.execute(
        f"""INSERT INTO raw.qb_items (id, payload, extract_window_start_utc, extract_window_end_utc, page_number,
                                      page_size, request_payload, run_id, created_utc)
            SELECT '7', '{{"Id":"7"}}', now(), now(), 1, 1, '{{"query":{{}}}}', 1, '{created}'"""
    )
    assert tuple(await digest(warehouse)) == (None, None, None, None)


async def test_who_may_insert_and_not_update_can_bring_a_row(warehouse: Warehouse) -> None:
    await warehouse.watcher.execute(
        """CREATE ROLE only_inserts; GRANT USAGE ON SCHEMA raw TO only_inserts;
           GRANT INSERT ON raw.qb_items TO only_inserts; SET ROLE only_inserts;
           INSERT INTO raw.qb_items (id, payload, extract_window_start_utc, extract_window_end_utc, page_number,
                                     page_size, request_payload, sync_token, run_id, digest)
           SELECT '7', '{"Id":"7"}', now(), now(), 1, 1, '{"method":"GET","path":"/","query":{}}', 0, 1, '\\x00';
           RESET ROLE; DROP OWNED BY only_inserts; DROP ROLE only_inserts"""
    )
    assert tuple(await digest(warehouse)) == (None, None, None, None)


async def test_an_unchanged_record_that_was_marked_deleted_is_alive_again(warehouse: Warehouse) -> None:
    worker = warehouse.workers[0]
    await worker.load(page(row("1", payload=RECORD)), Cost())
    await warehouse.mark_deleted([("1", READ_AT)])
    later = replace(page(row("1", payload=RECORD)), read_at=READ_AT + timedelta(hours=1))
    assert (await worker.load(later, Cost())).updated == 1
    assert await warehouse.watcher.fetchval("SELECT deleted_at_utc IS NULL AND digest IS NOT NULL FROM raw.qb_items")


async def test_a_table_of_0_1_0_gets_the_columns_and_the_trigger(database: Database) -> None:
    """Also one of an entity that nobody asks for now. Its rows have no digest; a look at the schema changes no more."""
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute(MADE_BY_0_1_0)
        rows = await connection.fetch("SELECT id, payload::text FROM raw.qb_items ORDER BY id")
        await connection.execute("ALTER TABLE raw.qb_items RENAME TO qb_bills")
        assert await bring_up_to_date(connection)
        assert await bring_up_to_date(connection) == []
        assert await connection.fetch("SELECT id, payload::text FROM raw.qb_bills ORDER BY id") == rows
        for table in ("qb_bills", "qb_items", "qb_invoices"):
            await connection.execute(f"SELECT created_utc, txn_date, digest, totals FROM raw.{table}")
            assert await connection.fetchval(
                "SELECT count(*) FROM pg_trigger WHERE tgrelid = $1::regclass", f"raw.{table}"
            )
    finally:
        await connection.close()


async def test_todays_table_is_brought_up_to_date_where_the_ledger_is(database: Database) -> None:
    """A warehouse whose numbered files are all applied, with a table of before there was a digest."""
    connection = await asyncpg.connect(database.dsn)
    try:
        await bring_up_to_date(connection)
        await connection.execute("DROP FUNCTION raw.qb_items_changed() CASCADE")
        await connection.execute("ALTER TABLE raw.qb_items DROP created_utc, DROP txn_date, DROP digest, DROP totals")
        await bring_up_to_date(connection)
        await connection.execute("SELECT created_utc, txn_date, digest, totals FROM raw.qb_items")
    finally:
        await connection.close()
