"""What the checks after a run say of rows that are not as a run leaves them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from async_extractor.checks import CheckResult, Validator
from async_extractor.checks.after_run import quarantine_severity
from async_extractor.checks.balance import Reconciled
from async_extractor.checks.comparison import Compared
from async_extractor.entities import ENTITIES
from async_extractor.warehouse.connection import connect
from async_extractor.warehouse.loader import Cost
from tests.integration.loading import WINDOW, Warehouse, open_warehouse, page, row


@pytest.fixture
async def warehouse(database: Any) -> AsyncIterator[Warehouse]:
    async with open_warehouse(database) as opened:
        yield opened


async def check(warehouse: Warehouse, name: str, at_source: int = 0) -> CheckResult:
    """One check, where QuickBooks counts so many records and no comparison explains what raw lacks of them."""
    in_raw = await warehouse.watcher.fetchval("SELECT count(*) FROM raw.qb_items")
    counted = Reconciled(at_source, in_raw, Compared(), max(0, at_source - in_raw))
    connection = await connect(warehouse.workers[0]._session._address)
    try:
        validator = Validator(connection, ENTITIES["items"], "raw")
        checks = await validator.check(warehouse.run_id, "last_updated", WINDOW, counted, sound=False)
    finally:
        await connection.close()
    return next(one for one in checks if one.name == name)


async def load(warehouse: Warehouse, *ids: str) -> None:
    """Records as a run brings them, a page for each, and the chunk done."""
    worker = warehouse.workers[0]
    chunk = await warehouse.watcher.fetchrow(
        "SELECT chunk_id, window_end FROM ops.chunks ORDER BY window_start LIMIT 1"
    )
    for number, i in enumerate(ids, start=1):
        brought = page(row(i, payload=b'{"Id":"%s"}' % i.encode()), number=number)
        await worker.load(replace(brought, window_end=chunk["window_end"]), Cost())
    await warehouse.watcher.execute(
        "UPDATE ops.chunks SET expected_rows = $1 WHERE chunk_id = $2", len(ids), chunk["chunk_id"]
    )
    await worker.finish("done", Cost())


@pytest.mark.parametrize("name", ["keys", "utc", "pages", "chunk_counts"])
async def test_rows_as_a_run_leaves_them_are_right(warehouse: Warehouse, name: str) -> None:
    await load(warehouse, "1", "2", "3")
    found = await check(warehouse, name)
    assert (found.severity, found.message.count("\n")) == ("ok", 0)


WRONG = {
    "keys": ("UPDATE raw.qb_items SET id = '9' WHERE id = '3'", "error", "1 other than the payload's Id"),
    "utc": (
        "UPDATE raw.qb_items SET last_updated_utc = extract_window_end_utc WHERE id = '3'",
        "error",
        "1 row has a LastUpdatedTime outside the window",
    ),
    "pages": ("UPDATE raw.qb_items SET page_number = 9 WHERE id = '3'", "error", "pages that were never read"),
    "chunk_counts": (
        "UPDATE ops.chunks SET expected_rows = 4",
        "notice",
        "1 chunk gave fewer rows than QuickBooks counted",
    ),
}


@pytest.mark.parametrize("name", WRONG)
async def test_each_check_says_what_is_wrong(warehouse: Warehouse, name: str) -> None:
    await load(warehouse, "1", "2", "3")
    statement, severity, says = WRONG[name]
    await warehouse.watcher.execute(statement)
    found = await check(warehouse, name)
    assert found.severity == severity
    assert says in found.message


async def test_rows_without_a_date_are_worth_a_warning(warehouse: Warehouse) -> None:
    await load(warehouse, "1", "2")
    await warehouse.watcher.execute("UPDATE raw.qb_items SET last_updated_utc = NULL WHERE id = '2'")
    found = await check(warehouse, "utc")
    assert (found.severity, found.message) == ("warning", "1 row has no LastUpdatedTime")


async def test_a_page_without_rows_of_its_own_is_worth_knowing(warehouse: Warehouse) -> None:
    await load(warehouse, "1", "2", "3")
    await warehouse.watcher.execute("UPDATE raw.qb_items SET page_number = 3 WHERE id = '2'")
    found = await check(warehouse, "pages")
    assert found.severity == "notice"
    assert "pages without rows of their own" in found.message


async def test_a_check_that_cannot_be_made_is_an_error(warehouse: Warehouse) -> None:
    await load(warehouse, "1")
    await warehouse.watcher.execute("ALTER TABLE raw.qb_items RENAME COLUMN page_number TO page_no")
    found = await check(warehouse, "pages")
    assert found.severity == "error"
    assert found.message.startswith("could not be made: Postgres 42703")


async def test_records_that_raw_lacks_are_an_error_also_when_nothing_was_read(warehouse: Warehouse) -> None:
    found = await check(warehouse, "source_count", 3)
    assert (found.severity, found.figures["missing"]) == ("error", 3)


async def test_quarantine_explains_only_ids_that_raw_lacks(warehouse: Warehouse) -> None:
    await load(warehouse, "1")
    put = "INSERT INTO ops.quarantine (realm_id, entity, record_id, reason, chunk_id, run_id, page_number, request_payload) SELECT realm_id, entity, $1, 'x', chunk_id, $2, 1, '{}' FROM ops.chunks ORDER BY window_start LIMIT 1"  # noqa: E501
    await warehouse.watcher.execute("UPDATE raw.qb_items SET ingested_at_utc = '2000-01-01'")
    await warehouse.watcher.execute(put, "1", warehouse.run_id)
    assert (await check(warehouse, "source_count", 2)).severity == "error"
    await warehouse.watcher.execute(put, "2", warehouse.run_id)
    assert (await check(warehouse, "source_count", 2)).severity == "notice"


@pytest.mark.parametrize(
    ("standing", "of_this_run", "read", "severity"),
    [
        (0, 0, 50, "ok"),
        (3, 0, 0, "warning"),
        (1, 1, 1, "warning"),
        (2, 2, 4, "warning"),
        (2, 2, 3, "error"),
        (11, 0, 0, "error"),
    ],
)
def test_more_than_a_handful_in_quarantine_is_an_error(
    standing: int, of_this_run: int, read: int, severity: str
) -> None:
    assert quarantine_severity(standing=standing, of_this_run=of_this_run, read=read) == severity
