"""Records that are set aside, and later edited, read again from elsewhere, or still not served: the entry stands."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from async_extractor.qbo.client import Patience
from qbo_simulator import Simulator
from tests.support.backfilling import secrets_for, simulate
from tests.support.databases import execute
from tests.support.small_books import DAY, SMALL, check, item, plant, run, verify

SPRING, SUMMER = ("2025-03-01", "2025-03-31"), ("2025-07-01", "2025-07-31")
MARCH, JULY = "2025-03-10T10:00:00-07:00", "2025-07-10T10:00:00-07:00"
ROW = "SELECT payload::text, last_updated_utc, sync_token, digest FROM raw.qb_items WHERE id = '2'"
PATIENCE = Patience(first_pause=0.02, longest_pause=0.1)


async def cannot_serve(simulator: Any, *ids: str) -> None:
    switches = {"poison": {"ids": {"Item": list(ids)}, "code": "10000"}}
    await simulate(simulator, "faults", {"scenario": "calm", "switches": switches})


async def read_then_spoilt(simulator: Any, database: Any, updated: str = DAY, how: str = "utf8", **more: Any) -> Any:
    """A run has read items 1 and 2, and 2 is spoilt since, under the same version. The secrets."""
    secrets = secrets_for(simulator, database)
    await plant(simulator, item(1), item(2, updated))
    assert (await run(secrets, **more)).status == "done"
    await simulate(simulator, "edit", {"entity": "Item", "spoil": {"2": how}})
    return secrets


def standing(database: Any) -> list[tuple[Any, ...]]:
    return execute(
        database,
        """SELECT q.record_id, (c.window_start AT TIME ZONE 'UTC')::date::text
             FROM ops.quarantine q JOIN ops.chunks c USING (chunk_id) WHERE q.resolved_at IS NULL""",
    )


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("served", [False, True], ids=["not-served", "refused"])
async def test_entry_follows_its_record(database: Any, served: bool) -> None:
    """An edit moves the record to another window; the first one read again doesn't close the entry."""
    more = '"Note":"a\\u0000b",' if served else ""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        for moment, (start, end) in ((MARCH, SPRING), (JULY, SUMMER)):
            await plant(simulator, item(1), item(2, moment, more=more))
            if not served:
                await cannot_serve(simulator, "2")
            result = await run(secrets, start=start, end=end, patience=PATIENCE)
            assert (result.status, check(result, "quarantine").severity) == ("done", "warning")
        await run(secrets, start=SPRING[0], end=SPRING[1], mode="reprocess", patience=PATIENCE)
        assert ("2", SUMMER[0]) in standing(database)
        again = await run(secrets, start=SUMMER[0], end=SUMMER[1], patience=PATIENCE)
        assert (again.status, check(again, "quarantine").severity) == ("done", "warning")


@pytest.mark.slow
async def test_not_served_and_not_set_aside(database: Any) -> None:
    """QuickBooks counts it, can't serve it, and no entry stands: the run isn't done, and a repair sets it aside."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2, JULY))
        await cannot_serve(simulator, "2")
        assert (await run(secrets, patience=PATIENCE)).status == "done"
        execute(database, "UPDATE ops.quarantine SET resolved_at = now()")
        result = await run(secrets, patience=PATIENCE)
        assert (result.status, check(result, "source_rows").severity) == ("incomplete", "error")
        assert (await verify(secrets, patience=PATIENCE)).status == "different"
        repaired = await verify(secrets, repair=True, patience=PATIENCE)
        assert (repaired.status, check(repaired, "source_rows").severity) == ("repaired", "warning")
        assert [record_id for record_id, _ in standing(database)] == ["2"]


@pytest.mark.parametrize("how", ["utf8", "nul", "control"])
async def test_known_version_spoilt(database: Any, how: str) -> None:
    """Under the version that raw has, QuickBooks sends what raw can't hold: that is set aside, and the row stays."""
    async with Simulator(SMALL) as simulator:
        secrets = await read_then_spoilt(simulator, database, how=how)
        before = execute(database, ROW)
        assert "a version that raw can't hold" in check(await verify(secrets, deep=True), "source_rows").message
        assert (await verify(secrets, deep=True, repair=True)).status == "repaired"
        assert [record_id for record_id, _ in standing(database)] == ["2"]
        for again in (await run(secrets, mode="reprocess"), await run(secrets)):
            assert (again.status, check(again, "source_count").severity) == ("done", "ok")
        assert (await verify(secrets, deep=True, repair=True)).status == "equal"
        assert execute(database, ROW) == before


