"""`include=enhancedAllCustomFields`: all of a table's rows are read by one setting, and every later run keeps to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from async_extractor import BackfillRequest
from async_extractor.backfill import Backfill
from async_extractor.entities import ENTITIES
from async_extractor.errors import IncompleteError
from async_extractor.verification import Verification
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import EVERYTHING, backfill, secrets_for
from tests.support.databases import execute

MORE = "enhancedAllCustomFields"
SMALL = SimulatorConfig(
    invoices=60, customers=25, items=20, everything=True, limits=False, switches={"answers": {"custom_fields": 4}}
)


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Any]:
    async with Simulator(SMALL) as simulator:
        yield secrets_for(simulator, database)


def fields_beyond_three(database: Any, table: str) -> set[tuple[int, Any]]:
    """How many each row has, and the `include` that brought it."""
    fields = """jsonb_path_query_array(payload, '$.CustomField[*] ? (@.DefinitionId like_regex "^1000000")')"""
    return set(
        execute(database, f"SELECT jsonb_array_length({fields}), request_payload ->> 'include' FROM raw.{table}")
    )


async def verify(secrets: Any, **how: bool) -> str:
    async with Verification(BackfillRequest.parse("invoices", *EVERYTHING), secrets, limits=False) as verification:
        return (await verification.verify(**how)).status


async def test_what_was_read_without_them_is_read_again(company: Any, database: Any) -> None:
    """And not called done before; a run that doesn't name the setting keeps to it, `none` takes it back."""
    table = ENTITIES["invoices"].table
    first = await backfill(company, "invoices", chunk="P1Y")
    assert (first.status, first.rows["inserted"]) == ("done", 60)
    assert (await backfill(company, "invoices", filter_field="txn_date")).status == "done"
    assert fields_beyond_three(database, table) == {(0, None)}

    half = ("2015-01-01", "2025-06-30")
    again = await backfill(company, "invoices", *half, include=MORE)
    assert again.status == "done", again.error
    assert again.rows["updated"] == again.rows["read"] > 0
    # The rest is known to lack them, by each of the dates.
    left = "SELECT DISTINCT filter_field FROM ops.chunks WHERE status = 'failed' ORDER BY filter_field"
    assert execute(database, left) == [("last_updated",), ("txn_date",)]
    assert execute(database, "SELECT DISTINCT error FROM ops.chunks WHERE status = 'failed'") == [
        (f"read with include none, and invoices is read with {MORE} since",)
    ]
    assert await verify(company) == "different"

    rest = await backfill(company, "invoices")
    assert rest.status == "done"
    assert fields_beyond_three(database, table) == {(4, MORE)}
    assert await verify(company, deep=True) == "equal"
    assert (await backfill(company, "invoices")).rows["read"] == 0
    assert (await backfill(company, "invoices", include=MORE)).rows["read"] == 0
    assert (await backfill(company, "invoices", mode="reprocess")).rows["updated"] == 0

    back = await backfill(company, "invoices", include="none")
    assert (back.status, back.rows["updated"]) == ("done", 60)
    assert fields_beyond_three(database, table) == {(0, None)}


async def test_verify_and_repair_read_as_the_rows_were_read(company: Any, database: Any) -> None:
    await backfill(company, "invoices", include=MORE)
    execute(
        database,
        "UPDATE raw.qb_invoices SET payload = payload - 'CustomField' WHERE id = (SELECT min(id) FROM raw.qb_invoices)",
    )
    assert await verify(company, deep=True) == "different"
    assert await verify(company, deep=True, repair=True) == "repaired"
    assert fields_beyond_three(database, "qb_invoices") == {(4, MORE)}


async def test_entities_that_take_no_custom_fields_are_asked_without(company: Any, database: Any) -> None:
    assert (await backfill(company, "vendors", include=MORE)).status == "done"
    assert (await backfill(company, "customers", include=MORE)).status == "done"
    assert fields_beyond_three(database, "qb_vendors") == {(0, None)}
    assert fields_beyond_three(database, "qb_customers") == {(4, MORE)}


async def test_the_setting_is_not_changed_under_a_run_that_reads(company: Any, database: Any) -> None:
    request = BackfillRequest.parse("invoices", *EVERYTHING)
    async with Backfill(request, company, limits=False) as reading:
        run_id = await reading.plan()
        with pytest.raises(IncompleteError, match=f"run {run_id} reads invoices with none now"):
            await backfill(company, "invoices", include=MORE)
        await reading.extract(run_id)
        await reading.validate(run_id)
        assert (await reading.report(run_id)).status == "done"
    assert fields_beyond_three(database, "qb_invoices") == {(0, None)}


async def test_the_price_of_a_change_is_told_before(company: Any) -> None:
    await backfill(company, "invoices")
    for include, chunks in (("", 0), (MORE, 1)):
        request = BackfillRequest.parse("invoices", *EVERYTHING, include=include)
        async with Backfill(request, company, limits=False) as looking:
            assert min((await looking.preview()).chunks, 1) == chunks
    assert (await backfill(company, "invoices")).rows["read"] == 0


async def test_a_repair_doesnt_read_by_a_setting_that_was_changed_meanwhile(company: Any, database: Any) -> None:
    await backfill(company, "invoices")
    async with Verification(BackfillRequest.parse("invoices", *EVERYTHING), company, limits=False) as verification:
        planner = verification._run.planner
        run_id = await planner.begin("verify")
        execute(
            database,
            "INSERT INTO ops.runs (realm_id, entity, filter_field, mode, range_start, range_end, chunk, concurrency,"
            " status, settings) SELECT realm_id, entity, filter_field, 'resume', range_start, range_end, chunk,"
            f" concurrency, 'done', '{{\"include\": \"{MORE}\"}}' FROM ops.runs WHERE run_id = {run_id}",
        )
        work = await planner.work()
        with pytest.raises(IncompleteError, match="reads invoices with another include since this one began"):
            await planner.write(work, run_id=run_id)
