"""A process that asks the simulator as much as it may: `python -m tools.bench.sender CONFIG.json`.

It says `ready` when it could begin, begins on SIGUSR1, and says on SIGTERM how many answers it got.
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
from async_extractor.events import Events
from async_extractor.limits import shared_limits
from async_extractor.qbo.auth.access_tokens import AccessTokens
from async_extractor.qbo.client import QueryClient, Spent
from async_extractor.qbo.limits import IN_FLIGHT
from async_extractor.qbo.query import Query
from tools.bench.senders import warehouse_address


class GivenToken(AccessTokens):
    """A token that was got beforehand, and is not renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def current(self, refused: str | None = None) -> str:  # noqa: ARG002 - none is refused here
        return self._token


async def send(config: dict[str, Any]) -> int:
    """Asks from SIGUSR1 to SIGTERM; the number of answers."""
    simulator = config["simulator"]
    told_to_begin, stopped = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, told_to_begin.set)
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    events = Events()
    answers = 0
    async with (
        shared_limits(warehouse_address(config["postgres"]), simulator["realm_id"], events) as limiter,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session,
    ):
        client = QueryClient(
            session,
            simulator["url"],
            simulator["realm_id"],
            GivenToken(config["access_token"]),
            limiter,
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

        print("ready", flush=True)
        await told_to_begin.wait()
        asking = [asyncio.ensure_future(ask()) for _ in range(IN_FLIGHT)]
        await stopped.wait()
        for task in asking:
            task.cancel()
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, asyncpg.PostgresError):
                raise outcome
    return answers


if __name__ == "__main__":
    print(asyncio.run(send(json.loads(Path(sys.argv[1]).read_text()))))