@pytest.mark.parametrize("gone", [False, True])
async def test_spoilt_and_dated_ahead_of_all_clocks(database: Any, gone: bool) -> None:
    """A date ahead of QuickBooks' clock is no edit that the next run will read."""
    ahead = (datetime.now(timezone.utc) + timedelta(hours=3)).isoformat(timespec="seconds")
    async with Simulator(SMALL) as simulator:
        secrets = await read_then_spoilt(simulator, database, ahead, filter_field="created")
        if gone:
            execute(database, "DELETE FROM raw.qb_items WHERE id = '2'")
        assert (await verify(secrets, field="created", deep=True)).status == "different"


@pytest.mark.parametrize("month", [3, 7])
async def test_spoilt_where_another_hand_has_moved_the_row(database: Any, month: int) -> None:
    """Into the verified range, and out of the record's own: no repair changes a row that it can't mend."""
    async with Simulator(SMALL) as simulator:
        secrets = await read_then_spoilt(simulator, database)
        execute(database, f"UPDATE raw.qb_items SET last_updated_utc = '2025-0{month}-10T00:00Z' WHERE id = '2'")
        before = execute(database, ROW)
        start, end = SPRING if month == 3 else SUMMER
        await verify(secrets, start=start, end=end, deep=True, repair=True)
        assert execute(database, ROW) == before


@pytest.mark.parametrize("how", ["utf8", "control"])
@pytest.mark.parametrize("month", [3, 7])
async def test_spoilt_and_the_row_moved_inside_the_range(database: Any, month: int, how: str) -> None:
    """What is read again is the record's window, whether it or the row's is compared first."""
    created = f"""jsonb_set(payload, '{{MetaData,CreateTime}}', '"2025-0{month}-10T00:00:00Z"')"""
    async with Simulator(SMALL) as simulator:
        secrets = await read_then_spoilt(simulator, database, how=how, filter_field="created")
        execute(database, f"UPDATE raw.qb_items SET payload = {created} WHERE id = '2'")
        assert (await verify(secrets, field="created", deep=True)).status == "different"
        assert (await verify(secrets, field="created", deep=True, repair=True)).status == "repaired"
        assert [record_id for record_id, _ in standing(database)] == ["2"]


@pytest.mark.parametrize("change", ["run_id = 9999", "last_updated_utc = NULL"])
async def test_spoilt_and_the_row_changed_afterwards(database: Any, change: str) -> None:
    """What stands in quarantine can't be read again: no repair is advised for its row's window."""
    async with Simulator(SMALL) as simulator:
        secrets = await read_then_spoilt(simulator, database)
        assert (await verify(secrets, deep=True, repair=True)).status == "repaired"
        execute(database, f"UPDATE raw.qb_items SET {change} WHERE id = '2'")
        assert (await verify(secrets, deep=True, repair=True)).status == "equal"
        await simulate(simulator, "edit", {"entity": "Item", "heal": ["2"]})
        await run(secrets, mode="reprocess")
        await verify(secrets, deep=True, repair=True)
        assert (await verify(secrets, deep=True)).status == "equal"
        assert execute(database, "SELECT last_updated_utc IS NULL, run_id > 9000 FROM raw.qb_items WHERE id = '2'") == [
            (False, False)
        ]


