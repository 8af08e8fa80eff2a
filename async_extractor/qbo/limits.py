"""How often QuickBooks may be asked. Intuit's limits, for a company: 500 requests a minute, 10 a second
(both sliding), and 10 in flight.

`aiolimiter.AsyncLimiter(500, 60)` would let 1,000 through in its first minute, because a bucket's
capacity comes on top of its rate. So one process alone spaces its requests evenly, one every `SPACING`
seconds: over any 60 s at most 60 / 0.122 + 1 = 492, over any second at most 9. That leaves 8 a minute for
the network's jitter, and 1.6 % of the quota is the price.

All processes of a company share another gate of the same shape, in Postgres, which counts what each of
them sends and so needs less to spare. A request passes `LocalGate` first and that one second; where Postgres
can't be used for it, a `LocalGate` with a part that is safe, `part_of`, is all there is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from aiolimiter import AsyncLimiter

# What the shared gate hands out in a minute. Six less than Intuit allows: Postgres doesn't wait for its disk
# with turns, so a crash of it may forget as many as are handed out in 0.6 s.
PER_MINUTE = 494
# Intuit's limits page.
PER_SECOND = 10
# Seconds between two requests of a company, for a process that is alone.
SPACING = 0.122
# Intuit's older announcement: more than 10 requests at once are answered 429.
IN_FLIGHT = 10
# What Intuit's limits page asks for after a 429 without Retry-After.
THROTTLE_SECONDS = 60.0
# So many pipelines, one for each entity, may run at the same time.
PIPELINES = 3
# What the network's jitter may add to a second, where processes don't know of each other.
JITTER_SECONDS = 0.1


class Turn(Protocol):
    """The right to send one request."""

    def answered(self, status: int) -> None:
        """To be told when the answer is there, with its HTTP status."""
        ...


class Gate(Protocol):
    """Where a request waits for its turn."""

    def turn(self) -> AbstractAsyncContextManager[Turn]:
        """Async context manager: entering waits for a turn, leaving gives the place in flight back."""
        ...

    async def pause(self, seconds: float) -> int:
        """Nobody gets a turn for so long. Gives the number of pauses since a request was last taken."""
        ...


class LocalTurn:
    """A turn of one process."""

    status = 200

    def answered(self, status: int) -> None:
        self.status = status


class OpenGate:
    """No limits: for a simulator that has none."""

    def __init__(self) -> None:
        self._in_a_row = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[LocalTurn]:
        turn = LocalTurn()
        yield turn
        if turn.status != 429:
            self._in_a_row = 0

    async def pause(self, seconds: float) -> int:
        self._in_a_row += 1
        await asyncio.sleep(min(seconds, 1.0))
        return self._in_a_row


class LocalGate:
    """The limits within one process. `share` is the part of the company's quota that it may take (0 to 1],
    `spacing` the seconds between two requests if that were all of it."""

    def __init__(self, share: float = 1.0, *, spacing: float = SPACING) -> None:
        self._limiter = AsyncLimiter(1, spacing / share)
        self._in_flight = asyncio.Semaphore(max(1, int(IN_FLIGHT * share)))
        self._paused_until = 0.0
        self._in_a_row = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[LocalTurn]:
        async with self._in_flight:
            await self._limiter.acquire()
            while (left := self._paused_until - time.monotonic()) > 0:
                await asyncio.sleep(left)
                await self._limiter.acquire()
            began, turn = time.monotonic(), LocalTurn()
            yield turn
            if turn.status != 429 and began >= self._paused_until:
                self._in_a_row = 0

    async def pause(self, seconds: float) -> int:
        now = time.monotonic()
        if self._in_a_row == 0 or now >= self._paused_until:
            self._in_a_row += 1
        self._paused_until = max(self._paused_until, now + seconds)
        return self._in_a_row


def part_of(processes: int) -> LocalGate:
    """A part of the limits that is safe when each of so many processes takes one, and none knows of another.

    Their requests may fall together in any way: of a second each may have `10 // processes`, at a spacing that keeps
    it to these. Up to three processes lose nothing by that, six a third of the quota. ValueError above ten: ten
    requests that are sent at the same moment are all that a second has room for.
    """
    if processes > PER_SECOND:
        raise ValueError(f"no part in {processes} is safe: there are {PER_SECOND} requests in a second")
    of_a_second = PER_SECOND // processes
    spacing = max(SPACING * processes, (1 + JITTER_SECONDS) / of_a_second)
    return LocalGate(1 / processes, spacing=spacing / processes)


class TwoGates:
    """A process's own gate, and behind it the one that it shares: only what passes the first asks the second."""

    def __init__(self, own: Gate, shared: Gate) -> None:
        self._own = own
        self._shared = shared

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn]:
        async with self._own.turn(), self._shared.turn() as turn:
            yield turn

    async def pause(self, seconds: float) -> int:
        return await self._shared.pause(seconds)
