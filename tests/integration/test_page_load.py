"""A page into raw: what is new goes straight in, what raw knows is merged; either way the newest version stays."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from async_extractor.warehouse.loader import Cost, LostChunk
from tests.integration.loading import (
    CREATED,
    READ_AT,
    START,
    TXN_DATE,
    WINDOW,
    Warehouse,
    blocked,
    insert_as_another,
    open_warehouse,
    page,
    row,
    staged,
)


@pytest.fixture
async def warehouse(database: Any) -> AsyncIterator[Warehouse]:
    async with open_warehouse(database) as opened:
        yield opened


async def test_new_records_go_straight_into_raw_with_all_their_columns(warehouse: Warehouse) -> None:
    loaded = await warehouse.workers[0].load(page(row("1", day=3, sync_token=4, line=0), row("2", line=1)), Cost())
    assert (loaded.read, loaded.inserted, loaded.updated, loaded.unchanged) == (2, 2, 0, 0)
    assert await staged(warehouse) == 0
    found = dict(await warehouse.watcher.fetchrow("SELECT * FROM raw.qb_items WHERE id = '1'"))
    ingested = found.pop("ingested_at_utc")
    assert abs(ingested - datetime.now(timezone.utc)) < timedelta(minutes=5)
    assert found == {
        "id": "1",
        "payload": '{"Id": "1"}',
        "extract_window_start_utc": WINDOW.start,
        "extract_window_end_utc": WINDOW.end,
        "page_number": 1,
        "page_size": 1000,
        "request_payload": '{"query": "SELECT * FROM Item"}',
        "last_updated_utc": START + timedelta(days=3),
        "sync_token": 4,
        "run_id": warehouse.run_id,
        "deleted_at_utc": None,
        "created_utc": CREATED,
        "txn_date": TXN_DATE,
        "digest": hashlib.sha256(b'{"Id":"1"}').digest()[:16],
        "totals": '{"TotalAmt": 639.00}',
    }


async def test_straight_and_merged_rows_are_alike_but_for_their_moment(warehouse: Warehouse) -> None:
    """The same page by both ways; the second has each Id twice, so that it is staged."""
    rows = [row(str(number), day=number, sync_token=number, line=number) for number in range(1, 6)]
    columns = (
        "id, payload::text, extract_window_start_utc, extract_window_end_utc, page_number, page_size, "
        "request_payload::text, last_updated_utc, sync_token, run_id, deleted_at_utc, "
        "created_utc, txn_date, digest, totals::text"
    )
    seen = []
    for given in (rows, [*rows, *rows]):
        loaded = await warehouse.workers[0].load(page(*given), Cost())
        assert (loaded.read, loaded.inserted) == (5, 5)
        seen.append(await warehouse.watcher.fetch(f"SELECT {columns} FROM raw.qb_items ORDER BY id"))
        await warehouse.watcher.execute("TRUNCATE raw.qb_items")
    assert seen[0] == seen[1]
    assert len(seen[0]) == 5


async def test_a_page_of_new_known_changed_and_older_records_is_counted_by_what_became_of_each(
    warehouse: Warehouse,
) -> None:
    worker = warehouse.workers[0]
    await worker.load(page(row("1", sync_token=1), row("2", sync_token=1), row("3", sync_token=5)), Cost())
    mixed = page(
        row("1", sync_token=1),  # known
        row("2", sync_token=2, payload=b'{"Id":"2","Name":"new"}'),  # newer
        row("3", sync_token=4, payload=b'{"Id":"3","Name":"old"}'),  # older
        row("4"),  # new
        number=2,
    )
    loaded = await worker.load(mixed, Cost())
    assert (loaded.read, loaded.inserted, loaded.updated, loaded.unchanged) == (4, 1, 1, 2)
    assert await warehouse.raw() == {
        "1": ('{"Id": "1"}', 1),
        "2": ('{"Id": "2", "Name": "new"}', 2),
        "3": ('{"Id": "1"}', 5),
        "4": ('{"Id": "1"}', 0),
    }
    assert await staged(warehouse) == 2
    assert (await warehouse.attempts("rows_read"), await warehouse.attempts("rows_inserted")) == (7, 4)


@pytest.mark.parametrize("newest_first", [True, False])
async def test_a_new_id_twice_in_a_page_keeps_its_newest_version(warehouse: Warehouse, newest_first: bool) -> None:
    older, newer = row("9", sync_token=1), row("9", sync_token=2, payload=b'{"Id":"9","Name":"newest"}')
    given = [newer, older] if newest_first else [older, newer]
    loaded = await warehouse.workers[0].load(page(*given, row("8")), Cost())
    assert (loaded.read, loaded.inserted) == (2, 2)
    assert (await warehouse.raw())["9"] == ('{"Id": "9", "Name": "newest"}', 2)


@pytest.mark.parametrize(("theirs", "stays"), [(7, "theirs"), (1, "ours")])
async def test_an_id_that_another_session_brings_meanwhile_is_merged_newest_wins(
    warehouse: Warehouse, theirs: int, stays: str
) -> None:
    """The other has inserted it and not committed: our session doesn't see it, tries straight, and waits."""
    other = warehouse.watcher.transaction()
    await other.start()
    await insert_as_another(warehouse, "5", theirs)
    ours = page(row("4"), row("5", sync_token=3, payload=b'{"Name":"ours"}'), row("6"))
    loading = asyncio.ensure_future(warehouse.workers[0].load(ours, Cost()))
    await blocked(warehouse, loading)
    await other.commit()
    loaded = await loading
    assert (loaded.read, loaded.inserted) == (3, 2)
    assert loaded.updated == (1 if stays == "ours" else 0)
    assert sorted(await warehouse.raw()) == ["4", "5", "6"]
    assert (await warehouse.raw())["5"][0] == f'{{"Name": "{stays}"}}'
    assert await warehouse.watcher.fetchval("SELECT count(*) FROM ops.quarantine") == 0


