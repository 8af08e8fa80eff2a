"""The gate that all processes of a company share: turns handed out by Postgres, by its clock (sql/004_limits.sql).

Each turn is one round trip; the process then sleeps until its moment, without polling. A process asks for one turn
at a time, so that processes take turns whatever their concurrency; when all places in flight are taken it is in a
queue, and Postgres tells it when its place is free. What a killed process held is free when its backend is gone.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.shared_connection import CompanyConnection
from async_extractor.warehouse.statements import statement

# A request that leaves later than this after its moment gives its turn up for a new one.
LATEST_SECONDS = 0.1
# Within this after its moment a request has arrived, the network's jitter included: what the count of a second
# rests on while there is no answer. Turns come 121 ms apart, so that eleven would have to fit into 1.21 s.
ARRIVES_WITHIN_SECONDS = 0.18
MOST_RETAKES = 20
# A killed process tells nobody that its places are free; so often the waiting look by themselves.
LOOK_AGAIN_SECONDS = 1.0
# A pause of another process is told once in so many seconds: several 429s come together.
PAUSE_IS_NEWS_AFTER_SECONDS = 60.0


class SharedTurn:
    """One request's turn. What `answered` is not told was not answered."""

    def __init__(self, turn_id: int) -> None:
        self.turn_id = turn_id
        self.status: int | None = None

    def answered(self, status: int) -> None:
        """The answer is there; `status` is its HTTP status."""
        self.status = status


class SharedGate:
    """Turns for one company, with `per_minute`, `per_second` and `places` (in flight) for all its processes together.

    Over any 60 s at most `per_minute` requests arrive, whatever the network does; over any second at most
    `per_second` do, as long as a request arrives within 0.18 s of its moment or is answered by then.
    """

    def __init__(
        self,
        company: CompanyConnection,
        per_minute: int,
        per_second: int,
        places: int,
        paused_by_another: Callable[[], None] = lambda: None,
    ) -> None:
        """`paused_by_another` is called when another process was answered 429, so that this one waits, too."""
        self._company = company
        self._paused_by_another = paused_by_another
        self._pause_known_at = float("-inf")
        self._per_minute = per_minute
        self._limits = (per_minute, per_second, places, timedelta(seconds=ARRIVES_WITHIN_SECONDS))
        self._one_turn = asyncio.Lock()
        self._place_free = asyncio.Event()
        self._paused = asyncio.Event()
        company.listen(self._heard)

    async def open(self) -> None:
        """Raises what asyncpg raises when this Postgres can't be used for it."""
        await self._company.try_out("take_turn", self._company.realm_id, *self._limits, None)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[SharedTurn]:
        """Entering waits for a turn; leaving gives the place in flight back."""
        turn = SharedTurn(await self._wait_for_turn())
        try:
            yield turn
        except asyncio.CancelledError:
            # Nobody waits for the answer any more, but QuickBooks may still be at it.
            await self._end(turn)
            raise
        except BaseException:
            turn.status = turn.status or 0
            await self._end(turn)
            raise
        else:
            turn.status = 200 if turn.status is None else turn.status
            await self._end(turn)

    async def pause(self, seconds: float) -> int:
        """After a 429: nobody gets a turn for so long. How many pauses there were since a request was last taken."""
        self._pause_known_at = time.monotonic()
        return int((await self._company.call("pause_company", self._company.realm_id, seconds))["in_a_row"])

    async def _wait_for_turn(self) -> int:
        async with self._one_turn:
            held: int | None = None
            retakes = 0
            try:
                while True:
                    self._place_free.clear()
                    self._paused.clear()
                    row = await self._company.call("take_turn", self._company.realm_id, *self._limits, held)
                    held = row["turn"]
                    if held is None:
                        await _until(self._place_free, LOOK_AGAIN_SECONDS)
                        continue
                    moment = self._company.here(row["moment"])
                    if await _until(self._paused, moment - time.monotonic()):
                        continue
                    if time.monotonic() - moment <= LATEST_SECONDS or retakes >= MOST_RETAKES:
                        return held
                    retakes += 1
            except BaseException:
                if held is not None:
                    await asyncio.shield(
                        self._company.call("return_turn", held, self._company.realm_id, self._per_minute)
                    )
                raise

    async def _end(self, turn: SharedTurn) -> None:
        # Shielded: a cancelled worker's place is given back all the same.
        await asyncio.shield(self._company.call("end_turn", turn.turn_id, self._company.realm_id, turn.status))

    def _heard(self, word: str, rest: str) -> None:
        if word == "pause":
            self._paused.set()
            now = time.monotonic()
            if now - self._pause_known_at >= PAUSE_IS_NEWS_AFTER_SECONDS:
                self._pause_known_at = now
                self._paused_by_another()
        elif word == "place" and rest == str(self._company.backend):
            self._place_free.set()


async def requests_this_month(connection: Connection, realm_id: str) -> int:
    """Requests sent for the company in this month (UTC), by all its processes."""
    return int(await connection.fetchval(statement("requests_this_month"), realm_id))


async def _until(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event came within so many seconds."""
    if seconds > 0:
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except asyncio.TimeoutError:
            return False
    return event.is_set()
