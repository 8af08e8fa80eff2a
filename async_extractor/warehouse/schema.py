"""Brings the warehouse's schemas up to date: numbered SQL files, each applied once, in its own transaction."""

from __future__ import annotations

import hashlib
import re

import asyncpg

from async_extractor.entities import ENTITIES
from async_extractor.errors import ConfigurationError
from async_extractor.warehouse.connection import Connection, told
from async_extractor.warehouse.statements import SQL_FOLDER, for_table

# The oldest server with everything used here: generated columns are 12, SET COMPRESSION is 14.
OLDEST_SERVER = 140000

_VERSIONS = """
CREATE SCHEMA IF NOT EXISTS ops;
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


async def bring_up_to_date(connection: Connection, raw_schema: str = "raw") -> list[str]:
    """Applies what is missing and returns the files' names. Safe to call by several processes at once.

    ConfigurationError when the server is too old, the role lacks a right, or the database is newer
    than this version.
    """
    number = int(await connection.fetchval("SHOW server_version_num"))
    if number < OLDEST_SERVER:
        raise ConfigurationError(
            f"Postgres {number // 10000} is too old; {OLDEST_SERVER // 10000} or newer is needed (POSTGRES_HOST)"
        )
    files = {int(path.name[:3]): path for path in sorted(SQL_FOLDER.glob("[0-9][0-9][0-9]_*.sql"))}
    tables = [entity.table for entity in ENTITIES.values()]
    if await _is_current(connection, max(files), raw_schema, tables):
        return []
    applied: list[str] = []
    await connection.execute("SELECT pg_advisory_lock(hashtext('ops.schema_versions'))")
    try:
        async with connection.transaction():
            await connection.execute(_VERSIONS)
        known = {
            row["version"]: row["sha256"]
            for row in await connection.fetch("SELECT version, sha256 FROM ops.schema_versions")
        }
        newer = sorted(set(known) - set(files))
        if newer:
            raise ConfigurationError(
                f"the database's schema is version {newer[-1]}, "
                f"newer than this program's {max(files)}; update the program"
            )
        for version, path in files.items():
            text = path.read_text(encoding="utf-8")
            if version in known:
                continue
            async with connection.transaction():
                await connection.execute(text)
                await connection.execute(
                    "INSERT INTO ops.schema_versions (version, name, sha256) VALUES ($1, $2, $3)",
                    version,
                    path.name,
                    hashlib.sha256(text.encode()).hexdigest(),
                )
            applied.append(path.name)
        for entity in ENTITIES.values():
            await _create_raw_table(connection, entity.table, entity.query_name, raw_schema)
        await grant_rights(connection, raw_schema)
    except asyncpg.PostgresError as error:
        raise ConfigurationError(f"the schema can't be brought up to date: {told(error)}") from None
    finally:
        if not connection.is_closed():
            await connection.execute("SELECT pg_advisory_unlock(hashtext('ops.schema_versions'))")
    return applied


async def grant_rights(connection: Connection, raw_schema: str = "raw") -> None:
    """What the roles of `sql/roles.sql` may do here, and no more; nothing where those roles don't exist.

    Only the tables' owner can. Raises what asyncpg raises.
    """
    text = (SQL_FOLDER / "rights.sql").read_text(encoding="utf-8")
    await connection.execute(text.replace("{raw}", raw_schema))


async def _is_current(connection: Connection, latest: int, raw_schema: str, tables: list[str]) -> bool:
    """Whether nothing is to be done, so that a role which may only use the tables can run."""
    try:
        version = await connection.fetchval("SELECT max(version) FROM ops.schema_versions")
    except (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
        return False
    present = await connection.fetchval(
        "SELECT count(*) FROM pg_tables WHERE schemaname = $1 AND tablename = ANY ($2::text[])",
        raw_schema,
        tables,
    )
    return bool(version == latest and present == len(tables))


async def _create_raw_table(connection: Connection, table: str, query_name: str, raw_schema: str) -> None:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", raw_schema):
        raise ConfigurationError(f"the schema's name {raw_schema!r} is not a plain lower-case identifier")
    text = (SQL_FOLDER / "raw_entity.sql").read_text(encoding="utf-8")
    exists = await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", f"{raw_schema}.{table}")
    if exists:
        return
    async with connection.transaction():
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {raw_schema}")
        await connection.execute(for_table(text, table, raw_schema).replace("{entity}", query_name))