@pytest.mark.parametrize("mended_by", ["run", "verify"])
@pytest.mark.parametrize("then", ["gone", "utf8", "control"])
async def test_repair_cut_off_and_the_record_not_to_be_had(database: Any, then: str, mended_by: str) -> None:
    """A row whose version a repair has forgotten, and which no window gives again, stays in its window."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2))
        await run(secrets)
        execute(
            database, "UPDATE raw.qb_items SET last_updated_utc = NULL, sync_token = 0, digest = NULL WHERE id = '2'"
        )
        if then == "gone":
            await plant(simulator, item(1))
        else:
            await simulate(simulator, "edit", {"entity": "Item", "spoil": {"2": then}})
        if mended_by == "run":
            assert (await run(secrets, mode="reprocess")).status == "done"
        else:
            assert (await verify(secrets, deep=True, repair=True)).status == "repaired"
        assert (await verify(secrets, deep=True)).status == "equal"
        gone = execute(database, "SELECT id FROM raw.qb_items WHERE deleted_at_utc IS NOT NULL")
        aside = [(record_id,) for record_id, _ in standing(database)]
        assert (gone, aside) == (([("2",)], []) if then == "gone" else ([], [("2",)]))


@pytest.mark.parametrize("how", ["utf8", "control", "nul"])
async def test_all_of_a_page_spoilt(database: Any, how: str) -> None:
    """Six records and no others on their page: the records' fault, and not the table's."""
    known, spoilt = [item(n, MARCH) for n in range(10, 90)], [item(n, JULY) for n in range(1, 7)]
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, *known, *spoilt)
        await run(secrets)
        await simulate(simulator, "edit", {"entity": "Item", "spoil": {str(n): how for n in range(1, 7)}})
        assert (await verify(secrets, deep=True, repair=True)).status == "repaired"
        assert [record_id for record_id, _ in sorted(standing(database))] == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("how", ["control", "not-served"])
async def test_day_of_a_record_that_nobody_can_read_is_not_confirmed(database: Any, how: str) -> None:
    """Another hand deletes its row, and a part is verified that its day, and not the record itself, belongs to."""
    two = item(2, JULY, created=MARCH)
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1, MARCH, created=MARCH), two, item(5, JULY))
        await run(secrets)
        execute(database, "DELETE FROM raw.qb_items WHERE id = '2'")
        if how == "not-served":
            await cannot_serve(simulator, "2")
        else:
            await simulate(simulator, "edit", {"entity": "Item", "spoil": {"2": how}})
        await verify(secrets, start=SPRING[0], end=SPRING[1], patience=PATIENCE)
        await cannot_serve(simulator)
        # 5 is merged away, which no list of changes tells, and makes the counts equal.
        await plant(simulator, item(1, MARCH, created=MARCH), two)
        assert (await verify(secrets)).status == "different"
        assert (await verify(secrets, repair=True)).status == "repaired"
        assert execute(database, "SELECT id FROM raw.qb_items WHERE deleted_at_utc IS NULL ORDER BY id") == [
            ("1",),
            ("2",),
        ]


async def test_not_served_beside_one_that_nobody_can_read(database: Any) -> None:
    """Of one instant: both are set aside under their Ids."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2), item(3, JULY))
        await simulate(simulator, "edit", {"entity": "Item", "spoil": {"1": "control"}})
        await cannot_serve(simulator, "2")
        await run(secrets, patience=PATIENCE)
        assert sorted(record_id for record_id, _ in standing(database)) == ["1", "2"]
        assert (await verify(secrets, deep=True, patience=PATIENCE)).status == "equal"


