"""Mage's metadata database, SQLite or Postgres: the table `secret` and the triggers. No key is here.

A secret may be rotated by several processes at the same time. `locked` makes one of them wait for the other:
in Postgres by the row's own lock, in SQLite by a lock file, because SQLite has no row locks and Mage's
scheduler must not be kept from its database while a refresh waits for an answer. Through the two drivers and not
SQLAlchemy, which Mage has: its import is 0.2 s of each command's start.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import selectors
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import quote

from async_extractor.errors import ConfigurationError

# A row belongs to a key by its uuid; rows from before Mage had uuids belong to a project. The uuid file may
# end in a newline that some of Mage's rows have too, hence two spellings.
_OURS = "(key_uuid IN (:key_uuid, :key_uuid_as_read) OR (key_uuid IS NULL AND repo_name = :project))"
_READ = f"SELECT name, value FROM secret WHERE name IN ({{names}}) AND {_OURS} ORDER BY key_uuid IS NULL DESC"
_NAMES = f"SELECT DISTINCT name FROM secret WHERE {_OURS} ORDER BY name"
_COUNT = "SELECT count(*) AS rows FROM secret"
_UPDATE = (
    "UPDATE secret SET value = :value, updated_at = CURRENT_TIMESTAMP"
    " WHERE name = :name AND key_uuid IN (:key_uuid, :key_uuid_as_read)"
)
_INSERT = (
    "INSERT INTO secret (name, value, key_uuid, repo_name) VALUES (:name, :value, :key_uuid, :project)"
    " ON CONFLICT (name, key_uuid) DO UPDATE SET value = excluded.value, updated_at = CURRENT_TIMESTAMP"
)
_REWRITE = f"UPDATE secret SET value = value WHERE name = :name AND {_OURS}"
_DELETE = f"DELETE FROM secret WHERE name = :name AND {_OURS}"
_DELETE_WHATEVER_THE_KEY = "DELETE FROM secret WHERE name = :name"
_LOCK = f"SELECT id FROM secret WHERE name = :name AND {_OURS} FOR UPDATE"
_IN_SQLITE = "SELECT 1 FROM sqlite_master WHERE name = 'secret'"
_IN_POSTGRES = "SELECT 1 WHERE to_regclass('secret') IS NOT NULL"
# A holder that stopped (a suspended machine, a lost network) gives the lock up: the server ends its session.
_GIVE_UP_IDLE_LOCKS = "SET LOCAL idle_in_transaction_session_timeout = '5min'"
_WAIT_A_WHILE = "SET LOCAL lock_timeout = '20s'"
_WAIT_ON = "SET LOCAL lock_timeout = 0"

_CONNECT_TIMEOUT_S = 10
# So long a statement may take, or wait for what others hold.
_BUSY_TIMEOUT_S = 60
# So long where giving up would lose what can't be had again: a refresh token that Intuit has just rotated.
_WRITING_TIMEOUT_S = 300


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


class Connection:
    """A transaction of either driver's. Statements have `:name` for a value.

    psycopg2's is its asynchronous one, whose transactions are statements: waiting in Python, it can be interrupted, and
    a server that says nothing any more is given up.
    """

    def __init__(self, driven: Any) -> None:
        self._driven = driven
        self.in_file = isinstance(driven, sqlite3.Connection)
        self._begun = False
        self._patience = _BUSY_TIMEOUT_S

    def be_patient(self) -> None:
        """What follows may take `_WRITING_TIMEOUT_S` a statement."""
        self._patience = _WRITING_TIMEOUT_S
        if self.in_file:
            self._driven.execute(f"PRAGMA busy_timeout = {_WRITING_TIMEOUT_S * 1000}")

    def rows(self, statement: str, **values: Any) -> list[dict[str, Any]]:
        """What a query finds."""
        cursor = self._run(statement, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def change(self, statement: str, **values: Any) -> int:
        """How many rows the statement changed."""
        return int(self._run(statement, values).rowcount)

    def commit(self) -> None:
        if self.in_file:
            self._driven.commit()
        else:
            self._end("COMMIT")

    def rollback(self) -> None:
        """What a refused statement leaves is of no more use."""
        if self.in_file:
            self._driven.rollback()
        else:
            self._end("ROLLBACK")

    def _end(self, how: str) -> None:
        if self._begun:
            self._execute(how, {})
            self._begun = False

    def _run(self, statement: str, values: Mapping[str, Any]) -> Any:
        if self.in_file:
            return self._driven.execute(statement, values)
        if not self._begun:
            self._execute("BEGIN", {})
            self._begun = True
        return self._execute(re.sub(r":(\w+)", r"%(\1)s", statement), values)

    def _execute(self, statement: str, values: Mapping[str, Any]) -> Any:
        cursor = self._driven.cursor()
        cursor.execute(statement, values)
        _wait(self._driven, self._patience)
        return cursor


def read(connection: Connection, owner: Owner, names: Sequence[str]) -> dict[str, str]:
    """The encrypted values, by name, of those that there are."""
    values = {f"name_{number}": name for number, name in enumerate(names)}
    statement = _READ.format(names=", ".join(f":{parameter}" for parameter in values))
    # A row with a key's uuid comes later, and so before one from before Mage had uuids.
    return {row["name"]: str(row["value"]) for row in connection.rows(statement, **owner.parameters(**values))}


def write(connection: Connection, owner: Owner, values: Mapping[str, str]) -> None:
    """Replace in place, or create: never delete and create, which readers would see as a missing secret."""
    for name, value in values.items():
        parameters = owner.parameters(name=name, value=value)
        if connection.change(_UPDATE, **parameters) == 0:
            connection.change(_INSERT, **parameters)


def delete(connection: Connection, owner: Owner | None, name: str) -> bool:
    """True when there was one. Without an owner: whatever key it was encrypted with."""
    if owner is None:
        return connection.change(_DELETE_WHATEVER_THE_KEY, name=name) > 0
    return connection.change(_DELETE, **owner.parameters(name=name)) > 0


def names(connection: Connection, owner: Owner) -> list[str]:
    """The names that are stored, in order."""
    return [str(row["name"]) for row in connection.rows(_NAMES, **owner.parameters())]


def count(connection: Connection) -> int:
    """How many rows there are, of any key."""
    return int(connection.rows(_COUNT)[0]["rows"])


@dataclass(frozen=True)
class Locked:
    """A secret's lock, from `MageDatabase.locked`."""

    database: MageDatabase
    connection: Connection

    def read(self, owner: Owner, names: Sequence[str]) -> dict[str, str]:
        """The rows as they are now."""
        with self.database.one_line():
            return read(self.connection, owner, names)

    def rewrite(self, owner: Owner, names: Sequence[str]) -> None:
        """What is stored, once more. In Postgres not yet committed, since that would end the lock."""
        with self.database.one_line():
            for name in names:
                self.connection.change(_REWRITE, **owner.parameters(name=name))
            if self.connection.in_file:
                self.connection.commit()

    def write(self, owner: Owner, values: Mapping[str, str]) -> None:
        """Store all of them in one transaction, committed when this returns. In Postgres it ends the lock."""
        with self.database.one_line():
            self.connection.be_patient()
            write(self.connection, owner, values)
            self.connection.commit()


