"""Mage's metadata database, through SQLAlchemy as Mage itself: the table `secret` and the triggers. No key is here.

A secret may be rotated by several processes at the same time. `locked` makes one of them wait for the other:
in Postgres by the row's own lock, in SQLite by a lock file, because SQLite has no row locks and Mage's
scheduler must not be kept from its database while a refresh waits for an answer.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.engine import URL, Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from async_extractor.errors import ConfigurationError

# A row belongs to a key by its uuid; rows from before Mage had uuids belong to a project. The uuid file may
# end in a newline that some of Mage's rows have too, hence two spellings.
_OURS = "(key_uuid IN (:key_uuid, :key_uuid_as_read) OR (key_uuid IS NULL AND repo_name = :project))"
_READ = text(f"SELECT value FROM secret WHERE name = :name AND {_OURS} ORDER BY key_uuid IS NULL LIMIT 1")
_NAMES = text(f"SELECT DISTINCT name FROM secret WHERE {_OURS} ORDER BY name")
_COUNT = text("SELECT count(*) FROM secret")
_UPDATE = text(
    "UPDATE secret SET value = :value, updated_at = CURRENT_TIMESTAMP"
    " WHERE name = :name AND key_uuid IN (:key_uuid, :key_uuid_as_read)"
)
_INSERT = text(
    "INSERT INTO secret (name, value, key_uuid, repo_name) VALUES (:name, :value, :key_uuid, :project)"
    " ON CONFLICT (name, key_uuid) DO UPDATE SET value = excluded.value, updated_at = CURRENT_TIMESTAMP"
)
_DELETE = text(f"DELETE FROM secret WHERE name = :name AND {_OURS}")
_DELETE_WHATEVER_THE_KEY = text("DELETE FROM secret WHERE name = :name")
_LOCK = text(f"SELECT id FROM secret WHERE name = :name AND {_OURS} FOR UPDATE")
# A holder that stopped (a suspended machine, a lost network) gives the lock up: the server ends its session.
_GIVE_UP_IDLE_LOCKS = text("SET LOCAL idle_in_transaction_session_timeout = '5min'")

_CONNECT_TIMEOUT_S = 10
_SQLITE_BUSY_TIMEOUT_S = 60


@dataclass(frozen=True)
class Owner:
    """Whose rows: of the key with this uuid (as its file has it, newline and all), and of this project."""

    key_uuid_as_read: str
    project: str

    def parameters(self, **others: str) -> dict[str, str]:
        """The values that a statement's `:names` stand for."""
        return {
            "key_uuid": self.key_uuid_as_read.strip(),
            "key_uuid_as_read": self.key_uuid_as_read,
            "project": self.project,
            **others,
        }


def read(connection: Connection, owner: Owner, name: str) -> str | None:
    """The encrypted value; None when there is none."""
    found = connection.execute(_READ, owner.parameters(name=name)).scalar()
    return None if found is None else str(found)


def write(connection: Connection, owner: Owner, values: Mapping[str, str]) -> None:
    """Replace in place, or create: never delete and create, which readers would see as a missing secret."""
    for name, value in values.items():
        parameters = owner.parameters(name=name, value=value)
        if connection.execute(_UPDATE, parameters).rowcount == 0:
            connection.execute(_INSERT, parameters)


def delete(connection: Connection, owner: Owner | None, name: str) -> bool:
    """True when there was one. Without an owner: whatever key it was encrypted with."""
    if owner is None:
        return bool(connection.execute(_DELETE_WHATEVER_THE_KEY, {"name": name}).rowcount)
    return bool(connection.execute(_DELETE, owner.parameters(name=name)).rowcount)


def names(connection: Connection, owner: Owner) -> list[str]:
    """The names that are stored, in order."""
    return [str(name) for name in connection.execute(_NAMES, owner.parameters()).scalars()]


def count(connection: Connection) -> int:
    """How many rows there are, of any key."""
    return int(connection.execute(_COUNT).scalar_one())


