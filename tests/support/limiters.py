"""Limiters of one company on a real Postgres, as its processes have them, and what Postgres says of their turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

from async_extractor.events import Events
from async_extractor.limits import SharedLimiter
from async_extractor.qbo.breaker import Pauses
from async_extractor.qbo.faults import ThrottledFault, TransientFault
from async_extractor.qbo.limits import IN_FLIGHT, PER_MINUTE, PER_SECOND
from async_extractor.warehouse.connection import Address, connect
from async_extractor.warehouse.schema import bring_up_to_date
from async_extractor.warehouse.shared_connection import CompanyConnection

REALM = "4620816365000001234"


class CountingConnection(CompanyConnection):
    """Counts the calls."""

    calls = 0

    async def call(self, name: str, *values: object) -> Any:
        self.calls += 1
        return await super().call(name, *values)


class Company:
    """Limiters of one company, each on a connection of its own as each process has one."""

    def __init__(self, address: Address, connection: Any, stack: AsyncExitStack) -> None:
        self.address = address
        self.sql = connection
        self._stack = stack

    def limiter(self, **options: Any) -> SharedLimiter:
        return self.counted(**options)[0]

    def counted(
        self,
        *,
        per_minute: int = PER_MINUTE,
        places: int = IN_FLIGHT,
        events: Events | None = None,
        pauses: Pauses | None = None,
    ) -> tuple[SharedLimiter, CountingConnection]:
        events = events or Events()
        connection = CountingConnection(self.address, REALM, events)
        self._stack.push_async_callback(connection.close)
        return SharedLimiter(connection, events, pauses, per_minute=per_minute, in_flight=places), connection

    async def value(self, query: str, *values: object) -> Any:
        return await self.sql.fetchval(query, *values)

    async def until(self, condition: str) -> None:
        while not await self.value(condition):  # noqa: ASYNC110 - what is waited for happens in Postgres
            await asyncio.sleep(0.01)

    async def requests(self) -> int:
        return int(await self.value("SELECT coalesce(sum(requests), 0)::int FROM ops.usage WHERE realm_id = $1", REALM))

    async def next_turn(self, per_minute: int = PER_MINUTE, places: int = IN_FLIGHT) -> float | None:
        """What the next asker is told: seconds from now to its moment, None when it has to queue."""
        found = await self.value(
            "SELECT extract(epoch FROM moment - clock)::float FROM ops.take_turn($1, $2, $3, $4, interval '0.18 s')",
            REALM,
            per_minute,
            PER_SECOND,
            places,
        )
        return None if found is None else float(found)

    async def after_the_past(self, per_minute: int = PER_MINUTE) -> float:
        """Seconds from the last answer of the past requests to the next asker's moment."""
        past = await self.value("SELECT max(arrived_by) FROM ops.turns")
        moment = await self.value(
            "SELECT moment FROM ops.take_turn($1, $2, $3, $4, interval '0.18 s')",
            REALM,
            per_minute,
            PER_SECOND,
            IN_FLIGHT,
        )
        return float((moment - past).total_seconds())

    async def past_requests(self, count: int, *, answered_ago: float, taking: float = 0.1) -> None:
        await self.sql.execute(
            """INSERT INTO ops.turns (realm_id, moment, arrived_by, backend_pid, backend_start)
               SELECT $1, now() - make_interval(secs => $3::float + $4::float),
                      now() - make_interval(secs => $3::float), pg_backend_pid(), now()
                 FROM generate_series(1, $2::int)""",
            REALM,
            count,
            answered_ago,
            taking,
        )


@contextlib.asynccontextmanager
async def company_on(database: Any) -> AsyncIterator[Company]:
    """A company on an empty database, its schemas made."""
    address = Address(database.host, database.port, database.dbname, database.user, database.password)
    connection = await connect(address)
    await bring_up_to_date(connection)
    async with AsyncExitStack() as stack:
        yield Company(address, connection, stack)
    await connection.close()


def throttled(retry_after: float | None = None) -> ThrottledFault:
    """A 429 with the wish of Retry-After in seconds."""
    fault = ThrottledFault("QuickBooks answered HTTP 429")
    fault.retry_after = retry_after
    return fault


async def ask(limiter: SharedLimiter, answer: ThrottledFault | TransientFault | None = None) -> float:
    """A request that is answered at once, by None with a page; when it was sent, on the loop's clock."""
    async with limiter.permit() as permit:
        permit.answered(answer)
        return asyncio.get_running_loop().time()
