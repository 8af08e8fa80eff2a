"""`qbo-backfill warehouse`: the warehouse's schemas and rights, by the role that owns them."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import asyncpg
import typer

from async_extractor.cli.options import company
from async_extractor.entities import ENTITIES
from async_extractor.errors import ConfigurationError, RequestError
from async_extractor.settings import LONGEST_SECRET, checked_host, raw_schema_of
from async_extractor.spoken import say
from async_extractor.warehouse.connection import Address, Connection
from async_extractor.warehouse.failures import in_one_line
from async_extractor.warehouse.first_connection import connect_first
from async_extractor.warehouse.schema import bring_up_to_date, grant_rights
from async_extractor.warehouse.statements import statement
from async_extractor.warehouse.views import make_views

app = typer.Typer(no_args_is_help=True)

Host = typer.Option(..., "--host", help="Where Postgres is.")
Port = typer.Option(5432, "--port", min=1, max=65535, help="Its port.")
Database = typer.Option("warehouse", "--database", help="The warehouse's database.")
User = typer.Option("qbo_owner", "--user", help="The role that owns it; see sql/roles.sql.")
PasswordFile = typer.Option(..., "--password-file", metavar="FILE", help="That role's password: the file's first line.")
SslMode = typer.Option("prefer", "--sslmode", envvar="PGSSLMODE", help="As POSTGRES_SSLMODE.")
SslRootCert = typer.Option("", "--sslrootcert", envvar="PGSSLROOTCERT", metavar="FILE", help="As POSTGRES_SSLROOTCERT.")
PRUNED = {"events": "prune_events", "failed tries": "prune_attempts", "daily volumes": "prune_daily_volume"}
Profile = typer.Option(
    "", "--profile", callback=company, help="The company, when there are several: acme has schema raw_acme."
)


@app.command()
def migrate(
    host: str = Host,
    port: int = Port,
    database: str = Database,
    user: str = User,
    password_file: Path = PasswordFile,
    sslmode: str = SslMode,
    sslrootcert: str = SslRootCert,
    profile: str = Profile,
) -> None:
    """Bring schemas, tables and the views over raw up to date, and give each role of sql/roles.sql just its rights.

    Safe to run again, and while backfills run: what is up to date is left alone.
    """
    if profile and not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", profile):
        raise RequestError(f"--profile {profile!r}: lower-case letters, digits and _ only, a letter first.")
    address = Address(
        checked_host(host), port, database, user, _first_line(password_file), sslmode=sslmode, sslrootcert=sslrootcert
    )
    applied, notes = asyncio.run(_migrate(address, raw_schema_of(profile)))
    for name in applied:
        typer.echo(say(f"applied {name}"))
    typer.echo(say(f"{address}: schema and rights are up to date."))
    for note in notes:
        typer.echo(say(f"note: {note}"))


@app.command()
def prune(
    host: str = Host,
    port: int = Port,
    database: str = Database,
    user: str = User,
    password_file: Path = PasswordFile,
    sslmode: str = SslMode,
    sslrootcert: str = SslRootCert,
    keep: str = typer.Option("P90D", "--keep", metavar="DURATION", help="Of runs that ended within it all stays."),
    delete: bool = typer.Option(False, "--delete", help="Remove it; without this it is only counted."),
) -> None:
    """Count or remove what old runs left in ops that nothing rests on: events, failed tries, daily volumes.

    Runs, chunks, checks and quarantine stay. The reports of these runs can still be made: without their events, and
    without what failed tries came to, which metrics count no more either.
    """
    if not re.fullmatch(r"P[1-9][0-9]{0,3}[DWMY]", keep):
        raise RequestError(f"--keep {keep!r}: a duration such as P90D, P12W, P6M or P2Y")
    address = Address(
        checked_host(host), port, database, user, _first_line(password_file), sslmode=sslmode, sslrootcert=sslrootcert
    )
    removed = asyncio.run(_prune(address, keep, delete=delete))
    found = ", ".join(f"{rows:,} {what}" for what, rows in removed.items())
    fate = "removed" if delete else "can go"
    typer.echo(say(f"{address}: {found} of runs that ended more than {keep} ago {fate}."))
    if not delete and any(removed.values()):
        typer.echo(say("Nothing was removed; --delete does it."))


async def _prune(address: Address, keep: str, *, delete: bool) -> dict[str, int]:
    async with _owned(address, "it can't be pruned") as connection:
        transaction = connection.transaction()
        await transaction.start()
        before = await _moment_before(connection, keep)
        removed = {}
        for what, name in PRUNED.items():
            removed[what] = int((await connection.execute(statement(name), before)).split()[-1])
        await (transaction.commit() if delete else transaction.rollback())
        return removed


async def _moment_before(connection: Connection, keep: str) -> datetime:
    try:
        moment: datetime = await connection.fetchval(statement("moment_before"), keep)
    except (asyncpg.DataError, OverflowError):
        raise RequestError(f"--keep {keep!r}: that is before the year 1") from None
    return moment


async def _migrate(address: Address, raw_schema: str) -> tuple[list[str], list[str]]:
    async with _owned(address, "rights can't be given") as connection:
        applied = await bring_up_to_date(connection, raw_schema, ENTITIES)
        notes = await make_views(connection, raw_schema)
        # Also when nothing was to be applied: the roles may be newer than the tables.
        await grant_rights(connection, raw_schema)
        if open_locks := await connection.fetchval(statement("may_lock")):
            notes.append(
                f"{', '.join(open_locks)} may take advisory locks there and so stop runs; "
                "run sql/roles.sql in this database as a superuser"
            )
        return applied, notes


@contextlib.asynccontextmanager
async def _owned(address: Address, otherwise: str) -> AsyncIterator[Connection]:
    """The owner's connection; what Postgres refuses is an error on one line that begins so."""
    connection = await connect_first(address, "check --host, --port, --database, --user, --password-file and --sslmode")
    try:
        with in_one_line(f"{address}: {otherwise}: "):
            yield connection
    finally:
        await connection.close(timeout=5)


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline(LONGEST_SECRET + 1).removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it isn't text"
        raise ConfigurationError(f"--password-file {path}: can't be read: {reason}") from None
    if not line or len(line) > LONGEST_SECRET:
        wrong = "has too long a first line" if line else "is empty"
        raise ConfigurationError(f"--password-file {path}: {wrong}")
    return line
