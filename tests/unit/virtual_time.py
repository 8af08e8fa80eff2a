"""An event loop whose clock jumps to the next timer instead of waiting for it.

Minutes of pauses pass in milliseconds, and what happens at which second is exact. The code under test
is not touched: only the loop's selector and the clocks of `time` are.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import Any

# What one round of the loop takes, in seconds.
TICK = 1e-7


class Clock:
    """Seconds since the test began. Moves when the loop would sleep, and hardly by anything else."""

    def __init__(self) -> None:
        self.now = 0.0
        self._wall = time.time()

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self._wall + self.now


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Where a selector would wait for a timer, the clock is moved to it."""

    clock: Clock

    def select(self, timeout: float | None = None) -> Any:
        # A clock that stands still while code runs would let a wait for less than its resolution go on for ever.
        self.clock.now += TICK
        if timeout is None or timeout <= 0:
            # Without timers only another thread can have something to say; that is waited for.
            return super().select(timeout)
        ready = super().select(0)
        if not ready:
            self.clock.now += timeout
        return ready


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """A loop on a clock of its own."""

    def __init__(self, clock: Clock) -> None:
        selector = _JumpingSelector()
        selector.clock = clock
        self._own_clock = clock
        super().__init__(selector)

    def time(self) -> float:
        return self._own_clock.now


class VirtualTimePolicy(asyncio.DefaultEventLoopPolicy):
    """Makes each test's loop one of virtual time, its clock in `clock`."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return VirtualTimeLoop(self.clock)
