"""Verification, repair and quarantine: what has once been called equal, or mended, and wasn't. Each smallest input.

What a run may call done is in test_completeness.py.
"""

from __future__ import annotations

import contextlib
import functools
from datetime import datetime, timedelta, timezone
from typing import Any

import asyncpg
import pytest

from async_extractor import IncompleteError
from async_extractor.backfill import Backfill
from async_extractor.events import Event
from async_extractor.request import BackfillRequest
from async_extractor.verification import Verification
from async_extractor.warehouse.statements import statement
from qbo_simulator import Simulator
from tests.support.backfilling import in_raw, secrets_for, simulate, truth
from tests.support.databases import execute
from tests.support.small_books import DAY, RANGE, SMALL, check, item, plant, run, verify

# What adds up and isn't equal


@pytest.mark.parametrize("field", ["last_updated", "created"])
async def test_deletion_beside_quarantine(database: Any, field: str) -> None:
    """A record in quarantine and a deletion leave the counts equal: the deletion is found all the same."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        spoilt = item(3, more='"Note":"a\\u0000b",')
        await plant(simulator, item(1), item(2), spoilt)
        assert (await run(secrets, filter_field=field)).status == "done"
        await plant(simulator, item(2), spoilt)  # a merged-away name is in no list of changes
        assert (await verify(secrets, field=field)).status == "different"
        assert (await run(secrets, filter_field=field)).status == "done"
    assert execute(database, "SELECT id FROM raw.qb_items WHERE deleted_at_utc IS NOT NULL") == [("1",)]


@pytest.mark.parametrize("field", ["last_updated", "created"])
async def test_verify_of_what_raw_cannot_hold(database: Any, field: str) -> None:
    """A newer version that raw can't hold, and that no run has set aside, is no reason to call raw equal."""
    now = datetime.now(timezone.utc)
    edited = (now - timedelta(minutes=10)).isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        await move_clock(simulator, -3600)
        assert (await run(secrets, end=now.date().isoformat(), filter_field=field)).status == "done"
        await move_clock(simulator, 0)
        await plant(simulator, item(1, edited, "1", more='"Note":"a\\u0000b",'), item(2))
        assert (await verify(secrets, end=now.date().isoformat(), field=field)).status == "different"
        repaired = await verify(secrets, end=now.date().isoformat(), field=field, repair=True)
        assert repaired.status == "repaired"
        assert check(repaired, "source_rows").severity == "warning"
    assert execute(database, "SELECT record_id FROM ops.quarantine WHERE resolved_at IS NULL") == [("1",)]


@pytest.mark.parametrize("field", ["last_updated", "created"])
async def test_repair_closes_no_window_of_the_present(database: Any, field: str) -> None:
    """Windows that verify --repair reads end some minutes ago as all others do: what comes late is still read."""
    now = datetime.now(timezone.utc)
    end, lately = now.date().isoformat(), (now - timedelta(minutes=20)).isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2, lately, created=lately))
        assert (await run(secrets, end=end, filter_field=field)).status == "done"
        execute(database, "DELETE FROM raw.qb_items WHERE id = '2'")
        assert (await verify(secrets, end=end, field=field, repair=True)).status == "repaired"
        assert await in_raw(database, "items") == await truth(simulator, "items")
    late = "kind = 'window' AND window_end > as_of - ops.settling_time() + interval '1 minute'"
    assert execute(database, f"SELECT count(*) FROM ops.chunks WHERE {late}") == [(0,)]


async def test_edit_in_a_long_repair(database: Any) -> None:
    """A record that is edited long after verify began, and before its repair reads, is read by the repair."""
    now = datetime.now(timezone.utc)
    end = now.date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        assert (await run(secrets, end=end)).status == "done"
        execute(database, "DELETE FROM raw.qb_items WHERE id = '2'")
        asked = 0

        async with Verification(BackfillRequest.parse("items", RANGE[0], end), secrets, limits=False) as verification:
            work = verification._run.planner.work

            async def later(**given: Any) -> Any:
                """An hour has passed when the repair is planned, and the record was edited in its middle."""
                nonlocal asked
                asked += 1
                edited = (datetime.now(timezone.utc) + timedelta(minutes=30)).isoformat()
                await plant(simulator, item(1), item(2, edited, "1"))
                await move_clock(simulator, 3600)
                return await work(**given)

            verification._run.planner.work = later  # type: ignore[method-assign]
            result = await verification.verify(repair=True)
        assert (asked, result.status) == (1, "repaired")
        assert await in_raw(database, "items") == await truth(simulator, "items")


