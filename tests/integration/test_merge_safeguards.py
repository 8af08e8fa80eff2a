"""Each safeguard of the merge, by what would go wrong without it; tests/mutants takes them out one by one."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from async_extractor.warehouse.loader import Cost, LostChunk
from async_extractor.warehouse.raw_table import PageToLoad, Refused, Row
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


def named(name: str, record_id: str = "1", **more: Any) -> Row:
    return row(record_id, payload=f'{{"Name":"{name}"}}'.encode(), **more)


def undated(given: Row) -> Row:
    return (*given[:2], None, *given[3:])


async def name_in_raw(warehouse: Warehouse, record_id: str = "1") -> str:
    return str(await warehouse.watcher.fetchval("SELECT payload ->> 'Name' FROM raw.qb_items WHERE id = $1", record_id))


NEWEST_OF_A_PAGE = {
    "a higher SyncToken, whatever the date": (named("new", day=1, sync_token=9), named("old", day=2, sync_token=1)),
    "of one SyncToken the later date": (named("new", day=2), named("old", day=1, line=7)),
    "one with a date before one without": (named("new", sync_token=1), undated(named("old", sync_token=9))),
    "of one date the higher SyncToken": (named("new", sync_token=2), named("old", sync_token=1, line=7)),
    "of equal versions the later in the page": (named("new", line=2), named("old", line=1)),
}


@pytest.mark.parametrize("versions", NEWEST_OF_A_PAGE.values(), ids=NEWEST_OF_A_PAGE)
@pytest.mark.parametrize("turned", [False, True])
async def test_of_a_record_twice_in_a_page_the_newest_stays(
    warehouse: Warehouse, versions: tuple[Row, Row], turned: bool
) -> None:
    loaded = await warehouse.workers[0].load(page(*(versions[::-1] if turned else versions)), Cost())
    assert (loaded.read, loaded.inserted) == (1, 1)
    assert await name_in_raw(warehouse) == "new"


NEWER_THAN_RAW = {
    "a later date, whatever the SyncToken": (named("first", day=1, sync_token=9), named("second", day=2, sync_token=1)),
    "one with a date, where raw's has none": (undated(named("first")), named("second")),
    "an equal version with another payload": (named("first"), named("second")),
}


@pytest.mark.parametrize("versions", NEWER_THAN_RAW.values(), ids=NEWER_THAN_RAW)
async def test_a_newer_version_takes_the_place_of_raws(warehouse: Warehouse, versions: tuple[Row, Row]) -> None:
    for number, version in enumerate(versions, start=1):
        loaded = await warehouse.workers[0].load(page(version, number=number), Cost())
    assert (loaded.read, loaded.inserted, loaded.updated) == (1, 0, 1)
    assert await name_in_raw(warehouse) == "second"


async def test_a_new_record_without_a_date_arrives_by_staging_too(warehouse: Warehouse) -> None:
    record = undated(named("no date"))
    loaded = await warehouse.workers[0].load(page(record, record), Cost())
    assert (loaded.read, loaded.inserted, await staged(warehouse)) == (1, 1, 2)
    assert await name_in_raw(warehouse) == "no date"


async def test_an_older_version_never_takes_the_place_of_raws(warehouse: Warehouse) -> None:
    await warehouse.workers[0].load(page(named("newest", day=9, sync_token=1)), Cost())
    for older in (named("old", day=8, sync_token=1), named("old", day=9), undated(named("old", sync_token=5))):
        assert (await warehouse.workers[0].load(page(older), Cost())).unchanged == 1
    assert await name_in_raw(warehouse) == "newest"


async def test_a_number_with_other_zeros_is_another_payload(warehouse: Warehouse) -> None:
    for amount in (b"639.0", b"639.00"):
        loaded = await warehouse.workers[0].load(page(row("1", payload=b'{"TotalAmt":' + amount + b"}")), Cost())
    assert loaded.updated == 1
    assert (await warehouse.raw())["1"][0] == '{"TotalAmt": 639.00}'


async def test_an_update_says_where_it_came_from(warehouse: Warehouse) -> None:
    worker = warehouse.workers[0]
    await worker.load(page((*row("1")[:4], None, None, *row("1")[6:])), Cost())
    before = await warehouse.watcher.fetchrow("SELECT * FROM raw.qb_items")
    other = PageToLoad(
        7, 250, WINDOW.start + timedelta(days=2), WINDOW.end + timedelta(days=2), b'{"query":"other"}', READ_AT,
        [named("second", day=5, sync_token=3)],
    )  # fmt: skip
    await warehouse.watcher.execute("UPDATE raw.qb_items SET run_id = run_id - 1")
    await worker.load(other, Cost())
    after = dict(await warehouse.watcher.fetchrow("SELECT * FROM raw.qb_items"))
    assert after.pop("ingested_at_utc") > before["ingested_at_utc"]
    assert after == {
        "id": "1",
        "payload": '{"Name": "second"}',
        "extract_window_start_utc": other.window_start,
        "extract_window_end_utc": other.window_end,
        "page_number": 7,
        "page_size": 250,
        "request_payload": '{"query": "other"}',
        "last_updated_utc": START + timedelta(days=5),
        "sync_token": 3,
        "run_id": warehouse.run_id,
        "deleted_at_utc": None,
        "created_utc": CREATED,
        "txn_date": TXN_DATE,
        "digest": hashlib.sha256(b'{"Name":"second"}').digest()[:16],
        "totals": '{"TotalAmt": 639.00}',
    }


async def test_a_page_is_merged_without_the_rows_that_were_staged_before_it(warehouse: Warehouse) -> None:
    worker = warehouse.workers[0]
    first = await worker.load(page(row("1"), row("1"), row("2")), Cost())
    assert (first.read, await staged(warehouse)) == (2, 2), "only what is twice in the page is staged"
    second = await worker.load(page(row("3"), row("3"), number=2), Cost())
    assert (second.read, second.inserted) == (1, 1)


@pytest.mark.parametrize(("theirs", "stays"), [(2, "theirs"), (1, "ours"), (0, "ours")])
async def test_what_another_session_brings_while_a_page_is_merged_stays_when_it_is_newer(
    warehouse: Warehouse, theirs: int, stays: str
) -> None:
    """It is not there when the merge looks, and is when it writes. Twice in the page, so that ours is merged."""
    other = warehouse.watcher.transaction()
    await other.start()
    await insert_as_another(warehouse, "1", theirs)
    ours = named("ours", sync_token=1)
    loading = asyncio.ensure_future(warehouse.workers[0].load(page(ours, ours), Cost()))
    await blocked(warehouse, loading)
    await other.commit()
    loaded = await loading
    assert (loaded.read, loaded.inserted, loaded.updated) == (1, 0, int(stays == "ours"))
    assert await name_in_raw(warehouse) == stays


@pytest.mark.parametrize("known", [True, False])
async def test_two_sessions_with_the_same_records_in_another_order_wait_for_each_other(
    warehouse: Warehouse, known: bool
) -> None:
    """Both are held up in the middle: in any other order than the Ids' each would then hold what the other needs."""
    ids = [f"{number:04}" for number in range(300)]
    if known:
        await warehouse.workers[0].load(page(*(named("first", record_id=i) for i in ids)), Cost())
    middle = warehouse.watcher.transaction()
    await middle.start()
    if known:
        await warehouse.watcher.execute("SELECT FROM raw.qb_items WHERE id = '0150' FOR UPDATE")
    else:
        await insert_as_another(warehouse, "0150", 0)
    loads = [
        asyncio.ensure_future(
            worker.load(page(*(named("new", record_id=i, sync_token=token) for i in ordered), number=2), Cost())
        )
        for token, (worker, ordered) in enumerate(zip(warehouse.workers, (ids, ids[::-1]), strict=True), start=1)
    ]
    await blocked(warehouse, *loads)
    await middle.rollback()
    await asyncio.gather(*loads)
    assert [event.name for event in warehouse.told] == [], "a deadlock was met, and the page loaded again"
    assert {token for _, token in (await warehouse.raw()).values()} == {2}


