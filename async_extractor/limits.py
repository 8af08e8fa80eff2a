"""The limiter of a company, shared by all its processes through Postgres: where QuickBooks' limits and Postgres meet.

Each turn is one round trip; the process then sleeps until its moment, without polling. A process asks for one turn
at a time, so that processes take turns whatever their concurrency; when all places in flight are taken it is in a
queue, and Postgres tells it when its place is free. What a killed process held is free when its backend is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import datetime

import asyncpg

from async_extractor.errors import ConfigurationError, IncompleteError
from async_extractor.events import Events
from async_extractor.qbo.breaker import Circuit, Pause, Pauses, Permit, State, happens
from async_extractor.qbo.limits import IN_FLIGHT, PER_MINUTE, PER_SECOND, PIPELINES, Limiter, LocalLimiter, part_of
from async_extractor.warehouse.connection import Address
from async_extractor.warehouse.failures import told
from async_extractor.warehouse.limits import Row, Turns
from async_extractor.warehouse.session import WarehouseLost
from async_extractor.warehouse.shared_connection import CompanyConnection
from async_extractor.windows import UTC

# A request that leaves later than this after its moment gives its turn up for a new one.
LATEST_SECONDS = 0.1
MOST_RETAKES = 20
# A killed process tells nobody that its places are free; so often the waiting look by themselves.
LOOK_AGAIN_SECONDS = 1.0


@contextlib.asynccontextmanager
async def shared_limits(address: Address, realm_id: str, events: Events, *, workers: int = 1) -> AsyncIterator[Limiter]:
    """The limiter of a company, for all its processes that use this Postgres.

    Where it refuses to be used for that, an event says so, and the process takes a part of the quota that is safe with
    `workers` processes in each of the three pipelines; ConfigurationError when there is none. A Postgres that is away
    is waited for: the company's other processes may be using it. IncompleteError when that takes too long.
    """
    company = CompanyConnection(address, realm_id, events)
    try:
        limiter = SharedLimiter(company, events)
        try:
            await limiter.open()
        except WarehouseLost as error:
            raise IncompleteError(f"{error}; run the same again to resume") from None
        except asyncpg.PostgresError as error:
            yield _unshared(told(error), workers, events)
            return
        yield limiter
    finally:
        await company.close()


@contextlib.asynccontextmanager
async def no_limits(events: Events) -> AsyncIterator[Limiter]:
    """For a simulator that has none."""
    yield LocalLimiter(events, spacing=0, in_flight=10_000, pauses=Pauses(throttle=1.0))


class SharedLimiter:
    """A `Limiter` whose rate, places, pauses and circuit are one for all processes of the company."""

    def __init__(
        self,
        company: CompanyConnection,
        events: Events,
        pauses: Pauses | None = None,
        *,
        per_minute: int = PER_MINUTE,
        per_second: int = PER_SECOND,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        self._turns = Turns(company, per_minute, per_second, in_flight)
        self._company = company
        self._events = events
        self._circuit = Circuit(events, pauses)
        self._one_turn = asyncio.Lock()
        self._look_again = asyncio.Event()
        company.listen(self._heard)

    async def open(self) -> None:
        """Raises what asyncpg raises when this Postgres can't be used for it."""
        await self._turns.try_out()

    @property
    def state(self) -> State:
        """The company's circuit, as this process last heard of it."""
        return self._circuit.state

    @contextlib.asynccontextmanager
    async def permit(self) -> AsyncIterator[Permit]:
        """Waits for a turn."""
        turn = await self._wait_for_turn()
        permit = Permit()
        try:
            yield permit
        finally:
            # Shielded: a cancelled worker's place is given back all the same.
            ending = asyncio.ensure_future(self._end(turn, permit))
            ending.add_done_callback(_heard_out)
            await asyncio.shield(ending)

    async def _wait_for_turn(self) -> int:
        async with self._one_turn:
            held: int | None = None
            retakes = 0
            try:
                while True:
                    self._look_again.clear()
                    row = await self._turns.take(held)
                    held = row["turn"]
                    if row["clock_set"]:
                        self._events.emit(
                            "clock_set_back",
                            "extract",
                            "Postgres' clock was set back: what was dated by the old one is dated anew",
                            level="warning",
                        )
                    self._learn(row)
                    self._circuit.check()
                    if held is None:
                        await happens(self._look_again, LOOK_AGAIN_SECONDS)
                        continue
                    moment, end = self._turns.here(row["moment"]), self._circuit.gives_up_at
                    retakes += 1
                    # A pause reaches those, too, who have a turn already; whoever cries wolf is not heard for ever.
                    hint = self._look_again if retakes <= MOST_RETAKES else asyncio.Event()
                    if await happens(hint, min(moment, end) - time.monotonic()) or moment > end:
                        continue
                    if time.monotonic() - moment <= LATEST_SECONDS or retakes > MOST_RETAKES:
                        self._circuit.probing()
                        return held
            except BaseException:
                if held is not None:
                    await asyncio.shield(self._turns.give_back(held))
                raise

    async def _end(self, turn: int, permit: Permit) -> None:
        if permit.outcome == "unused":
            await self._turns.give_back(turn)
            return
        pauses = self._circuit.pauses
        self._learn(
            await self._turns.end(
                turn,
                permit.outcome,
                permit.reason,
                permit.retry_after,
                pauses.threshold,
                pauses.first,
                pauses.longest,
                pauses.throttle,
                pauses.throttled_again,
            )
        )

    def _learn(self, row: Row) -> None:
        if row["open_for"] is None:
            self._circuit.closed()
            return
        self._circuit.opened(
            Pause(
                cause=row["open_for"],
                number=row["pauses_in_a_row"],
                seconds=row["pause"],
                reason=row["reason"],
                failures=row["failures_in_a_row"],
                since=datetime.fromtimestamp(row["open_since"], UTC),
            )
        )

    def _heard(self, word: str, rest: str) -> None:
        # A hint, no more: anybody who may connect can say so, and what is true is looked up.
        if word == "circuit" or (word == "place" and rest == str(self._company.backend)):
            self._look_again.set()


def _heard_out(task: asyncio.Task[None]) -> None:
    """A cancelled worker hears no more of its turn's end; whoever asks next is told what has become of the database."""
    if not task.cancelled():
        task.exception()


def _unshared(why: str, workers: int, events: Events) -> LocalLimiter:
    most = PER_SECOND // PIPELINES
    if workers > most:
        raise ConfigurationError(
            f"workers: the company's budget can't be shared ({why}), and {workers} workers in each of {PIPELINES} "
            f"pipelines can't keep Intuit's limits without it: give the role its rights with "
            f"`qbo-backfill warehouse migrate`, or run with at most {most} workers"
        )
    parts = PIPELINES * workers
    events.emit(
        "budget_not_shared",
        "plan",
        f"the company's budget can't be shared ({why}); this process takes one part in {parts} of it",
        level="warning",
    )
    return part_of(parts, events)
