"""Connections to the warehouse: their settings, TLS, and whether the server still answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import time
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import asyncpg

from async_extractor.errors import ConfigurationError
from async_extractor.warehouse.failures import is_passing
from async_extractor.warehouse.reach import reach
from async_extractor.warehouse.statements import statement

if TYPE_CHECKING:
    from typing_extensions import Buffer

# asyncpg ships no types; a connection is Any to mypy, and named here once.
Connection = Any

# libpq's words, without `allow`. `disable` is for a tunnel that encrypts by itself.
SSLMODES = ("disable", "prefer", "require", "verify-ca", "verify-full")
# As POSTGRES_SSLROOTCERT: the authorities that this machine trusts, and SSL_CERT_FILE's.
SYSTEM = "system"


@dataclass(frozen=True)
class Address:
    """Where the warehouse is, and as whom. The password is kept out of repr.

    `newer_passwords` is called when the password is refused: it may have been rotated since it was read.
    `sslrootcert` is a file of certificates, or "system".
    """

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    newer_passwords: Callable[[], Sequence[str]] = field(default=tuple, repr=False, compare=False)
    sslmode: str = "prefer"
    sslrootcert: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}/{self.database}"


# Seconds until a connection attempt is given up.
CONNECT_SECONDS = 10.0
# How often it is looked whether the server answers, and after how many looks in a row without an answer it doesn't.
LOOK_SECONDS = 15.0
SILENT_LOOKS = 2

# What the server, the database or the role may have set otherwise. By SET and not in the start packet, which poolers
# refuse. The third is the oldest server that knows it, where that isn't every one.
_PINNED = (
    # Correctness: names mean what is written, texts too, and nothing but an error ends a statement.
    ("search_path", "pg_catalog, pg_temp", 0),
    ("standard_conforming_strings", "on", 0),
    ("timezone", "'UTC'", 0),
    ("datestyle", "'ISO, YMD'", 0),
    ("intervalstyle", "postgres", 0),
    ("default_transaction_isolation", "'read committed'", 0),
    ("default_transaction_read_only", "off", 0),
    ("default_transaction_deferrable", "off", 0),
    ("row_security", "off", 0),  # an error, instead of rows that are left out without a word
    ("transform_null_equals", "off", 0),
    ("statement_timeout", "0", 0),
    ("lock_timeout", "0", 0),
    ("idle_session_timeout", "0", 14),
    ("transaction_timeout", "0", 17),
    # A process that was stopped in a transaction must not hold its rows for ever; ours last seconds.
    ("idle_in_transaction_session_timeout", "'5min'", 0),
    ("application_name", "'qbo-backfill'", 0),
    # Rows that this session writes to raw keep their digests (sql/raw_entity.sql).
    ("qbo_backfill.writes", "on", 0),
    # A page's merge is planned against tables that grow from nothing to millions of rows in one
    # session: a plan kept from the empty table would read all of raw for each page.
    ("plan_cache_mode", "force_custom_plan", 0),
    # A page of 1,000 invoices is 4 MB: staged and sorted in memory.
    ("temp_buffers", "'16MB'", 0),
    ("work_mem", "'16MB'", 0),
    # A holder that vanished from the network frees its chunk after about a minute and a half.
    ("tcp_keepalives_idle", "30", 0),
    ("tcp_keepalives_interval", "10", 0),
    ("tcp_keepalives_count", "6", 0),
)


async def connect(address: Address) -> Connection:
    """A new connection, its settings pinned, with the codecs that the load needs; raises what asyncpg raises.

    ConfigurationError when the certificates to verify it by can't be read.
    """
    return await prepared(address, await open_bare(address))


@contextlib.asynccontextmanager
async def cut_when_silent(address: Address) -> AsyncIterator[None]:
    """Cuts the connections to a server that answers no more and leaves them open, as a machine does that is paused.

    What waits for it fails then, as when a connection is lost. Statements may take as long as they like.
    """
    watch = asyncio.ensure_future(_watch(address))
    try:
        yield
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)


async def _watch(address: Address) -> None:
    silent, here = 0, (asyncio.get_running_loop(), address)
    while True:
        looked = time.monotonic()
        await asyncio.sleep(LOOK_SECONDS)
        # Where only new connections have to wait, those that are there go on.
        answers = await _answers(address) or (reach(address).answered or 0.0) > looked
        silent = 0 if answers else silent + 1
        if silent >= SILENT_LOOKS:
            for connection in [one for one, where in _connections.items() if where == here]:
                connection.terminate()


async def _answers(address: Address) -> bool:
    async def look() -> None:
        connection = await _by_any_password(address)
        try:
            await connection.execute("SELECT 1")  # a pooler may answer the login by itself
        finally:
            connection.terminate()

    try:
        await asyncio.wait_for(look(), CONNECT_SECONDS)
    except (OSError, asyncio.TimeoutError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError):
        return False
    except (asyncpg.PostgresError, ConfigurationError):
        return True  # a refusal is an answer
    return True


async def pin_settings(connection: Connection) -> None:
    """Sets for the session what correctness rests on, whatever the server, the database or the role says."""
    major = connection.get_server_version().major
    await connection.execute("; ".join(f"SET {name} = {value}" for name, value, since in _PINNED if major >= since))


async def prepared(address: Address, connection: Connection) -> Connection:
    """The connection with its settings pinned and its codecs; ended where that fails.

    Only with that the server is reached: a pooler may answer a login by itself.
    """
    try:
        with _reaching(address):
            await asyncio.wait_for(_set_up(connection), CONNECT_SECONDS)
        reach(address).reached()
    except BaseException:
        connection.terminate()
        raise
    return connection


async def _set_up(connection: Connection) -> None:
    await pin_settings(connection)
    # jsonb as bytes both ways: the payload is never decoded here. Version 1 is the format's first byte.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=_jsonb_out,
        decoder=lambda data: bytes(data[1:]),
        format="binary",
    )


async def open_bare(address: Address) -> Connection:
    """A new connection as the server makes it; raises what asyncpg raises."""
    with _reaching(address):
        return await _by_any_password(address)


@contextlib.contextmanager
def _reaching(address: Address) -> Iterator[None]:
    """Round a try to reach the server."""
    try:
        yield
    except Exception as error:
        if is_passing(error) and not isinstance(error, asyncpg.TooManyConnectionsError):
            reach(address).failed()
        raise


async def _by_any_password(address: Address) -> Connection:
    try:
        return await _by_tls_or_without(address, address.password)
    except asyncpg.InvalidPasswordError as refused:
        for password in await asyncio.to_thread(address.newer_passwords):
            if password != address.password:
                with contextlib.suppress(asyncpg.InvalidPasswordError):
                    return await _by_tls_or_without(address, password)
        raise refused from None


# This process's connections, with the event loop and the server of each.
_connections: weakref.WeakKeyDictionary[Connection, tuple[asyncio.AbstractEventLoop, Address]] = (
    weakref.WeakKeyDictionary()
)
# Servers that have said to this process that they have no TLS: `prefer` doesn't ask them for each connection.
_without_tls: set[tuple[str, int]] = set()


async def _by_tls_or_without(address: Address, password: str) -> Connection:
    server = address.host, address.port
    if address.sslmode == "prefer" and server in _without_tls:
        try:
            return await _connect(address, password, False)
        except asyncpg.InvalidAuthorizationSpecificationError:
            _without_tls.discard(server)  # it may want TLS by now
    # asyncpg's own `prefer` looks for keys in HOME and fails where that is somebody else's.
    context = tls_context(address.sslmode, address.sslrootcert)
    try:
        return await _connect(address, password, context or False)
    except (ConnectionError, ssl.SSLError, asyncpg.InvalidAuthorizationSpecificationError) as first:
        if address.sslmode != "prefer" or isinstance(first, (ConnectionRefusedError, asyncpg.InvalidPasswordError)):
            raise
        if "rejected SSL upgrade" in str(first):
            _without_tls.add(server)
        try:
            return await _connect(address, password, False)
        except asyncpg.InvalidAuthorizationSpecificationError as second:
            # Of two refusals the first has the way that was preferred; a password was looked at only without TLS.
            refused = isinstance(first, asyncpg.InvalidAuthorizationSpecificationError)
            raise (first if refused and not isinstance(second, asyncpg.InvalidPasswordError) else second) from None


async def _connect(address: Address, password: str, tls: ssl.SSLContext | bool) -> Connection:
    connection = await asyncpg.connect(
        host=address.host,
        port=address.port,
        database=address.database,
        user=address.user,
        password=password,
        timeout=CONNECT_SECONDS,
        command_timeout=None,
        ssl=tls,
    )
    _connections[connection] = asyncio.get_running_loop(), address

    def answered(query: Any) -> None:
        if query.exception is None:
            reach(address).answered = time.monotonic()

    connection.add_query_logger(answered)
    return connection


def tls_context(sslmode: str, sslrootcert: str = "") -> ssl.SSLContext | None:
    """How the server is to be believed, as libpq does it; None for `disable`.

    A client's own certificate is taken from PGSSLCERT and PGSSLKEY. ConfigurationError when a file can't be used.
    """
    if sslmode not in SSLMODES:
        raise ConfigurationError(f"POSTGRES_SSLMODE: is not one of {', '.join(SSLMODES)}")
    if sslmode == "disable":
        return None
    verified = sslmode.startswith("verify") or (sslmode == "require" and bool(sslrootcert))
    if verified and not sslrootcert:
        raise ConfigurationError(
            f"POSTGRES_SSLROOTCERT is not set, and POSTGRES_SSLMODE is {sslmode}: give the file of the authority's "
            f"certificate, or `{SYSTEM}` for the authorities that this machine trusts"
        )
    if verified and sslrootcert == SYSTEM:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = sslmode == "verify-full"
    context.verify_mode = ssl.CERT_REQUIRED if verified else ssl.CERT_NONE
    name = "POSTGRES_SSLROOTCERT"
    try:
        if verified and sslrootcert != SYSTEM:
            context.load_verify_locations(cafile=sslrootcert)
        name = "PGSSLCERT"
        if certificate := os.environ.get(name):
            context.load_cert_chain(certificate, os.environ.get("PGSSLKEY"))
    except (OSError, ValueError) as error:  # SSLError is an OSError
        why = "holds no certificate" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None) or error
        raise ConfigurationError(f"{name}: the file can't be used: {why}") from None
    return context


def _jsonb_out(value: Buffer) -> bytes:
    return b"\x01" + value


async def backend_pid(connection: Connection) -> int:
    """The pid of the backend that works for this connection; `get_server_pid()` is a pooler's invention behind one."""
    async with connection.transaction():  # a pooler in transaction mode keeps to one backend so long
        return int(await connection.fetchval("SELECT pg_catalog.pg_backend_pid()"))


async def holders(connection: Connection, kind: str, number: int) -> str:
    """Who holds the advisory lock (hashtext(kind), number), for people; empty when nobody does."""
    return str(await connection.fetchval(statement("holders"), kind, number) or "")