async def test_a_record_marked_deleted_is_alive_again_also_in_an_older_version(warehouse: Warehouse) -> None:
    worker = warehouse.workers[0]
    await worker.load(page(named("last", sync_token=5)), Cost())
    await warehouse.mark_deleted([("1", READ_AT - timedelta(days=1))])
    assert (await worker.load(page(named("restored", sync_token=4)), Cost())).updated == 1
    assert await warehouse.watcher.fetchval("SELECT deleted_at_utc IS NULL FROM raw.qb_items")
    assert await name_in_raw(warehouse) == "restored"


async def test_a_newer_version_that_was_read_before_the_deletion_stays_deleted(warehouse: Warehouse) -> None:
    worker, marked_at = warehouse.workers[0], READ_AT + timedelta(days=1)
    await worker.load(page(named("first")), Cost())
    await warehouse.mark_deleted([("1", marked_at)])
    assert (await worker.load(page(named("second", sync_token=1)), Cost())).updated == 1
    assert await name_in_raw(warehouse) == "second"
    assert await warehouse.watcher.fetchval("SELECT deleted_at_utc FROM raw.qb_items") == marked_at


async def test_a_deletion_is_marked_once_at_quickbooks_moment_or_now(warehouse: Warehouse) -> None:
    worker = warehouse.workers[0]
    await worker.load(page(row("1"), row("2")), Cost())
    assert await warehouse.mark_deleted([("1", READ_AT), ("2", None), ("not in raw", READ_AT)]) == 2
    assert await warehouse.mark_deleted([("1", READ_AT + timedelta(days=1))]) == 0
    found = await warehouse.watcher.fetch("SELECT deleted_at_utc, ingested_at_utc FROM raw.qb_items ORDER BY id")
    assert found[0]["deleted_at_utc"] == READ_AT
    assert found[1]["deleted_at_utc"] > found[1]["ingested_at_utc"]


