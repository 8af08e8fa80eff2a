"""Intuit's limits as sliding windows, and what was seen of them."""

from __future__ import annotations

from collections import deque
from typing import Literal

from qbo_simulator.behaviour import Limits

Refusal = Literal[
    "per_minute", "per_second", "in_flight", "batches_per_minute", "realm_batches_per_minute", "monthly_calls"
]


class SlidingWindow:
    """How many events any window of `seconds` held at most: the window that ends with an event, half-open."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.worst = 0
        self._events: deque[float] = deque()

    def count(self, now: float) -> int:
        """Events in `(now - seconds, now]`."""
        while self._events and self._events[0] <= now - self.seconds:
            self._events.popleft()
        return len(self._events)

    def add(self, now: float) -> None:
        self._events.append(now)
        self.worst = max(self.worst, self.count(now))


class Gate:
    """Admits requests or says which limit refuses them.

    `seen_*` count every request that arrived, refused ones too, so that they tell what a client did; the admitting
    windows count admitted requests only, so that waiting always helps.
    """

    def __init__(self) -> None:
        self.seen_minute = SlidingWindow(60)
        self.seen_second = SlidingWindow(1)
        self.in_flight = 0
        self.worst_in_flight = 0
        self.metered = 0
        self.violations: dict[Refusal, int] = {
            "per_minute": 0,
            "per_second": 0,
            "in_flight": 0,
            "batches_per_minute": 0,
            "realm_batches_per_minute": 0,
            "monthly_calls": 0,
        }
        self._minute = SlidingWindow(60)
        self._second = SlidingWindow(1)
        self._batches = SlidingWindow(60)

    def arrive(self, limits: Limits, now: float, *, batch: bool, weight: int = 1) -> Refusal | None:
        """`now` in monotonic seconds; `weight` as how many requests it counts. What is admitted must `leave`.

        Violations count with enforcement off too.
        """
        for _ in range(weight):
            self.seen_minute.add(now)
            self.seen_second.add(now)
        refusal = self._judge(limits, now, batch)
        if refusal is not None:
            self.violations[refusal] += 1
            if limits.enforced:
                self.worst_in_flight = max(self.worst_in_flight, self.in_flight + 1)
                return refusal
        for _ in range(weight):
            self._minute.add(now)
            self._second.add(now)
        if batch:
            self._batches.add(now)
        self.in_flight += 1
        self.worst_in_flight = max(self.worst_in_flight, self.in_flight)
        return None

    def leave(self) -> None:
        self.in_flight -= 1

    def _judge(self, limits: Limits, now: float, batch: bool) -> Refusal | None:
        if limits.monthly_calls is not None and self.metered >= limits.monthly_calls:
            return "monthly_calls"
        if self.in_flight >= limits.in_flight:
            return "in_flight"
        if self._second.count(now) >= limits.per_second:
            return "per_second"
        if self._minute.count(now) >= limits.per_minute:
            return "per_minute"
        if batch and self._batches.count(now) >= limits.batches_per_minute:
            return "batches_per_minute"
        if batch and self._batches.count(now) >= limits.realm_batches_per_minute:
            return "realm_batches_per_minute"
        return None
