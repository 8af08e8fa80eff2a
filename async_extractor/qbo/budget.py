"""How often QuickBooks may be asked. Intuit's limits, for a company: 500 requests a minute, 10 a second
(both sliding), and 10 in flight.

`aiolimiter.AsyncLimiter(500, 60)` would let 1,000 through in its first minute, because a bucket's
capacity comes on top of its rate. So requests are spaced evenly instead, one every `SPACING` seconds:
over any 60 s at most 60 / 0.122 + 1 = 492, over any second at most 9. That leaves 8 a minute for the
network's jitter, and 1.6 % of the quota is the price.

This gate knows one process. The one that all processes of a company share is behind the same two
methods, in Postgres; `LocalGate` is the first gate, and the only one when there is no other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from aiolimiter import AsyncLimiter

# Seconds between two requests of a company.
SPACING = 0.122
# Intuit's older announcement: more than 10 requests at once are answered 429.
IN_FLIGHT = 10
# What Intuit's limits page asks for after a 429 without Retry-After.
THROTTLE_SECONDS = 60.0


class Gate(Protocol):
    """Where a request waits for its turn."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Async context manager: entering waits for a turn, leaving gives the place in flight back."""
        ...

    async def pause(self, seconds: float) -> None:
        """Nobody gets a turn for so long."""
        ...


class OpenGate:
    """No limits: for a simulator that has none."""

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        yield

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(min(seconds, 1.0))


class LocalGate:
    """The limits within one process. `share` is the part of the company's quota that it may take (0 to 1]."""

    def __init__(self, share: float = 1.0) -> None:
        self._limiter = AsyncLimiter(1, SPACING / share)
        self._in_flight = asyncio.Semaphore(max(1, int(IN_FLIGHT * share)))
        self._paused_until = 0.0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        async with self._in_flight:
            await self._limiter.acquire()
            while (left := self._paused_until - time.monotonic()) > 0:
                await asyncio.sleep(left)
                await self._limiter.acquire()
            yield

    async def pause(self, seconds: float) -> None:
        self._paused_until = max(self._paused_until, time.monotonic() + seconds)
