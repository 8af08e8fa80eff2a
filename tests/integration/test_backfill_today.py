"""Rows of the present day: the chunk that ends now is read like every other."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import Recorder, backfill, in_raw, secrets_for, simulate, truth


@pytest.mark.parametrize("chunk", ["auto", "day"])
async def test_rows_of_today_are_read_however_the_range_is_cut(database: Any, chunk: str) -> None:
    now = datetime.now(timezone.utc).replace(microsecond=0)
    moments = [(now - timedelta(minutes=10 + n, days=n % 2)).isoformat() for n in range(10)]
    records = [
        {
            "payload": f'{{"Id":"{n}","SyncToken":"0","TxnDate":"2025-11-02","MetaData":'
            f'{{"CreateTime":"{moment}","LastUpdatedTime":"{moment}"}}}}'
        }
        for n, moment in enumerate(moments, start=900_001)
    ]
    async with Simulator(SimulatorConfig(invoices=0, years=1, limits=False)) as simulator:
        await simulate(simulator, "load", {"entity": "Invoice", "records": records})
        days = (str(now.date() - timedelta(days=3)), str(now.date()))
        result = await backfill(secrets_for(simulator, database), "invoices", *days, chunk=chunk)
        assert result.status == "done"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


@pytest.mark.parametrize(("ahead", "told"), [(600, ["QuickBooks' clock is 10 minutes ahead of Postgres'"]), (200, [])])
async def test_a_clock_of_quickbooks_that_is_ahead_is_told(
    database: Any, monkeypatch: pytest.MonkeyPatch, ahead: int, told: list[str]
) -> None:
    """Where it is QuickBooks' mistake, a record edited now is older than the moment that the run thinks it is."""
    recorder = Recorder()
    async with Simulator(SimulatorConfig(items=20, years=1, limits=False)) as simulator:
        clock = simulator.service.clock
        monkeypatch.setattr(clock, "envelope_time", type(clock)(clock.offset + ahead).envelope_time)
        await backfill(secrets_for(simulator, database), "items", listeners=[recorder])
    assert [event.message for event in recorder.named("clock_ahead")] == told
