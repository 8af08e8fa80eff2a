"""Databases and roles as other people have set them up: used as they are, or refused before QuickBooks is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from async_extractor.errors import ConfigurationError, IncompleteError
from async_extractor.warehouse import ledger, schema
from async_extractor.warehouse.connection import Address, connect
from async_extractor.warehouse.schema import bring_up_to_date
from local_postgres.embedded import PostgresAddress
from qbo_simulator import Simulator, SimulatorConfig
from tests.conftest import Database
from tests.support.backfilling import backfill, in_raw, secrets_for, truth
from tests.support.databases import execute

# Any function that a trigger can have.
GUARD = "suppress_redundant_updates_trigger"
ROLE, PASSWORD = "somebody", "some-body-Qx12"


@pytest.fixture
def own(postgres_server: PostgresAddress, database: Database) -> Iterator[Database]:
    """A database that an ordinary role owns, as that role."""
    execute(
        postgres_server,
        f"CREATE ROLE {ROLE} LOGIN PASSWORD '{PASSWORD}'",
        f"ALTER DATABASE {database.dbname} OWNER TO {ROLE}",
    )
    yield replace(database, user=ROLE, password=PASSWORD)
    execute(postgres_server, f"DROP DATABASE {database.dbname} WITH (FORCE)", f"DROP ROLE {ROLE}")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator(SimulatorConfig(invoices=4, customers=4, items=30)) as simulator:
        yield simulator


async def refusal(simulator: Any, database: Any) -> str:
    with pytest.raises(ConfigurationError) as refused:
        await backfill(secrets_for(simulator, database), "items")
    assert "\n" not in str(refused.value)
    assert simulator.service.ledger.tokens["refreshed"] == 0
    return str(refused.value)


async def test_settings_of_the_role_and_the_database_change_nothing(
    own: Database, database: Database, simulator: Any
) -> None:
    execute(
        database,
        f"ALTER ROLE {ROLE} SET standard_conforming_strings = off",
        f"ALTER ROLE {ROLE} SET statement_timeout = '300ms'",
        f"ALTER ROLE {ROLE} SET idle_session_timeout = '300ms'",
        f"ALTER ROLE {ROLE} SET transaction_timeout = '300ms'",
        f"ALTER ROLE {ROLE} SET datestyle = 'German'",
        f"ALTER ROLE {ROLE} SET timezone = 'Asia/Kathmandu'",
        f"ALTER ROLE {ROLE} SET default_transaction_isolation = 'serializable'",
        f"ALTER DATABASE {own.dbname} SET search_path = nowhere",
    )
    result = await backfill(secrets_for(simulator, own), "items")
    assert result.status == "done"
    assert await in_raw(database, "items") == await truth(simulator, "items")
    connection = await connect(Address(own.host, own.port, own.dbname, own.user, own.password))
    try:
        for name, value in (
            ("search_path", "pg_catalog, pg_temp"),
            ("standard_conforming_strings", "on"),
            ("statement_timeout", "0"),
            ("idle_session_timeout", "0"),
            ("transaction_timeout", "0"),
            ("idle_in_transaction_session_timeout", "5min"),
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO, YMD"),
            ("transaction_isolation", "read committed"),
            ("default_transaction_read_only", "off"),
        ):
            assert await connection.fetchval("SELECT current_setting($1)", name) == value, name
    finally:
        await connection.close()


async def test_a_table_named_staging_of_their_own_is_left_alone(own: Database, simulator: Any) -> None:
    execute(
        own,
        "CREATE TABLE public.staging (id text, payload jsonb, last_updated_utc timestamptz, sync_token int8, line int)",
        """INSERT INTO public.staging VALUES ('mine', '{"mine": true}', now(), 0, 1)""",
        "CREATE TABLE public.seen (id text)",
        f"ALTER ROLE {ROLE} IN DATABASE {own.dbname} SET search_path = public, pg_temp",
    )
    secrets = secrets_for(simulator, own)
    for mode in ("resume", "reprocess"):
        assert (await backfill(secrets, "items", mode=mode)).status == "done"
    assert execute(own, "SELECT id FROM public.staging") == [("mine",)]
    assert await in_raw(own, "items") == await truth(simulator, "items")


async def test_a_function_in_public_is_not_called_in_the_place_of_postgres_own(
    own: Database, database: Database, simulator: Any
) -> None:
    """Before Postgres 15 every role may make functions in public, and this one fits the calls better."""
    execute(
        database,
        "CREATE ROLE guest LOGIN PASSWORD 'guest'",
        "GRANT CREATE, USAGE ON SCHEMA public TO PUBLIC",
        "CREATE TABLE public.called (who text)",
        "GRANT INSERT ON public.called TO PUBLIC",
    )
    try:
        for kind in ("bigint", "text"):
            execute(
                replace(database, user="guest", password="guest"),
                f"""CREATE FUNCTION public.unnest(a {kind}[]) RETURNS SETOF {kind} LANGUAGE plpgsql AS $$
                    BEGIN
                        INSERT INTO public.called VALUES (current_user);
                        RETURN QUERY SELECT pg_catalog.unnest(a);
                    END $$""",
            )
        assert (await backfill(secrets_for(simulator, own), "items")).status == "done"
        assert execute(database, "SELECT * FROM public.called") == []
    finally:
        execute(database, "DROP OWNED BY guest", "DROP ROLE guest")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "WIN1252"])
async def test_another_encoding_is_refused(database: Database, simulator: Any, encoding: str) -> None:
    name = f"other_{encoding.lower()}"
    execute(
        database,
        f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0",
    )
    try:
        said = await refusal(simulator, replace(database, dbname=name))
        assert f"has the encoding {encoding}, and UTF8 is needed" in said
    finally:
        execute(database, f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_read_only_role_or_server_is_refused(own: Database, database: Database, simulator: Any) -> None:
    execute(database, f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
    assert "Postgres there is read-only" in await refusal(simulator, own)
    execute(database, f"ALTER ROLE {ROLE} SET default_transaction_read_only = off")
    assert (await backfill(secrets_for(simulator, own), "items")).status == "done"
    execute(database, f"ALTER ROLE {ROLE} SET default_transaction_read_only = on")
    with pytest.raises(ConfigurationError, match="Postgres there is read-only"):
        await backfill(secrets_for(simulator, own), "items")


async def test_schemas_that_a_dba_has_made_are_used(own: Database, database: Database, simulator: Any) -> None:
    execute(
        database,
        f"ALTER DATABASE {own.dbname} OWNER TO postgres",
        f"CREATE SCHEMA raw AUTHORIZATION {ROLE}",
        f"CREATE SCHEMA ops AUTHORIZATION {ROLE}",
    )
    assert execute(database, f"SELECT has_database_privilege('{ROLE}', '{own.dbname}', 'CREATE')") == [(False,)]
    assert (await backfill(secrets_for(simulator, own), "items")).status == "done"


async def test_schemas_that_a_dba_owns_are_used(own: Database, database: Database, simulator: Any) -> None:
    execute(
        database,
        f"ALTER DATABASE {own.dbname} OWNER TO postgres",
        "CREATE SCHEMA raw",
        "CREATE SCHEMA ops",
        f"GRANT CREATE, USAGE ON SCHEMA raw, ops TO {ROLE}",
    )
    assert (await backfill(secrets_for(simulator, own), "items")).status == "done"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("CREATE TABLE raw.qb_items (id bigint PRIMARY KEY, data jsonb)", "it has id bigint, which should be text"),
        ("CREATE TABLE raw.qb_items (id text PRIMARY KEY)", "it has payload not at all, which should be jsonb"),
        ("CREATE VIEW raw.qb_items AS SELECT 1 AS id", "it is no table"),
    ],
)
async def test_another_tools_table_is_found_by_its_columns(
    own: Database, simulator: Any, change: str, says: str
) -> None:
    execute(own, "CREATE SCHEMA raw", change)
    said = await refusal(simulator, own)
    assert said.startswith("raw.qb_items is not as this program makes it: ")
    assert says in said


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("ALTER TABLE raw.qb_items ADD COLUMN company text NOT NULL", "its column company may not be null"),
        ("ALTER TABLE raw.qb_items DROP CONSTRAINT qb_items_pkey", "its id has no primary key"),
        (
            "ALTER TABLE raw.qb_items DROP CONSTRAINT qb_items_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
            "its id has no primary key or unique index that isn't deferrable",
        ),
        ("ALTER TABLE raw.qb_items ALTER created_utc TYPE timestamp", "it has created_utc timestamp without time zone"),
        (
            "ALTER TABLE raw.qb_items RENAME TO old; CREATE TABLE raw.qb_items (LIKE raw.old) PARTITION BY HASH (id)",
            "it is partitioned",
        ),
        (
            f"CREATE TRIGGER g BEFORE UPDATE ON raw.qb_items FOR EACH ROW EXECUTE FUNCTION {GUARD}()",
            "TRIGGER g ON raw.qb_items may change or leave out the rows that are written",
        ),
        ("CREATE RULE keep AS ON UPDATE TO raw.qb_items DO INSTEAD NOTHING", "DROP RULE keep ON raw.qb_items"),
    ],
)
async def test_a_table_that_would_refuse_every_record_is_found(
    own: Database, simulator: Any, change: str, says: str
) -> None:
    connection = await connect(Address(own.host, own.port, own.dbname, own.user, own.password))
    await bring_up_to_date(connection)
    await connection.close()
    execute(own, change)
    assert says in await refusal(simulator, own)


async def test_a_column_that_somebody_dropped_is_made_again(own: Database, simulator: Any) -> None:
    assert (await backfill(secrets_for(simulator, own), "items")).status == "done"
    execute(own, "ALTER TABLE raw.qb_items DROP digest, DROP created_utc, DROP txn_date")
    assert (await backfill(secrets_for(simulator, own), "items", mode="reprocess")).status == "done"


async def test_what_anothers_trigger_makes_of_a_row_is_another_hands_change(own: Database, simulator: Any) -> None:
    """Also where it does so in a session of this program."""
    secrets = secrets_for(simulator, own)
    assert (await backfill(secrets, "customers")).status == "done"
    execute(
        own,
        "CREATE FUNCTION mask() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        """ UPDATE raw.qb_items SET payload = payload || '{"Name": "-"}' WHERE id = NEW.id; RETURN NULL; END $$""",
        "CREATE TRIGGER mask AFTER INSERT ON raw.qb_items FOR EACH ROW EXECUTE FUNCTION mask()",
    )
    result = await backfill(secrets, "items")
    (compared,) = [check for check in result.validations if check.name == "source_rows"]
    assert compared.figures["altered"] == 30
    connection = await asyncpg.connect(own.dsn)
    assert await connection.fetchval("SELECT count(*) FROM raw.qb_items WHERE digest IS NOT NULL") == 0
    await connection.close()


async def test_row_level_security_is_refused(own: Database, database: Database, simulator: Any) -> None:
    connection = await connect(Address(own.host, own.port, own.dbname, own.user, own.password))
    await bring_up_to_date(connection)
    await connection.close()
    execute(own, "ALTER TABLE raw.qb_items ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    assert "row-level security is on for raw.qb_items" in await refusal(simulator, own)
    # It doesn't concern the owner where it isn't forced.
    execute(own, "ALTER TABLE raw.qb_items NO FORCE ROW LEVEL SECURITY")
    assert (await backfill(secrets_for(simulator, own), "items")).status == "done"


async def test_no_right_to_temporary_tables_is_refused(own: Database, database: Database, simulator: Any) -> None:
    execute(
        database,
        f"ALTER DATABASE {own.dbname} OWNER TO postgres",
        f"REVOKE TEMPORARY ON DATABASE {own.dbname} FROM PUBLIC",
        f"CREATE SCHEMA raw AUTHORIZATION {ROLE}",
        f"CREATE SCHEMA ops AUTHORIZATION {ROLE}",
    )
    assert "may not make temporary tables" in await refusal(simulator, own)


async def test_a_migration_that_waits_for_somebody_names_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK_SECONDS", 1)
    somebody = await asyncpg.connect(database.dsn, server_settings={"application_name": "a tool of theirs"})
    connection = await connect(Address(database.host, database.port, database.dbname, database.user, database.password))
    try:
        await somebody.execute("SELECT pg_advisory_lock(hashtext('ops.schema_versions'), 0)")
        with pytest.raises(
            ConfigurationError, match=rf"pid {somebody.get_server_pid()} \(postgres, a tool of theirs\)"
        ):
            await bring_up_to_date(connection)
        await somebody.close()
        assert await bring_up_to_date(connection)
    finally:
        await connection.close()


async def test_planning_that_waits_for_somebody_names_them(
    database: Database, simulator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("async_extractor.warehouse.ledger.PLANNING_SECONDS", 1)
    secrets = secrets_for(simulator, database)
    somebody = await asyncpg.connect(database.dsn)
    try:
        await somebody.execute(
            "SELECT pg_advisory_lock(hashtext('ops.planning'), hashtext($1))", f"{secrets.values['QBO_REALM_ID']}/items"
        )
        with pytest.raises(
            Exception, match=rf"another session has been planning items .*pid {somebody.get_server_pid()}"
        ):
            await asyncio.wait_for(backfill(secrets, "items"), 60)
    finally:
        await somebody.close()


async def test_a_chunk_that_somebody_holds_and_doesnt_do_is_not_waited_for_without_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SLICE_SECONDS", 1)
    monkeypatch.setattr(ledger, "STANDSTILL_SECONDS", 1)
    somebody = await asyncpg.connect(database.dsn)
    connection = await connect(Address(database.host, database.port, database.dbname, database.user, database.password))
    try:
        await bring_up_to_date(connection)
        await somebody.execute("SELECT pg_advisory_lock(hashtext('ops.chunks'), 7)")
        with pytest.raises(IncompleteError, match=rf"chunk 7 is held .*pid {somebody.get_server_pid()}"):
            await ledger.wait_for_chunk(connection, 7)
        assert await connection.fetchval("SELECT current_setting('lock_timeout')") == "0"
        await somebody.close()
        await ledger.wait_for_chunk(connection, 7)
    finally:
        await connection.close()
