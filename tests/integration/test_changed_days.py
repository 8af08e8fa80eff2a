"""What another hand has changed stays known, whatever runs write beside it, until QuickBooks has confirmed the day."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import asyncpg
import pytest

from async_extractor.backfill import Backfill
from async_extractor.checks.day_checksums import Seals
from async_extractor.entities import ENTITIES
from async_extractor.request import BackfillRequest
from qbo_simulator import Simulator
from tests.support.backfilling import in_raw, secrets_for, simulate, truth
from tests.support.databases import execute
from tests.support.small_books import DAY, RANGE, SMALL, check, item, plant, run, verify

# What no trigger sees.
UNSEEN = [
    "TRUNCATE raw.{table}",
    "DROP TABLE raw.{table} CASCADE",
    "SET session_replication_role = replica; DELETE FROM raw.{table}",
]
RESTORED = "DELETE FROM raw.qb_items; INSERT INTO raw.qb_items SELECT * FROM backup"
FORGED = """UPDATE raw.qb_items SET payload = payload || '{"Name": "forged"}' WHERE id = '1'"""
EDITED = "2025-09-01T10:00:00-07:00"


@pytest.mark.parametrize("field", ["last_updated", "created"])
async def test_a_run_that_seals_the_day_hides_nothing(database: Any, field: str) -> None:
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        await run(secrets, filter_field=field)
        execute(database, FORGED)
        await simulate(simulator, "edit", {"entity": "Item", "edit": ["2"]})
        result = await run(secrets, filter_field=field, end=today)
        assert result.rows["updated"] == 1
        told = check(result, "seals")
        assert (told.severity, told.figures["changed_days"]) == ("notice", ["2025-06-01"])
        assert "which QuickBooks does not confirm: 2025-06-01" in told.message
        assert (await verify(secrets, end=today, field=field)).status == "different"
        assert (await verify(secrets, end=today, field=field, repair=True)).status == "repaired"
        assert check(await verify(secrets, end=today, field=field), "seals").severity == "ok"
        assert await in_raw(database, "items") == await truth(simulator, "items")
    assert execute(database, "SELECT count(*) FROM ops.changed_days") == [(0,)]


async def test_a_repair_of_another_range_hides_nothing(database: Any) -> None:
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2, updated=EDITED))
        await run(secrets)
        execute(database, FORGED.replace("WHERE id = '1'", ""))
        assert (await verify(secrets, start="2025-09-01", end="2025-09-30", repair=True)).status == "repaired"
        assert (await verify(secrets)).status == "different"
        assert (await verify(secrets, repair=True)).status == "repaired"
        assert await in_raw(database, "items") == await truth(simulator, "items")


async def test_records_without_a_create_time(database: Any) -> None:
    """No window of CreateTime holds them: all is compared."""
    undated = {"payload": item(1)["payload"].replace(f'"CreateTime":"{DAY}",', "")}
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, undated, item(2))
        await run(secrets)
        execute(database, FORGED)
        assert (await verify(secrets)).status == "different"
        assert (await verify(secrets, repair=True)).status == "repaired"
        assert check(await verify(secrets), "seals").severity == "ok"
        assert await in_raw(database, "items") == await truth(simulator, "items")


async def test_what_is_deleted_in_quickbooks_cannot_be_confirmed(database: Any) -> None:
    """The notice stays until the row is gone: nobody can say what it was."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        await run(secrets)
        await plant(simulator, item(2))
        await run(secrets)
        execute(database, FORGED)
        for deep in (False, True):
            verified = await verify(secrets, deep=deep)
            assert (verified.status, check(verified, "seals").severity) == ("equal", "notice")
        execute(database, "DELETE FROM raw.qb_items WHERE id = '1'")
        assert check(await verify(secrets, deep=True), "seals").severity == "ok"


VERSIONS = {
    "SyncToken": ("last_updated", "sync_token = 7"),
    "LastUpdatedTime": ("created", "last_updated_utc = '2030-01-01'"),
}


@pytest.mark.parametrize(("field", "change"), VERSIONS.values(), ids=VERSIONS)
async def test_a_version_that_quickbooks_never_had_is_no_newer_one(database: Any, field: str, change: str) -> None:
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        await run(secrets, filter_field=field)
        execute(database, FORGED)
        execute(database, f"UPDATE raw.qb_items SET {change} WHERE id = '1'")
        result = await run(secrets, filter_field=field, mode="reprocess")
        assert (result.rows["updated"], check(result, "reprocess").severity) == (1, "notice")
        assert await in_raw(database, "items") == await truth(simulator, "items")


