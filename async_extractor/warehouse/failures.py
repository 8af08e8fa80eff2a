"""Which errors of Postgres are worth another try, which refuse the data, and what people are told of them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Iterator

import asyncpg

from async_extractor.errors import ConfigurationError, IncompleteError

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
    asyncpg.ReadOnlySQLTransactionError,  # a primary that was demoted: a new connection reaches the new one
    OSError,
    asyncio.TimeoutError,
)


def is_passing(error: BaseException) -> bool:
    """Whether the same work may succeed on a new connection in a moment."""
    return isinstance(error, _PASSING)


def breaks_the_connection(error: BaseException) -> bool:
    """Whether the connection is of no use after this error, though it may not know."""
    return not isinstance(error, asyncpg.PostgresError) or isinstance(
        error,
        (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.ReadOnlySQLTransactionError),
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
        # A data exception's message quotes the value.
        message = one_line(error)
        if (error.sqlstate or "").startswith("22"):
            message = re.sub(r"\"[^\"]*\"?", '"..."', message.split(": ", 1)[0])
        return f"Postgres {error.sqlstate}: {message}{advice}"
    return f"the connection to Postgres was lost ({type(error).__name__})"


@contextlib.contextmanager
def in_one_line(what: str = "") -> Iterator[None]:
    """Round statements of a command that tries nothing twice: what Postgres refuses leaves as a ConfigurationError that
    begins with `what`, a connection that is lost, or what else may pass, as an IncompleteError."""
    try:
        yield
    except (
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        ConnectionResetError,
        asyncio.TimeoutError,
    ) as error:
        kind = IncompleteError if is_passing(error) else ConfigurationError
        raise kind(f"{what}{told(error)}") from None


def needs_a_person(error: BaseException) -> bool:
    """Whether trying again can't help: a right, a table, a column or a feature that isn't there as it must be."""
    return isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] in ("0A", "28", "3D", "3F", "42")


def one_line(error: BaseException) -> str:
    """The error's message, on one line. What Postgres adds to it (DETAIL) quotes rows."""
    return " ".join(str(error.args[0] if error.args else error).split())[:300]
