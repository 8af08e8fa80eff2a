"""A connection that comes back: work that fails for a passing reason is done again, as a whole, on a new one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from async_extractor.events import Events
from async_extractor.warehouse.connection import (
    Address,
    Connection,
    breaks_the_connection,
    connect,
    is_passing,
    refuses_the_data,
    told,
)

T = TypeVar("T")

# Seconds for which a lost database is waited for, before the run stops resumable.
DATABASE_PATIENCE = 90.0


class WarehouseLost(Exception):  # noqa: N818 - what happened, in the words of the run's end
    """Postgres has been out of reach for too long; one line for people."""


class Session:
    """One connection at a time. `prepare` is done on each new one, before anything else.

    Work that is handed to `do` must be fit to be done twice: the server may have finished it when the
    connection was lost.
    """

    def __init__(
        self,
        address: Address,
        events: Events,
        *,
        connection: Connection = None,
        prepare: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        self._address = address
        self._events = events
        self._connection = connection
        self._prepare = prepare

    async def do(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The work's result; raises its error where another try can't help, `WarehouseLost` past the patience."""
        began = time.monotonic()
        pause = 0.2
        while True:
            try:
                return await work(await self.live())
            except Exception as error:
                if refuses_the_data(error) or not is_passing(error):
                    raise
                if breaks_the_connection(error) and self._connection is not None:
                    self._connection.terminate()
                if time.monotonic() - began > DATABASE_PATIENCE:
                    raise WarehouseLost(f"{told(error)}, for {DATABASE_PATIENCE:.0f} s") from None
                self._events.emit("database_retry", "load", f"trying again: {told(error)}", level="warning")
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def live(self) -> Connection:
        """The connection, a new one where the last was lost; raises what connecting raises."""
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        connection = await connect(self._address)
        try:
            if self._prepare is not None:
                await self._prepare(connection)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection
        return connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.is_closed():
            connection.terminate()
            return
        try:
            await connection.close(timeout=5)
        except Exception as error:
            if not is_passing(error):
                raise
            connection.terminate()