async def move_clock(simulator: Any, seconds: float) -> None:
    """QuickBooks' clock, from the machine's."""
    await simulate(simulator, "clock", {"offset_seconds": seconds})


async def test_repair_that_is_cut_off_forgets_nothing(database: Any) -> None:
    """A repair that ends before its plan is written leaves raw's versions as they are."""
    versions = "SELECT id, last_updated_utc IS NULL FROM raw.qb_items ORDER BY id"
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        assert (await run(secrets)).status == "done"
        execute(database, "UPDATE raw.qb_items SET payload = payload || '{\"UnitPrice\": 7}' WHERE id = '2'")
        async with Verification(BackfillRequest.parse("items", *RANGE), secrets, limits=False) as verification:

            async def cut_off(*_: Any, **__: Any) -> Any:
                raise IncompleteError("the process is killed here")

            verification._run.planner.write = cut_off  # type: ignore[method-assign]
            with pytest.raises(IncompleteError, match="killed here"):
                await verification.verify(repair=True)
    assert execute(database, versions) == [("1", False), ("2", False)]


async def test_checks_are_kept_all_or_none(database: Any) -> None:
    """A process that is killed while it checks leaves no check behind that would be taken for all of them."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with Backfill(BackfillRequest.parse("items", *RANGE), secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            await backfill.extract(run_id)
            execute(
                database,
                "ALTER TABLE ops.validations ADD CHECK (name <> 'source_count')",  # where it is cut off
            )
            with contextlib.suppress(Exception):
                await backfill.validate(run_id)
            execute(database, "UPDATE ops.runs SET finished_at = NULL, status = 'running'")
            assert (await backfill.report(run_id)).error == "the checks were not made"


# What stands in quarantine, and what a repair reads

NAMELESS = f'{{"SyncToken":"0","Name":"nameless","MetaData":{{"CreateTime":"{DAY}","LastUpdatedTime":"{DAY}"}}}}'
ODD_ID = item(0)["payload"].replace('"Id":"0"', '"Id":"A7"').replace("Item 0", "\\u0000")


@pytest.mark.parametrize("aside", [NAMELESS, ODD_ID], ids=["nameless", "odd-id"])
async def test_quarantine_that_cannot_be_counted_hides_no_deletion(database: Any, aside: str) -> None:
    """A record without an Id that QuickBooks can count makes up for a deleted one in both counts."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2), item(3), {"payload": aside})
        await run(secrets)
        await plant(simulator, item(1), item(2), {"payload": aside})  # no change data capture lists this deletion
        assert (await verify(secrets)).status == "different"
        await run(secrets)
        assert execute(database, "SELECT id FROM raw.qb_items WHERE deleted_at_utc IS NOT NULL") == [("3",)]


async def test_repair_reads_a_day_outside_its_range(database: Any) -> None:
    """Another hand put a row into the range; the day that it belongs to is a window which was done before."""
    tampered = """UPDATE raw.qb_items SET payload = payload || '{"Name": "tampered"}',
                                          last_updated_utc = '2025-06-10T00:00:00Z' WHERE id = '2'"""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2, updated="2025-05-05T10:00:00-07:00"))
        await run(secrets, start="2025-05-01", end="2025-05-31", chunk="day")
        await run(secrets, start="2025-06-01", end="2025-06-30")
        execute(database, tampered)
        result = await verify(secrets, start="2025-06-01", end="2025-06-30", repair=True)
        assert result.status == "repaired"
        assert await in_raw(database, "items") == await truth(simulator, "items")


