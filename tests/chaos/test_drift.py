"""The books change while they are read, and no row is lost: after a run, every row that was in the range when
it began is in raw, in a version at least as new as then, and in the newest one where nothing changed since."""

from __future__ import annotations

import json
from typing import Any

import pytest

from async_extractor.events import Event
from async_extractor.qbo.client import Patience
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import backfill, in_raw, secrets_for, simulate, truth

# Busier than the scenario `busy`, which touches one row a page.
BUSY = {"edits": {"touch": 4, "insert": 1, "void": 0.5, "delete": 0.5, "inactivate": 0.5}}


def version(record: Any) -> int:
    return int(record["SyncToken"])


def check(before: dict[str, Any], after: dict[str, Any], raw: dict[str, Any]) -> None:
    """Nothing of `before` is lost; what is in raw is the source's own, of `before` or newer."""
    alive = before.keys() & after.keys()
    assert not alive - raw.keys(), f"{len(alive - raw.keys())} of {len(before)} rows were lost"
    older = [i for i in alive if version(raw[i]) < version(before[i])]
    assert not older, f"{len(older)} rows are older than when the run began"
    for i in raw.keys() & after.keys():
        if version(raw[i]) == version(after[i]):
            assert raw[i] == after[i]
        elif i in before and version(raw[i]) == version(before[i]):
            assert raw[i] == before[i]


@pytest.mark.slow_after(3)
@pytest.mark.parametrize("entity", ["invoices", pytest.param("customers", marks=pytest.mark.slow)])
@pytest.mark.parametrize("field", ["last_updated", "created", "txn_date"])
@pytest.mark.parametrize("concurrency", [pytest.param(1, marks=pytest.mark.long), 8])
@pytest.mark.parametrize("order_by", ["honoured", "ignored"])
async def test_no_row_is_lost_while_the_books_change(
    database: Any, entity: str, field: str, concurrency: int, order_by: str
) -> None:
    if field == "txn_date" and entity != "invoices":
        return  # customers have no TxnDate; the request is refused, which test_request shows
    rules = {"queries": {"order_by": order_by}}
    config = SimulatorConfig(seed=11, invoices=3_500, customers=2_500, years=1, limits=False, switches=rules)
    async with Simulator(config) as simulator:
        before = await truth(simulator, entity)
        await simulate(simulator, "faults", {"switches": BUSY})
        result = await backfill(secrets_for(simulator, database), entity, filter_field=field, concurrency=concurrency)
        assert result.status == "done", result.error
        edits = simulator.service.ledger.summary(log=False)["edits"]
        assert sum(edits.values()) >= 10
        check(before, await truth(simulator, entity), await in_raw(database, entity))


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("page", "lost"), [(1_000, 2), (100, 24)])
async def test_startposition_loses_rows_and_a_backfill_none(database: Any, page: int, lost: int) -> None:
    """A row edited after each page moves the next page's first one out of sight of who counts rows."""
    async with Simulator(SimulatorConfig(seed=15, invoices=2_500, years=1, limits=False)) as simulator:
        before = await truth(simulator, "invoices")
        await simulate(simulator, "faults", {"switches": {"edits": {"touch": 1}}})
        counted: list[str] = []
        ordered = "SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime"
        for start in range(1, len(before), page):
            answer = simulator.service.query(f"{ordered} STARTPOSITION {start} MAXRESULTS {page}")
            counted += [record["Id"] for record in json.loads(answer.body)["QueryResponse"]["Invoice"]]
        assert len(counted) == len(before), "as many as COUNT(*) says, so that nothing looks amiss"
        assert len(before.keys() - set(counted)) == lost
        result = await backfill(secrets_for(simulator, database), "invoices")
        assert result.status == "done", result.error
        check(before, await truth(simulator, "invoices"), await in_raw(database, "invoices"))


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("chunk", [pytest.param("week", marks=pytest.mark.long), "P1M", "P1Y"])
async def test_no_chunk_size_loses_a_row(database: Any, chunk: str) -> None:
    config = SimulatorConfig(seed=12, invoices=3_000, years=1, limits=False)
    async with Simulator(config) as simulator:
        before = await truth(simulator, "invoices")
        await simulate(simulator, "faults", {"switches": BUSY})
        result = await backfill(secrets_for(simulator, database), "invoices", "2024-06-01", "2026-01-31", chunk=chunk)
        assert result.status == "done", result.error
        check(before, await truth(simulator, "invoices"), await in_raw(database, "invoices"))


