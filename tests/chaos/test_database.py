"""The warehouse fails under the run: sessions ended, locks held, rights missing, a record it can't hold."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from async_extractor import ConfigurationError, IncompleteError, resources
from async_extractor.events import Event
from async_extractor.warehouse import connection as connections
from async_extractor.warehouse import session
from async_extractor.warehouse.schema import bring_up_to_date
from local_postgres.embedded import EmbeddedPostgres
from qbo_simulator import Simulator, SimulatorConfig
from tests.conftest import Database
from tests.support.backfilling import backfill, exactly, in_raw, secrets_for, simulate, truth
from tests.support.databases import execute


async def end_sessions(database: Any, stop: asyncio.Event) -> int:
    """Ends a session of the run ten times a second until told to stop; how many."""
    connection = await asyncpg.connect(database.dsn)
    ended = 0
    while not stop.is_set():
        ended += await connection.fetchval(
            """SELECT count(pg_terminate_backend(pid)) FROM (
                 SELECT pid FROM pg_stat_activity
                  WHERE datname = current_database() AND application_name = 'qbo-backfill'
                    AND backend_start < clock_timestamp() - interval '0.3 s'
                  ORDER BY random() LIMIT 1) AS victim"""
        )
        await asyncio.sleep(0.1)
    await connection.close()
    return ended


@pytest.mark.slow
async def test_sessions_that_are_ended_under_the_run_cost_no_row(database: Any) -> None:
    config = SimulatorConfig(seed=21, invoices=8_000, years=2, limits=False, latency_ms=30)
    async with Simulator(config) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "items")  # so that the schema is there
        stop = asyncio.Event()
        killer = asyncio.ensure_future(end_sessions(database, stop))
        results = []
        for _ in range(20):
            try:
                results.append((await backfill(secrets, "invoices", chunk="P1M")).status)
            except (IncompleteError, ConfigurationError):
                results.append("ended")
            if results[-1] == "done":
                break
        stop.set()
        assert await killer >= 3
        assert (await backfill(secrets, "invoices", chunk="P1M")).status == "done"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_a_lock_on_raw_is_waited_for(database: Any) -> None:
    async with Simulator(SimulatorConfig(seed=22, invoices=1_200, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "items")
        connection = await asyncpg.connect(database.dsn)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE raw.qb_invoices IN EXCLUSIVE MODE")
        run = asyncio.ensure_future(backfill(secrets, "invoices"))
        await asyncio.sleep(1.0)
        assert not run.done()
        await transaction.rollback()
        await connection.close()
        assert (await run).status == "done"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("at", ["opening", "loading"])
async def test_a_server_that_answers_no_more_and_stays_connected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    """As when its machine is paused: the run ends, and is resumed when it goes on."""
    monkeypatch.setattr(session, "DATABASE_PATIENCE", 3.0)
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(connections, "LOOK_SECONDS", 1.0)
    server = EmbeddedPostgres(tmp_path / "postgres", throwaway=True)
    database = Database(**asdict(server.up()))
    try:
        async with Simulator(SimulatorConfig(seed=24, invoices=3_000, limits=False, latency_ms=200)) as simulator:
            secrets = secrets_for(simulator, database)
            ((pid,),) = execute(
                database, "SELECT (regexp_split_to_array(pg_read_file('postmaster.pid'), '\n'))[1]::int"
            )

            def freeze(event: Event) -> None:
                if event.name == "page_loaded":
                    send(pid, signal.SIGSTOP)

            async def freeze_first(*values: Any) -> list[str]:
                send(pid, signal.SIGSTOP)
                return await bring_up_to_date(*values)

            try:
                with monkeypatch.context() as patch:
                    if at == "opening":
                        patch.setattr(resources, "bring_up_to_date", freeze_first)
                    with pytest.raises(IncompleteError):
                        await asyncio.wait_for(backfill(secrets, "invoices", chunk="P1M", listeners=[freeze]), 60)
            finally:
                send(pid, signal.SIGCONT)
            assert (await backfill(secrets, "invoices", chunk="P1M")).status == "done"
            assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
    finally:
        server.destroy()


def send(process: int, number: signal.Signals) -> None:
    """To the process and all below it."""
    for child in Path(f"/proc/{process}/task/{process}/children").read_text().split():
        send(int(child), number)
    os.kill(process, number)


async def test_a_right_that_is_missing_is_one_line_and_the_run_resumes_when_it_is_granted(database: Any) -> None:
    async with Simulator(SimulatorConfig(seed=23, invoices=1_200, limits=False)) as simulator:
        owner = secrets_for(simulator, database)
        await backfill(owner, "items")
        connection = await asyncpg.connect(database.dsn)
        role = f"limited_{database.dbname}"
        await connection.execute(
            f"""CREATE ROLE {role} LOGIN PASSWORD 'limited';
                GRANT USAGE ON SCHEMA raw, ops TO {role};
                GRANT ALL ON ALL TABLES IN SCHEMA ops TO {role};
                GRANT SELECT ON ALL TABLES IN SCHEMA raw TO {role}"""
        )
        limited = type(owner)({**owner.values, "POSTGRES_USER": role, "POSTGRES_PASSWORD": "limited"})
        with pytest.raises(ConfigurationError, match=r"lacks the right to INSERT .* GRANT") as refused:
            await backfill(limited, "invoices")
        assert "\n" not in str(refused.value)
        assert await connection.fetchval("SELECT count(*) FROM ops.runs WHERE entity = 'invoices'") == 0
        await connection.execute(f"GRANT INSERT, UPDATE ON ALL TABLES IN SCHEMA raw TO {role}")
        assert (await backfill(limited, "invoices")).status == "done"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
        await connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
        await connection.close()


async def test_a_schema_of_a_newer_version_is_refused_in_one_line(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "items")
        connection = await asyncpg.connect(database.dsn)
        await connection.execute("INSERT INTO ops.schema_versions VALUES (999, '999_later.sql', '')")
        await connection.close()
        with pytest.raises(ConfigurationError, match="version 999, newer than"):
            await backfill(secrets, "items")


def invoice(number: int, more: str = "", version: str = "0", updated: str = "2025-05-05T10:00:00-07:00") -> str:
    meta = f'"MetaData":{{"CreateTime":"2025-05-05T10:00:00-07:00","LastUpdatedTime":"{updated}"}}'
    return f'{{"Id":"{number}","SyncToken":"{version}","TxnDate":"2025-05-05",{meta}{more}}}'


LOADED = {
    "scale and digits": ',"TotalAmt":639.00,"Big":12345678901234567890123456789,"Rate":0.1234567890123456789',
    "beyond double": ',"Huge":1e400',
    "emoji and quotes": ',"Memo":"caf\\u00e9 \\ud83d\\ude00 \\"quoted\\" & <b>"',
    "five megabytes": ',"Memo":"' + "x" * 5_000_000 + '"',
    "unknown keys": ',"SomethingNew":{"deep":[1,2,{"er":null}]}',
}
REFUSED = {
    "a NUL": ',"Memo":"a\\u0000b"',
    "a lone surrogate": ',"Memo":"\\ud800"',
}


async def test_odd_records_are_loaded_faithfully_or_set_aside_whole(database: Any) -> None:
    loaded = [invoice(800_001 + n, more) for n, more in enumerate(LOADED.values())]
    refused = [invoice(810_001 + n, more) for n, more in enumerate(REFUSED.values())]
    no_id = invoice(1).replace('"Id":"1",', "")
    odd = [*refused, no_id, "17", '"text"', "null", "[1,2]"]
    found_by = {
        "created": "2025-05-05T10:00:00-07:00",
        "updated": "2025-05-05T10:00:00-07:00",
        "txn_date": "2025-05-05",
    }
    records = [{"payload": payload, **found_by} for payload in [*loaded, *odd]]
    async with Simulator(SimulatorConfig(invoices=1_500, years=1, limits=False)) as simulator:
        expected = await truth(simulator, "invoices")
        await simulate(simulator, "load", {"entity": "Invoice", "records": records})
        secrets = secrets_for(simulator, database)
        result = await backfill(secrets, "invoices", chunk="P1M")
        # What has no Id is in quarantine, and nothing says that it is all that QuickBooks counts beyond raw.
        assert result.status == "incomplete"
        assert "5 that QuickBooks counts and doesn't give, or gives without an Id" in (result.error or "")
        assert result.rows["quarantined"] == len(odd)
        expected |= {json.loads(payload)["Id"]: exactly(payload) for payload in loaded}
        raw = await in_raw(database, "invoices")
        assert raw.keys() == expected.keys()
        assert raw == expected
        again = await backfill(secrets, "invoices", mode="reprocess")
        assert again.rows["inserted"] == again.rows["updated"] == 0
    connection = await asyncpg.connect(database.dsn)
    rows = await connection.fetch("SELECT record_id, reason, record FROM ops.quarantine ORDER BY quarantine_id")
    await connection.close()
    assert sorted(bytes(row["record"]).decode() for row in rows) == sorted(odd)
    assert all(row["reason"] for row in rows)
    assert {row["record_id"] for row in rows if row["record_id"]} == {"810001", "810002"}


async def test_an_id_twice_in_a_page_keeps_the_newest_whatever_the_order(database: Any) -> None:
    versions = [("2", "old", "10"), ("5", "newest", "09"), ("3", "older", "10"), ("4", "later", "11")]
    records = [
        {
            "payload": invoice(820_000, f',"Memo":"{memo}"', token, f"2025-05-05T{hour}:30:00-07:00"),
            "id": f"82000{token}",  # by which the simulator finds it; the Id in the payload is one and the same
        }
        for token, memo, hour in versions
    ]
    async with Simulator(SimulatorConfig(invoices=5, years=1, limits=False)) as simulator:
        await simulate(simulator, "load", {"entity": "Invoice", "records": records})
        await backfill(secrets_for(simulator, database), "invoices")
        assert (await in_raw(database, "invoices"))["820000"]["Memo"] == "newest"


async def test_an_older_version_never_overwrites_a_newer_one(database: Any) -> None:
    """That a run has read: what another hand calls newer is none."""
    async with Simulator(SimulatorConfig(seed=24, invoices=600, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        connection = await asyncpg.connect(database.dsn)
        newer = "UPDATE raw.qb_invoices SET sync_token = sync_token + 1, payload = payload || '{\"Newer\": true}'"
        await connection.execute(f"SET qbo_backfill.writes = on; {newer}")  # as the program's sessions do
        again = await backfill(secrets, "invoices", mode="reprocess")
        assert again.rows["updated"] == 0
        assert all(record["Newer"] for record in (await in_raw(database, "invoices")).values())
        await connection.execute(f"SET qbo_backfill.writes = off; {newer}")
        await connection.close()
        again = await backfill(secrets, "invoices", mode="reprocess")
        assert again.rows["updated"] == 600
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_deleted_invoices_are_marked_with_their_payload_kept(database: Any) -> None:
    async with Simulator(SimulatorConfig(seed=25, invoices=1_500, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices")
        before = await in_raw(database, "invoices")
        gone = sorted(before)[10:13]
        await simulate(simulator, "edit", {"entity": "Invoice", "delete": gone})
        await backfill(secrets, "invoices", mode="reprocess")
        connection = await asyncpg.connect(database.dsn)
        rows = await connection.fetch("SELECT id FROM raw.qb_invoices WHERE deleted_at_utc IS NOT NULL")
        await connection.close()
        assert sorted(row["id"] for row in rows) == gone
        assert await in_raw(database, "invoices") == before
