"""A backfill in a test: secrets in a dictionary, a run against a simulator, and raw held against the truth."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import asyncpg

from async_extractor import BackfillRequest, BackfillResult, ConfigurationError, run_backfill
from async_extractor.entities import ENTITIES
from async_extractor.events import Event


class DictSecrets:
    """Secrets in memory, with the exclusive lock that a token refresh takes."""

    def __init__(self, values: dict[str, str]) -> None:
        self.values = dict(values)
        self._lock = threading.Lock()

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    def require(self, name: str) -> str:
        if not self.values.get(name):
            raise ConfigurationError(f"The Mage secret {name} is missing")
        return self.values[name]

    def snapshot(self) -> DictSecrets:
        return self

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[DictSecrets]:
        with self._lock:
            yield self

    def check_writable(self, name: str) -> None:
        assert name in self.values

    def put(self, values: dict[str, str]) -> None:
        self.values.update(values)


def secrets_for(simulator: Any, database: Any) -> DictSecrets:
    """The secrets of a simulator's company and of a test's database."""
    address = simulator.address()
    return DictSecrets(
        {
            "QBO_CLIENT_ID": address["client_id"],
            "QBO_CLIENT_SECRET": address["client_secret"],
            "QBO_REALM_ID": address["realm_id"],
            "QBO_REFRESH_TOKEN": address["refresh_token"],
            "QBO_ENVIRONMENT": "simulator",
            "QBO_SIMULATOR_URL": address["url"],
            "POSTGRES_HOST": database.host,
            "POSTGRES_PORT": str(database.port),
            "POSTGRES_DB": database.dbname,
            "POSTGRES_USER": database.user,
            "POSTGRES_PASSWORD": database.password,
        }
    )


# All that a simulated company has: its books end before this day.
EVERYTHING = ("2015-01-01", "2026-01-31")


async def backfill(
    secrets: DictSecrets,
    entity: str,
    start: str = EVERYTHING[0],
    end: str = EVERYTHING[1],
    *,
    limits: bool = False,
    **more: Any,
) -> BackfillResult:
    """One run to its end; `more` are the request's other parameters."""
    listeners = more.pop("listeners", ())
    patience = more.pop("patience", None)
    request = BackfillRequest.parse(entity, start, end, **more)
    return await run_backfill(request, secrets, listeners, limits=limits, patience=patience)


class Recorder:
    """A listener that keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def named(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]


async def truth(simulator: Any, entity: str) -> dict[str, Any]:
    """The company's records by Id as the simulator holds them, numbers as Decimal so that scale counts."""
    name = ENTITIES[entity].query_name
    async with aiohttp.ClientSession() as session, session.get(f"{simulator.url}/_simulator/truth/{name}") as response:
        body = await response.text()
    return {record["Id"]: record for record in map(exactly, body.splitlines()) if record}


async def in_raw(database: Any, entity: str, *, living: bool = False) -> dict[str, Any]:
    """The payloads in raw by id; `living`: without what is marked deleted."""
    connection = await asyncpg.connect(database.dsn)
    try:
        rows = await connection.fetch(
            f"SELECT id, payload::text FROM raw.{ENTITIES[entity].table} WHERE deleted_at_utc IS NULL OR NOT $1", living
        )
    finally:
        await connection.close()
    return {row["id"]: exactly(row["payload"]) for row in rows}


def exactly(text: str) -> Any:
    """JSON with every number as its own digits: 639.00 is not 639.0."""
    return json.loads(
        text,
        parse_float=lambda digits: ("number", format(Decimal(digits), "f")),
        parse_int=lambda digits: ("number", digits),
    )


async def simulate(simulator: Any, what: str, body: Any) -> Any:
    """One of the simulator's own controls, such as `edit` or `faults`."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{simulator.url}/_simulator/{what}", json=body) as response,
    ):
        assert response.status == 200, await response.text()
        return await response.json()
