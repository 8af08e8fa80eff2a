"""The gate that all processes of a company share: turns handed out by Postgres, by its clock.

Each turn is one round trip; the process then sleeps until its moment, without polling. A process asks
for one turn at a time, so that processes take turns whatever their concurrency. A place in flight
belongs to a Postgres backend and is free when that backend is gone, however its process ended.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from async_extractor.warehouse.connection import Address, Connection, connect, is_passing
from async_extractor.warehouse.statements import statement

# A request that leaves later than this after its moment would crowd the next ones: with turns 122 ms
# apart, ten fit into one second as long as none is more than 98 ms late.
LATEST_SECONDS = 0.08
MOST_RETAKES = 20
# A killed process tells nobody that its places are free; so often the waiting look by themselves.
LOOK_AGAIN_SECONDS = 1.0


class SharedGate:
    """Turns for one company. `spacing` is seconds between requests, `places` how many may be in flight."""

    def __init__(self, address: Address, realm_id: str, spacing: float, places: int) -> None:
        self._address = address
        self._realm_id = realm_id
        self._spacing = timedelta(seconds=spacing)
        self._places = places
        self._connection: Connection = None
        self._one_statement = asyncio.Lock()
        self._one_turn = asyncio.Lock()
        self._place_free = asyncio.Event()

    async def open(self) -> None:
        """Connects; raises what asyncpg raises when this Postgres can't be used for it."""
        async with self._one_statement:
            connection = await self._live()
            await connection.fetch(statement("month_usage"), self._realm_id)

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        place = await self._wait_for_turn()
        try:
            yield
        finally:
            # Shielded: a cancelled worker's place is given back all the same.
            await asyncio.shield(self._give_back(place))

    async def pause(self, seconds: float) -> None:
        await self._call("pause_company", self._realm_id, seconds)

    async def _wait_for_turn(self) -> int:
        async with self._one_turn:
            place: int | None = None
            for _ in range(MOST_RETAKES):
                asked = time.monotonic()
                self._place_free.clear()
                row = await self._call("take_turn", self._realm_id, self._spacing, self._places, place)
                place = row["place"]
                if place is None:
                    await self._until_a_place_is_free()
                    continue
                moment = asked + row["wait_seconds"]
                await asyncio.sleep(max(0.0, moment - time.monotonic()))
                if time.monotonic() - moment <= LATEST_SECONDS:
                    break
            while place is None:
                await self._until_a_place_is_free()
                place = (await self._call("take_turn", self._realm_id, self._spacing, self._places, None))["place"]
            return place

    async def _until_a_place_is_free(self) -> None:
        try:
            await asyncio.wait_for(self._place_free.wait(), LOOK_AGAIN_SECONDS)
        except asyncio.TimeoutError:
            return

    async def _give_back(self, place: int) -> None:
        await self._call("give_place_back", self._realm_id, place)

    async def _call(self, name: str, *values: object) -> Any:
        async with self._one_statement:
            for attempt in range(6):
                try:
                    connection = await self._live()
                    return await connection.fetchrow(statement(name), *values)
                except Exception as error:
                    if not is_passing(error) or attempt == 5:
                        raise
                    await asyncio.sleep(0.2 * 2**attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _live(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            connection = await connect(self._address)
            # A turn that a crash of the server forgets costs nothing.
            await connection.execute("SET synchronous_commit = off")
            await connection.add_listener("qbo_place_free", self._heard)
            self._connection = connection
        return self._connection

    def _heard(self, _connection: object, _pid: int, _channel: str, realm_id: str) -> None:
        if realm_id == self._realm_id:
            self._place_free.set()