@dataclass(frozen=True)
class Locked:
    """A secret's lock, from `MageDatabase.locked`."""

    database: MageDatabase
    connection: Connection

    def read(self, owner: Owner, name: str) -> str | None:
        """The row as it is now."""
        with self.database.one_line():
            return read(self.connection, owner, name)

    def write(self, owner: Owner, values: Mapping[str, str]) -> None:
        """Store all of them in one transaction, committed when this returns. In Postgres it ends the lock."""
        with self.database.one_line():
            write(self.connection, owner, values)
            self.connection.commit()


class MageDatabase:
    """One database of Mage's: SQLite's file, which need not exist yet, or Postgres."""

    def __init__(self, url: URL) -> None:
        self._url = url
        self._file = Path(url.database or "").absolute() if url.get_backend_name() == "sqlite" else None
        self._engine: Engine | None = None

    def __str__(self) -> str:
        if self._file is not None:
            return f"SQLite {self._file}"
        return f"Postgres {self._url.host or 'localhost'}:{self._url.port or 5432}/{self._url.database or ''}"

    def redact(self, line: str) -> str:
        """The line without the password. libpq names hosts and users only: this is the second lock."""
        return line.replace(self._url.password, "***") if self._url.password else line

    def exists(self) -> bool:
        """Whether Mage's migrations have been here."""
        try:
            if self._file is not None and not self._file.exists():
                return False
        except OSError as error:
            raise ConfigurationError(f"Mage's database can't be used ({self}): {error.strerror}") from None
        with self.session() as connection:
            return bool(inspect(connection).has_table("secret"))

    @contextlib.contextmanager
    def session(self) -> Iterator[Connection]:
        """One transaction: committed when the block ends well, undone when it doesn't."""
        with self._connected() as connection, self.one_line():
            yield connection
            connection.commit()

    @contextlib.contextmanager
    def locked(self, owner: Owner, name: str, lock_file: Path) -> Iterator[Locked | None]:
        """Wait for the secret's lock, however long it takes; None when there is no such row to lock.

        `lock_file` is what SQLite's users lock instead of a row.
        """
        with contextlib.ExitStack() as held:
            if self._file is not None:
                held.callback(os.close, _flock(lock_file))
            connection = held.enter_context(self._connected())
            with self.one_line():
                if self._file is None:
                    connection.execute(_GIVE_UP_IDLE_LOCKS)
                    there = connection.execute(_LOCK, owner.parameters(name=name)).first() is not None
                else:
                    there = read(connection, owner, name) is not None
                    connection.rollback()
            yield Locked(self, connection) if there else None

    @contextlib.contextmanager
    def one_line(self) -> Iterator[None]:
        """What the database refuses, as a ConfigurationError without values or passwords."""
        try:
            yield
        except SQLAlchemyError as error:
            raise ConfigurationError(f"Mage's database can't be used ({self}): {self._first_line(error)}") from None

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        try:
            connection = self._made().connect()
        except SQLAlchemyError as error:
            what = "reached" if self._file is None else "used"
            raise ConfigurationError(f"Mage's database can't be {what} ({self}): {self._first_line(error)}") from None
        with connection:
            yield connection

    def _made(self) -> Engine:
        if self._engine is None:
            url, arguments = self._url, {"connect_timeout": str(_CONNECT_TIMEOUT_S)} | dict[str, Any](self._url.query)
            if self._file is not None:
                # mode=rw: looking must not create a file that Mage would then take for an old database.
                url = URL.create(
                    "sqlite", database=f"file:{quote(str(self._file))}", query={"mode": "rw", "uri": "true"}
                )
                arguments = {"timeout": _SQLITE_BUSY_TIMEOUT_S, "check_same_thread": False}
            # No pool: a block is forked, and a connection must not be shared by two processes.
            self._engine = create_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
        return self._engine

    def _first_line(self, error: SQLAlchemyError) -> str:
        # Not the error's own text: that holds the statement.
        told = str(getattr(error, "orig", None) or type(error).__name__).strip()
        return self.redact((told or "no reason given").splitlines()[0])


def _flock(lock_file: Path) -> int:
    try:
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"The lock {lock_file} can't be used: {error.strerror}") from None
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor
