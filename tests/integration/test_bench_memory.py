"""Pages of very long invoices are asked for in smaller pieces, and arrive whole."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import backfill, in_raw, secrets_for, simulate, truth

LINES = 750
HEAVY = 130


def invoice(number: int) -> dict[str, Any]:
    """An invoice of 750 lines, as many as QuickBooks allows, about 170 KB."""
    line = {
        "Description": "Consulting, at the customer's, with travel " + "x" * 60,
        "Amount": 639.00,
        "DetailType": "SalesItemLineDetail",
        "SalesItemLineDetail": {"ItemRef": {"value": "1", "name": "Hours"}, "UnitPrice": 0.5306667, "Qty": 1},
    }
    moment = f"2025-06-{1 + number % 28:02}T{number % 24:02}:{number % 60:02}:00-07:00"
    return {
        "Id": str(9_000_000 + number),
        "SyncToken": "0",
        "MetaData": {"CreateTime": moment, "LastUpdatedTime": moment},
        "TxnDate": moment[:10],
        "Line": [{"Id": str(at + 1), "LineNum": at + 1, **line} for at in range(LINES)],
    }


@pytest.mark.slow
async def test_long_invoices_are_read_in_pages_of_bounded_size_and_none_is_lost(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=50, limits=False)) as simulator:
        for begin in range(0, HEAVY, 10):
            records = [{"payload": json.dumps(invoice(begin + at))} for at in range(10)]
            await simulate(simulator, "load", {"entity": "Invoice", "records": records})
        result = await backfill(secrets_for(simulator, database), "invoices", concurrency=1, chunk="P1M")
        assert result.status == "done", result.error
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
        second = await backfill(secrets_for(simulator, database), "invoices", mode="reprocess", concurrency=1)
        assert second.rows["unchanged"] == second.rows["read"] == 50 + HEAVY
    connection = await asyncpg.connect(database.dsn)
    try:
        sizes = await connection.fetch("SELECT DISTINCT page_size FROM raw.qb_invoices ORDER BY 1")
    finally:
        await connection.close()
    assert len(sizes) > 1
    assert sizes[0][0] < HEAVY
