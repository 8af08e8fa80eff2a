"""Planted faults are found by `verify`, named, and repaired: raw then equals the source."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import asyncpg
import pytest

from async_extractor import ConfigurationError, IncompleteError
from async_extractor.checks import CheckResult
from async_extractor.checks.verification_result import VerificationResult
from async_extractor.request import BackfillRequest
from async_extractor.verification import Verification
from qbo_simulator import Simulator, SimulatorConfig
from tests.support import backfilling
from tests.support.backfilling import in_raw, secrets_for, simulate, truth

# The rows of raw twice more, under Ids of their own.
COPIES = """INSERT INTO raw.qb_invoices (id, payload, extract_window_start_utc, extract_window_end_utc, page_number,
                      page_size, request_payload, last_updated_utc, sync_token, run_id)
            SELECT n || id, jsonb_set(payload, '{Id}', to_jsonb(n || id)), extract_window_start_utc,
                   extract_window_end_utc, page_number, page_size, request_payload, last_updated_utc, sync_token, run_id
              FROM raw.qb_invoices, (VALUES ('88'), ('99')) AS twice (n)"""
COMPANY = SimulatorConfig(invoices=1_300, customers=150, items=80, years=1, limits=False)
RANGE = ("2024-12-01", "2026-01-31")


async def backfill(secrets: Any, entity: str, **more: Any) -> None:
    result = await backfilling.backfill(secrets, entity, *RANGE, **more)
    assert result.status == "done", result.error


async def verify(
    secrets: Any, entity: str = "invoices", *, deep: bool = False, repair: bool = False, **more: Any
) -> VerificationResult:
    request = BackfillRequest.parse(entity, *RANGE, **more)
    verification = Verification(request, secrets, limits=False)
    async with verification:
        return await verification.verify(deep=deep, repair=repair)


async def plant(database: Any, statement: str, *values: Any) -> list[Any]:
    """What another hand does in the database; what it returns."""
    connection = await asyncpg.connect(database.dsn)
    try:
        return [row[0] for row in await connection.fetch(statement, *values)]
    finally:
        await connection.close()


def check(result: VerificationResult, name: str) -> CheckResult:
    return {check.name: check for check in result.checks}[name]


async def test_a_whole_backfill_is_found_equal_with_four_requests(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        result = await verify(secrets)
    assert result.status == "equal"
    # When it was, how many there are, and what was edited since: a page and its count.
    assert result.requests == 4
    assert not result.found.findings
    assert {c.severity for c in result.checks if c.name != "volume"} == {"ok"}


@pytest.mark.parametrize(
    ("entity", "field"),
    [
        ("invoices", "last_updated"),
        pytest.param("invoices", "created", marks=pytest.mark.slow),
        ("invoices", "txn_date"),
        pytest.param("customers", "last_updated", marks=pytest.mark.slow),
        pytest.param("items", "created", marks=pytest.mark.slow),
    ],
)
async def test_fifty_rows_deleted_from_raw_are_named_and_read_again(database: Any, entity: str, field: str) -> None:
    table = f"raw.qb_{entity}"
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, entity, filter_field=field)
        gone = await plant(
            database, f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} ORDER BY md5(id) LIMIT 50) RETURNING id"
        )
        found = await verify(secrets, entity, filter_field=field)
        assert found.status == "different"
        assert sorted(f.id for f in found.found.of("missing")) == sorted(gone)
        assert len(await in_raw(database, entity)) == len(await truth(simulator, entity)) - 50
        repaired = await verify(secrets, entity, filter_field=field, repair=True)
        assert repaired.status == "repaired", repaired.checks
        assert await in_raw(database, entity) == await truth(simulator, entity)
        assert (await verify(secrets, entity, filter_field=field)).status == "equal"


async def test_fifty_rows_of_one_day_cost_a_few_requests_and_only_their_days_are_read_again(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        gone = await plant(
            database,
            """DELETE FROM raw.qb_invoices WHERE last_updated_utc::date = (
                   SELECT last_updated_utc::date FROM raw.qb_invoices GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)
               RETURNING id""",
        )
        repaired = await verify(secrets, repair=True)
        assert repaired.status == "repaired"
        assert sorted(f.id for f in repaired.found.of("missing")) == sorted(gone)
        assert len(repaired.windows_read) == 1
        # A count, two halves of it, the page that names the Ids, its twin by the seal; and all that once more.
        assert repaired.requests <= 20
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_a_day_altered_under_the_same_version_is_found_without_reading_everything(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        altered = await plant(
            database,
            """UPDATE raw.qb_invoices SET payload = jsonb_set(payload, '{TotalAmt}', '1')
                WHERE last_updated_utc::date = (SELECT last_updated_utc::date FROM raw.qb_invoices
                                                 GROUP BY 1 HAVING count(*) > 5 ORDER BY 1 LIMIT 1) RETURNING id""",
        )
        assert altered
        found = await verify(secrets)
        assert found.status == "different"
        assert sorted(f.id for f in found.found.of("altered")) == sorted(altered)
        repaired = await verify(secrets, repair=True)
        assert repaired.status == "repaired"
        # What was read again was compared again.
        assert check(repaired, "source_rows").figures["compared"] >= len(altered)
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
        after = await verify(secrets)
        assert (after.status, after.requests) == ("equal", 4)


async def test_a_version_from_the_future_is_overwritten_by_the_sources_own(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        altered = await plant(
            database,
            """UPDATE raw.qb_invoices SET sync_token = sync_token + 7, payload = payload || '{"DocNumber": "x"}',
                      last_updated_utc = last_updated_utc + interval '40 days'
                WHERE id IN (SELECT id FROM raw.qb_invoices ORDER BY id LIMIT 4) RETURNING id""",
        )
        repaired = await verify(secrets, repair=True)
        assert sorted(f.id for f in repaired.found.of("altered")) == sorted(altered)
        assert repaired.status == "repaired"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_deep_finds_what_keeps_the_counts_and_breaks_no_seal(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        altered = await plant(
            database,
            """UPDATE raw.qb_invoices SET payload = payload || '{"DocNumber": "x"}' WHERE id = (
                   SELECT min(id) FROM raw.qb_invoices) RETURNING id""",
        )
        await plant(database, "DELETE FROM ops.seals RETURNING 1")
        await plant(database, "DELETE FROM ops.changed_days RETURNING 1")
        assert (await verify(secrets)).status == "equal"
        deep = await verify(secrets, deep=True)
        assert [f.id for f in deep.found.of("altered")] == altered
        assert deep.found.rows == 1_300
        assert (await verify(secrets, deep=True, repair=True)).status == "repaired"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_ten_surplus_ids_are_marked_deleted_and_their_payload_is_kept(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        surplus = await plant(
            database,
            COPIES + " WHERE n = '88' ORDER BY md5(id) LIMIT 10 RETURNING id",
        )
        found = await verify(secrets)
        assert sorted(f.id for f in found.found.of("surplus")) == sorted(surplus)
        repaired = await verify(secrets, repair=True)
        assert (repaired.status, repaired.marked_deleted) == ("repaired", 10)
        marked = await plant(
            database, "SELECT id FROM raw.qb_invoices WHERE deleted_at_utc IS NOT NULL AND payload ->> 'Id' = id"
        )
        assert sorted(marked) == sorted(surplus)
        assert (await verify(secrets)).status == "equal"


async def test_an_invoice_that_was_deleted_at_quickbooks_is_marked_and_one_that_moved_is_not(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        done = await simulate(simulator, "edit", {"entity": "Invoice", "edit": 3, "delete": 2})
        result = await verify(secrets, repair=True)
        assert sorted(f.id for f in result.found.of("surplus")) == sorted(done["delete"])
        assert sorted(f.id for f in result.found.of("moved")) == sorted(set(done["edit"]) - set(done["delete"]))
        marked = await plant(database, "SELECT id FROM raw.qb_invoices WHERE deleted_at_utc IS NOT NULL")
        assert sorted(marked) == sorted(done["delete"])


async def test_a_chunk_marked_done_that_nobody_read_is_read(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices", chunk="P1M")
        window = await plant(
            database,
            """WITH chunk AS (SELECT chunk_id, window_start AS a, window_end AS b FROM ops.chunks
                               WHERE expected_rows IS NULL AND kind = 'window' AND window_start >= '2025-06-01'
                               ORDER BY window_start LIMIT 1),
                    attempts AS (DELETE FROM ops.attempts USING chunk WHERE attempts.chunk_id = chunk.chunk_id),
                    rows AS (DELETE FROM raw.qb_invoices r USING chunk
                              WHERE r.last_updated_utc >= a AND r.last_updated_utc < b)
               SELECT chunk_id FROM chunk""",
        )
        found = await verify(secrets)
        assert found.status == "different"
        assert [int(c.split()[0]) for c in check(found, "ledger").figures["hollow"]] == window
        repaired = await verify(secrets, repair=True)
        assert repaired.status == "repaired", repaired.checks
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_a_window_of_the_ledger_that_is_off_by_an_hour_leaves_a_hole_that_is_read(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices", chunk="P1M")
        await plant(
            database,
            """UPDATE ops.chunks SET window_start = window_start + interval '1 hour',
                      window_end = window_end + interval '1 hour'
                WHERE chunk_id = (SELECT min(chunk_id) FROM ops.chunks
                                   WHERE kind = 'window' AND window_start >= '2025-06-01')
               RETURNING chunk_id""",
        )
        found = await verify(secrets)
        assert found.status == "different"
        assert check(found, "windows").severity == "error"
        assert len(check(found, "ledger").figures["holes"]) == 1
        repaired = await verify(secrets, repair=True)
        assert repaired.status == "repaired", repaired.checks
        assert {c.name: c.severity for c in repaired.checks if c.severity in ("warning", "error")} == {}


async def test_rows_whose_window_is_off_by_an_hour_get_the_right_one(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices", chunk="P1M")
        shifted = await plant(
            database,
            """UPDATE raw.qb_invoices SET extract_window_start_utc = extract_window_start_utc + interval '1 hour',
                      extract_window_end_utc = extract_window_end_utc + interval '1 hour'
                WHERE last_updated_utc >= '2025-05-01' AND last_updated_utc < '2025-05-20' RETURNING id""",
        )
        assert shifted
        found = await verify(secrets)
        assert sorted(f.id for f in found.found.of("misplaced")) == sorted(shifted)
        repaired = await verify(secrets, repair=True)
        assert repaired.status == "repaired", repaired.checks
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_a_day_with_triple_volume_is_found_in_raw_and_mended(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=12_000, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        day = (
            await plant(
                database,
                """SELECT last_updated_utc::date FROM raw.qb_invoices GROUP BY 1
                    HAVING count(*) BETWEEN 30 AND 60 ORDER BY 1 OFFSET 60 LIMIT 1""",
            )
        )[0]
        planted = await plant(
            database,
            COPIES + " WHERE last_updated_utc::date = $1 RETURNING id",
            day,
        )
        found = await verify(secrets)
        volume = check(found, "volume")
        assert volume.severity == "warning"
        assert str(day) in [odd["day"] for odd in volume.figures["odd_days"]]
        assert sorted(f.id for f in found.found.of("surplus")) == sorted(planted)
        repaired = await verify(secrets, repair=True)
        assert (repaired.status, repaired.marked_deleted) == ("repaired", len(planted))


async def test_records_in_quarantine_are_not_called_missing(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(
            simulator,
            "load",
            {
                "entity": "Invoice",
                "records": [
                    {
                        "payload": '{"Id": "777001", "SyncToken": "0", "PrivateNote": "a\\u0000b", "MetaData": '
                        '{"CreateTime": "2025-06-01T10:00:00-07:00", "LastUpdatedTime": "2025-06-01T10:00:00-07:00"}}'
                    }
                ],
            },
        )
        await backfill(secrets, "invoices")
        result = await verify(secrets)
    assert result.status == "equal"
    assert [f.id for f in result.found.of("quarantined")] == ["777001"]
    assert check(result, "source_rows").severity == "warning"


async def test_a_verification_that_is_stopped_says_so_instead_of_calling_all_equal(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        verification = Verification(BackfillRequest.parse("invoices", *RANGE), secrets, limits=False)
        async with verification:
            verification.stop("stopped by SIGTERM")
            with pytest.raises(IncompleteError, match="stopped by SIGTERM"):
                await verification.verify(deep=True)
        run = await plant(database, "SELECT status FROM ops.runs WHERE mode = 'verify'")
    assert run == ["incomplete"]


async def test_quickbooks_out_of_reach_is_one_line_and_the_run_says_why(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "items")
    with pytest.raises(ConfigurationError, match="QBO_SIMULATOR_URL"):
        await verify(secrets, "items")
    assert await plant(database, "SELECT status FROM ops.runs WHERE mode = 'verify'") == ["failed"]


async def test_rows_lost_outside_the_range_are_told_with_the_range_to_look_at(database: Any) -> None:
    async with Simulator(COMPANY) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        await plant(database, "DELETE FROM raw.qb_invoices WHERE last_updated_utc < '2025-06-01' RETURNING id")
        verification = Verification(
            BackfillRequest.parse("invoices", "2025-06-01", "2025-12-31"), secrets, limits=False
        )
        async with verification:
            result = await verification.verify()
    assert result.status == "equal"
    volume = check(result, "volume")
    assert (volume.severity, "not of this range" in volume.message) == ("warning", True)
    assert volume.advice == "qbo-backfill verify invoices --fecha-inicio 2024-12-01 --fecha-fin 2026-01-31 --repair"


async def test_what_no_run_has_read_is_repaired_whole(database: Any) -> None:
    """Up to today: the moments since the repair began are no hole that it leaves."""
    today = datetime.now(timezone.utc).date().isoformat()
    async with Simulator(SimulatorConfig(invoices=30, customers=10, items=10, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        request = BackfillRequest.parse("items", "2015-01-01", today)
        async with Verification(request, secrets, limits=False) as verification:
            assert (await verification.verify(repair=True)).status == "repaired"
        async with Verification(request, secrets, limits=False) as verification:
            assert (await verification.verify()).status == "equal"
