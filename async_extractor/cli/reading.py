"""How commands look into the warehouse: a connection for as long as they need it, and no traceback."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any, TypeVar

import asyncpg

from async_extractor.errors import RequestError
from async_extractor.mage.secrets import MageSecrets
from async_extractor.profile_option import work_for
from async_extractor.request import EARLIEST
from async_extractor.settings import raw_schema_of, warehouse_address
from async_extractor.warehouse.connection import Connection, cut_when_silent
from async_extractor.warehouse.failures import in_one_line
from async_extractor.warehouse.first_connection import connect_first
from async_extractor.warehouse.schema import bring_up_to_date
from async_extractor.warehouse.statements import statement
from async_extractor.windows import DAY, SECOND, UTC, iso

T = TypeVar("T")
_NOT_THERE = (asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError)

# What a bigint holds: the numbers of runs and of quarantine entries.
MOST_NUMBER = 2**63 - 1


def read(work: Callable[[Connection, str], Awaitable[T]], profile: str = "") -> T:
    """What `work` returns, given a connection and the company's realm id.

    The schema is brought up to date first, so that a new program can look into an old database.
    """

    async def main() -> T:
        work_for(profile)
        secrets = MageSecrets.locate(profile=profile)
        realm_id = secrets.require("QBO_REALM_ID").strip()
        address = warehouse_address(secrets)
        connection = await connect_first(address)
        try:
            with in_one_line():
                async with cut_when_silent(address):
                    await bring_up_to_date(connection, raw_schema_of(profile))
                    return await work(connection, realm_id)
        finally:
            await connection.close(timeout=5)

    return asyncio.run(main())


async def of_all_companies(connection: Connection, name: str, *values: object) -> list[dict[str, Any]]:
    """A statement's rows; none where nobody has filled the warehouse yet. An older version's is brought up to date.

    Errors as of `in_one_line`.
    """
    query = statement(name)
    with in_one_line(), contextlib.suppress(*_NOT_THERE):
        try:
            return [dict(row) for row in await connection.fetch(query, *values)]
        except asyncpg.UndefinedColumnError:
            # Whoever else has a schema of that name is left alone.
            if not await connection.fetchval("SELECT to_regclass('ops.schema_versions') IS NOT NULL"):
                raise
            await bring_up_to_date(connection)
            return [dict(row) for row in await connection.fetch(query, *values)]
    return []


def as_json(value: object) -> str:
    """One line of JSON; times as ISO in UTC."""
    return json.dumps(value, default=_json_value, ensure_ascii=False)


def _json_value(value: Any) -> Any:
    if isinstance(value, datetime):
        return iso(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == int(value) else float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def day_or_moment(name: str, text: str) -> tuple[datetime, datetime]:
    """The UTC day, or the second, that a text means: `[start, end)`; RequestError with the parameter's name."""
    try:
        moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace("z", "+00:00"))
    except ValueError:
        raise RequestError(f"{name}: {text!r} is not an ISO date (2024-03-05) or timestamp with an offset") from None
    if not EARLIEST.year <= moment.year < 9999:
        raise RequestError(f"{name}: {text!r} is before {EARLIEST.year} or after 9998")
    if len(text.strip()) == len("2024-03-05"):
        return moment.replace(tzinfo=UTC), moment.replace(tzinfo=UTC) + DAY
    if moment.tzinfo is None:
        raise RequestError(f"{name}: {text!r} has a time but no offset; add Z for UTC")
    second = moment.astimezone(UTC).replace(microsecond=0)
    return second, second + SECOND
