"""Transactions that appear and disappear in a range by TxnDate, whose counts are of the moment at which it was read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

from async_extractor.backfill import Backfill
from async_extractor.events import Event
from async_extractor.request import BackfillRequest
from async_extractor.verification import Verification
from qbo_simulator import Simulator
from tests.support.backfilling import secrets_for, simulate, truth
from tests.support.databases import execute
from tests.support.small_books import DAY, SMALL, run


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
