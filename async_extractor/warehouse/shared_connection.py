"""What all processes of a company share goes through one connection: calls of the functions in `ops`, and NOTIFY.

The connection is also the process's sign of life: what a process holds for the company (a turn, a place in the
queue, the probe of an outage) belongs to its Postgres backend, and is free when that is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from async_extractor.warehouse.connection import (
    Address,
    Connection,
    backend_pid,
    breaks_the_connection,
    connect,
    is_passing,
    told,
)
from async_extractor.warehouse.session import DATABASE_PATIENCE, WarehouseLost
from async_extractor.warehouse.statements import statement

# A call takes milliseconds; one that takes this long is on a connection that leads nowhere.
CALL_SECONDS = 20.0
LONGEST_PAUSE = 5.0
ROUNDING_SECONDS = 2e-6

T = TypeVar("T")

Heard = Callable[[str, str], None]


class CompanyConnection:
    """Calls for one company, one at a time, again on a new connection while Postgres is away.

    Raises WarehouseLost when that lasts longer than `patience` seconds, and what asyncpg raises when the
    call itself is refused.
    """

    def __init__(self, address: Address, realm_id: str, *, patience: float = DATABASE_PATIENCE) -> None:
        self.realm_id = realm_id
        self._address = address
        self._patience = patience
        self._connection: Connection = None
        self._backend = 0
        self._one_call = asyncio.Lock()
        self._listeners: list[Heard] = []
        self._clock = ServerClock()

    def listen(self, heard: Heard) -> None:
        """`heard(word, rest)` is called with each notification of the company, such as `place 4711`."""
        self._listeners.append(heard)

    async def open(self) -> None:
        """Connects; raises what asyncpg raises."""
        async with self._one_call:
            await self._live()

    async def close(self) -> None:
        if self._connection is not None and not self._connection.is_closed():
            await self._connection.close(timeout=5)

    async def try_out(self, name: str, *values: object) -> None:
        """Makes the call and undoes it: raises what `call` would."""

        async def tried(connection: Connection) -> None:
            transaction = connection.transaction()
            await transaction.start()
            try:
                await connection.fetchrow(statement(name), *values, timeout=CALL_SECONDS)
            finally:
                if not connection.is_closed():
                    await transaction.rollback()

        await self._do(tried)

    async def call(self, name: str, *values: object) -> Any:
        """The one row of a named statement."""

        async def called(connection: Connection) -> Any:
            asked = time.monotonic()
            row = await connection.fetchrow(statement(name), *values, timeout=CALL_SECONDS)
            if row is not None and "clock" in row:
                self._clock.read(row["clock"], asked, time.monotonic())
            return row

        return await self._do(called)

    async def _do(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        began = time.monotonic()
        pause = 0.1
        async with self._one_call:
            while True:
                try:
                    return await work(await self._live())
                except Exception as error:
                    if not is_passing(error):
                        raise
                    if time.monotonic() - began > self._patience:
                        raise WarehouseLost(f"{told(error)}, for {self._patience:.0f} s") from None
                    if breaks_the_connection(error) and self._connection is not None:
                        self._connection.terminate()
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)

    def here(self, server_seconds: float) -> float:
        """A moment of the server's clock (seconds since 1970) on `time.monotonic`'s."""
        return self._clock.here(server_seconds)

    @property
    def backend(self) -> int | None:
        """The pid of this process's backend, None while there is none."""
        connection = self._connection
        return None if connection is None or connection.is_closed() else self._backend

    async def _live(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            connection = await connect(self._address)
            # A turn that a crash of the server forgets costs nothing, and these statements' plans can be kept.
            await connection.execute("SET synchronous_commit = off; SET plan_cache_mode = auto")
            self._backend = await backend_pid(connection)
            await connection.add_listener(f"qbo_{self.realm_id}", self._heard)
            self._connection = connection
        return self._connection

    def _heard(self, _connection: object, _pid: int, _channel: str, payload: str) -> None:
        word, _, rest = payload.partition(" ")
        for listener in self._listeners:
            listener(word, rest)


class ServerClock:
    """Postgres' clock on this process's monotonic one, as exact as the quickest of the last calls.

    A call tells the server's time at some moment between asking and the answer; the narrowest of many
    such spans is within a millisecond or so, however slow the call that hands out a turn may be.
    """

    def __init__(self) -> None:
        self._spans: deque[tuple[float, float]] = deque(maxlen=30)

    def read(self, server: float, asked: float, answered: float) -> None:
        """The server said `server` (seconds since 1970) between the two (monotonic seconds)."""
        self._spans.append((server - answered, server - asked))
        # Spans that don't meet mean that a clock was set: the old ones say nothing any more. Rounding isn't
        # that: seconds since 1970 are told to the microsecond, and a float holds them to a quarter of one.
        while max(low for low, _ in self._spans) > min(high for _, high in self._spans) + ROUNDING_SECONDS:
            self._spans.popleft()

    def here(self, server: float) -> float:
        """Never early: by the least that the clocks can be apart."""
        return server - max(low for low, _ in self._spans)