async def test_the_same_refused_bytes_stand_once_in_quarantine_and_count_each_time(warehouse: Warehouse) -> None:
    refused = replace(page(), refused=[Refused("7", "no good", b'{"Id":"7"}')])
    for number in (1, 2):
        loaded = await warehouse.workers[0].load(replace(refused, number=number), Cost())
        assert loaded.quarantined == 1
    assert await warehouse.watcher.fetch("SELECT reason, page_number FROM ops.quarantine") == [("no good", 2)]


async def test_older_page_closes_no_newer_entry(warehouse: Warehouse) -> None:
    """What another chunk has set aside since this one began may be newer than what this one brings."""
    first, second = warehouse.workers
    standing = "SELECT count(*) FROM ops.quarantine WHERE resolved_at IS NULL"
    await second.load(replace(page(), refused=[Refused("7", "no good", b'{"Id":"7"}')]), Cost())
    await first.load(page(row("7")), Cost())
    assert await warehouse.watcher.fetchval(standing) == 1
    await second.load(page(row("7", sync_token=1)), Cost())
    assert await warehouse.watcher.fetchval(standing) == 0


async def test_a_chunk_that_is_done_takes_no_more_pages(warehouse: Warehouse) -> None:
    await warehouse.watcher.execute("UPDATE ops.chunks SET status = 'done', done_at = now()")
    with pytest.raises(LostChunk):
        await warehouse.workers[0].load(page(row("1")), Cost())


async def test_a_page_waits_for_whoever_is_taking_its_chunk_over(warehouse: Warehouse) -> None:
    taking = warehouse.watcher.transaction()
    await taking.start()
    await warehouse.watcher.execute("UPDATE ops.chunks SET attempt = attempt + 1")
    loading = asyncio.ensure_future(warehouse.workers[0].load(page(row("1")), Cost()))
    await blocked(warehouse, loading)
    await taking.commit()
    with pytest.raises(LostChunk):
        await loading
    assert await warehouse.raw() == {}
