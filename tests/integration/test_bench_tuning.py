"""What was tried loads the same rows in every way, so that figures are compared of equal things."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import pytest

from qbo_simulator.simulator import run_as_process
from tools.bench.copy_floor import everything
from tools.bench.stage import Database, stage
from tools.bench.tuning import WAYS, Way, _both_passes


class Kept(Database):
    """Says what is in raw before it is dropped."""

    def rows(self) -> list[tuple[Any, ...]]:
        query = "SELECT count(*), md5(string_agg(id || payload::text, '' ORDER BY id)) FROM raw.qb_invoices"
        return self.ask(query)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_way_that_was_tried_loads_the_same_rows_and_writes_none_again() -> None:
    with run_as_process("--invoices", "1500", "--no-limits", "--log-format", "none") as process, stage() as on:
        records = asyncio.run(everything(asdict(process)))
        found: dict[str, list[tuple[Any, ...]]] = {}
        for way in WAYS:
            found[way.name], written = loaded(on, way, records)
            assert written < 100, way.name
    assert len({tuple(rows) for rows in found.values()}) == 1
    assert found["as it is"][0][0] == 1500


def loaded(on: Any, way: Way, records: list[Any]) -> tuple[list[tuple[Any, ...]], float]:
    """What is in raw after both passes, and the bytes of WAL a row that the second wrote."""
    with on.database() as database:
        kept = Kept(database.address, database.postmaster)
        figures = asyncio.run(_both_passes(kept, way, records))
        return kept.rows(), figures["second_wal_per_row"]
