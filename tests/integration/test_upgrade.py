"""A warehouse that version 0.1.0 made, brought up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from async_extractor import ConfigurationError
from async_extractor.warehouse.schema import bring_up_to_date
from qbo_simulator import Simulator, SimulatorConfig, run_in_thread
from tests.conftest import Database
from tests.support.backfilling import backfill, secrets_for, simulate
from tests.support.commands import CommandLine, store
from tests.support.databases import execute

MADE_BY_0_1_0 = Path(__file__).with_name("release_0_1_0.sql").read_text(encoding="utf-8")

# Whatever tells two schemas apart, each as a line.
CATALOG = """
SELECT format('column %s.%s %s null=%s default=%s: %s', table_name, column_name, data_type, is_nullable, column_default,
              col_description(format('ops.%I', table_name)::regclass, ordinal_position::int))
  FROM information_schema.columns WHERE table_schema = 'ops'
UNION ALL
SELECT format('constraint %s %s', conrelid::regclass, pg_get_constraintdef(oid))
  FROM pg_constraint WHERE connamespace = 'ops'::regnamespace
UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'ops'
UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc WHERE pronamespace = 'ops'::regnamespace
UNION ALL SELECT format('view %s %s', viewname, definition) FROM pg_views WHERE schemaname = 'ops'
UNION ALL SELECT format('version %s %s', name, sha256) FROM ops.schema_versions
ORDER BY 1
"""


async def catalog(connection: Any) -> list[str]:
    return [row[0] for row in await connection.fetch(CATALOG)]


async def test_upgraded_equals_new(database: Database, other_database: Database) -> None:
    """A database of 0.1.0 has, once upgraded, exactly the schema of a new one, and all of its rows."""
    old, new = await asyncpg.connect(database.dsn), await asyncpg.connect(other_database.dsn)
    try:
        await old.execute(MADE_BY_0_1_0)
        before = {
            name: await old.fetchval(f"SELECT count(*) FROM ops.{name}")
            for name in ("company", "runs", "attempts", "quarantine", "events", "validations", "usage")
        }
        assert await bring_up_to_date(old)
        assert await bring_up_to_date(new)
        assert await catalog(old) == await catalog(new)
        after = {name: await old.fetchval(f"SELECT count(*) FROM ops.{name}") for name in before}
        assert after == before
        assert await bring_up_to_date(old) == []
        # New rows get numbers of their own.
        assert await old.fetchval(
            "INSERT INTO ops.events (run_id, happened_at, code, name, phase, level, message) "
            "VALUES (1, now(), 'x', 'x', 'load', 'info', 'x') RETURNING event_id > 1"
        )
    finally:
        await old.close()
        await new.close()


async def test_changed_file_is_refused(database: Database) -> None:
    """An applied file that reads otherwise today is told in one line; nothing is applied."""
    connection = await asyncpg.connect(database.dsn)
    try:
        await bring_up_to_date(connection)
        await connection.execute("UPDATE ops.schema_versions SET sha256 = 'other' WHERE version = 2")
        with pytest.raises(ConfigurationError, match=r"was made from another 002_ledger.sql"):
            await bring_up_to_date(connection)
    finally:
        await connection.close()


async def test_window_counts_from_its_attempt(database: Database) -> None:
    """A window read before the upgrade counts from its attempt's start: the next run reads what was edited since."""
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute(MADE_BY_0_1_0)
        await bring_up_to_date(connection)
        read = await connection.fetch(
            """SELECT c.as_of, a.started_at, c.edits_known_until, c.deletions_known_until
                 FROM ops.chunks c JOIN ops.attempts a USING (chunk_id) WHERE c.kind = 'window' AND c.status = 'done'"""
        )
        assert read
        for row in read:
            assert row["as_of"] == row["started_at"]
            assert (row["edits_known_until"], row["deletions_known_until"]) == (None, None)
        async with Simulator(SimulatorConfig(realm_id="9130347", items=1, limits=False)) as simulator:
            edited = {
                "Id": "1",
                "SyncToken": "1",
                "Name": "b",
                "MetaData": {"CreateTime": "2023-01-05T00:00:00Z", "LastUpdatedTime": "2026-01-01T00:00:21Z"},
            }
            records = [{"payload": json.dumps(edited)}]
            await simulate(simulator, "load", {"entity": "Item", "replace": True, "records": records})
            run = await backfill(secrets_for(simulator, database), "items", "2023-01-01", "2023-12-31")
        assert run.status == "done", run.error
        assert await connection.fetchval("SELECT payload ->> 'Name' FROM raw.qb_items WHERE id = '1'") == "b"
    finally:
        await connection.close()