async def test_two_sessions_with_the_same_new_records_at_once_both_succeed(warehouse: Warehouse) -> None:
    rows = [row(str(number), line=number) for number in range(1_000)]
    loaded = await asyncio.gather(
        warehouse.workers[0].load(page(*rows), Cost()), warehouse.workers[1].load(page(*reversed(rows)), Cost())
    )
    assert len(await warehouse.raw()) == 1_000
    assert sorted(one.inserted for one in loaded) == [0, 1_000]
    assert [one.read for one in loaded] == [1_000, 1_000]


async def test_a_new_record_that_postgres_refuses_is_set_aside_and_the_others_arrive(warehouse: Warehouse) -> None:
    refused = row("3", payload=rb'{"Id":"3","Name":"\u0000"}', line=2)
    loaded = await warehouse.workers[0].load(page(row("1"), row("2", line=1), refused, row("4", line=3)), Cost())
    assert (loaded.read, loaded.inserted, loaded.quarantined) == (3, 3, 1)
    assert sorted(await warehouse.raw()) == ["1", "2", "4"]
    assert await warehouse.watcher.fetchval("SELECT record_id FROM ops.quarantine") == "3"


@pytest.mark.parametrize("bad", [b"caf\xe9", b"\xed\xa0\xbd", b"\xc0\xaf", b"\xf4\x90\x80\x80"])
async def test_records_that_are_not_utf8_are_set_aside(warehouse: Warehouse, bad: bytes) -> None:
    """All on a page, too: that's the sender's fault and not the table's."""
    spoilt = [row(str(number), payload=b'{"Name":"' + bad + b'"}', line=number) for number in range(9)]
    for others, number in ([row("10", line=9)], 1), ([], 2):
        loaded = await warehouse.workers[0].load(page(*spoilt, *others, number=number), Cost())
        assert (loaded.inserted, loaded.quarantined) == (len(others), 9)
    found = await warehouse.watcher.fetch("SELECT record_id, reason, record FROM ops.quarantine ORDER BY 1")
    assert [tuple(entry) for entry in found] == [(each[0], "it is not UTF-8", each[1]) for each in spoilt]


async def test_an_older_version_on_the_same_page_closes_no_entry(warehouse: Warehouse) -> None:
    """Of an Id that came in two versions, one of them refused, nobody knows which one counts; a later page does."""
    standing = "SELECT count(*) FROM ops.quarantine WHERE resolved_at IS NULL"
    refused = row("1", day=2, sync_token=1, payload=rb'{"Id":"1","Name":"\u0000"}', line=1)
    await warehouse.workers[0].load(page(row("1"), refused), Cost())
    assert await warehouse.watcher.fetchval(standing) == 1
    await warehouse.workers[0].load(page(row("1", day=3, sync_token=2), number=2), Cost())
    assert await warehouse.watcher.fetchval(standing) == 0


async def test_a_higher_sync_token_is_newer_whatever_the_date_says(warehouse: Warehouse) -> None:
    """QuickBooks' servers date by clocks of their own; of one page, and against raw."""
    older = row("1", day=3, sync_token=1, payload=b'{"Id":"1","Name":"older"}')
    newer = row("1", day=2, sync_token=2, payload=b'{"Id":"1","Name":"newer"}', line=1)
    await warehouse.workers[0].load(page(older, newer), Cost())
    assert (await warehouse.raw())["1"][1] == 2
    await warehouse.workers[0].load(page(older, number=2), Cost())
    await warehouse.workers[0].load(page(newer, number=3), Cost())
    assert (await warehouse.raw())["1"][1] == 2


async def test_a_session_that_has_lost_its_chunk_writes_nothing_new(warehouse: Warehouse) -> None:
    await warehouse.watcher.execute("UPDATE ops.chunks SET attempt = attempt + 1")
    with pytest.raises(LostChunk):
        await warehouse.workers[0].load(page(row("1")), Cost())
    assert await warehouse.raw() == {}


async def test_a_record_marked_deleted_is_alive_again_when_it_is_read_later(warehouse: Warehouse) -> None:
    worker = warehouse.workers[0]
    await worker.load(page(row("1")), Cost())
    assert await warehouse.mark_deleted([("1", READ_AT - timedelta(days=1))]) == 1
    before = replace(page(row("1")), read_at=READ_AT - timedelta(days=2))
    marked = "SELECT deleted_at_utc IS NOT NULL FROM raw.qb_items"
    await worker.load(before, Cost())
    assert await warehouse.watcher.fetchval(marked)
    await worker.load(page(row("1")), Cost())
    assert not await warehouse.watcher.fetchval(marked)
