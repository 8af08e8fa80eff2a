"""SIGKILL at a step that is known: the step is held by a lock of the test's own, the process is killed in it,
and the next run ends equal to the source."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from local_postgres.embedded import EmbeddedPostgres
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import backfill, in_raw, secrets_for, simulate, truth
from tests.support.commands import CommandLine, store
from tests.support.databases import until

CONFIG = SimulatorConfig(seed=31, invoices=2_500, years=1, limits=False)


@contextlib.asynccontextmanager
async def held(database: Any, *statements: str) -> AsyncIterator[asyncpg.Connection]:
    """A transaction that holds what the statements lock, until the block ends."""
    connection = await asyncpg.connect(database.dsn)
    transaction = connection.transaction()
    await transaction.start()
    for statement in statements:
        await connection.execute(statement)
    try:
        yield connection
    finally:
        await transaction.rollback()
        await connection.close()


async def until_somebody_waits(database: Any, query_like: str) -> None:
    """Until a session of the command waits for a lock in such a statement."""
    connection = await asyncpg.connect(database.dsn)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            waiting = await connection.fetchval(
                """SELECT count(*) FROM pg_stat_activity
                    WHERE application_name = 'qbo-backfill' AND wait_event_type = 'Lock' AND query ILIKE $1""",
                query_like,
            )
            if waiting:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"nobody came to wait in {query_like}")
    finally:
        await connection.close()


async def killed_in(command_line: CommandLine, database: Any, query_like: str, *arguments: str) -> None:
    process = command_line.start(*command_line.backfill_arguments("invoices", *arguments))
    try:
        await until_somebody_waits(database, query_like)
    finally:
        process.kill()
        await asyncio.to_thread(process.communicate)


async def finishes_equal(command_line: CommandLine, database: Any, simulator: Simulator) -> None:
    ended = await asyncio.to_thread(command_line.run, *command_line.backfill_arguments("invoices"))
    assert ended.code == 0, ended.stderr
    assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("mode", "query_like"),
    [("ACCESS EXCLUSIVE", "%Which of these Ids raw has%"), ("SHARE", "COPY%qb_invoices%")],
)
async def test_killed_before_and_in_the_copy_of_new_records(
    command_line: CommandLine, database: Any, mode: str, query_like: str
) -> None:
    """SHARE lets raw's Ids be read and stops the COPY into it; ACCESS EXCLUSIVE stops the reading too."""
    async with Simulator(CONFIG) as simulator:
        store(command_line, simulator, database)
        await backfill(secrets_for(simulator, database), "items")
        async with held(database, f"LOCK TABLE raw.qb_invoices IN {mode} MODE"):
            await killed_in(command_line, database, query_like)
        assert await in_raw(database, "invoices") == {}
        await finishes_equal(command_line, database, simulator)


@pytest.mark.slow
async def test_killed_between_the_copy_to_staging_and_the_merge(command_line: CommandLine, database: Any) -> None:
    """Records that raw knows and that were edited since pass through staging; SHARE stops their merge at its INSERT."""
    async with Simulator(CONFIG) as simulator:
        store(command_line, simulator, database)
        await backfill(secrets_for(simulator, database), "invoices")
        before = await in_raw(database, "invoices")
        company = simulator.service.company
        company.edit(company.invoices, list(company.invoices.slots()), simulator.service.now())
        async with held(database, "LOCK TABLE raw.qb_invoices IN SHARE MODE"):
            reprocess = ("--mode", "reprocess", "--filter-field", "txn_date")
            await killed_in(command_line, database, "%The page in staging becomes rows of raw%", *reprocess)
        assert await in_raw(database, "invoices") == before
        ended = await asyncio.to_thread(
            command_line.run, *command_line.backfill_arguments("invoices", "--filter-field", "txn_date")
        )
        assert ended.code == 0, ended.stderr
        after = await in_raw(database, "invoices")
        assert after == await truth(simulator, "invoices")
        assert all(after[record_id] != record for record_id, record in before.items())


async def test_killed_while_the_chunk_is_marked_done(command_line: CommandLine, database: Any) -> None:
    async with Simulator(CONFIG) as simulator:
        store(command_line, simulator, database)
        await backfill(secrets_for(simulator, database), "items")
        async with held(database, "LOCK TABLE ops.attempts IN SHARE MODE"):
            await killed_in(command_line, database, "%ops.claim_chunk%")
        await finishes_equal(command_line, database, simulator)