async def test_a_change_while_verify_looks_is_not_forgotten_with_what_it_found(database: Any) -> None:
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        await run(secrets)
        execute(database, "UPDATE raw.qb_items SET page_number = 7 WHERE id = '1'")
        other = await asyncpg.connect(database.dsn)
        transaction = other.transaction()
        await transaction.start()
        await other.execute(FORGED)  # not to be seen yet
        assert (await verify(secrets)).status == "equal"
        await transaction.commit()
        await other.close()
        assert (await verify(secrets)).status == "different"


async def test_one_entry_a_day_is_kept(database: Any) -> None:
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        await run(secrets)
        for _ in range(3):
            execute(database, FORGED)
        assert execute(database, "SELECT count(*) FROM ops.changed_days") == [(3,)]
        await run(secrets)
        assert execute(database, "SELECT count(*) FROM ops.changed_days") == [(1,)]
        assert (await verify(secrets)).status == "different"


async def test_joined_entries_are_not_forgotten_by_a_verification_that_began_before(database: Any) -> None:
    """Of two changes the one that began first is committed last, after verify has looked."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        result = await run(secrets)
        other, ours = await asyncpg.connect(database.dsn), await asyncpg.connect(database.dsn)
        try:
            transaction = other.transaction()
            await transaction.start()
            await other.execute(FORGED)
            execute(database, "UPDATE raw.qb_items SET page_number = 7 WHERE id = '2'")
            seals = Seals(ours, ENTITIES["items"], "raw")
            seen = await seals.broken()
            await transaction.commit()
            await run(secrets)
            await seals.confirm(result.run_id, seen)
        finally:
            await other.close()
            await ours.close()
        assert (await verify(secrets)).status == "different"


async def test_what_another_hand_changes_before_the_first_seal(database: Any) -> None:
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        async with Backfill(BackfillRequest.parse("items", *RANGE), secrets, limits=False) as backfill:
            await backfill.extract(await backfill.plan())
        execute(database, FORGED)
        verified = await verify(secrets)
        assert (verified.status, check(verified, "seals").figures["broken_days"]) == ("different", ["2025-06-01"])
        assert (await verify(secrets, repair=True)).status == "repaired"
        assert await in_raw(database, "items") == await truth(simulator, "items")


@pytest.mark.parametrize("deep", [True, False])
async def test_a_range_that_lacks_a_row_of_the_day_confirms_nothing_of_it(database: Any, deep: bool) -> None:
    """Another hand deleted a row that was edited out of the range that is compared whole."""
    others = [item(number, created=f"2025-0{number}-10T10:00:00-07:00") for number in range(1, 10)]
    more = [item(number, created=f"2025-0{number - 9}-20T10:00:00-07:00") for number in range(10, 19)]
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(20, updated=EDITED), item(21), *others, *more)
        await run(secrets)
        execute(database, "DELETE FROM raw.qb_items WHERE id = '20'")
        if not deep:  # so many days that all is compared
            execute(database, "UPDATE raw.qb_items SET page_number = 7 WHERE id <> '21'")
        assert (await verify(secrets, end="2025-08-31", deep=deep)).status == "equal"
        assert ("2025-06-01",) in execute(database, "SELECT created_day::text FROM ops.changed_days")
        assert (await verify(secrets, repair=True)).status == "repaired"
        assert execute(database, "SELECT count(*) FROM ops.changed_days") == [(0,)]
        assert await in_raw(database, "items") == await truth(simulator, "items")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("last_updated", "DELETE FROM raw.qb_customers"),
        ("created", "DELETE FROM raw.qb_customers"),
        ("last_updated", "UPDATE raw.qb_customers SET last_updated_utc = '2010-01-01Z'"),
    ],
)
async def test_another_hands_change_hides_no_name_that_is_merged_away(database: Any, field: str, change: str) -> None:
    """A row is gone, or dated out of the range: both counts are one less, and no list of changes tells of the merge.
    The days that another hand changed are compared record by record."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        assert (await run(secrets, "customers", "2015-01-01", today, filter_field=field)).status == "done"
        changed, loser, winner, *_ = sorted(await truth(simulator, "customers"), key=int)
        execute(database, f"{change} WHERE id = '{changed}'")
        await simulate(simulator, "edit", {"entity": "Customer", "merge": [[loser, winner]]})
        first = await run(secrets, "customers", "2015-01-01", today, filter_field=field)
        assert (first.status, check(first, "source_rows").severity) == ("incomplete", "error")
        again = await run(secrets, "customers", "2015-01-01", today, filter_field=field)
        assert again.status == "done", again.error
        assert await in_raw(database, "customers", living=True) == await truth(simulator, "customers")
        marked = execute(database, "SELECT id FROM raw.qb_customers WHERE deleted_at_utc IS NOT NULL")
        assert marked == [(loser,)]


