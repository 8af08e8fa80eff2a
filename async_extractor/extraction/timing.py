"""Where a worker's time goes, so that the parts of an attempt sum to its wall time.

While a page is loaded the next one is fetched, so what fetching takes and what the worker stands still for are two
things. The ledger's wait, fetch and split seconds are the latter; the rest of fetching, which went on beside a load,
is counted apart.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from async_extractor.qbo.client import Spent
from async_extractor.warehouse.loader import Cost


class WorkerTime:
    """Times one attempt's standing still; `take` gives what reading has cost since the last `take`."""

    def __init__(self, spent: Spent) -> None:
        self._spent = spent
        self._stood_still = 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Round whatever the worker waits for of QuickBooks."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._stood_still += time.perf_counter() - began

    def take(self) -> Cost:
        spent, left = self._spent.take(), self._stood_still
        self._stood_still = 0.0
        # A page's turn comes before its answer, and that before its splitting: what the worker saw is the end.
        split = min(spent.split_seconds, left)
        fetch = min(spent.fetch_seconds, left - split)
        wait = min(spent.wait_seconds, left - split - fetch)
        everything = spent.wait_seconds + spent.fetch_seconds + spent.split_seconds
        return Cost(
            requests=spent.requests,
            retries=spent.retries,
            throttled=spent.throttled,
            bytes_read=spent.bytes_read,
            wait_seconds=wait,
            fetch_seconds=fetch,
            split_seconds=split,
            overlapped_seconds=max(0.0, everything - wait - fetch - split),
        )
