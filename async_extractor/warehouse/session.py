"""A connection that comes back: work that fails for a passing reason is done again, as a whole, on a new one."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import tenacity

from async_extractor.events import Events
from async_extractor.warehouse.connection import Address, Connection, connect
from async_extractor.warehouse.failures import breaks_the_connection, is_passing, refuses_the_data, told
from async_extractor.warehouse.reach import reach

T = TypeVar("T")

# Seconds for which a lost database is waited for, before the run stops resumable.
DATABASE_PATIENCE = 90.0
# What fails only after so long on a new or living connection had been at work, or had waited for somebody else's:
# it begins a new row of failures. Not for ever: somebody may end each statement that takes long.
AT_WORK_SECONDS = 10.0
MOST_AT_WORK = 20
# A connection whose server doesn't answer its end is cut.
CLOSING_SECONDS = 2.0


class WarehouseLost(Exception):  # noqa: N818 - what happened, in the words of the run's end
    """Postgres has been out of reach for too long; one line for people."""


class NoConnectionLeft(WarehouseLost):
    """Postgres takes no more connections (53300), though it serves those it has."""


class _Outage:
    """When a try began, and when the first of the failures in a row was.

    What the process knows of the server counts, too: one that has been away for all of the patience is waited for by
    nobody any more.
    """

    def __init__(self, address: Address) -> None:
        self.connected_at: float | None = None
        self._address = address
        self._first: float | None = None
        self._at_work = 0

    def is_too_long(self, state: tenacity.RetryCallState) -> bool:
        """Whether they go on for longer than the patience; to be asked after each failure."""
        now = time.monotonic()
        was_at_work = self.connected_at is not None and now - self.connected_at > AT_WORK_SECONDS
        hung = isinstance(_error(state), asyncio.TimeoutError)
        if self._first is None or (was_at_work and not hung):
            self._first, self._at_work = now, self._at_work + was_at_work
        since = min(self._first, reach(self._address).away_since or now)
        return now - since > DATABASE_PATIENCE or self._at_work > MOST_AT_WORK


class Session:
    """One connection at a time. `prepare` is done on each new one, before anything else; `at_once` when one was lost,
    for a session that is a process's sign of life.

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
        at_once: bool = False,
    ) -> None:
        self._address = address
        self._events = events
        self._connection = connection
        self._prepare = prepare
        self._at_once = at_once
        self._connecting = asyncio.Lock()
        self._coming_back: asyncio.Task[None] | None = None
        self._closed = False

    async def stand_for(self, life: Callable[[Connection], Awaitable[None]]) -> None:
        """This session is a process's sign of life from now on: given now and, at once, on each new connection.

        Raises as `do`.
        """
        self._prepare, self._at_once = life, True
        await self.do(life)
        (await self.live()).add_termination_listener(self._lost)

    async def do(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """The work's result; raises its error where another try can't help, `WarehouseLost` past the patience."""
        outage = _Outage(self._address)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=outage.is_too_long,
            wait=tenacity.wait_exponential(multiplier=0.2, max=5.0),
            before_sleep=self._tell,
            retry_error_callback=_give_up,
        )
        return await retrying(self._try_once, work, outage)

    async def give_back(self, work: Callable[[Connection], Awaitable[object]]) -> None:
        """Undoes what the connection holds; one that is lost holds nothing any more, and none is made for it."""
        connection = self._connection
        if connection is None or connection.is_closed():
            return
        try:
            await work(connection)
        except Exception as error:
            if not is_passing(error):
                raise
            connection.terminate()

    async def _try_once(self, work: Callable[[Connection], Awaitable[T]], outage: _Outage) -> T:
        outage.connected_at = None
        connection: Connection = None
        try:
            connection = await self.live()
            outage.connected_at = time.monotonic()
            return await work(connection)
        except Exception as error:
            if _may_pass(error) and breaks_the_connection(error) and connection is not None:
                connection.terminate()
            raise

    def _tell(self, state: tenacity.RetryCallState) -> None:
        self._events.emit("database_retry", "load", f"trying again: {told(_error(state))}", level="warning")

    async def live(self) -> Connection:
        """The connection, a new one where the last was lost; raises what connecting raises."""
        async with self._connecting:
            if self._connection is not None and not self._connection.is_closed():
                return self._connection
            if self._closed and self._at_once:
                raise WarehouseLost("its connection was closed")
            connection = await connect(self._address)
            try:
                if self._prepare is not None:
                    await self._prepare(connection)
            except BaseException:
                connection.terminate()
                raise
            if self._at_once:
                connection.add_termination_listener(self._lost)
            self._connection = connection
            return connection

    def _lost(self, connection: object) -> None:
        if self._at_once and not self._closed and connection is self._connection:
            self._coming_back = asyncio.ensure_future(self._come_back())

    async def _come_back(self) -> None:
        for pause in itertools.chain((0.0, 0.1, 0.2, 0.5), itertools.repeat(1.0)):
            await asyncio.sleep(pause)
            try:
                await self.live()
            except Exception as error:
                if _may_pass(error):
                    continue
            return  # what keeps it from coming back is told to who asks next

    async def close(self) -> None:
        """Ends the connection, if there is one."""
        self._closed = True
        if self._coming_back is not None:
            self._coming_back.cancel()
            await asyncio.gather(self._coming_back, return_exceptions=True)
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if connection.is_closed():
            connection.terminate()
            return
        try:
            await connection.close(timeout=CLOSING_SECONDS)
        except Exception as error:
            if not is_passing(error):
                raise
            connection.terminate()


def _may_pass(error: BaseException) -> bool:
    return is_passing(error) and not refuses_the_data(error)


def _give_up(state: tenacity.RetryCallState) -> None:
    error = _error(state)
    kind = NoConnectionLeft if isinstance(error, asyncpg.TooManyConnectionsError) else WarehouseLost
    raise kind(f"{told(error)}, for {DATABASE_PATIENCE:.0f} s") from None


def _error(state: tenacity.RetryCallState) -> BaseException:
    error = state.outcome.exception() if state.outcome is not None else None
    assert error is not None, "only failures are tried again"
    return error
