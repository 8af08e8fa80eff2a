"""Brings the warehouse's schemas up to date: numbered SQL files, each applied once, in its own transaction."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from async_extractor.entities import ENTITIES, FIRST_CLASS, Entity
from async_extractor.errors import ConfigurationError
from async_extractor.warehouse.connection import Connection, holders, pin_settings
from async_extractor.warehouse.failures import is_passing, told
from async_extractor.warehouse.statements import SQL_FOLDER, for_table, statement
from async_extractor.warehouse.views import is_views_schema, make_views, views_schema

# The oldest server with everything used here: generated columns are 12, SET COMPRESSION is 14.
OLDEST_SERVER = 140000

# The last numbered file of version 0.1.0, and what moves its rows into the schema of today.
# The relations of version 0.1.0.
_OF_0_1_0 = (
    *(
        "attempts",
        "budget",
        "chunks",
        "company",
        "daily_volume",
        "events",
        "outages",
        "quarantine",
        "run_chunks",
        "runs",
    ),
    *("schema_versions", "seals", "turns", "usage", "validations", "waiting"),
    *("chunk_metrics", "failures", "latest_validations", "progress", "run_metrics", "volume_by_chunk"),
)
_LAST_OF_0_1_0 = (11, "011_copy_comment.sql")
_UPGRADE = "upgrades/from_0_1_0.sql"

# So long a migration waits for another session's lock.
LOCK_SECONDS = 60

_LOCK = "ops.schema_versions"
_VERSIONS = """
CREATE TABLE IF NOT EXISTS ops.schema_versions (
    version    integer     PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE  ops.schema_versions IS 'Which numbered files of sql/ have been applied.';
COMMENT ON COLUMN ops.schema_versions.version    IS 'The number in the file''s name.';
COMMENT ON COLUMN ops.schema_versions.name       IS 'The file''s name.';
COMMENT ON COLUMN ops.schema_versions.sha256     IS 'The hash of the file as it was applied.';
COMMENT ON COLUMN ops.schema_versions.applied_at IS 'When (UTC).';
"""


async def bring_up_to_date(
    connection: Connection, raw_schema: str = "raw", entities: Collection[str] = FIRST_CLASS
) -> list[str]:
    """Applies what is missing and returns the files' names. Safe to call by several processes at once.

    `entities` are those whose tables are needed now, so that raw isn't filled with tables that nobody asked for.

    ConfigurationError when the server is too old, the role lacks a right, or the database was made by a newer
    version or from other files than this one's.
    """
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", raw_schema):
        raise ConfigurationError(f"the schema's name {raw_schema!r} is not a plain lower-case identifier")
    if is_views_schema(raw_schema):
        raise ConfigurationError(f"schema {raw_schema} is for views over another one: give the profile another name")
    await pin_settings(connection)
    server = await connection.fetchrow(statement("server"))
    if server["version"] < OLDEST_SERVER:
        raise ConfigurationError(
            f"Postgres {server['version'] // 10000} is too old; {OLDEST_SERVER // 10000} or newer is needed "
            "(POSTGRES_HOST)"
        )
    if server["encoding"] != "UTF8":
        # Others can't hold every character of a record, or hold bytes without knowing what they mean.
        raise ConfigurationError(
            f"database {server['database']} has the encoding {server['encoding']}, and UTF8 is needed: "
            "make another one (CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0) and name it in POSTGRES_DB"
        )
    needed = [ENTITIES[name] for name in dict.fromkeys((*FIRST_CLASS, *entities))]
    files = [Migration.read(path) for path in sorted(SQL_FOLDER.glob("[0-9][0-9][0-9]_*.sql"))]
    try:
        await _refuse_others_tables(connection, raw_schema, needed)
        if await _is_current(connection, files, raw_schema, needed):
            return []
        _refuse_read_only(server)
        applied = await _bring_up_to_date(connection, files, raw_schema, needed)
    except asyncpg.PostgresError as error:
        if is_passing(error):
            raise
        raise ConfigurationError(f"the schema can't be brought up to date: {told(error)}") from None
    return applied


async def _bring_up_to_date(
    connection: Connection, files: Sequence[Migration], raw_schema: str, needed: Sequence[Entity]
) -> list[str]:
    await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    try:
        await connection.execute("SELECT pg_advisory_lock(hashtext($1), 0)", _LOCK)
        try:
            applied = await _migrate(connection, files)
            _, older = await _tables(connection, raw_schema)
            for entity in {entity.table: entity for entity in (*needed, *older)}.values():
                await _create_raw_table(connection, entity, raw_schema)
            await make_views(connection, raw_schema)
            async with connection.transaction():
                await grant_rights(connection, raw_schema)
        finally:
            if not connection.is_closed():
                await connection.execute("SELECT pg_advisory_unlock(hashtext($1), 0)", _LOCK)
    except asyncpg.LockNotAvailableError as error:
        raise ConfigurationError(
            f"the schema can't be brought up to date: for {LOCK_SECONDS} s another session has held what is needed "
            f"({await holders(connection, _LOCK, 0) or told(error)}); end it, or try again later"
        ) from None
    finally:
        if not connection.is_closed():
            await connection.execute("SET lock_timeout = 0")
    return applied


async def refuse_what_cannot_be_loaded(connection: Connection, raw_schema: str = "raw") -> None:
    """ConfigurationError where a run could read QuickBooks and then not write: asked before QuickBooks is."""
    server = await connection.fetchrow(statement("server"))
    _refuse_read_only(server)
    if not server["may_stage"]:
        raise ConfigurationError(
            f"the role may not make temporary tables in database {server['database']}, through which pages are "
            "loaded: run `qbo-backfill warehouse migrate` as the owner, or GRANT TEMPORARY ON DATABASE"
        )
    hindered = await connection.fetchrow(
        statement("load_hindered"), raw_schema, [entity.table for entity in ENTITIES.values()]
    )
    if (table := hindered["hidden"]) is not None:
        raise ConfigurationError(
            f"row-level security is on for {table}, and hides rows from the role: "
            f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY, or log in as a role with BYPASSRLS (POSTGRES_USER)"
        )
    if (altering := hindered["altering"]) is not None:
        raise ConfigurationError(
            f"{altering} may change or leave out the rows that are written: DROP {altering}; a trigger that only tells "
            "of rows can be an AFTER trigger"
        )
    if (lacking := hindered["lacking"]) is not None:
        raise ConfigurationError(
            f"the role lacks the right to {lacking}: run `qbo-backfill warehouse migrate` as the owner, or GRANT it"
        )


def _refuse_read_only(server: Mapping[str, Any]) -> None:
    if server["is_replica"]:
        raise ConfigurationError("Postgres there is a replica, which is read-only: name the primary (POSTGRES_HOST)")
    if server["is_read_only"]:
        # The session could write all the same. Somebody has said that nobody should.
        raise ConfigurationError(
            "Postgres there is read-only: default_transaction_read_only is on for the server, the database or the role "
            "(POSTGRES_HOST, POSTGRES_USER)"
        )


# Of raw_entity.sql: the columns that a table is made with, and those that it gets where they are missing.
_MADE_COLUMN = r"^    ([a-z_]+) +(text|jsonb|integer|bigint|timestamptz)\b"
_ADDED_COLUMN = r"ADD COLUMN IF NOT EXISTS ([a-z_]+) +([a-z]+)"


def _columns(pattern: str) -> tuple[list[str], list[str]]:
    """Their names, and their types."""
    text = (SQL_FOLDER / "raw_entity.sql").read_text(encoding="utf-8")
    found = re.findall(pattern, text, re.MULTILINE)
    return [name for name, _ in found], [type_ for _, type_ in found]


async def _refuse_others_tables(connection: Connection, raw_schema: str, needed: Sequence[Entity]) -> None:
    """A table of raw's names that isn't ours would fail each page, or refuse every record."""
    (names, types), (added, their_types) = _columns(_MADE_COLUMN), _columns(_ADDED_COLUMN)
    tables = [f"{raw_schema}.{entity.table}" for entity in needed]
    wrong = await connection.fetchrow(statement("wrong_table"), tables, [*names, *added], [*types, *their_types], added)
    if wrong is not None:
        raise ConfigurationError(
            f"{wrong['table']} is not as this program makes it: {wrong['wrong']}; if it is another tool's, use another "
            "database (POSTGRES_DB) or rename the table"
        )


async def _create_schema(connection: Connection, name: str) -> None:
    # IF NOT EXISTS asks for the right to make schemas also where a DBA has made this one beforehand.
    if not await connection.fetchval(statement("schema_exists"), name):
        await connection.execute(f"CREATE SCHEMA {name}")


@dataclass(frozen=True)
class Migration:
    """A numbered file of sql/."""

    version: int
    name: str
    text: str
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Migration:
        text = path.read_text(encoding="utf-8")
        return cls(int(path.name[:3]), path.name, text, hashlib.sha256(text.encode()).hexdigest())


async def _migrate(connection: Connection, files: Sequence[Migration]) -> list[str]:
    """Applies the files that the database lacks, each in a transaction. An applied file must still be the same."""
    async with connection.transaction():
        await _create_schema(connection, "ops")
        await connection.execute(_VERSIONS)
    known = {row["version"]: row for row in await connection.fetch("SELECT * FROM ops.schema_versions")}
    if known.get(_LAST_OF_0_1_0[0], {}).get("name") == _LAST_OF_0_1_0[1]:
        await _upgrade_from_0_1_0(connection, files)
        return [_UPGRADE, *(file.name for file in files)]
    newer = sorted(set(known) - {file.version for file in files})
    if newer:
        raise ConfigurationError(
            f"the database's schema is version {newer[-1]}, "
            f"newer than this program's {files[-1].version}; update the program"
        )
    for file in files:
        there = known.get(file.version)
        if there is not None and (there["name"], there["sha256"]) != (file.name, file.sha256):
            raise ConfigurationError(
                f"the database was made from another {there['name']} than this program's {file.name}: "
                "run the version that made it, or let this one make a new database"
            )
    missing = [file for file in files if file.version not in known]
    for file in missing:
        async with connection.transaction():
            await _apply(connection, file)
    return [file.name for file in missing]


async def _apply(connection: Connection, file: Migration) -> None:
    await connection.execute(file.text)
    await connection.execute(
        "INSERT INTO ops.schema_versions (version, name, sha256) VALUES ($1, $2, $3)",
        file.version,
        file.name,
        file.sha256,
    )


async def _upgrade_from_0_1_0(connection: Connection, files: Sequence[Migration]) -> None:
    """Makes the schema anew beside version 0.1.0's and copies its rows, in one transaction.

    So an upgraded ops is by construction what a new one is. The old one stays: others' triggers, columns and functions
    may be in it, or depend on it.
    """
    text = (SQL_FOLDER / _UPGRADE).read_text(encoding="utf-8")
    if others := await connection.fetchval(statement("others_in_ops"), list(_OF_0_1_0)):
        raise ConfigurationError(
            f"schema ops is version 0.1.0's, and is made anew; not with {others} in it or depending on it: drop that, "
            "and make it again after `qbo-backfill warehouse migrate`"
        )
    async with connection.transaction():
        await connection.execute("ALTER SCHEMA ops RENAME TO ops_0_1_0")
        await _create_schema(connection, "ops")
        await connection.execute(_VERSIONS)
        for file in files:
            await _apply(connection, file)
        await connection.execute(text)


async def grant_rights(connection: Connection, raw_schema: str = "raw") -> None:
    """What the roles of `sql/roles.sql` may do here, and no more; nothing where those roles don't exist.

    Only the tables' owner can. Raises what asyncpg raises.
    """
    text = (SQL_FOLDER / "rights.sql").read_text(encoding="utf-8")
    await connection.execute(text.replace("{raw}", raw_schema).replace("{views}", views_schema(raw_schema)))


async def _is_current(
    connection: Connection, files: Sequence[Migration], raw_schema: str, needed: Sequence[Entity]
) -> bool:
    """Whether nothing is to be done, so that a role which may only use the tables can run."""
    if not await connection.fetchval("SELECT to_regclass('ops.schema_versions') IS NOT NULL"):
        return False
    known = await connection.fetch("SELECT name, sha256 FROM ops.schema_versions ORDER BY version")
    ours, older = await _tables(connection, raw_schema)
    return (
        [tuple(row) for row in known] == [(f.name, f.sha256) for f in files] and not older and ours.issuperset(needed)
    )


async def _tables(connection: Connection, raw_schema: str) -> tuple[set[Entity], set[Entity]]:
    """The entities whose tables are there and as they should be, and those whose tables are an older version's."""
    by_table = {entity.table: entity for entity in ENTITIES.values()}
    rows = await connection.fetch(statement("raw_tables"), raw_schema, list(by_table), _columns(_ADDED_COLUMN)[0])
    found = [(by_table[row["name"]], row["is_current"]) for row in rows]
    return {entity for entity, current in found if current}, {entity for entity, current in found if not current}


async def _create_raw_table(connection: Connection, entity: Entity, raw_schema: str) -> None:
    text = (SQL_FOLDER / "raw_entity.sql").read_text(encoding="utf-8")
    if entity in (await _tables(connection, raw_schema))[0]:
        return
    async with connection.transaction():
        await _create_schema(connection, raw_schema)
        text = text.replace("{entity}", entity.query_name).replace("{id}", entity.id_comment.replace("'", "''"))
        await connection.execute(for_table(text, entity.table, raw_schema))
