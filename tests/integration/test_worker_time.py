"""The ledger's seconds of an attempt are parts of its wall time, though pages are fetched while others are loaded."""

from __future__ import annotations

from typing import Any

import asyncpg

from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import backfill, secrets_for


async def test_the_parts_of_an_attempt_never_exceed_its_wall_time_and_overlap_is_counted_apart(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=12_000, limits=False, latency_ms=60)) as simulator:
        await backfill(secrets_for(simulator, database), "invoices", concurrency=2)
    connection = await asyncpg.connect(database.dsn)
    try:
        attempts = await connection.fetch(
            """SELECT extract(epoch FROM finished_at - started_at)::float8 AS wall, overlapped_seconds, pages,
                      wait_seconds + fetch_seconds + split_seconds + copy_seconds + merge_seconds AS parts
                 FROM ops.attempts"""
        )
    finally:
        await connection.close()
    assert attempts
    assert all(0 < attempt["parts"] <= attempt["wall"] for attempt in attempts)
    # Each window of several pages fetched some of them while it loaded others.
    assert all(attempt["overlapped_seconds"] > 0 for attempt in attempts if attempt["pages"] > 2)
    # What is in no part is bookkeeping: claims, commits, events.
    assert sum(a["parts"] for a in attempts) > 0.5 * sum(a["wall"] for a in attempts)