async def test_row_to_be_read_again_that_nobody_read(database: Any) -> None:
    """A repair forgets the versions of what it reads; a row that is left so is told, and mended by the next one."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        await run(secrets)
        execute(database, "UPDATE raw.qb_items SET last_updated_utc = NULL, sync_token = 0 WHERE id = '2'")
        result = await verify(secrets)
        assert (result.status, [f.id for f in result.found.of("misplaced", "missing", "outdated")]) == (
            "different",
            ["2"],
        )
        assert (await verify(secrets, repair=True)).status == "repaired"


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("entity", ["invoices", "exchange_rates"])
async def test_window_that_is_wrong_beside_what_no_repair_reads(database: Any, entity: str) -> None:
    """A renamed reference doesn't hide it, and what QuickBooks lists no more can't be read again."""
    created = f'"CreateTime":"{DAY}",' if entity == "invoices" else ""
    times = f'"MetaData":{{{created}"LastUpdatedTime":"{DAY}"}}'
    kind, bodies, later = {
        "invoices": (
            "Invoice",
            ['"Id":"1","CustomerRef":{"value":"1","name":"A"}'],
            ['"Id":"1","CustomerRef":{"value":"1"}'],
        ),
        "exchange_rates": (
            "ExchangeRate",
            [
                f'"SourceCurrencyCode":"{code}","TargetCurrencyCode":"USD","AsOfDate":"2025-06-01"'
                for code in ("EUR", "COP")
            ],
            ['"SourceCurrencyCode":"COP","TargetCurrencyCode":"USD","AsOfDate":"2025-06-01"'],
        ),
    }[entity]

    async def load(bodies: list[str]) -> None:
        records = [{"payload": f"{{{body},{times}}}"} for body in bodies]
        await simulate(simulator, "load", {"entity": kind, "replace": True, "records": records})

    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await load(bodies)
        assert (await run(secrets, entity)).status == "done"
        await load(later)
        execute(database, f"UPDATE raw.qb_{entity} SET run_id = 9999 WHERE id NOT LIKE 'COP%'")
        assert (await verify(secrets, entity, deep=True, repair=True)).status != "different"
        assert (await verify(secrets, entity, deep=True)).status == "equal"


async def test_count_of_ids_that_cannot_be(database: Any) -> None:
    """A QuickBooks that ignores conditions on Ids counts more records than there are Ids: told, not halved for ever."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        bad = item(7)["payload"].replace("Item 7", "\\u0000")
        await plant(simulator, item(1), {"payload": bad})
        await run(secrets)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("async_extractor.qbo.by_id.has_id", lambda _ids: "Active IN (true, false)")
            result = await run(secrets)
        assert result.status == "incomplete"
        assert "no count can be relied on" in (result.error or "")


DATES = {
    "no date": "last_updated_utc = NULL",
    "infinity": "last_updated_utc = 'infinity'",
    "minus infinity": "last_updated_utc = '-infinity'",
    "beyond the calendar": "last_updated_utc = '20000-01-01T00:00:00Z'",
    "before the calendar": "last_updated_utc = '0100-01-01T00:00:00Z BC'",
    "no CreateTime": """payload = jsonb_set(payload, '{MetaData,CreateTime}', '"junk"')""",
    "CreateTime infinity": """payload = jsonb_set(payload, '{MetaData,CreateTime}', '"infinity"')""",
    "CreateTime beyond the calendar": (
        """payload = jsonb_set(payload, '{MetaData,CreateTime}', '"20000-01-01T00:00:00Z"')"""
    ),
}
COLUMNS = {
    "CreateTime of a year of one digit": (
        """payload = jsonb_set(payload, '{MetaData,CreateTime}', '"0002-01-01T00:00:00+14:00"')"""
    ),
    "no MetaData": "payload = payload - 'MetaData'",
    "MetaData of another kind": """payload = payload || '{"MetaData": [1]}'""",
    "nothing": "payload = '{}'",
    "a window without ends": "extract_window_start_utc = '-infinity', extract_window_end_utc = 'infinity'",
    "written at no time": "ingested_at_utc = 'infinity'",
    "no run of ours": "run_id = 9223372036854775807",
    "a newer version": 'sync_token = 9223372036854775807, payload = payload || \'{"Name": "forged"}\'',
    "deleted in the future": "deleted_at_utc = '2099-01-01'",
    "deleted at no time": "deleted_at_utc = 'infinity'",
}


