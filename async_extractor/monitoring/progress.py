"""Progress as lines for a log: chunks, rows, rate and the time that is left, as chunks are done."""

from __future__ import annotations

import time
from collections.abc import Callable

from async_extractor.events import Event, Listener

# Seconds between two lines, so that a backfill of thousands of chunks doesn't fill the log with them.
BETWEEN_LINES = 10.0


class ProgressLines:
    """A listener that tells `listener` how far the run is: an event `progress` after a chunk, and one at the end.

    The time left is by rows where QuickBooks counted them when the run was planned, else by chunks.
    """

    def __init__(
        self,
        listener: Listener,
        between: float = BETWEEN_LINES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listener = listener
        self._between = between
        self._clock = clock
        self._began: float | None = None
        self._told = 0.0
        self._chunks = 0
        self._done = 0
        self._rows = 0
        self._expected: int | None = None

    def __call__(self, event: Event) -> None:
        if event.name == "extract_begun":
            self._chunks, self._expected = event.fields["chunks"], event.fields["source_count"]
        elif event.name == "chunk_started" and self._began is None:
            self._began = self._told = self._clock()
        elif event.name == "page_loaded":
            self._rows += event.fields["read"]
        elif event.name == "chunk_done":
            self._done += 1
            now = self._clock()
            if now - self._told >= self._between or self._done == self._chunks:
                self._told = now
                self._tell(now)

    def _tell(self, now: float) -> None:
        seconds = max(now - (now if self._began is None else self._began), 1e-6)
        rate = self._rows / seconds
        left = self._seconds_left(seconds)
        of = f" of {self._chunks:,}" if self._chunks else ""
        ending = f", about {_duration(left)} left" if left is not None and self._done != self._chunks else ""
        self._listener(
            Event(
                "progress",
                "load",
                "info",
                f"{self._done:,}{of} chunks, {self._rows:,} rows, {rate:,.0f} rows/s{ending}",
                {
                    "chunks_done": self._done,
                    "chunks_planned": self._chunks or None,
                    "rows": self._rows,
                    "rows_per_second": round(rate, 1),
                    "seconds_left": None if left is None else round(left),
                },
            )
        )

    def _seconds_left(self, seconds: float) -> float | None:
        if self._expected and self._rows:
            return max(0, self._expected - self._rows) * seconds / self._rows
        if self._chunks and self._done:
            return (self._chunks - self._done) * seconds / self._done
        return None


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
