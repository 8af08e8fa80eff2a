"""The circuit breaker round the session: in an outage, stop asking, and ask again gently.

closed -> open after `threshold` failures in a row -> half-open after a pause, with one probe ->
closed when the probe succeeds, else open again for twice as long, up to `longest_pause`. Requests wait
while it is open; when it has not been closed for `patience` seconds they fail with `UnavailableFault`,
and the run ends resumable.

What one process finds out, the others of the company know at once, by a board they share: they stop asking, too,
one of them probes for all, and all go on when it succeeds. A process that was answered just now, and has had no
failure since, believes that rather than the board: it is the other one's network then.

The breaker libraries looked at (purgatory 3.0, aiobreaker 1.2) let every waiting request through when
half-open, raise instead of waiting, and keep one pause; so it is written here.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Literal, Protocol

from async_extractor.events import Events
from async_extractor.qbo.faults import QboFault, UnavailableFault
from async_extractor.windows import UTC

State = Literal["closed", "open", "half-open"]

# So long an answer is believed more than another process's failures, in seconds. An outage has cost it those by now.
ANSWER_KEEPS_SECONDS = 2.0


class Outage(Protocol):
    """An outage as another process knows it."""

    @property
    def since(self) -> datetime: ...
    @property
    def why(self) -> str: ...
    @property
    def probe_in_seconds(self) -> float: ...


class Board(Protocol):
    """Where the processes of a company tell each other of an outage. Seconds throughout."""

    def listen(self, outage: Callable[[Outage], None], answers: Callable[[], None]) -> None:
        """`outage` is called when one begins and after each failed probe, `answers` when one has ended."""
        ...

    async def now(self) -> Outage | None: ...
    async def began(self, pause: float, why: str) -> None: ...

    async def may_probe(self) -> float | None:
        """0: the caller's request is the probe. Else seconds until asking again; None: there is no outage."""
        ...

    async def probe_failed(self, longest_pause: float, why: str | None) -> None:
        """`why` None: the probe was given up without an answer."""
        ...

    async def ended(self) -> None: ...