def test_commands_that_look_at_all_companies(command_line: CommandLine, database: Database) -> None:
    """The first command after the upgrade may be one of these; and another tool's schema of that name is left alone."""
    with run_in_thread(SimulatorConfig(realm_id="9130347", items=1, limits=False)) as simulator:
        store(command_line, simulator, database)
        execute(database, MADE_BY_0_1_0)
        assert command_line.run("status", "--json").code == 0
        execute(database, "DROP SCHEMA ops CASCADE; CREATE SCHEMA ops; CREATE VIEW ops.run_metrics AS SELECT 1 AS x")
        ended = command_line.run("status")
        assert (ended.code, ended.stderr.count("\n")) == (4, 1), ended.stderr
        assert "column" in ended.stderr


async def test_what_others_have_made_of_ops(database: Database) -> None:
    """What would look at old rows is told, and nothing is done. Rights of others are given again; the rest stays."""
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute(MADE_BY_0_1_0)
        await connection.execute(
            """CREATE VIEW public.dashboard AS SELECT run_id FROM ops.runs; CREATE TABLE ops.notes (note text);
               CREATE TABLE public.tickets (run_id bigint REFERENCES ops.runs);
               CREATE ROLE somebody; GRANT USAGE ON SCHEMA ops TO somebody;
               GRANT SELECT ON ops.runs, ops.run_metrics TO somebody WITH GRANT OPTION;
               GRANT UPDATE (error) ON ops.runs TO somebody;
               ALTER TABLE ops.runs ADD COLUMN note text DEFAULT 'mine';
               CREATE FUNCTION ops.mine() RETURNS int LANGUAGE sql AS 'SELECT 1';
               CREATE VIEW public.by_day AS SELECT id, ops.created_day(payload) FROM raw.qb_items"""
        )
        with pytest.raises(ConfigurationError, match=r"notes, public\.dashboard, tickets_run_id_fkey of \S*tickets in"):
            await bring_up_to_date(connection)
        assert await connection.fetchval("SELECT count(*) FROM public.dashboard") > 0
        await connection.execute("DROP VIEW public.dashboard; DROP TABLE public.tickets, ops.notes")
        assert await bring_up_to_date(connection)
        assert await connection.fetchval("SELECT has_schema_privilege('somebody', 'ops', 'USAGE')")
        assert await connection.fetchval(
            "SELECT has_table_privilege('somebody', 'ops.runs', 'SELECT WITH GRANT OPTION')"
        )
        assert await connection.fetchval("SELECT has_column_privilege('somebody', 'ops.runs', 'error', 'UPDATE')")
        assert not await connection.fetchval("SELECT has_column_privilege('somebody', 'ops.runs', 'status', 'UPDATE')")
        assert await connection.fetchval("SELECT DISTINCT note FROM ops_0_1_0.runs") == "mine"
        assert await connection.fetchval("SELECT ops_0_1_0.mine()") == 1
        assert await connection.fetchval("SELECT count(*) = (SELECT count(*) FROM raw.qb_items) FROM public.by_day")
        assert not await connection.fetchval("SELECT has_table_privilege('somebody', 'ops.runs', 'DELETE')")
    finally:
        await connection.execute("DROP OWNED BY somebody; DROP ROLE somebody")
        await connection.close()