HANDS = [(change, field) for change in DATES for field in ("last_updated", "created")]
HANDS += [(change, "last_updated") for change in COLUMNS]


@pytest.mark.slow_after(4)
@pytest.mark.parametrize(("change", "field"), HANDS)
async def test_columns_that_another_hand_has_spoilt(database: Any, change: str, field: str) -> None:
    """What can't be a date is none; what it stands in is named and mended like any other difference."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        assert (await run(secrets, filter_field=field)).status == "done"
        good = execute(database, "SELECT id, payload::text, last_updated_utc, created_utc, digest FROM raw.qb_items")
        execute(database, f"UPDATE raw.qb_items SET {(DATES | COLUMNS)[change]}")
        assert (await verify(secrets, field=field, deep=True)).status == "different"
        assert (await verify(secrets, field=field, deep=True, repair=True)).status == "repaired"
        assert (await verify(secrets, field=field, deep=True)).status == "equal"
    found = execute(database, "SELECT id, payload::text, last_updated_utc, created_utc, digest FROM raw.qb_items")
    assert sorted(found) == sorted(good)


async def test_a_repair_that_was_cut_off_is_left_to_be_resumed(database: Any) -> None:
    """It had planned its windows anew, so that the run's own are not done any more."""
    day = ("2025-06-01", "2025-06-01")
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        assert (await run(secrets, "items", *day)).status == "done"
        connection = await asyncpg.connect(database.dsn)
        left = functools.partial(connection.fetch, statement("unfinished_runs"), simulator.realm_id, None)
        assert await left() == []
        execute(database, "DELETE FROM raw.qb_items WHERE id = '2'")

        def stop(event: Event) -> None:
            if event.name == "chunk_started":
                verification.stop("stopped by SIGTERM")

        request = BackfillRequest.parse("items", *day)
        async with Verification(request, secrets, [stop], limits=False) as verification:
            with pytest.raises(IncompleteError):
                await verification.verify(repair=True)
        assert [(row["run_id"], row["left"] > 0) for row in await left()] == [(1, True)]
        assert (await run(secrets, "items", *day)).status == "done"
        assert await left() == []
        await connection.close()
    assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(2,)]


async def test_a_repair_that_was_cut_off_and_crosses_ranges(database: Any) -> None:
    """Its window is in no run's range: what is to be resumed is wide enough to hold it."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        times = [f"2025-06-{day}T12:00:00+00:00" for day in (15, 16)]
        await plant(simulator, *(item(i, updated=at, created=at) for i, at in enumerate(times, start=1)))
        assert (await run(secrets, end="2025-06-15")).status == "done"
        assert (await run(secrets, start="2025-06-16")).status == "done"
        execute(database, "UPDATE raw.qb_items SET payload = payload || '{\"UnitPrice\": 7}'")

        def stop(event: Event) -> None:
            if event.name == "chunk_started":
                verification.stop("stopped by SIGTERM")

        async with Verification(BackfillRequest.parse("items", *RANGE), secrets, [stop], limits=False) as verification:
            with pytest.raises(IncompleteError):
                await verification.verify(repair=True)
        left = await unfinished(database, simulator)
        for row in left:
            await run(secrets, start=row["range_start"].isoformat(), end=row["range_end"].isoformat())
        assert (len(left), await unfinished(database, simulator)) == (2, [])
        assert await in_raw(database, "items") == await truth(simulator, "items")


async def unfinished(database: Any, simulator: Simulator) -> Any:
    connection = await asyncpg.connect(database.dsn)
    try:
        return await connection.fetch(statement("unfinished_runs"), simulator.realm_id, None)
    finally:
        await connection.close()
