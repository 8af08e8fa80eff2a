"""The first connection to a warehouse: one line where it can't be used, and no pooler that mixes sessions."""

from __future__ import annotations

import asyncio
import ssl
import time

import asyncpg

from async_extractor.errors import ConfigurationError, IncompleteError
from async_extractor.warehouse.connection import (
    CONNECT_SECONDS,
    Address,
    Connection,
    backend_pid,
    open_bare,
    prepared,
)
from async_extractor.warehouse.failures import is_passing, one_line
from async_extractor.warehouse.reach import Reach, reach

# A server that has answered this process may be away for so long when the next run begins.
RESTART_SECONDS = 30.0
# Once it is back, a run that begins leaves those that lost their connections so long to hold again what says that they
# live.
OTHERS_RETURN_SECONDS = 3.0


async def connect_first(address: Address, advice: str = "", *, waits: bool = False) -> Connection:
    """The first connection to a warehouse: `ConfigurationError` with one line when it can't be used, `IncompleteError`
    when it has answered this process before.

    That one `waits` for, as while it restarts. `advice` says where the address is from, when not from the POSTGRES_*
    secrets.
    """
    advice = advice or "check the POSTGRES_* secrets with `qbo-backfill secrets list`"
    known = reach(address)
    patience = RESTART_SECONDS if waits and known.answered is not None else 0.0
    until = (known.away_since or time.monotonic()) + patience
    while True:
        try:
            connection = await _first(address)
            if waits:
                await _let_others_return(known, connection)
            return connection
        except (
            asyncpg.PostgresError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            OSError,
            asyncio.TimeoutError,
            UnicodeError,
        ) as error:
            if not is_passing(error) or time.monotonic() >= until:
                why, lost = _why_not(error), is_passing(error) and known.answered is not None
                break
        await asyncio.sleep(0.5)
    if lost:
        raise IncompleteError(f"Postgres at {address}: {why}; it has answered before: run again when it is there")
    raise ConfigurationError(f"Postgres at {address}: {why}; {advice}")


async def _let_others_return(known: Reach, connection: Connection) -> None:
    if known.returned is None:
        return
    try:
        await asyncio.sleep(known.returned + OTHERS_RETURN_SECONDS - time.monotonic())
    except BaseException:
        connection.terminate()
        raise


async def _first(address: Address) -> Connection:
    connection = await open_bare(address)
    try:
        await _refuse_transaction_pooling(address, connection)
    except BaseException:
        connection.terminate()
        raise
    return await prepared(address, connection)


def _why_not(error: BaseException) -> str:
    """Why there is no connection, in the server's own words where it said any."""
    if isinstance(error, asyncpg.InvalidPasswordError):
        return f"it refuses the user or the password (POSTGRES_USER, POSTGRES_PASSWORD): {one_line(error)}"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return f"it refuses the login (POSTGRES_USER, POSTGRES_SSLMODE): {one_line(error)}"
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return f"it has no such database (POSTGRES_DB): {one_line(error)}"
    if isinstance(error, asyncpg.PostgresError):
        return f"{error.sqlstate}: {one_line(error)}"
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return f"it doesn't answer as Postgres does ({one_line(error)}; POSTGRES_HOST, POSTGRES_PORT)"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate isn't trusted: {error.verify_message} (POSTGRES_SSLMODE, POSTGRES_SSLROOTCERT)"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails: {error.reason or one_line(error)} (POSTGRES_SSLMODE)"
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return "it has no TLS, which POSTGRES_SSLMODE asks for"
    if isinstance(error, UnicodeError):
        return "that is no host's name (POSTGRES_HOST)"
    words = f": {error.strerror}" if isinstance(error, OSError) and error.strerror else ""
    return f"nothing answers there ({type(error).__name__}{words}; POSTGRES_HOST, POSTGRES_PORT)"


_POOLER = (
    "a pooler in transaction mode is there, and it can't hold locks, temporary tables or LISTEN: give the direct "
    "endpoint, or the pooler's for session mode (POSTGRES_HOST, POSTGRES_PORT; at Supabase port 5432 instead of 6543, "
    "at Neon the host without -pooler)"
)


async def _refuse_transaction_pooling(address: Address, connection: Connection) -> None:
    """Two sessions that get the same backend, or one that gets several: then none is kept for a session."""
    backend = await asyncio.wait_for(backend_pid(connection), CONNECT_SECONDS)
    if backend == connection.get_server_pid():
        return  # Postgres itself: a pooler makes up the pid that it tells at the start
    other = await open_bare(address)
    try:
        for _ in range(3):  # servers may be given out in turn
            if (
                await asyncio.wait_for(backend_pid(other), CONNECT_SECONDS) == backend
                or await backend_pid(connection) != backend
            ):
                raise ConfigurationError(f"Postgres at {address}: {_POOLER}")
    except asyncio.TimeoutError:
        raise ConfigurationError(
            f"Postgres at {address}: the pooler there gives one connection and keeps a second one waiting; "
            "raise its pool's size, or give the direct endpoint (POSTGRES_HOST, POSTGRES_PORT)"
        ) from None
    except (asyncpg.DuplicatePreparedStatementError, asyncpg.InvalidSQLStatementNameError):
        raise ConfigurationError(f"Postgres at {address}: {_POOLER}") from None
    finally:
        other.terminate()