async def test_killed_in_planning(command_line: CommandLine, database: Any) -> None:
    async with Simulator(CONFIG) as simulator:
        store(command_line, simulator, database)
        await backfill(secrets_for(simulator, database), "items")
        async with held(database, "LOCK TABLE ops.chunks IN SHARE MODE") as connection:
            await killed_in(command_line, database, "%ops.chunks%")
            planned = "SELECT count(*) FROM ops.run_chunks JOIN ops.runs USING (run_id) WHERE entity = 'invoices'"
            assert await connection.fetchval(planned) == 0
        await finishes_equal(command_line, database, simulator)


async def test_killed_in_the_migration(command_line: CommandLine, database: Any) -> None:
    async with Simulator(CONFIG) as simulator:
        store(command_line, simulator, database)
        # The schema raw is made by the first file, and another transaction is just making one of that name.
        async with held(database, "CREATE SCHEMA raw"):
            await killed_in(command_line, database, "%Two schemas: raw holds%")
        await finishes_equal(command_line, database, simulator)


@pytest.mark.parametrize("grace_seconds", [0, 600])
async def test_killed_between_the_tokens_answer_and_its_storing(
    command_line: CommandLine, database: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace_seconds: int
) -> None:
    """Where the old value is dead at once nothing can save the connection, and the next run says so; where it
    lives on for a while the next run recovers."""
    config = SimulatorConfig(
        invoices=200,
        years=1,
        limits=False,
        switches={"tokens": {"rotate_after_seconds": 0, "grace_seconds": grace_seconds}},
    )
    async with Simulator(config) as simulator:
        store(command_line, simulator, database)
        mage = sqlite3.connect(tmp_path / "data" / "mage_project" / "mage-ai.db", isolation_level=None)
        oauth = simulator.service.consent
        finish = oauth.finish_refresh

        def finish_and_lock(*values: Any) -> Any:
            if not mage.in_transaction:
                mage.execute("BEGIN IMMEDIATE")  # nobody else can write to Mage's database now
            return finish(*values)

        monkeypatch.setattr(oauth, "finish_refresh", finish_and_lock)
        process = command_line.start(*command_line.backfill_arguments("invoices"))
        await until(lambda: simulator.service.ledger.summary(log=False)["refreshes"] > 0)
        await asyncio.sleep(0.3)  # the answer is there and waits to be stored
        process.kill()
        await asyncio.to_thread(process.communicate)
        monkeypatch.undo()
        mage.execute("ROLLBACK")
        mage.close()
        ended = await asyncio.to_thread(command_line.run, *command_line.backfill_arguments("invoices"))
        if grace_seconds:
            assert ended.code == 0, ended.stderr
            assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
        else:
            assert ended.code == 4
            assert "invalid_grant" in ended.stderr
            assert "qbo-backfill auth login" in ended.stderr
            assert ended.stderr.splitlines()[-1].startswith("qbo-backfill: ")


