"""Mage's table `secret`: its rows are read and written here, encrypted as they are. Nothing here has a key.

A secret may be rotated by several processes at the same time. `lock` makes one of them wait for the other:
in Postgres by the row's own lock, in SQLite by a lock file, because SQLite has no row locks and Mage's
scheduler must not be kept from its database while a refresh waits for an answer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg2
import psycopg2.extensions

from async_extractor.errors import ConfigurationError
from async_extractor.mage.location import PostgresDatabase, SqliteDatabase

# A row belongs to a key by its uuid; rows from before Mage had uuids belong to a project. The uuid file may
# end in a newline that some of Mage's rows have too, hence two spellings.
_OURS = "(key_uuid IN (:key_uuid, :key_uuid_as_read) OR (key_uuid IS NULL AND repo_name = :project))"
_READ = f"SELECT value FROM secret WHERE name = :name AND {_OURS} ORDER BY key_uuid IS NULL LIMIT 1"
_NAMES = f"SELECT DISTINCT name FROM secret WHERE {_OURS} ORDER BY name"
_COUNT = "SELECT count(*) FROM secret"
_UPDATE = """
    UPDATE secret SET value = :value, updated_at = CURRENT_TIMESTAMP
    WHERE name = :name AND key_uuid IN (:key_uuid, :key_uuid_as_read)
"""
_INSERT = """
    INSERT INTO secret (name, value, key_uuid, repo_name) VALUES (:name, :value, :key_uuid, :project)
    ON CONFLICT (name, key_uuid) DO UPDATE SET value = excluded.value, updated_at = CURRENT_TIMESTAMP
"""
_DELETE = f"DELETE FROM secret WHERE name = :name AND {_OURS}"
_DELETE_WHATEVER_THE_KEY = "DELETE FROM secret WHERE name = :name"
_LOCK = f"SELECT id FROM secret WHERE name = :name AND {_OURS} FOR UPDATE"
# A holder that stopped (a suspended machine, a lost network) gives the lock up: the server ends its session.
_GIVE_UP_IDLE_LOCKS = "SET LOCAL idle_in_transaction_session_timeout = '5min'"

_CONNECT_TIMEOUT_S = 10
_SQLITE_BUSY_TIMEOUT_S = 60


@dataclass(frozen=True)
class Owner:
    """Whose rows: of the key with this uuid (as its file has it, newline and all), and of this project."""

    key_uuid_as_read: str
    project: str

    def parameters(self, **others: str) -> dict[str, str]:
        return {
            "key_uuid": self.key_uuid_as_read.strip(),
            "key_uuid_as_read": self.key_uuid_as_read,
            "project": self.project,
            **others,
        }


class Session(Protocol):
    """One transaction on the table."""

    def execute(self, statement: str, parameters: Mapping[str, str]) -> Any:
        """Run a statement with `:named` parameters; a cursor."""


def read(session: Session, owner: Owner, name: str) -> str | None:
    row = session.execute(_READ, owner.parameters(name=name)).fetchone()
    return None if row is None else str(row[0])


def write(session: Session, owner: Owner, values: Mapping[str, str]) -> None:
    """Replace in place, or create: never delete and create, which readers would see as a missing secret."""
    for name, value in values.items():
        parameters = owner.parameters(name=name, value=value)
        if session.execute(_UPDATE, parameters).rowcount == 0:
            session.execute(_INSERT, parameters)


def delete(session: Session, owner: Owner | None, name: str) -> bool:
    """True when there was one. Without an owner: whatever key it was encrypted with."""
    if owner is None:
        return bool(session.execute(_DELETE_WHATEVER_THE_KEY, {"name": name}).rowcount)
    return bool(session.execute(_DELETE, owner.parameters(name=name)).rowcount)


def names(session: Session, owner: Owner) -> list[str]:
    return [str(row[0]) for row in session.execute(_NAMES, owner.parameters()).fetchall()]


def count(session: Session) -> int:
    """How many rows there are, of any key."""
    return int(session.execute(_COUNT, {}).fetchone()[0])


class HeldLock(Protocol):
    """What `SecretTable.lock` gives: everyone else who locks waits until `release`."""

    def read(self, owner: Owner, name: str) -> str | None:
        """The row as it is now."""

    def write(self, owner: Owner, values: Mapping[str, str]) -> None:
        """Store all of them in one transaction, committed when this returns. In Postgres it ends the lock."""

    def release(self) -> None:
        """Let the next one in."""


class SecretTable(Protocol):
    """The table in one of the databases that Mage can use."""

    def exists(self) -> bool:
        """Whether Mage's migrations have been here."""

    def session(self, *, writing: bool = False) -> contextlib.AbstractContextManager[Session]:
        """One transaction: committed when the block ends well, undone when it doesn't."""

    def lock(self, owner: Owner, name: str) -> HeldLock | None:
        """Wait for the secret's lock, however long it takes; None when there is no such row to lock."""


