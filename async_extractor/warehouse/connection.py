"""Connections to the warehouse, and which errors of Postgres are worth another try."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from async_extractor.errors import ConfigurationError

# asyncpg ships no types; a connection is Any to mypy, and named here once.
Connection = Any


@dataclass(frozen=True)
class Address:
    """Where the warehouse is, and as whom. The password is kept out of repr.

    `newer_passwords` is called when the password is refused: it may have been rotated since it was read.
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    newer_passwords: Callable[[], Sequence[str]] = field(default=tuple, repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}/{self.database}"


# Seconds until a connection attempt is given up.
CONNECT_SECONDS = 10.0

_SESSION = {
    "application_name": "qbo-backfill",
    "timezone": "UTC",
    # A page's merge is planned against tables that grow from nothing to millions of rows in one
    # session: a plan kept from the empty table would read all of raw for each page.
    "plan_cache_mode": "force_custom_plan",
    # A page of 1,000 invoices is 4 MB: staged and sorted in memory.
    "temp_buffers": "16MB",
    "work_mem": "16MB",
    # A holder that vanished from the network frees its chunk after about a minute and a half.
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "6",
    "lock_timeout": "0",
}


async def connect(address: Address) -> Connection:
    """A new connection with the codecs that the load needs; raises what asyncpg raises."""
    try:
        connection = await _connect(address, address.password)
    except asyncpg.InvalidPasswordError:
        connection = await _connect_with_a_newer_password(address)
    # jsonb as bytes both ways: the payload is never decoded here. Version 1 is the format's first byte.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=_jsonb_out,
        decoder=lambda data: bytes(data[1:]),
        format="binary",
    )
    return connection


async def _connect(address: Address, password: str) -> Connection:
    return await asyncpg.connect(
        host=address.host,
        port=address.port,
        database=address.database,
        user=address.user,
        password=password,
        timeout=CONNECT_SECONDS,
        command_timeout=None,
        server_settings=_SESSION,
    )


async def _connect_with_a_newer_password(address: Address) -> Connection:
    for password in await asyncio.to_thread(address.newer_passwords):
        if password != address.password:
            with contextlib.suppress(asyncpg.InvalidPasswordError):
                return await _connect(address, password)
    raise asyncpg.InvalidPasswordError(f'password authentication failed for user "{address.user}"')


def _jsonb_out(value: bytes) -> bytes:
    return b"\x01" + value


async def connect_first(address: Address) -> Connection:
    """The run's first connection: `ConfigurationError` with one line when the warehouse can't be used."""
    try:
        return await connect(address)
    except asyncpg.InvalidPasswordError:
        why = "it refuses the user or the password (POSTGRES_USER, POSTGRES_PASSWORD)"
    except asyncpg.InvalidAuthorizationSpecificationError:
        why = "it refuses the user (POSTGRES_USER)"
    except asyncpg.InvalidCatalogNameError:
        why = "it has no such database (POSTGRES_DB)"
    except (OSError, asyncio.TimeoutError) as error:
        why = f"nothing answers there ({type(error).__name__}; POSTGRES_HOST, POSTGRES_PORT)"
    except asyncpg.PostgresError as error:
        why = f"{error.sqlstate}: {_line(error)}"
    raise ConfigurationError(
        f"Postgres at {address.host}:{address.port}, database {address.database}: {why}; "
        "check the POSTGRES_* secrets with `qbo-backfill secrets list`"
    )


# Connection failures, a server that restarts or was told to end us, deadlock, serialization, lock
# time-out, out of memory or connections: the same work can succeed in a moment.
_PASSING = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # what asyncpg makes of a session that ends in the middle of something
    asyncpg.OperatorInterventionError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,
    asyncpg.TooManyConnectionsError,
    asyncpg.OutOfMemoryError,
    asyncpg.ReadOnlySQLTransactionError,  # a primary that was demoted: the next connection reaches the new one
    OSError,
    asyncio.TimeoutError,
)


def is_passing(error: BaseException) -> bool:
    """Whether the same work may succeed on a new connection in a moment."""
    return isinstance(error, _PASSING)


def breaks_the_connection(error: BaseException) -> bool:
    """Whether the connection is of no use after this error, though it may not know."""
    return not isinstance(error, asyncpg.PostgresError) or isinstance(
        error, (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.ReadOnlySQLTransactionError)
    )


# SQLSTATE classes that mean "this value can't be stored": data exception and constraint violation.
def refuses_the_data(error: BaseException) -> bool:
    """Whether Postgres refuses a value, so that leaving a record out would help."""
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] in ("22", "23", "54")


def told(error: BaseException) -> str:
    """An error of the warehouse on one line for people, without values or addresses."""
    if isinstance(error, asyncpg.PostgresError):
        advice = {
            "42501": "; the role lacks a right: run as the owner once, or GRANT it",
            "53100": "; free space on the server and run again",
        }.get(error.sqlstate or "", "")
        return f"Postgres {error.sqlstate}: {_line(error)}{advice}"
    return f"the connection to Postgres was lost ({type(error).__name__})"


def _line(error: BaseException) -> str:
    # The message alone: DETAIL and HINT, which str() has, quote the row. Of a data exception it quotes the value, too.
    message = " ".join(str(error.args[0] if error.args else "").split())
    if isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "").startswith("22"):
        message = re.sub(r"\"[^\"]*\"?", '"..."', message.split(": ", 1)[0])
    return message[:300]
