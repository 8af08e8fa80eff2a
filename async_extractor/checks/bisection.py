"""Finding the windows in which QuickBooks and raw differ, with few COUNT(*) requests.

The whole range is counted first. Where the counts differ, its first half is counted, the second half is
what is left, and so on: about log2 requests for each place that differs. It ends where the rows fit into
one page, because reading them costs one request and names each Id; dense days are cut down to the hour.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate

from async_extractor.windows import UTC, Window

Count = Callable[[Window], Awaitable[int]]

HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Difference:
    """A window whose counts differ: QuickBooks' and raw's."""

    window: Window
    at_source: int
    in_raw: int


async def differing(
    window: Window, at_source: int, count_source: Count, count_raw: Count, page: int, granularity: timedelta
) -> list[Difference]:
    """The windows that differ, in order, each of at most `page` rows at QuickBooks or of one step.

    `at_source` is QuickBooks' COUNT(*) of the whole window. Bounds fall on hours, or on days when
    `granularity` is one. Windows whose counts are equal are taken for equal: an Id too few and another
    too many in one window don't show here.
    """
    in_raw = await count_raw(window)
    if at_source == in_raw:
        return []
    step = max(granularity, HOUR)
    middle = _middle(window, step)
    if middle is None or max(at_source, in_raw) <= page:
        return [Difference(window, at_source, in_raw)]
    first, second = Window(window.start, middle), Window(middle, window.end)
    of_first = await count_source(first)
    return [
        *await differing(first, of_first, count_source, count_raw, page, granularity),
        # Never below zero: the books may have changed between two counts.
        *await differing(second, max(0, at_source - of_first), count_source, count_raw, page, granularity),
    ]


class CountsByHour:
    """Rows of raw by the hour, summed over any window whose bounds are whole hours or the range's own."""

    def __init__(self, rows_by_hour: Iterable[tuple[datetime, int]]) -> None:
        ordered = sorted(rows_by_hour)
        self._hours = [hour for hour, _ in ordered]
        self._sums = [0, *accumulate(rows for _, rows in ordered)]

    async def __call__(self, window: Window) -> int:
        start = window.start.replace(minute=0, second=0, microsecond=0)
        return self._sums[bisect_left(self._hours, window.end)] - self._sums[bisect_left(self._hours, start)]


def _middle(window: Window, step: timedelta) -> datetime | None:
    """The whole step nearest to the window's middle; None when there is none inside it."""
    half = window.start + (window.end - window.start) / 2
    for steps in ((half - _EPOCH) // step, (half - _EPOCH) // step + 1):
        moment = _EPOCH + steps * step
        if window.start < moment < window.end:
            return moment
    return None