def open_table(database: PostgresDatabase | SqliteDatabase, lock_file: Path) -> SecretTable:
    """The table in that database. `lock_file` is what SQLite's users lock instead of a row."""
    if isinstance(database, SqliteDatabase):
        return _SqliteTable(database, lock_file)
    return _PostgresTable(database)


class _SqliteTable:
    def __init__(self, database: SqliteDatabase, lock_file: Path) -> None:
        self._database = database
        self._lock_file = lock_file

    def exists(self) -> bool:
        if not self._is_there():
            return False
        with self.session() as session:
            found = session.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'secret'", {})
            return found.fetchone() is not None

    @contextlib.contextmanager
    def session(self, *, writing: bool = False) -> Iterator[Session]:
        try:
            # mode=rw: looking must not create a file that Mage would then take for an old database.
            connection = sqlite3.connect(
                f"{self._database.path.as_uri()}?mode=rw",
                uri=True,
                timeout=_SQLITE_BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            with contextlib.closing(connection):
                connection.execute("PRAGMA synchronous = FULL")
                # IMMEDIATE: two writers queue up at the start, where they can wait, not at the commit.
                connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise ConfigurationError(f"Mage's database can't be used ({self._database}): {error}") from None

    def _is_there(self) -> bool:
        try:
            return self._database.path.exists()
        except OSError as error:
            raise ConfigurationError(f"Mage's database can't be used ({self._database}): {error.strerror}") from None

    def lock(self, owner: Owner, name: str) -> HeldLock | None:
        try:
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise ConfigurationError(f"The lock {self._lock_file} can't be used: {error.strerror}") from None
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        held = _SqliteLock(self, descriptor)
        if held.read(owner, name) is None:
            held.release()
            return None
        return held


class _SqliteLock:
    def __init__(self, table: _SqliteTable, descriptor: int) -> None:
        self._table = table
        self._descriptor = descriptor

    def read(self, owner: Owner, name: str) -> str | None:
        with self._table.session() as session:
            return read(session, owner, name)

    def write(self, owner: Owner, values: Mapping[str, str]) -> None:
        with self._table.session(writing=True) as session:
            write(session, owner, values)

    def release(self) -> None:
        os.close(self._descriptor)


class _PostgresTable:
    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    def exists(self) -> bool:
        with self.session() as session:
            return session.execute("SELECT to_regclass('secret')", {}).fetchone()[0] is not None

    @contextlib.contextmanager
    def session(self, *, writing: bool = False) -> Iterator[Session]:  # noqa: ARG002 - Postgres needs no warning
        connection = self._connect()
        with contextlib.closing(connection), self._one_line():
            yield _PostgresSession(connection)
            connection.commit()

    def lock(self, owner: Owner, name: str) -> HeldLock | None:
        connection = self._connect()
        try:
            with self._one_line():
                session = _PostgresSession(connection)
                session.execute(_GIVE_UP_IDLE_LOCKS, {})
                found = session.execute(_LOCK, owner.parameters(name=name)).fetchall()
        except BaseException:
            connection.close()
            raise
        if not found:
            connection.close()
            return None
        return _PostgresLock(self, connection)

    def _connect(self) -> psycopg2.extensions.connection:
        database = self._database
        try:
            return psycopg2.connect(
                host=database.host,
                port=database.port,
                user=database.user,
                # None, not an empty one: libpq then looks into its passfile and PGPASSWORD.
                password=database.password or None,
                dbname=database.dbname,
                connect_timeout=_CONNECT_TIMEOUT_S,
                **dict(database.options),
            )
        except psycopg2.Error as error:
            raise ConfigurationError(
                f"Mage's database can't be reached ({database}): {_first_line(database, error)}"
            ) from None

    @contextlib.contextmanager
    def _one_line(self) -> Iterator[None]:
        try:
            yield
        except psycopg2.Error as error:
            raise ConfigurationError(
                f"Mage's database can't be used ({self._database}): {_first_line(self._database, error)}"
            ) from None


class _PostgresSession:
    def __init__(self, connection: psycopg2.extensions.connection) -> None:
        self._connection = connection

    def execute(self, statement: str, parameters: Mapping[str, str]) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(re.sub(r":(\w+)", r"%(\1)s", statement), dict(parameters))
        return cursor


class _PostgresLock:
    def __init__(self, table: _PostgresTable, connection: psycopg2.extensions.connection) -> None:
        self._table = table
        self._connection = connection

    def read(self, owner: Owner, name: str) -> str | None:
        with self._table._one_line():
            return read(_PostgresSession(self._connection), owner, name)

    def write(self, owner: Owner, values: Mapping[str, str]) -> None:
        with self._table._one_line():
            write(_PostgresSession(self._connection), owner, values)
            self._connection.commit()

    def release(self) -> None:
        self._connection.close()


def _first_line(database: PostgresDatabase, error: psycopg2.Error) -> str:
    return database.redact((str(error).strip() or "no reason given").splitlines()[0])