@pytest.mark.slow_after(3)
@pytest.mark.parametrize("rows", [pytest.param(1_000, marks=pytest.mark.long), 1_001, 5_000])
@pytest.mark.parametrize("order_by", ["honoured", "ignored"])
@pytest.mark.parametrize("field", ["last_updated", "created", "txn_date"])
async def test_thousands_of_rows_of_one_second_all_arrive(database: Any, rows: int, order_by: str, field: str) -> None:
    moment = "2025-03-09T01:59:59-08:00"  # the last second before Pacific summer time
    records = [
        {
            "payload": f'{{"Id":"{n}","SyncToken":"0","TxnDate":"2025-03-09","TotalAmt":{n}.50,"MetaData":'
            f'{{"CreateTime":"{moment}","LastUpdatedTime":"{moment}"}}}}'
        }
        for n in range(900_001, 900_001 + rows)
    ]
    rules = {"queries": {"order_by": order_by, "ties": "shuffled" if order_by == "ignored" else "by-statement"}}
    async with Simulator(SimulatorConfig(invoices=300, years=1, limits=False, switches=rules)) as simulator:
        await simulate(simulator, "load", {"entity": "Invoice", "records": records})
        result = await backfill(secrets_for(simulator, database), "invoices", filter_field=field, chunk="P3M")
        assert result.status == "done", result.error
        expected = await truth(simulator, "invoices")
        assert len(expected) == rows + 300
        assert await in_raw(database, "invoices") == expected
        assert result.rows["read"] == result.rows["inserted"] == len(expected), "a record was counted twice"
        checks = {check.name: check for check in result.validations}
        assert checks["pages"].severity == "ok", checks["pages"].message


async def test_thousands_of_rows_of_one_second_that_are_being_edited_all_arrive(database: Any) -> None:
    moment = "2025-11-02T01:30:00-07:00"  # in the hour that Pacific time has twice
    records = [
        {
            "payload": f'{{"Id":"{n}","SyncToken":"0","TxnDate":"2025-11-02","MetaData":'
            f'{{"CreateTime":"{moment}","LastUpdatedTime":"{moment}"}}}}'
        }
        for n in range(900_001, 903_501)
    ]
    async with Simulator(SimulatorConfig(invoices=0, years=1, limits=False)) as simulator:
        await simulate(simulator, "load", {"entity": "Invoice", "records": records})
        before = await truth(simulator, "invoices")
        await simulate(simulator, "faults", {"switches": {"edits": {"touch": 3}}})
        result = await backfill(secrets_for(simulator, database), "invoices", chunk="P1Y", concurrency=3)
        assert result.status == "done", result.error
        check(before, await truth(simulator, "invoices"), await in_raw(database, "invoices"))


@pytest.mark.parametrize(
    "scenario",
    [
        "busy,storm",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("busy", "busy,poisoned", "busy,rotation-strict")),
    ],
)
async def test_the_scenarios_by_name_lose_no_row(database: Any, scenario: str) -> None:
    config = SimulatorConfig(seed=13, invoices=2_500, years=1, limits=False)
    quick = Patience(first_pause=0.01, longest_pause=0.1)
    quick_throttle = {"limits": {"retry_after": "present", "retry_after_seconds": 0}}
    async with Simulator(config) as simulator:
        before = await truth(simulator, "invoices")
        await simulate(simulator, "faults", {"scenario": scenario, "switches": quick_throttle})
        poisoned = simulator.service.poisoned.get("Invoice", frozenset())
        secrets = secrets_for(simulator, database)
        result = await backfill(secrets, "invoices", patience=quick)
        if result.status != "done":
            result = await backfill(secrets, "invoices", patience=quick)
        assert result.status == "done", result.error
        after = await truth(simulator, "invoices")
        raw = await in_raw(database, "invoices")
        lost = (before.keys() & after.keys()) - raw.keys()
        assert len(lost) == result.rows["quarantined"] == len(poisoned)
        check({i: record for i, record in before.items() if i not in lost}, after, raw)


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("field", ["last_updated", "txn_date"])
async def test_rows_edited_before_their_window_is_read_are_caught_by_the_catch_up(database: Any, field: str) -> None:
    """They have left the window when it is read; nothing but the catch-up chunk finds them."""
    async with Simulator(SimulatorConfig(seed=14, invoices=1_500, years=1, limits=False)) as simulator:
        before = await truth(simulator, "invoices")
        table = simulator.service.company.tables["Invoice"]
        last = sorted(before, key=lambda i: before[i]["MetaData"]["CreateTime"])[-40:]
        edited: list[str] = []

        def edit_what_is_unread(event: Event) -> None:
            if event.name == "page_loaded" and not edited:
                slots = [slot for slot in map(table.slot_of_id, last) if slot is not None]
                simulator.service.company.edit(table, slots, simulator.service.now())
                edited.extend(last)

        result = await backfill(
            secrets_for(simulator, database),
            "invoices",
            "2024-12-01",
            "2026-01-31",
            chunk="P1M",
            concurrency=1,
            filter_field=field,
            listeners=[edit_what_is_unread],
        )
        assert result.status == "done", result.error
        assert len(edited) == 40
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
