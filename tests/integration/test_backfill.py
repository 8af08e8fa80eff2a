"""The whole path, from the simulator's HTTP to the rows of raw."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from async_extractor import ConfigurationError, IncompleteError
from async_extractor.entities import FIRST_CLASS
from async_extractor.qbo.client import Patience
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import Recorder, backfill, in_raw, secrets_for, simulate, truth


async def figures(database: Any, query: str, *values: object) -> Any:
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute("SELECT pg_stat_force_next_flush()")
        return await connection.fetchval(query, *values)
    finally:
        await connection.close()


UPDATED_TUPLES = """SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint
                      FROM pg_stat_user_tables WHERE schemaname = 'raw'"""


async def test_a_company_of_10_000_invoices_arrives_row_for_row_with_equal_payloads(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10_000, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        for entity in FIRST_CLASS:
            result = await backfill(secrets, entity)
            assert result.status == "done"
            assert {check.severity for check in result.validations if check.name != "volume"} == {"ok"}
            expected = await truth(simulator, entity)
            assert result.rows["inserted"] == len(expected)
            assert await in_raw(database, entity) == expected


async def test_inactive_customers_and_items_arrive_too(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10, customers=400, limits=False)) as simulator:
        await backfill(secrets_for(simulator, database), "customers")
        inactive = await figures(database, "SELECT count(*) FROM raw.qb_customers WHERE payload ->> 'Active' = 'false'")
    assert inactive > 0


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("chunk", ["auto", "P1M"])
async def test_reading_a_range_again_writes_no_row(database: Any, chunk: str) -> None:
    async with Simulator(SimulatorConfig(invoices=3_000, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        written = await figures(database, UPDATED_TUPLES)
        again = await backfill(secrets, "invoices", mode="reprocess", chunk=chunk)
    assert again.rows == {"read": 3000, "inserted": 0, "updated": 0, "unchanged": 3000, "quarantined": 0}
    assert await figures(database, UPDATED_TUPLES) == written


async def test_resume_of_a_range_that_is_done_asks_three_questions(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=500, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        first = await backfill(secrets, "invoices", chunk="P1M")
        simulator.service.ledger.reset()
        second = await backfill(secrets, "invoices", chunk="week")
        # When the range began, what was deleted since, and whether the counts agree.
        assert simulator.service.ledger.summary(log=False)["requests"] == {"count": 2, "cdc": 1}
    assert second.status == "done"
    assert second.requests["sent"] == 3
    assert second.chunks["done"] == second.chunks["planned"] == first.chunks["planned"] - 1  # its catch-up is over


async def test_a_wider_range_reads_only_what_is_new(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=3_000, years=3, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        narrow = await backfill(secrets, "invoices", "2024-01-01", "2024-12-31")
        wide = await backfill(secrets, "invoices")
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
    assert narrow.rows["read"] > 0
    assert narrow.rows["read"] + wide.rows["read"] == 3_000


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("field", ["last_updated", "created", "txn_date"])
@pytest.mark.parametrize("chunk", ["auto", "P1M"])
async def test_every_filter_field_brings_the_whole_company(database: Any, field: str, chunk: str) -> None:
    async with Simulator(SimulatorConfig(invoices=2_500, limits=False)) as simulator:
        result = await backfill(secrets_for(simulator, database), "invoices", filter_field=field, chunk=chunk)
        assert result.status == "done", result.error
        assert {check.name: check.severity for check in result.validations}["source_count"] == "ok"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_rows_say_where_they_come_from(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=1_500, limits=False)) as simulator:
        await backfill(secrets_for(simulator, database), "invoices")
    wrong = await figures(
        database,
        """SELECT count(*) FROM raw.qb_invoices
            WHERE NOT (extract_window_start_utc <= last_updated_utc AND last_updated_utc < extract_window_end_utc)
               OR page_number < 1 OR page_size <> 1000 OR run_id <> 1
               OR request_payload ->> 'query' NOT LIKE 'SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime >= %'
               OR request_payload ->> 'path' NOT LIKE '/v3/company/%/query'
               OR request_payload ->> 'minorversion' <> '75'
               OR ingested_at_utc NOT BETWEEN now() - interval '10 min' AND now()""",
    )
    assert wrong == 0


async def test_an_empty_decade_costs_seven_requests(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=100, years=1, limits=False)) as simulator:
        result = await backfill(secrets_for(simulator, database), "invoices", "2005-01-01", "2014-12-31")
    assert result.status == "done"
    # The plan's count, a page and its count, the catch-up's, what was deleted, and the count to compare.
    assert result.requests["sent"] == 7


async def test_another_company_is_refused_for_a_schema_that_holds_one(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "items")
        secrets.values["QBO_REALM_ID"] = "1234567890"
        with pytest.raises(ConfigurationError, match=r"^QBO_REALM_ID: schema raw in database test_\d+ holds company"):
            await backfill(secrets, "items")


async def test_quickbooks_out_of_reach_is_one_line_and_nothing_is_written(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        secrets = secrets_for(simulator, database)
    with pytest.raises(ConfigurationError, match="QBO_SIMULATOR_URL") as caught:
        await backfill(secrets, "invoices")
    assert "\n" not in str(caught.value)
    assert await figures(database, "SELECT count(*) FROM ops.runs") == 0


async def test_postgres_out_of_reach_names_the_secrets(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        secrets = secrets_for(simulator, database)
        for name, value in (("POSTGRES_PORT", "1"), ("POSTGRES_PASSWORD", "wrong"), ("POSTGRES_DB", "nowhere")):
            with pytest.raises(ConfigurationError, match=name) as caught:
                await backfill(DictSecretsWith(secrets, name, value), "invoices")
            assert "wrong" not in str(caught.value)


def DictSecretsWith(secrets: Any, name: str, value: str) -> Any:  # noqa: N802 - reads as the class it makes
    return type(secrets)({**secrets.values, name: value})


@pytest.mark.slow
async def test_the_limits_of_intuit_are_kept_without_a_single_429(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=2_000, years=1)) as simulator:
        result = await backfill(
            secrets_for(simulator, database),
            "invoices",
            "2025-01-01",
            "2025-03-31",
            chunk="day",
            limits=True,
            concurrency=10,
        )
        ledger = simulator.service.ledger.summary(log=False)
    assert result.status == "done"
    assert result.requests["sent"] >= 90
    assert ledger["violations_total"] == 0
    assert result.requests["throttled"] == 0


async def test_a_failed_chunk_is_asked_again_by_retry_and_only_that(database: Any) -> None:
    impatient = Patience(tries=2, first_pause=0.01)
    async with Simulator(SimulatorConfig(invoices=1_200, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(simulator, "faults", {"switches": {"faults": [unavailable(after=3, times=2)]}})
        first = await backfill(secrets, "invoices", chunk="P1M", concurrency=1, patience=impatient)
        assert (first.status, first.chunks["failed"]) == ("incomplete", 1)
        assert first.chunks["done"] == first.chunks["planned"] - 2  # the failed one, and the catch-up that waits for it
        assert "not done" in (first.error or "")
        retried = await backfill(secrets, "invoices", mode="retry")
        assert (retried.chunks["planned"], retried.chunks["done"]) == (2, 2)
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
        nothing = await backfill(secrets, "invoices", mode="retry")
        assert (nothing.status, nothing.chunks["planned"], nothing.requests["sent"]) == ("done", 0, 3)


async def test_an_authorization_that_is_taken_away_ends_the_run_and_a_later_one_resumes(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=1_200, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(simulator, "faults", {"switches": {"faults": [{"kind": "forbidden", "after": 3, "times": 1}]}})
        with pytest.raises(ConfigurationError, match="3100"):
            await backfill(secrets, "invoices", chunk="P1M", concurrency=1)
        finished = await backfill(secrets, "invoices", chunk="P1M")
        assert finished.status == "done"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


def unavailable(**when: int) -> dict[str, Any]:
    return {"kind": "unavailable", "rate": 1, **when}


async def test_events_tell_every_phase(database: Any) -> None:
    recorder = Recorder()
    async with Simulator(SimulatorConfig(invoices=100, limits=False)) as simulator:
        await backfill(secrets_for(simulator, database), "invoices", listeners=[recorder])
    assert {event.phase for event in recorder.events} == {"auth", "plan", "extract", "load", "validate", "report"}
    assert IncompleteError.exit_code == 3
