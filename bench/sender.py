"""A process that asks the simulator as much as it may: `python -m bench.sender CONFIG.json`.

Prints on SIGTERM how many answers it got.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from async_extractor.entities import ENTITIES
from async_extractor.events import Events, LogListener
from async_extractor.qbo.breaker import CircuitBreaker
from async_extractor.qbo.budget import IN_FLIGHT, PER_MINUTE, PER_SECOND, LocalGate, TwoGates
from async_extractor.qbo.client import QueryClient, Spent
from async_extractor.qbo.oauth import AccessTokens
from async_extractor.qbo.query import Query
from async_extractor.warehouse.budget import SharedGate
from async_extractor.warehouse.company import CompanyConnection
from async_extractor.warehouse.connection import Address, connect
from async_extractor.warehouse.schema import bring_up_to_date


class GivenToken(AccessTokens):
    """A token that was got beforehand, and is not renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def current(self) -> str:
        return self._token


async def send(config: dict[str, Any]) -> int:
    """Asks until SIGTERM; the number of answers."""
    simulator, postgres = config["simulator"], config["postgres"]
    address = Address(postgres["host"], postgres["port"], postgres["dbname"], postgres["user"], postgres["password"])
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    connection = await connect(address)
    await bring_up_to_date(connection)
    await connection.close()
    events = Events([LogListener()])
    company = CompanyConnection(address, simulator["realm_id"])
    gate = SharedGate(company, PER_MINUTE, PER_SECOND, IN_FLIGHT)
    await gate.open()
    answers = 0
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:
        client = QueryClient(
            session,
            simulator["url"],
            simulator["realm_id"],
            GivenToken(config["access_token"]),
            TwoGates(LocalGate(spacing=1 / PER_SECOND), gate),
            CircuitBreaker(events),
            events,
        )
        entity = ENTITIES["invoices"]
        query = Query(entity) if config["what"] == "pages" else Query(entity, what="COUNT(*)")
        spent = Spent()

        async def ask() -> None:
            nonlocal answers
            while not stopped.is_set():
                await client.fetch(query, spent)
                answers += 1

        asking = [asyncio.ensure_future(ask()) for _ in range(IN_FLIGHT)]
        await stopped.wait()
        for task in asking:
            task.cancel()
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, asyncpg.PostgresError):
                raise outcome
    await company.close()
    return answers


if __name__ == "__main__":
    print(asyncio.run(send(json.loads(Path(sys.argv[1]).read_text()))))
