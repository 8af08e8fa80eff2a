"""The circuit breaker round the session: in an outage, or after a 429, stop asking, and ask again gently.

closed -> open after `threshold` failures in a row, or one 429 -> half-open after a pause, with one probe -> closed
when the probe is taken, else open again for longer. Requests wait meanwhile; when it has not been closed for too long
they fail with `UnavailableFault`, and the run ends resumable.

The company's breaker is in Postgres, in the functions that hand out turns (sql/004_limits.sql); a process knows it as
a `Circuit`. `CircuitBreaker` is the same rule for one process alone, where Postgres can't be shared.

The breaker libraries looked at (purgatory 3.0, aiobreaker 1.2) let every waiting request through when half-open,
raise instead of waiting, and keep one pause; so it is written here.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from async_extractor.events import Events
from async_extractor.qbo.faults import PageFault, QboFault, ThrottledFault, TransientFault, UnavailableFault
from async_extractor.windows import UTC

State = Literal["closed", "open", "half-open"]
Cause = Literal["outage", "throttled"]
# What became of a request: taken by QuickBooks, be it with a fault of the request's own; failed without an answer or
# by a broken server; throttled; unused, where none was sent; left by its sender, and Intuit may still be at it.
Outcome = Literal["taken", "failed", "throttled", "unused", "left"]


@dataclass(frozen=True)
class Pauses:
    """When the circuit opens, for how long nobody asks then, and when waiting is given up. Seconds.

    With the defaults 8 failures in a row open it while at most 9 more requests are under way, and at most 12 probes
    follow in the next ten minutes (pauses of 15, 30, then 60 s): fewer than 30 requests of a company in an outage of
    ten minutes. A 429 pauses for as long as Intuit wishes, or `throttle` (Intuit's limits page); from the second one in
    a row on for `throttled_again` at least, doubled each time up to `longest`.
    """

    threshold: int = 8
    first: float = 15.0
    longest: float = 60.0
    throttle: float = 60.0
    throttled_again: float = 5.0
    outage_patience: float = 900.0
    throttle_patience: float = 600.0

    def of(self, cause: Cause, number: int, retry_after: float | None = None) -> float:
        """The pause that is the `number`-th since a request was last taken."""
        if cause == "outage":
            return min(self.first * 2.0 ** min(number - 1, 9), self.longest)
        wished = self.throttle if retry_after is None else retry_after
        return (
            wished if number == 1 else max(wished, min(self.throttled_again * 2.0 ** min(number - 2, 9), self.longest))
        )


@dataclass(frozen=True)
class Pause:
    """One pause of an open circuit: why, the how manieth since a request was last taken, how long, and since when."""

    cause: Cause
    number: int
    seconds: float
    reason: str
    failures: int
    since: datetime


class Permit:
    """The right to send one request. Who leaves without saying what became of it leaves it unanswered."""

    def __init__(self, *, probe: bool = False) -> None:
        self.probe = probe
        self.outcome: Outcome = "left"
        self.reason = ""
        self.retry_after: float | None = None

    def answered(self, fault: QboFault | None) -> None:
        """What the request came to: None for a page."""
        self.outcome = "taken"
        if isinstance(fault, ThrottledFault):
            self.outcome, self.retry_after = "throttled", fault.retry_after
        elif isinstance(fault, TransientFault) and not isinstance(fault, PageFault):
            self.outcome = "failed"  # a page that can't be served is QuickBooks' answer all the same
        self.reason = "" if fault is None else str(fault)

    def unused(self) -> None:
        """No request was sent."""
        self.outcome = "unused"


class Circuit:
    """The circuit as this process knows it: each change is told once, and an open one is waited for so long only."""

    def __init__(self, events: Events, pauses: Pauses | None = None) -> None:
        self.pauses = pauses or Pauses()
        self._events = events
        self._pause: Pause | None = None
        self._known_since = 0.0
        self._probing = False

    @property
    def state(self) -> State:
        """Open and half-open after a 429, too."""
        if self._pause is None:
            return "closed"
        return "half-open" if self._probing else "open"

    @property
    def gives_up_at(self) -> float:
        """Until when (monotonic seconds) a request waits. A process counts from when it heard of it."""
        if self._pause is None:
            return float("inf")
        outage = self._pause.cause == "outage"
        return self._known_since + (self.pauses.outage_patience if outage else self.pauses.throttle_patience)

    def check(self) -> None:
        """Raises UnavailableFault when it has been open for too long."""
        pause = self._pause
        if pause is None or time.monotonic() < self.gives_up_at:
            return
        if pause.cause == "outage":
            raise UnavailableFault(
                f"QuickBooks has not answered since {pause.since:%Y-%m-%d %H:%M:%S UTC} ({pause.reason}); "
                "the run stops and can be resumed by running it again"
            )
        raise UnavailableFault(
            f"QuickBooks answered 429 to all that the company asked since {pause.since:%Y-%m-%d %H:%M:%S UTC}, over "
            f"{pause.number} pauses: not the pace but, most likely, the app's monthly allowance is used up "
            f"(Intuit's CorePlus calls); it can be resumed when Intuit counts anew ({pause.reason})",
            status=429,
        )

    def opened(self, pause: Pause) -> None:
        """It is open, for this pause."""
        before, self._pause, self._probing = self._pause, pause, False
        if before is None or before.cause != pause.cause:
            self._known_since = time.monotonic()
        elif before.number == pause.number:
            return
        if pause.cause == "throttled":
            message = f"429: the company pauses for {pause.seconds:.0f} s"
            self._events.emit("throttled", "extract", message, level="warning", seconds=pause.seconds)
        else:
            self._tell(f"open for {pause.seconds:.0f} s after {pause.failures} failures in a row: {pause.reason}")

    def probing(self) -> None:
        """A request of this process is the probe."""
        if self._pause is not None and not self._probing:
            self._probing = True
            if self._pause.cause == "outage":
                self._tell("half-open: one request probes whether QuickBooks answers again")

    def closed(self) -> None:
        """QuickBooks takes requests."""
        pause, self._pause, self._probing = self._pause, None, False
        if pause is not None and pause.cause == "outage":
            self._tell(f"closed: QuickBooks answers again after {time.monotonic() - self._known_since:.0f} s")

    def _tell(self, message: str) -> None:
        level: Literal["info", "warning"] = "info" if self.state == "closed" else "warning"
        self._events.emit("breaker", "extract", f"circuit breaker {message}", level=level, state=self.state)


class CircuitBreaker(Circuit):
    """The breaker of one process alone; `ops.end_turn` is the same rule for a company."""

    def __init__(self, events: Events, pauses: Pauses | None = None) -> None:
        super().__init__(events, pauses)
        self._failures = 0
        self._retry_at = 0.0
        self._changed = asyncio.Event()

    async def admit(self) -> bool:
        """Returns when a request may be sent, at once when closed: whether it is the probe."""
        while self._pause is not None:
            self.check()
            now = time.monotonic()
            if not self._probing and now >= self._retry_at:
                self.probing()
                return True
            wake = self.gives_up_at if self._probing else min(self._retry_at, self.gives_up_at)
            await happens(self._changed, wake - now)
        return False

    def ended(self, permit: Permit) -> None:
        """What became of a request that was admitted."""
        known, now = self._pause, time.monotonic()
        if permit.probe:
            self._probing = False
        if permit.outcome == "taken":
            # What was sent before a 429 says nothing of it; any answer says that there is no outage.
            if known is None or known.cause == "outage" or permit.probe:
                self._failures = 0
                self.closed()
        elif permit.outcome == "throttled":
            if known is not None and known.cause == "throttled" and not permit.probe:
                # Several that were under way together are throttled once; the longest wish counts.
                self._retry_at = max(self._retry_at, now + self.pauses.of("throttled", 1, permit.retry_after))
            else:
                self._open("throttled", permit)
        elif permit.outcome == "failed":
            self._failures += 1
            outage = known is not None and known.cause == "outage"
            if (outage and permit.probe) or (not outage and self._failures >= self.pauses.threshold):
                self._open("outage", permit)
        self._changed.set()
        self._changed = asyncio.Event()

    def _open(self, cause: Cause, permit: Permit) -> None:
        known = self._pause if self._pause is not None and self._pause.cause == cause else None
        number = known.number + 1 if known else 1
        seconds = self.pauses.of(cause, number, permit.retry_after)
        self._retry_at = time.monotonic() + seconds
        since = known.since if known else datetime.now(UTC)
        self.opened(Pause(cause, number, seconds, permit.reason, self._failures, since))


async def happens(event: asyncio.Event, seconds: float) -> bool:
    """Whether the event comes within so many seconds."""
    if seconds > 0:
        try:
            await asyncio.wait_for(event.wait(), seconds)
        except asyncio.TimeoutError:
            return False
    return event.is_set()
