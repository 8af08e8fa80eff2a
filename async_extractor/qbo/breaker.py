"""The circuit breaker round the session: in an outage, stop asking, and ask again gently.

closed -> open after `threshold` failures in a row -> half-open after a pause, with one probe ->
closed when the probe succeeds, else open again for twice as long, up to `longest_pause`. Requests wait
while it is open; when it has not been closed for `patience` seconds they fail with `UnavailableFault`,
and the run ends resumable.

The breaker libraries looked at (purgatory 3.0, aiobreaker 1.2) let every waiting request through when
half-open, raise instead of waiting, and keep one pause; so the forty lines are here.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime
from typing import Any, Literal

from async_extractor.events import Events
from async_extractor.qbo.faults import QboFault, UnavailableFault
from async_extractor.windows import UTC

State = Literal["closed", "open", "half-open"]


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
        *,
        threshold: int = 8,
        pause: float = 15.0,
        longest_pause: float = 60.0,
        patience: float = 900.0,
    ) -> None:
        self._events = events
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
        self._last_fault: QboFault | None = None

    @property
    def state(self) -> State:
        if self._opened_at is None:
            return "closed"
        return "open" if self._prober is None else "half-open"

    async def admit(self) -> None:
        """Returns when a request may be sent; at once when closed. `UnavailableFault` past the patience."""
        while self._opened_at is not None:
            now = time.monotonic()
            if self._prober is None and now >= self._next_probe:
                self._prober = asyncio.current_task()
                self._emit("half-open: one request probes whether QuickBooks answers again")
                return
            gives_up = self._opened_at + self._patience
            if now >= gives_up:
                since = self._opened_on.strftime("%Y-%m-%d %H:%M:%S UTC") if self._opened_on else "the start"
                raise UnavailableFault(
                    f"QuickBooks has not answered since {since} ({self._last_fault}); "
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
        if self._opened_at is not None:
            seconds = time.monotonic() - self._opened_at
            self._opened_at, self._prober, self._pause = None, None, self._first_pause
            self._wake()
            self._emit(f"closed: QuickBooks answers again after {seconds:.0f} s")

    def failed(self, fault: QboFault) -> None:
        """A request was not answered, or by a broken server."""
        self._failures += 1
        self._last_fault = fault
        now = time.monotonic()
        if self._probes():
            self._prober = None
            self._pause = min(self._pause * 2, self._longest_pause)
        elif self._opened_at is not None or self._failures < self._threshold:
            return
        else:
            self._opened_at, self._opened_on = now, datetime.now(UTC)
        self._next_probe = now + self._pause
        self._wake()
        self._emit(f"open for {self._pause:.0f} s after {self._failures} failures in a row: {fault}")

    def abandoned(self) -> None:
        """A request that was admitted ended without an answer for reasons of our own (cancelled)."""
        if self._probes():
            self._prober = None
            self._wake()

    def _probes(self) -> bool:
        return self._prober is not None and self._prober is asyncio.current_task()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _emit(self, message: str) -> None:
        level: Literal["info", "warning"] = "info" if self.state == "closed" else "warning"
        self._events.emit("breaker", "extract", f"circuit breaker {message}", level=level, state=self.state)
