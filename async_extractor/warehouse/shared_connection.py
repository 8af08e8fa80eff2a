"""What all processes of a company share goes through one connection: calls of the functions in `ops`, and NOTIFY.

The connection is also the process's sign of life: what a process holds for the company (a turn, a place in the
queue) belongs to its Postgres backend, and is free when that is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from typing import Any

from async_extractor.events import Events
from async_extractor.warehouse.connection import Address, Connection
from async_extractor.warehouse.session import Session, WarehouseLost
from async_extractor.warehouse.statements import statement

# A call takes milliseconds; one that takes this long is on a connection that leads nowhere.
CALL_SECONDS = 20.0
ROUNDING_SECONDS = 2e-6

Heard = Callable[[str, str], None]


class CompanyConnection:
    """Calls for one company, one at a time, again on a new connection while Postgres is away.

    Raises WarehouseLost when that lasts too long, and what asyncpg raises when the call itself is refused.
    """

    def __init__(self, address: Address, realm_id: str, events: Events) -> None:
        self.realm_id = realm_id
        self._backend: tuple[int, datetime] | None = None
        self._session = Session(address, events, prepare=self._prepare, at_once=True)
        self._one_call = asyncio.Lock()
        self._given_up: WarehouseLost | None = None
        self._listeners: list[Heard] = []
        self._clock = ServerClock()

    def listen(self, heard: Heard) -> None:
        """`heard(word, rest)` is called with each notification of the company, such as `place 4711`."""
        self._listeners.append(heard)

    @property
    def backend(self) -> int | None:
        """The pid of this process's backend."""
        return self._backend[0] if self._backend else None

    async def close(self) -> None:
        """Ends the connection."""
        await self._session.close()

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

        async with self._one_call:
            await self._session.do(tried)

    async def call(self, name: str, *values: object) -> Any:
        """The one row of a named statement."""

        async def called(connection: Connection) -> Any:
            asked = time.monotonic()
            row = await connection.fetchrow(statement(name), *values, timeout=CALL_SECONDS)
            if row is not None and "clock" in row:
                self._clock.read(row["clock"], asked, time.monotonic())
            return row

        async with self._one_call:
            if self._given_up is None:
                try:
                    return await self._session.do(called)
                except WarehouseLost as lost:
                    self._given_up = lost
            # Those who waited for their call have waited as long.
            raise self._given_up

    def here(self, server_seconds: float) -> float:
        """A moment of the server's clock (seconds since 1970) on `time.monotonic`'s."""
        return self._clock.here(server_seconds)

    async def _prepare(self, connection: Connection) -> None:
        # A turn that a crash of the server forgets costs nothing, and these statements' plans can be kept.
        await connection.execute("SET synchronous_commit = off; SET plan_cache_mode = auto")
        now = await connection.fetchrow(statement("this_backend"))
        if self._backend is not None:
            # A standby that isn't promoted yet refuses this; what is held is still the former backend's then.
            await connection.execute(statement("keep_turns"), self.realm_id, *self._backend, *now)
        self._backend = now
        await connection.add_listener(f"qbo_{self.realm_id}", self._heard)

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