class CircuitBreaker:
    """One per process, shared by all its workers. Seconds throughout.

    With the defaults 8 failures in a row open it, while at most 9 more requests are under way, and at most
    12 probes follow in the next ten minutes (pauses of 15, 30, then 60 s): fewer than 30 requests of a
    process in an outage of ten minutes.

    What becomes of a request is told by the task that `admit` let through.
    """

    def __init__(
        self,
        events: Events,
        board: Board | None = None,
        *,
        threshold: int = 8,
        pause: float = 15.0,
        longest_pause: float = 60.0,
        patience: float = 900.0,
    ) -> None:
        self._events = events
        self._board = board
        self._threshold = threshold
        self._first_pause = pause
        self._longest_pause = longest_pause
        self._patience = patience
        self._failures = 0
        self._pause = pause
        self._opened_at: float | None = None
        self._opened_on: datetime | None = None
        self._next_probe = 0.0
        # Whose request the probe is: others' may still be under way from before it opened.
        self._prober: asyncio.Task[Any] | None = None
        self._changed = asyncio.Event()
        self._why = ""
        self._answered_at = float("-inf")
        self._telling: asyncio.Task[None] | None = None
        if board is not None:
            board.listen(self._heard_of_outage, self._heard_of_answers)

    async def learn(self) -> None:
        """Takes over what the company's other processes know already."""
        outage = None if self._board is None else await self._board.now()
        if outage is not None:
            self._heard_of_outage(outage)

    async def close(self) -> None:
        """Waits until the others have been told."""
        if self._telling is not None:
            await asyncio.wait([self._telling])

    @property
    def state(self) -> State:
        if self._opened_at is None:
            return "closed"
        return "open" if self._prober is None else "half-open"

    async def admit(self) -> None:
        """Returns when a request may be sent; at once when closed. `UnavailableFault` past the patience."""
        while self._opened_at is not None:
            now = time.monotonic()
            if self._prober is None and now >= self._next_probe and now < self._opened_at + self._patience:
                if await self._may_probe():
                    self._emit("half-open: one request probes whether QuickBooks answers again")
                    return
                continue
            gives_up = self._opened_at + self._patience
            if now >= gives_up:
                since = "the start" if self._opened_on is None else _time(self._opened_on)
                raise UnavailableFault(
                    f"QuickBooks has not answered since {since} ({self._why}); "
                    "the run stops and can be resumed by running it again"
                )
            wake = min(self._next_probe, gives_up) if self._prober is None else gives_up
            try:
                await asyncio.wait_for(self._changed.wait(), max(0.0, wake - now))
            except asyncio.TimeoutError:
                continue

    def succeeded(self) -> None:
        """A request was answered by QuickBooks itself, be it with a fault of the request's own."""
        self._failures = 0
        self._answered_at = time.monotonic()
        if self._opened_at is not None:
            self._close("QuickBooks answers again")
            self._tell(lambda board: board.ended())

    def failed(self, fault: QboFault) -> None:
        """A request was not answered, or by a broken server."""
        self._failures += 1
        if self._probes():
            self._prober = None
            self._pause = min(self._pause * 2, self._longest_pause)
            self._tell(lambda board: board.probe_failed(self._longest_pause, str(fault)))
        elif self._opened_at is not None or self._failures < self._threshold:
            return
        else:
            self._opened_at, self._opened_on = time.monotonic(), datetime.now(UTC)
            self._tell(lambda board: board.began(self._first_pause, str(fault)))
        self._why = str(fault)
        self._next_probe = time.monotonic() + self._pause
        self._wake()
        self._emit(f"open for {self._pause:.0f} s after {self._failures} failures in a row: {fault}")

    def abandoned(self) -> None:
        """A request that was admitted ended without an answer for reasons of our own (cancelled)."""
        if self._probes():
            self._prober = None
            self._tell(lambda board: board.probe_failed(self._longest_pause, None))
            self._wake()

    async def _may_probe(self) -> bool:
        """Whether this task's request is the probe; else the state, or the moment of the next probe, has changed."""
        self._prober = asyncio.current_task()
        if self._board is None:
            return True
        try:
            await self.close()
            seconds = await self._board.may_probe()
        except BaseException:
            self._leave_the_probe_to_others()
            raise
        if seconds == 0 and self._probes():
            return True
        if seconds is None:
            self._heard_of_answers()
        else:
            self._next_probe = time.monotonic() + seconds
        self._leave_the_probe_to_others()
        return False

    def _leave_the_probe_to_others(self) -> None:
        if self._probes():
            self._prober = None
            self._wake()

    def _heard_of_outage(self, outage: Outage) -> None:
        now = time.monotonic()
        if self._opened_at is None:
            if self._failures == 0 and now - self._answered_at < ANSWER_KEEPS_SECONDS:
                self._tell(lambda board: board.ended())
                return
            self._opened_at, self._opened_on = now, outage.since
            self._emit(
                f"open: QuickBooks is out of reach since {_time(outage.since)}, "
                f"as another process of the company found: {outage.why}"
            )
        if self._prober is None:
            self._next_probe = now + outage.probe_in_seconds
            self._why = outage.why
            self._wake()

    def _heard_of_answers(self) -> None:
        if self._opened_at is not None:
            self._close("QuickBooks answers another process of the company again")

    def _close(self, why: str) -> None:
        seconds = time.monotonic() - (self._opened_at or 0.0)
        self._failures = 0
        self._opened_at, self._prober, self._pause = None, None, self._first_pause
        self._wake()
        self._emit(f"closed: {why} after {seconds:.0f} s")

    def _tell(self, what: Callable[[Board], Awaitable[None]]) -> None:
        """Tells the others, one thing after the other."""
        board, before = self._board, self._telling
        if board is None:
            return

        async def tell() -> None:
            if before is not None:
                await asyncio.wait([before])
            await what(board)

        self._telling = asyncio.ensure_future(tell())
        self._telling.add_done_callback(self._told)

    def _told(self, telling: asyncio.Task[None]) -> None:
        error = None if telling.cancelled() else telling.exception()
        if error is not None:
            # The run goes on as a process alone would; that Postgres is away it will hear when it loads.
            self._emit(f"{self.state}: the company's other processes could not be told ({error})")

    def _probes(self) -> bool:
        return self._prober is not None and self._prober is asyncio.current_task()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _emit(self, message: str) -> None:
        level: Literal["info", "warning"] = "info" if self.state == "closed" else "warning"
        self._events.emit("breaker", "extract", f"circuit breaker {message}", level=level, state=self.state)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