async def test_spoilt_where_what_is_listed_no_more_is_kept(database: Any) -> None:
    """A rate of a day, which QuickBooks sends and nobody can hold, is no rate that it lists no more."""
    rate = '{{"SourceCurrencyCode":"{}","TargetCurrencyCode":"USD","AsOfDate":"2025-06-01","Rate":"{}",{}}}'

    async def plant_rates(*rates: tuple[str, str]) -> None:
        payloads = [{"payload": rate.format(*one, f'"MetaData":{{"LastUpdatedTime":"{DAY}"}}')} for one in rates]
        await simulate(simulator, "load", {"entity": "ExchangeRate", "replace": True, "records": payloads})

    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant_rates(("COP", ""), ("EUR", ""))
        assert (await run(secrets, "exchange_rates")).status == "done"
        await plant_rates(("COP", ""), ("EUR", "\\u0000"))
        met = await verify(secrets, "exchange_rates", deep=True)
        assert "a version that raw can't hold" in check(met, "source_rows").message
        assert (await verify(secrets, "exchange_rates", deep=True, repair=True)).status == "repaired"
        assert [record_id for record_id, _ in standing(database)] == ["EUR/USD/2025-06-01"]
        assert (await verify(secrets, "exchange_rates", deep=True)).status == "equal"


async def test_known_version_spoilt_where_runs_compare_all(database: Any) -> None:
    """A run that meets it isn't done, and what it advises mends that."""
    rates = [item(1), item(2)]
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(simulator, "load", {"entity": "TaxRate", "replace": True, "records": rates})
        assert (await run(secrets, "tax_rates")).status == "done"
        await simulate(simulator, "edit", {"entity": "TaxRate", "spoil": {"2": "utf8"}})
        met = await run(secrets, "tax_rates")
        assert (met.status, check(met, "source_rows").advice.split()[-2:]) == ("incomplete", ["--deep", "--repair"])
        assert (await verify(secrets, "tax_rates", deep=True, repair=True)).status == "repaired"
        assert (await run(secrets, "tax_rates")).status == "done"
        assert [record_id for record_id, _ in standing(database)] == ["2"]


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("deep", [False, True])
async def test_served_again(database: Any, deep: bool) -> None:
    """An entry explains no row that is missing once the record is served: verify tells it, a repair brings it."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2, JULY))
        await cannot_serve(simulator, "2")
        await run(secrets, patience=PATIENCE)
        await cannot_serve(simulator)
        assert (await verify(secrets, deep=True)).status == "different"
        repaired = await verify(secrets, deep=deep, repair=True)
        assert repaired.status == ("repaired" if deep else "equal")
        if not deep:  # counts say that nothing but the entry is missing, and whose retry brings it
            assert check(repaired, "source_rows").severity == "warning"
            return
        assert standing(database) == []
        assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(2,)]


@pytest.mark.parametrize(
    "change", ["DELETE FROM raw.qb_items", "UPDATE raw.qb_items SET payload = payload || '{\"Name\": 7}'"]
)
async def test_dated_ahead_of_all_clocks(database: Any, change: str) -> None:
    """That QuickBooks dates a record tomorrow is no reason to take what another hand has done to it for an edit."""
    now = datetime.now(timezone.utc)
    ahead = (now + timedelta(hours=20)).isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), item(2, ahead))
        end = now.date().isoformat()
        assert (await run(secrets, end=end, filter_field="created")).status == "done"
        execute(database, f"{change} WHERE id = '2'")
        assert (await verify(secrets, end=end, field="created")).status == "different"


async def test_entry_of_a_catch_up(database: Any) -> None:
    """Its window read again by LastUpdatedTime without the record closes the entry; read by CreateTime it doesn't."""
    now = datetime.now(timezone.utc)
    moment = (now - timedelta(minutes=61)).strftime("%Y-%m-%dT%H:%M:%SZ")
    nameless = f'{{"Name":"\\u0000","MetaData":{{"CreateTime":"{moment}","LastUpdatedTime":"{moment}"}}}}'
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await plant(simulator, item(1), {"payload": nameless})
        await simulate(simulator, "clock", {"offset_seconds": -3600})
        await run(secrets, end=now.date().isoformat())
        assert len(standing(database)) == 1
        await simulate(simulator, "clock", {"offset_seconds": 0})
        await plant(simulator, item(1))
        for field, left in (("created", 1), ("last_updated", 0)):
            result = await run(secrets, end=now.date().isoformat(), filter_field=field, mode="reprocess")
            assert (result.status, len(standing(database))) == ("done", left)
