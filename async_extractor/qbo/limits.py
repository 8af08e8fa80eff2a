"""How often QuickBooks may be asked. Intuit's limits, for a company: 500 requests a minute, 10 a second
(both sliding), and 10 in flight.

Every request asks one limiter for a permit. All processes of a company share the one in Postgres
(warehouse/limits.py); where it can't be shared, a `LocalLimiter` with a part that is safe is all there is.

`aiolimiter.AsyncLimiter(500, 60)` would let 1,000 through in its first minute, because a bucket's capacity comes on
top of its rate. So one process alone spaces its requests evenly, one every `SPACING` seconds: over any 60 s at most
60 / 0.122 + 1 = 492, over any second at most 9. That leaves 8 a minute for the network's jitter, and 1.6 % of the
quota is the price.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from aiolimiter import AsyncLimiter

from async_extractor.events import Events
from async_extractor.qbo.breaker import CircuitBreaker, Pauses, Permit, State

# What the shared limiter hands out in a minute. Six less than Intuit allows: Postgres doesn't wait for its disk
# with turns, so a crash of it may forget as many as are handed out in 0.6 s.
PER_MINUTE = 494
# Intuit's limits page.
PER_SECOND = 10
# Seconds between two requests of a company, for a process that is alone.
SPACING = 0.122
# Intuit's older announcement: more than 10 requests at once are answered 429.
IN_FLIGHT = 10
# So many pipelines, one for each entity, may run at the same time.
PIPELINES = 3
# What the network's jitter may add to a second, where processes don't know of each other.
JITTER_SECONDS = 0.1


class Limiter(Protocol):
    """Where a request waits until it may go: for the rate, a place in flight, a pause's end, an outage's."""

    @property
    def state(self) -> State:
        """The circuit breaker's; not closed while one request at a time probes."""
        ...

    def permit(self) -> AbstractAsyncContextManager[Permit]:
        """Async context manager: entering waits, leaving gives the place in flight back.

        Entering raises UnavailableFault when QuickBooks takes no request for too long.
        """
        ...


class LocalLimiter:
    """The limits within one process: a request every `spacing` seconds (0: as they come), so many in flight."""

    def __init__(
        self,
        events: Events,
        *,
        spacing: float = SPACING,
        in_flight: int = IN_FLIGHT,
        pauses: Pauses | None = None,
    ) -> None:
        self._breaker = CircuitBreaker(events, pauses)
        self._rate = AsyncLimiter(1, spacing) if spacing else None
        self._in_flight = asyncio.Semaphore(in_flight)

    @property
    def state(self) -> State:
        """The breaker's."""
        return self._breaker.state

    @asynccontextmanager
    async def permit(self) -> AsyncIterator[Permit]:
        """Waits until a request may be sent."""
        async with self._in_flight:
            permit = Permit()
            try:
                while not await self._may_go(permit):
                    pass
                yield permit
            finally:
                self._breaker.ended(permit)

    async def _may_go(self, permit: Permit) -> bool:
        permit.probe = await self._breaker.admit()
        if self._rate is not None:
            await self._rate.acquire()
        # It may have opened meanwhile.
        return permit.probe or self._breaker.state == "closed"


def part_of(processes: int, events: Events) -> LocalLimiter:
    """A part of the limits that is safe when each of so many processes takes one, and none knows of another.

    Their requests may fall together in any way: of a second each may have `10 // processes`, at a spacing that keeps
    it to these. Up to three processes lose nothing by that, six a third of the quota. ValueError above ten: ten
    requests that are sent at the same moment are all that a second has room for.
    """
    if processes > PER_SECOND:
        raise ValueError(f"no part in {processes} is safe: there are {PER_SECOND} requests in a second")
    of_a_second = PER_SECOND // processes
    spacing = max(SPACING * processes, (1 + JITTER_SECONDS) / of_a_second)
    return LocalLimiter(events, spacing=spacing, in_flight=IN_FLIGHT // processes)