@pytest.mark.slow
async def test_a_server_that_is_restarted_under_the_run_costs_no_row(database: Any, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("own_server")
    server = EmbeddedPostgres(folder / "postgres", throwaway=True)
    address = await asyncio.to_thread(server.up)
    try:
        config = SimulatorConfig(seed=32, invoices=8_000, years=1, limits=False, latency_ms=120)
        async with Simulator(config) as simulator:
            secrets = secrets_for(simulator, address)
            run = asyncio.ensure_future(backfill(secrets, "invoices", chunk="P3M", concurrency=2))
            connection = await asyncpg.connect(address.url(show_password=True))
            await connection.close()
            await until(lambda: simulator.service.ledger.summary(log=False)["rows"].get("Invoice", 0) >= 4_000)
            assert not run.done()
            await asyncio.to_thread(server.down)
            await asyncio.sleep(0.5)
            await asyncio.to_thread(server.up)
            result = await run
            assert result.status == "done", result.error

            class There:
                dsn = address.url(show_password=True)

            assert await in_raw(There, "invoices") == await truth(simulator, "invoices")
    finally:
        await asyncio.to_thread(server.destroy)


async def test_rows_round_both_changes_of_pacific_time_fall_into_their_own_hour(database: Any) -> None:
    """In March the hour from 02:00 doesn't exist, in November the one from 01:00 comes twice; UTC has no such hours."""
    moments = [f"2025-03-09T{h:02}:59:59-08:00" for h in (0, 1)] + [f"2025-03-09T{h:02}:00:00-07:00" for h in (3, 4)]
    moments += [f"2025-11-02T01:{m}:00-07:00" for m in ("00", "59")] + [
        f"2025-11-02T01:{m}:00-08:00" for m in ("00", "59")
    ]
    moments += ["2024-02-29T12:00:00-08:00", "2024-12-31T15:59:59-08:00", "2024-12-31T16:00:00-08:00"]
    records = [
        {
            "payload": f'{{"Id":"{n}","SyncToken":"0","TxnDate":"{m[:10]}","MetaData":'
            f'{{"CreateTime":"{m}","LastUpdatedTime":"{m}"}}}}'
        }
        for n, m in enumerate(moments, 700_001)
    ]
    async with Simulator(SimulatorConfig(invoices=0, years=1, limits=False)) as simulator:
        await simulate(simulator, "load", {"entity": "Invoice", "records": records})
        secrets = secrets_for(simulator, database)
        for start, end in (("2025-03-09", "2025-03-09"), ("2025-11-02", "2025-11-02"), ("2024-02-29", "2024-03-01")):
            result = await backfill(secrets, "invoices", start, end, chunk="PT1H")
            assert result.status == "done"
        # A bare fecha_fin includes its day to the last second of UTC and not one more.
        year = await backfill(secrets, "invoices", "2024-12-01", "2024-12-31")
        assert year.rows["inserted"] == 1
        await backfill(secrets, "invoices", "2025-01-01", "2025-01-01")
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
    connection = await asyncpg.connect(database.dsn)
    outside = await connection.fetchval(
        """SELECT count(*) FROM raw.qb_invoices
            WHERE extract_window_end_utc - extract_window_start_utc = interval '1 hour'
              AND date_trunc('hour', last_updated_utc) <> extract_window_start_utc"""
    )
    await connection.close()
    assert outside == 0


SHARED = SimulatorConfig(seed=32, invoices=6_000, years=3, limits=False, latency_ms=150)
HELD_PART = """CREATE FUNCTION ops.stand_still() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF EXISTS (SELECT FROM ops.chunks c WHERE c.chunk_id = NEW.chunk_id AND c.window_start > c.range_start) THEN
        PERFORM pg_advisory_xact_lock(4711);
    END IF;
    RETURN NEW; END $$;
CREATE TRIGGER stand_still BEFORE INSERT ON ops.attempts FOR EACH ROW EXECUTE FUNCTION ops.stand_still()"""


@pytest.mark.slow
async def test_killed_while_the_far_part_of_a_window_goes_over(command_line: CommandLine, database: Any) -> None:
    async with Simulator(SHARED) as simulator:
        store(command_line, simulator, database)
        await backfill(secrets_for(simulator, database), "items")
        connection = await asyncpg.connect(database.dsn)
        await connection.execute(HELD_PART)
        async with held(database, "SELECT pg_advisory_xact_lock(4711)"):
            await killed_in(command_line, database, "%ops.take_over%")
            windows = "SELECT count(*) FROM ops.chunks WHERE entity = 'invoices' AND kind = 'window'"
            assert await connection.fetchval(windows) == 1
        # The server notices only now that nobody is there any more, and may end what it was at: both are well.
        await connection.execute("DROP TRIGGER stand_still ON ops.attempts; DROP FUNCTION ops.stand_still")
        await connection.close()
        await finishes_equal(command_line, database, simulator)


async def test_killed_once_the_far_part_has_gone_over_both_are_read_again(
    command_line: CommandLine, database: Any
) -> None:
    async with Simulator(SHARED) as simulator:
        store(command_line, simulator, database)
        await backfill(secrets_for(simulator, database), "items")
        connection = await asyncpg.connect(database.dsn)
        begun = "SELECT count(*) FROM ops.chunks WHERE entity = 'invoices' AND kind = 'window' AND status = 'running'"
        process = command_line.start(*command_line.backfill_arguments("invoices"))
        deadline = time.monotonic() + 60
        while await connection.fetchval(begun) < 2:
            assert time.monotonic() < deadline, "no part was taken over"
            await asyncio.sleep(0.02)
        process.kill()
        await asyncio.to_thread(process.communicate)
        assert await connection.fetchval(begun) >= 2
        await connection.close()
        await finishes_equal(command_line, database, simulator)
