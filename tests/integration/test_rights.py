"""What each role of the warehouse may do, and everything else tried."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from async_extractor.warehouse.schema import bring_up_to_date
from async_extractor.warehouse.statements import SQL_FOLDER
from local_postgres.embedded import PostgresAddress
from qbo_simulator import Simulator, SimulatorConfig
from tests.conftest import Database
from tests.support.backfilling import backfill, in_raw, secrets_for, simulate, truth
from tests.support.commands import CommandLine
from tests.support.databases import execute

PASSWORDS = {"qbo_owner": "owner-of-tables", "qbo_extractor": "only-what-it-needs", "qbo_reader": "looks-at-it"}
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
FORGOTTEN = {"ops.turns", "ops.waiting", "ops.changed_days"}


@pytest.fixture(scope="module")
def roles(postgres_server: PostgresAddress) -> Iterator[None]:
    """The roles as a superuser makes them, with passwords; gone again for the tests of other files."""
    text = (SQL_FOLDER / "roles.sql").read_text()
    execute(
        postgres_server,
        text,
        text,  # a second time changes nothing
        *(f"ALTER ROLE {role} PASSWORD '{password}'" for role, password in PASSWORDS.items()),
    )
    yield
    execute(postgres_server, *(f"DROP ROLE {role}" for role in PASSWORDS))


@pytest.fixture(scope="module")
def warehouse(roles: None, postgres_server: PostgresAddress) -> Iterator[Database]:
    """A database that qbo_owner owns and has migrated; one for all tests here."""
    server, name = postgres_server, "rights"
    execute(server, f"CREATE DATABASE {name} OWNER qbo_owner")
    made = Database(server.host, server.port, server.user, server.password, name)
    execute(made, (SQL_FOLDER / "roles.sql").read_text())  # again, in the owner's database

    async def migrate() -> None:
        owner = await asyncpg.connect(_as(made, "qbo_owner").dsn)
        try:
            await bring_up_to_date(owner)
        finally:
            await owner.close()

    asyncio.run(migrate())
    yield made
    execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def extractor(warehouse: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(_as(warehouse, "qbo_extractor").dsn)
    yield connection
    await connection.close()


@pytest.fixture
async def reader(warehouse: Database) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(_as(warehouse, "qbo_reader").dsn)
    # The role's default is a second lock; here it is the rights that must hold.
    await connection.execute("SET default_transaction_read_only = off")
    yield connection
    await connection.close()


async def test_a_whole_backfill_runs_as_the_extractor(warehouse: Database) -> None:
    async with Simulator(SimulatorConfig(invoices=400, customers=60, items=40)) as simulator:
        secrets = secrets_for(simulator, _as(warehouse, "qbo_extractor"))
        for entity in ("invoices", "customers", "items"):
            result = await backfill(secrets, entity, limits=True, chunk="P1Y")
            assert result.status == "done"
            assert await in_raw(warehouse, entity) == await truth(simulator, entity)
        first = next(iter(await truth(simulator, "customers")))
        await simulate(simulator, "edit", {"entity": "Customer", "edit": [first]})
        again = await backfill(secrets, "customers", limits=True, mode="reprocess")
        assert (again.status, again.rows["updated"]) == ("done", 1)


async def test_each_role_has_these_rights_on_each_table_and_view_and_no_others(warehouse: Database) -> None:
    expected = {}
    found = {}
    superuser = await asyncpg.connect(warehouse.dsn)
    try:
        tables = [
            row["name"]
            for row in await superuser.fetch(
                "SELECT relnamespace::regnamespace || '.' || relname AS name FROM pg_class "
                "WHERE relnamespace::regnamespace::text IN ('raw', 'raw_views', 'ops') "
                "AND relkind IN ('r', 'p', 'v', 'm', 'f')"
            )
        ]
        assert len(tables) > 10
        for role, table in itertools.product(("qbo_extractor", "qbo_reader"), tables):
            expected[role, table] = _rights(role, table)
            found[role, table] = {
                privilege
                for privilege in PRIVILEGES
                if await superuser.fetchval("SELECT has_table_privilege($1, $2, $3)", role, table, privilege)
            }
    finally:
        await superuser.close()
    assert found == expected


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM raw.qb_invoices",
        "TRUNCATE raw.qb_invoices",
        "DROP TABLE raw.qb_invoices",
        "ALTER TABLE raw.qb_invoices ADD COLUMN more text",
        "ALTER TABLE raw.qb_invoices DISABLE TRIGGER ALL",
        "CREATE INDEX ON raw.qb_invoices (last_updated_utc)",
        "CREATE TABLE raw.mine (id text)",
        "CREATE TABLE ops.mine (id text)",
        "CREATE TABLE public.mine (id text)",
        "CREATE SCHEMA mine",
        "CREATE FUNCTION ops.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION ops.claim_chunk(bigint) SECURITY DEFINER",
        "DROP FUNCTION ops.claim_chunk(bigint)",
        "DELETE FROM ops.runs",
        "DELETE FROM ops.chunks",
        "DELETE FROM ops.quarantine",
        "TRUNCATE ops.attempts CASCADE",
        "UPDATE ops.schema_versions SET sha256 = ''",
        "INSERT INTO ops.schema_versions (version, name, sha256) VALUES (999, '', '')",
        "COMMENT ON TABLE raw.qb_invoices IS 'mine'",
        "SET ROLE qbo_owner",
        "SET SESSION AUTHORIZATION qbo_owner",
        "ALTER ROLE qbo_extractor SUPERUSER",
        "ALTER ROLE qbo_owner PASSWORD 'mine'",
        "CREATE ROLE mine",
        "CREATE DATABASE mine",
        "ALTER SYSTEM SET log_statement = 'all'",
        "COPY raw.qb_invoices TO PROGRAM 'cat'",
        "COPY raw.qb_invoices TO '/tmp/out'",
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT rolpassword FROM pg_authid",
        "SELECT pg_reload_conf()",
        "SET session_replication_role = replica",
    ],
)
async def test_the_extractor_may_not(extractor: Any, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await extractor.execute(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO raw.qb_items SELECT * FROM raw.qb_items",
        "UPDATE raw.qb_items SET payload = payload",
        "DELETE FROM raw.qb_items",
        "UPDATE ops.runs SET status = 'done'",
        "DELETE FROM ops.runs",
        "SELECT ops.claim_chunk(1)",
        "SELECT * FROM raw.qb_items FOR UPDATE",
        "BEGIN; LOCK TABLE raw.qb_items",
        "CREATE TABLE public.mine (id text)",
        "CREATE TEMPORARY TABLE mine (id text)",
        "CREATE SCHEMA mine",
        "SET ROLE qbo_extractor",
        "SET ROLE qbo_owner",
        "COPY raw.qb_items TO PROGRAM 'cat'",
        "UPDATE raw_views.items SET id = '1'",
        "CREATE VIEW raw_views.mine AS SELECT 1",
        "SELECT rolpassword FROM pg_authid",
    ],
)
async def test_the_reader_may_not(reader: Any, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.execute(statement)


async def test_the_reader_sees_what_was_loaded_and_how(reader: Any) -> None:
    assert await reader.fetchval("SELECT count(*) FROM raw.qb_invoices") is not None
    assert await reader.fetchval("SELECT max(version) FROM ops.schema_versions") > 0
    whole = await reader.fetchrow("SELECT count(*), count(total_amt), count(created_utc) FROM raw_views.invoices")
    assert len(set(whole)) == 1


async def test_the_readers_own_transactions_are_read_only_by_default(warehouse: Database) -> None:
    connection = await asyncpg.connect(_as(warehouse, "qbo_reader").dsn)
    try:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("CREATE TEMPORARY TABLE mine (id text)")
    finally:
        await connection.close()


async def test_no_role_is_more_than_an_ordinary_one(warehouse: Database) -> None:
    superuser = await asyncpg.connect(warehouse.dsn)
    try:
        able = await superuser.fetchval(
            """
            SELECT count(*) FROM pg_roles
             WHERE rolname = ANY ($1::text[])
               AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls)
            """,
            list(PASSWORDS),
        )
        memberships = await superuser.fetchval(
            "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member WHERE rolname = ANY ($1)",
            list(PASSWORDS),
        )
    finally:
        await superuser.close()
    assert (able, memberships) == (0, 0)


async def test_another_role_of_the_server_cannot_even_connect(
    warehouse: Database, postgres_server: PostgresAddress
) -> None:
    superuser = await asyncpg.connect(warehouse.dsn)
    await superuser.execute("CREATE ROLE passer_by LOGIN PASSWORD 'passing'")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for database"):
            await asyncpg.connect(replace(warehouse, user="passer_by", password="passing").dsn)
    finally:
        await superuser.execute("DROP ROLE passer_by")
        await superuser.close()


async def test_a_right_given_by_hand_is_taken_back_by_the_next_migration(
    warehouse: Database, tmp_path: Path, command_line: CommandLine
) -> None:
    owner = await asyncpg.connect(_as(warehouse, "qbo_owner").dsn)
    await owner.execute("GRANT DELETE ON raw.qb_items TO qbo_extractor; GRANT INSERT ON ops.runs TO qbo_reader")
    ended = command_line.run(*_migrate(warehouse, tmp_path))
    assert (ended.code, ended.stderr) == (0, "")
    assert not await owner.fetchval("SELECT has_table_privilege('qbo_extractor', 'raw.qb_items', 'DELETE')")
    assert not await owner.fetchval("SELECT has_table_privilege('qbo_reader', 'ops.runs', 'INSERT')")
    assert await owner.fetchval("SELECT has_table_privilege('qbo_extractor', 'raw.qb_items', 'INSERT')")
    await owner.close()


async def test_a_second_companys_schema_is_the_owners_to_make_and_the_extractors_to_fill(
    warehouse: Database, tmp_path: Path, command_line: CommandLine, extractor: Any
) -> None:
    ended = command_line.run(*_migrate(warehouse, tmp_path), "--profile", "acme")
    assert ended.code == 0, ended.stderr
    assert await extractor.fetchval("SELECT has_table_privilege('raw_acme.qb_items', 'INSERT')")
    assert not await extractor.fetchval("SELECT has_table_privilege('raw_acme.qb_items', 'DELETE')")
    # The first company's rights are as they were.
    assert await extractor.fetchval("SELECT has_table_privilege('raw.qb_items', 'UPDATE')")


async def test_a_run_on_a_schema_that_is_behind_says_so_in_one_line(
    roles: None, database: Database, tmp_path: Path, command_line: CommandLine
) -> None:
    async with Simulator(SimulatorConfig(invoices=1, customers=1, items=1)) as simulator:
        for name, value in secrets_for(simulator, _as(database, "qbo_extractor")).values.items():
            command_line.secrets.set(name, value)
        ended = command_line.backfill("items")
    assert ended.code == 4
    assert ended.stderr.count("\n") == 1
    assert "permission denied" in ended.stderr
    assert "as the owner" in ended.stderr


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "can't be read: No such file"),
        ("", "is empty"),
        ("wrong" * 100_000, "has too long a first line"),
        ("wrong\n", "password authentication failed"),
    ],
    ids=["missing", "empty", "endless", "wrong"],
)
def test_migrate_says_in_one_line_what_is_wrong_with_the_password_file(
    roles: None, database: Database, tmp_path: Path, command_line: CommandLine, content: str | None, says: str
) -> None:
    arguments = _migrate(database, tmp_path)
    file = Path(arguments[-1])
    file.unlink() if content is None else file.write_text(content)
    ended = command_line.run(*arguments)
    assert ended.code == 4
    assert ended.stderr.count("\n") == 1
    assert says in ended.stderr
    assert "wrong" not in ended.stderr


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_advisory_lock(hashtext('ops.planning'), 1)",
        "SELECT pg_advisory_lock_shared(1)",
        "SELECT pg_try_advisory_lock(hashtext('ops.chunks'), 1)",
        "SELECT pg_advisory_xact_lock(1)",
        "CREATE FUNCTION public.unnest(bigint[]) RETURNS SETOF bigint LANGUAGE sql AS 'SELECT 1::bigint'",
    ],
)
async def test_the_reader_cannot_stop_a_run_or_stand_in_for_a_function(reader: Any, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await reader.execute(statement)


async def test_schema_public_that_is_open_to_all_is_closed(
    warehouse: Database, roles: None, tmp_path: Path, command_line: CommandLine, reader: Any
) -> None:
    """As a database is that was upgraded from Postgres 14 or older, or was made there."""
    execute(warehouse, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    ended = command_line.run(*_migrate(warehouse, tmp_path))
    assert ended.code == 0, ended.stderr
    assert not await reader.fetchval("SELECT has_schema_privilege('public', 'CREATE')")
    # Where public is the superuser's, as before 15, the owner can't: roles.sql does.
    execute(warehouse, "ALTER SCHEMA public OWNER TO postgres", "GRANT CREATE ON SCHEMA public TO PUBLIC")
    ended = command_line.run(*_migrate(warehouse, tmp_path))
    assert ended.code == 0, ended.stderr
    execute(warehouse, (SQL_FOLDER / "roles.sql").read_text())
    assert not await reader.fetchval("SELECT has_schema_privilege('public', 'CREATE')")
    execute(warehouse, "ALTER SCHEMA public OWNER TO pg_database_owner")


def test_migrate_tells_that_the_reader_could_hold_locks_until_it_cannot(
    roles: None, database: Database, tmp_path: Path, command_line: CommandLine
) -> None:
    execute(database, f"ALTER DATABASE {database.dbname} OWNER TO qbo_owner")
    said = command_line.run(*_migrate(database, tmp_path)).stdout
    assert "note: qbo_reader may take advisory locks there and so stop runs; run sql/roles.sql" in said
    execute(database, (SQL_FOLDER / "roles.sql").read_text())
    assert "note:" not in command_line.run(*_migrate(database, tmp_path)).stdout
    execute(
        database,
        "DROP OWNED BY qbo_owner, qbo_extractor CASCADE",
        "ALTER DATABASE " + database.dbname + " OWNER TO postgres",
    )


def _as(database: Database, role: str) -> Database:
    return replace(database, user=role, password=PASSWORDS[role])


def _migrate(database: Database, folder: Path) -> list[str]:
    password = folder / "owner_password"
    password.write_text(PASSWORDS["qbo_owner"] + "\n")
    where = ["--host", database.host, "--port", str(database.port), "--database", database.dbname]
    return ["warehouse", "migrate", *where, "--password-file", str(password)]


def _rights(role: str, table: str) -> set[str]:
    if table.startswith("raw_views."):
        return {"SELECT"} if role == "qbo_reader" else set()
    if role == "qbo_reader" or table == "ops.schema_versions":
        return {"SELECT"}
    return {"SELECT", "INSERT", "UPDATE"} | ({"DELETE"} if table in FORGOTTEN else set())