async def test_days_that_are_equal_are_the_runs_own_again(database: Any) -> None:
    """Another hand has written and changed nothing that counts: the next run compares the day, and is done with it."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        await run(secrets)
        execute(database, "UPDATE raw.qb_items SET page_number = 7")
        assert execute(database, "SELECT count(*) FROM ops.changed_days") == [(1,)]
        assert check(await run(secrets), "seals").severity == "ok"
        assert execute(database, "SELECT count(*) FROM ops.changed_days") == [(0,)]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("how", ["", "SET session_replication_role = replica;"])
@pytest.mark.parametrize("field", ["created", "txn_date"])
async def test_an_edit_explains_no_row_that_is_gone(database: Any, field: str, how: str) -> None:
    """Another hand deleted it, and it was edited after the catch-up: raw has no version of it at all."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        assert (await run(secrets, "invoices", "2015-01-01", today, filter_field=field)).status == "done"
        deleted = min(await truth(simulator, "invoices"), key=int)
        execute(database, f"{how} DELETE FROM raw.qb_invoices WHERE id = '{deleted}'")
        request = BackfillRequest.parse("invoices", "2015-01-01", today, filter_field=field)
        async with Backfill(request, secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            await backfill.extract(run_id)
            await simulate(simulator, "edit", {"entity": "Invoice", "edit": [deleted]})
            await backfill.validate(run_id)
            assert (await backfill.report(run_id)).status == "incomplete"
        assert (await run(secrets, "invoices", "2015-01-01", today, filter_field=field)).status == "done"
        assert await in_raw(database, "invoices", living=True) == await truth(simulator, "invoices")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("field", ["last_updated", "created", "txn_date"])
async def test_a_part_of_the_books_is_the_runs_own_again(database: Any, field: str) -> None:
    """What no run has planned to read is in no day of raw, and keeps none from being confirmed: it costs once."""
    part = ("invoices", "2025-06-01", "2025-06-30")
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await run(secrets, *part, filter_field=field)
        usual = (await run(secrets, *part, filter_field=field)).requests["sent"]
        execute(database, "UPDATE raw.qb_invoices SET payload = payload")
        assert execute(database, "SELECT count(*) > 0 FROM ops.changed_days") == [(True,)]
        result = await run(secrets, *part, filter_field=field)
        assert (result.status, check(result, "seals").severity) == ("done", "ok")
        assert execute(database, "SELECT count(*) FROM ops.changed_days") == [(0,)]
        assert (await run(secrets, *part, filter_field=field)).requests["sent"] == usual


@pytest.mark.parametrize("change", ["DELETE FROM raw.qb_items", FORGED.partition(" WHERE")[0]])
async def test_another_range_of_the_day_is_not_confirmed(database: Any, change: str) -> None:
    """Its rows differ, and a run has read that range: the day stands until all of it is as QuickBooks has it."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2, updated=EDITED))
        await run(secrets, start="2025-06-01", end="2025-06-30")
        await run(secrets, start="2025-09-01", end="2025-09-30")
        execute(database, f"{change} WHERE id = '2'")
        assert (await run(secrets, start="2025-06-01", end="2025-06-30")).status == "done"
        assert execute(database, "SELECT created_day::text FROM ops.changed_days") == [("2025-06-01",)]
        assert (await verify(secrets, start="2025-09-01", end="2025-09-30", repair=True)).status == "repaired"
        await run(secrets, start="2025-06-01", end="2025-06-30")
        assert execute(database, "SELECT count(*) FROM ops.changed_days") == [(0,)]
        assert await in_raw(database, "items") == await truth(simulator, "items")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("how", UNSEEN)
async def test_rows_that_are_gone_without_a_trigger(database: Any, how: str) -> None:
    """A part of the range is read again, sealed with fewer rows; as many names are merged away there as are lost."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        books = await truth(simulator, "customers")
        in_order = sorted(books, key=lambda i: books[i]["MetaData"]["LastUpdatedTime"])
        cut = books[in_order[len(in_order) // 2]]["MetaData"]["LastUpdatedTime"][:10]
        lost = sum(record["MetaData"]["LastUpdatedTime"][:10] > cut for record in books.values())
        assert (await run(secrets, "customers", "2015-01-01", today)).status == "done"
        execute(database, how.format(table="qb_customers"))
        assert (await run(secrets, "customers", "2015-01-01", cut, mode="reprocess")).status == "done"
        for loser in in_order[: min(lost, len(in_order) // 2)]:
            await simulate(simulator, "edit", {"entity": "Customer", "merge": [[loser, in_order[-1]]]})
        for _ in range(2):
            result = await run(secrets, "customers", "2015-01-01", today)
        assert result.status == "done", result.error
        assert await in_raw(database, "customers", living=True) == await truth(simulator, "customers")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("how", UNSEEN)
async def test_verify_sees_them_after_the_day_was_sealed_anew(database: Any, how: str) -> None:
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        one, two, three = item(1), item(2, updated=EDITED), item(3, created="2025-05-02T10:00:00-07:00")
        await plant(simulator, one, two, three)
        assert (await run(secrets)).status == "done"
        execute(database, how.format(table="qb_items"))
        assert (await run(secrets, start="2025-06-01", end="2025-06-30", mode="reprocess")).status == "done"
        await plant(simulator, one, two)
        found = await verify(secrets)
        assert (found.status, check(found, "source_rows").figures["missing"]) == ("different", 1)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("how", ["DELETE FROM raw.qb_items WHERE id = '1'", RESTORED])
async def test_what_no_trigger_sees_is_noted_before_the_run_writes_beside_it(database: Any, how: str) -> None:
    """Another record of the same day comes, so that the day has its number of rows, and is sealed anew."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        first = [item(1), item(2), item(3, created="2025-05-02T10:00:00-07:00")]
        newer = item(1, updated="2025-07-01T10:00:00-07:00", version="1", more='"Price":5,')
        await plant(simulator, *first)
        assert (await run(secrets)).status == "done"
        execute(database, "CREATE TABLE backup AS SELECT * FROM raw.qb_items")
        await plant(simulator, newer, *first[1:])
        assert (await run(secrets, mode="reprocess")).rows["updated"] == 1
        execute(database, f"SET session_replication_role = replica; {how}")
        # One is merged away, which makes up in the counts for what is lost.
        await plant(simulator, newer, item(2), item(4, updated="2025-09-02T10:00:00-07:00"))
        for _ in range(2):
            result = await run(secrets, end=today)
            held = await in_raw(database, "items", living=True) == await truth(simulator, "items")
            assert held or result.status != "done", result
        assert held
        assert (await verify(secrets, end=today, deep=True)).status == "equal"
        assert execute(database, "SELECT count(*) FROM ops.changed_days") == [(0,)]


async def test_a_mark_of_deletion_is_no_other_hands(database: Any) -> None:
    """The day's seal has it at once, also when nothing else of the day is written, or the run ends there."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2), item(3, created="2025-05-02T10:00:00-07:00"))
        assert (await run(secrets)).status == "done"
        await plant(simulator, item(2), item(3, created="2025-05-02T10:00:00-07:00"))
        request = BackfillRequest.parse("items", *RANGE)
        async with Backfill(request, secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            await backfill.extract(run_id)
            await backfill.validate(run_id)
        assert execute(database, "SELECT id FROM raw.qb_items WHERE deleted_at_utc IS NOT NULL") == [("1",)]
        execute(database, "UPDATE ops.runs SET finished_at = now() WHERE finished_at IS NULL")
        result = await run(secrets)
        assert (result.status, check(result, "seals").severity) == ("done", "ok")
        found = check(await verify(secrets), "source_rows")
        assert (found.severity, found.figures["compared"]) == ("ok", 0)