class MageDatabase:
    """One database of Mage's: SQLite's file, which need not exist yet, or Postgres."""

    def __init__(self, file: Path | None = None, server: Mapping[str, Any] | None = None) -> None:
        """SQLite's file, or what psycopg2 connects to a server by."""
        self._file = file and file.absolute()
        self._server = server or {}

    def __str__(self) -> str:
        if self._file is not None:
            return f"SQLite {self._file}"
        host, port, name = (self._server.get(key) for key in ("host", "port", "dbname"))
        return f"Postgres {host or 'localhost'}:{port or 5432}/{name or ''}"

    def redact(self, line: str) -> str:
        """The line without the password. libpq names hosts and users only: this is the second lock."""
        password = self._server.get("password")
        return line.replace(password, "***") if password else line

    def exists(self) -> bool:
        """Whether Mage's migrations have been here."""
        try:
            if self._file is not None and not self._file.exists():
                return False
        except OSError as error:
            raise ConfigurationError(f"Mage's database can't be used ({self}): {error.strerror}") from None
        with self.session() as connection:
            return bool(connection.rows(_IN_POSTGRES if self._file is None else _IN_SQLITE))

    @contextlib.contextmanager
    def session(self) -> Iterator[Connection]:
        """One transaction: committed when the block ends well, undone when it doesn't."""
        with self._connected() as connection, self.one_line():
            yield connection
            connection.commit()

    @contextlib.contextmanager
    def locked(self, owner: Owner, names: Sequence[str], lock_file: Path) -> Iterator[Locked | None]:
        """Wait for the lock of the first secret, however long it takes; None when there is no such row to lock.

        The others are locked with it where they are there, so that nothing can hold up writing them. `lock_file` is
        what SQLite's users lock instead of rows.
        """
        with contextlib.ExitStack() as held:
            if self._file is not None:
                held.callback(os.close, _flock(lock_file))
            connection = held.enter_context(self._connected())
            with self.one_line():
                if self._file is None:
                    there = self._lock_rows(connection, owner, names)
                else:
                    there = names[0] in read(connection, owner, names[:1])
            yield Locked(self, connection) if there else None

    def _lock_rows(self, connection: Connection, owner: Owner, names: Sequence[str]) -> bool:
        """Whether the first is there. One after the other, since who has the first is alone."""
        while True:
            connection.change(_GIVE_UP_IDLE_LOCKS)
            connection.change(_WAIT_A_WHILE)
            try:
                there = [bool(connection.rows(_LOCK, **owner.parameters(name=name))) for name in names]
            except self._driver.errors.LockNotAvailable:
                connection.rollback()  # the server answers; so somebody has it
            else:
                connection.change(_WAIT_ON)
                return there[0]

    @contextlib.contextmanager
    def one_line(self) -> Iterator[None]:
        """What the database refuses, as a ConfigurationError without values or passwords."""
        try:
            yield
        except self._driver.Error as error:
            raise ConfigurationError(f"Mage's database can't be used ({self}): {self._first_line(error)}") from None

    @contextlib.contextmanager
    def _connected(self) -> Iterator[Connection]:
        # No pool: a block is forked, and a connection must not be shared by two processes.
        try:
            driven = self._connect()
        except self._driver.Error as error:
            what = "reached" if self._file is None else "used"
            raise ConfigurationError(f"Mage's database can't be {what} ({self}): {self._first_line(error)}") from None
        with contextlib.closing(driven):
            yield Connection(driven)

    def _connect(self) -> Any:
        if self._file is None:
            driven = self._driver.connect(**self._server, async_=True)
            # libpq's 0 is for ever.
            _wait(driven, float(self._server.get("connect_timeout") or 0) or _CONNECT_TIMEOUT_S)
            return driven
        # mode=rw: looking must not create a file that Mage would then take for an old database.
        address = f"file:{quote(str(self._file))}?mode=rw"
        return sqlite3.connect(address, uri=True, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)

    @property
    def _driver(self) -> ModuleType:
        if self._file is not None:
            return sqlite3
        import psycopg2  # noqa: PLC0415 - not needed where Mage keeps to SQLite

        return psycopg2  # type: ignore[no-any-return]

    def _first_line(self, error: Exception) -> str:
        return self.redact((str(error).strip() or type(error).__name__).splitlines()[0])


def _wait(driven: Any, seconds: float) -> None:
    """For the answer to what was sent; the driver's OperationalError when none has come after so long."""
    import psycopg2  # noqa: PLC0415 - as above
    from psycopg2.extensions import POLL_OK, POLL_READ  # noqa: PLC0415

    until = time.monotonic() + seconds
    while (state := driven.poll()) != POLL_OK:
        with selectors.DefaultSelector() as selector:
            selector.register(driven.fileno(), selectors.EVENT_READ if state == POLL_READ else selectors.EVENT_WRITE)
            if not selector.select(max(0.0, until - time.monotonic())):
                raise psycopg2.OperationalError(f"the server has said nothing for {seconds:.0f} s")


def _flock(lock_file: Path) -> int:
    try:
        descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"The lock {lock_file} can't be used: {error.strerror}") from None
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor
