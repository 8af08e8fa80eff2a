"""What appears in a range and disappears from it meanwhile: counts are of what had settled when it was read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from async_extractor.backfill import Backfill
from async_extractor.entities import ENTITIES
from async_extractor.errors import IncompleteError
from async_extractor.events import Event
from async_extractor.request import BackfillRequest
from async_extractor.verification import Verification
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import in_raw, secrets_for, simulate, truth
from tests.support.databases import execute
from tests.support.small_books import DAY, RANGE, SMALL, check, run


async def test_new_transaction_makes_up_for_no_deleted_one(database: Any) -> None:
    """By TxnDate, and beyond the days that change data capture reaches: counts are as of when the range was read."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)

        async def again(**more: Any) -> Any:
            return await run(secrets, "invoices", "2015-01-01", today, filter_field="txn_date", **more)

        await simulate(simulator, "clock", {"offset_seconds": -40 * 86_400})
        assert (await again()).status == "done"
        gone = min(await truth(simulator, "invoices"), key=int)
        await simulate(simulator, "clock", {"offset_seconds": -35 * 86_400})
        await simulate(simulator, "edit", {"entity": "Invoice", "delete": [gone]})
        await simulate(simulator, "clock", {"offset_seconds": 0})

        def created_meanwhile(event: Event) -> None:
            if event.name == "changes_cut_off":
                simulator.service.change("Invoice", insert=1, txn_date="2025-06-01")

        result = await again(listeners=[created_meanwhile])
        assert result.status == "done", result.error
        assert execute(database, "SELECT id FROM raw.qb_invoices WHERE deleted_at_utc IS NOT NULL") == [(gone,)]


async def test_edited_and_deleted_at_once(database: Any) -> None:
    """By TxnDate: raw has the edit, which is later than what counts are of, and no count has the deletion."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        # Later than any of the next runs' own moment, and no list of changes tells of it.
        in_a_minute = (datetime.now(timezone.utc) + timedelta(seconds=60)).isoformat(timespec="seconds")
        times = f'"MetaData":{{"CreateTime":"{DAY}","LastUpdatedTime":"{in_a_minute}"}}'
        gone = f'{{"Id":"777","SyncToken":"1","TxnDate":"2025-06-01","TotalAmt":1.00,{times}}}'
        records = [{"payload": gone}, {"payload": gone.replace("777", "778")}]
        await simulate(simulator, "load", {"entity": "Invoice", "replace": True, "records": records})
        assert (await run(secrets, "invoices", "2015-01-01", today, filter_field="txn_date")).status == "done"
        await simulate(simulator, "load", {"entity": "Invoice", "replace": True, "records": records[1:]})
        verified = BackfillRequest.parse("invoices", "2015-01-01", today, filter_field="txn_date")
        async with Verification(verified, secrets, limits=False) as verification:
            assert (await verification.verify()).status == "different"
        result = await run(secrets, "invoices", "2015-01-01", today, filter_field="txn_date")
        assert result.status == "done", result.error
    assert execute(database, "SELECT id FROM raw.qb_invoices WHERE deleted_at_utc IS NOT NULL") == [("777",)]


async def test_moved_into_the_range_while_it_is_checked(database: Any) -> None:
    """By TxnDate: what comes into the range after the catch-up is the next run's, and no row that raw has lost."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        days = {i: record["TxnDate"] for i, record in (await truth(simulator, "invoices")).items()}
        in_order = sorted(days, key=lambda i: (days[i], int(i)))
        outside, inside = in_order[0], in_order[len(in_order) // 2]
        start, end = days[in_order[len(in_order) // 4]], days[in_order[-1]]
        request = BackfillRequest.parse("invoices", start, end, filter_field="txn_date")
        async with Backfill(request, secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            await backfill.extract(run_id)
            # The first makes the counts differ, so that records are compared.
            await simulate(simulator, "edit", {"entity": "Invoice", "edit": [inside]})
            await simulate(simulator, "edit", {"entity": "Invoice", "edit": [outside], "txn_date": days[inside]})
            await backfill.validate(run_id)
            result = await backfill.report(run_id)
        assert result.status == "done", result.error
        assert (await run(secrets, "invoices", start, end, filter_field="txn_date")).status == "done"
    assert execute(database, f"SELECT count(*) FROM raw.qb_invoices WHERE id = '{outside}'") == [(1,)]


@pytest.mark.parametrize("field", ["last_updated", "created"])
async def test_late_record_makes_up_for_no_merged_name(database: Any, field: str) -> None:
    """It is seen after the catch-up, and dated seconds before the run began; no list of changes tells of a merge."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        assert (await run(secrets, "customers", "2015-01-01", today, filter_field=field)).status == "done"
        loser, winner, *_ = sorted(await truth(simulator, "customers"), key=int)
        await simulate(simulator, "edit", {"entity": "Customer", "merge": [[loser, winner]]})
        request = BackfillRequest.parse("customers", "2015-01-01", today, filter_field=field)
        async with Backfill(request, secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            await backfill.extract(run_id)
            simulator.service.clock.offset -= 30
            simulator.service.change("Customer", insert=1)
            simulator.service.clock.offset += 30
            await backfill.validate(run_id)
            assert (await backfill.report(run_id)).status == "done"
        marked = execute(database, "SELECT id FROM raw.qb_customers WHERE deleted_at_utc IS NOT NULL")
        assert marked == [(loser,)]
        assert (await run(secrets, "customers", "2015-01-01", today, filter_field=field)).status == "done"
        assert await in_raw(database, "customers", living=True) == await truth(simulator, "customers")


async def test_figures_hold_the_newest_rows(database: Any) -> None:
    """Rows too young for the counts are held against QuickBooks one by one, and are in what a run says it found."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(simulator, "edit", {"entity": "Customer", "insert": 2})
        result = await run(secrets, "customers", "2015-01-01", today)
        assert result.status == "done", result.error
        rows = len(await truth(simulator, "customers"))
        figures = check(result, "source_rows").figures
        assert (figures["source"], figures["raw"]) == (rows, rows)


async def test_a_run_that_began_long_before_takes_nothing_back(database: Any) -> None:
    """Until when deletions are known: a run that ends later, and began earlier, knows no less of others' windows."""
    request = BackfillRequest.parse("customers", "2025-07-01", "2025-12-31")
    known = "SELECT min(deletions_known_until) FROM ops.chunks WHERE kind = 'window'"
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        async with Backfill(request, secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            await backfill.extract(run_id)
            await simulate(simulator, "clock", {"offset_seconds": 60})
            assert (await run(secrets, "customers", "2025-07-01", "2025-12-31")).status == "done"
            before = execute(database, known)
            await backfill.validate(run_id)
            assert (await backfill.report(run_id)).status == "done"
        assert execute(database, known) == before


@pytest.mark.parametrize("field", ["last_updated", "created"])
async def test_a_range_that_begins_just_now(database: Any, field: str) -> None:
    """All of it is too young for the counts: each record is held against QuickBooks, and one that comes meanwhile is
    nobody's fault."""
    now = datetime.now(timezone.utc)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    today = midnight.date().isoformat()
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        simulator.service.clock.offset = (midnight + timedelta(seconds=60) - now).total_seconds()
        simulator.service.change("Customer", insert=2)
        simulator.service.clock.offset += 60
        assert (await run(secrets, "customers", "2015-01-01", today, filter_field=field)).status == "done"

        def created_meanwhile(event: Event) -> None:
            if event.name == "answered" and not seen:
                seen.append(event)
                simulator.service.clock.offset += 4
                simulator.service.change("Customer", insert=1)

        seen: list[Event] = []
        request = BackfillRequest.parse("customers", today, today, filter_field=field)
        async with Verification(request, secrets, [created_meanwhile], limits=False) as verification:
            found = await verification.verify()
    assert seen
    assert found.status == "equal", check(found, "source_rows").sentence
    assert check(found, "source_rows").figures["raw"] == 2


async def test_a_rate_of_just_now_that_is_in_effect_no_more(database: Any) -> None:
    """QuickBooks lists it no more, raw keeps it, and no count has had it yet."""
    today = datetime.now(timezone.utc).date().isoformat()
    entity = ENTITIES["exchange_rates"]
    async with Simulator(SimulatorConfig(everything=True, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        simulator.service.clock.offset = -60
        simulator.service.change(entity.query_name, edit=100)
        assert (await run(secrets, entity.name, "2015-01-01", today)).status == "done"
        simulator.service.change(entity.query_name, delete=2)
        request = BackfillRequest.parse(entity.name, "2015-01-01", today)
        async with Verification(request, secrets, limits=False) as verification:
            found = await verification.verify()
    assert found.status == "equal", check(found, "source_rows").sentence


LARGE = SimulatorConfig(invoices=2_400, customers=10, items=10, years=1, limits=False)


async def short_page(simulator: Any, **rule: Any) -> None:
    faults = [{"kind": "short-page", "requests": ["query"], "times": 1} | rule]
    await simulate(simulator, "faults", {"switches": {"faults": faults}})


async def test_counts_of_zero_are_not_believed_alone(database: Any) -> None:
    """Whatever counts is broken, and the check counts by the same: a page of the range is asked for."""
    async with Simulator(SMALL) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(simulator, "faults", {"switches": {"faults": [{"kind": "zero-count"}]}})
        await run(secrets, start="2014-01-01", end="2014-12-31")
        await run(secrets, start="2014-01-01")
        assert await in_raw(database, "items", living=True) == await truth(simulator, "items")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("field", ["created", "txn_date"])
async def test_a_catch_up_s_page_that_comes_short(database: Any, field: str) -> None:
    """Edits change no count of these ranges, so that none would show what is left out, and what comes after it."""
    async with Simulator(LARGE) as simulator:
        secrets = secrets_for(simulator, database)
        assert (await run(secrets, "invoices", filter_field=field)).status == "done"
        await simulate(simulator, "edit", {"entity": "Invoice", "edit": 2_200})
        await simulate(simulator, "clock", {"offset_seconds": 3600})
        await short_page(simulator, containing="LastUpdatedTime >=")
        result = await run(secrets, "invoices", filter_field=field)
        assert result.status == "done", result.error
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_a_resumed_window_s_page_that_comes_short(database: Any) -> None:
    """How many rows the ledger expects of it is by their places, where it was shared before it was cut off."""
    async with Simulator(LARGE) as simulator:
        secrets = secrets_for(simulator, database)
        begun: list[Backfill] = []

        def stop(event: Event) -> None:
            if event.name == "chunk_started":
                begun[0].stop("stopped by a test")

        async with Backfill(BackfillRequest.parse("invoices", *RANGE), secrets, [stop], limits=False) as first:
            begun.append(first)
            run_id = await first.plan()
            with pytest.raises(IncompleteError):
                await first.extract(run_id)
        left = "UPDATE ops.chunks SET expected_rows = 1 WHERE status <> 'done' AND kind = 'window' AND attempt > 0"
        assert execute(database, left + " RETURNING 1")
        await short_page(simulator, containing="MAXRESULTS")
        result = await run(secrets, "invoices")
        assert result.status == "done", result.error
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("chunk", ["auto", "P1Y"])
async def test_a_window_s_page_that_comes_short(database: Any, chunk: str) -> None:
    """The window is counted, also where nobody has: the range's count is later, and others leave it till then."""
    async with Simulator(LARGE) as simulator:
        secrets = secrets_for(simulator, database)
        await short_page(simulator, after=2)
        request = BackfillRequest.parse("invoices", *RANGE, chunk, 1)
        async with Backfill(request, secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            await backfill.extract(run_id)
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_a_catch_up_that_begins_where_a_window_does(database: Any) -> None:
    """By CreateTime, up to today: pages of the one are none of the other's."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(LARGE) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(simulator, "clock", {"offset_seconds": -3600})
        assert (await run(secrets, "invoices", end=today, filter_field="created")).status == "done"
        await simulate(simulator, "clock", {"offset_seconds": -1800})
        await simulate(simulator, "edit", {"entity": "Invoice", "insert": 1})
        await simulate(simulator, "edit", {"entity": "Invoice", "edit": 1_200})
        await simulate(simulator, "clock", {"offset_seconds": 0})
        result = await run(secrets, "invoices", end=today, filter_field="created")
        assert (result.status, result.rows["read"] > 1_000) == ("done", True), result.error
