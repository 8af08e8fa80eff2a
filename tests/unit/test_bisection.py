"""Bisection finds every window whose counts differ, with about log2 requests a place."""

from __future__ import annotations

import math
from collections import Counter
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from async_extractor.checks.bisection import CountsByHour, differing
from async_extractor.windows import DAY, SECOND, UTC, Window

START = datetime(2015, 1, 1, tzinfo=UTC)
YEARS = Window(START, START + 3650 * DAY)
HOURS = 3650 * 24


class Source:
    """A QuickBooks of hours; it counts how often it was asked."""

    def __init__(self, rows_by_hour: Counter[int]) -> None:
        self.counts = CountsByHour((START + timedelta(hours=hour), rows) for hour, rows in rows_by_hour.items())
        self.requests = 0

    async def __call__(self, window: Window) -> int:
        self.requests += 1
        return await self.counts(window)


def raw(rows_by_hour: Counter[int]) -> CountsByHour:
    return CountsByHour((START + timedelta(hours=hour), rows) for hour, rows in rows_by_hour.items() if rows)


async def test_one_day_that_differs_in_a_decade_takes_about_log2_requests() -> None:
    rows = Counter(dict.fromkeys(range(HOURS), 40))
    short = rows.copy()
    short[31_000] -= 7
    source = Source(rows)
    [found] = await differing(YEARS, await source(YEARS), source, raw(short), 1000, SECOND)
    assert found.at_source - found.in_raw == 7
    assert found.window.start <= START + timedelta(hours=31_000) < found.window.end
    assert found.at_source <= 1000
    assert source.requests <= 2 + math.ceil(math.log2(3650))


async def test_equal_counts_cost_the_one_request_that_counted() -> None:
    rows = Counter(dict.fromkeys(range(HOURS), 3))
    source = Source(rows)
    assert await differing(YEARS, await source(YEARS), source, raw(rows), 1000, SECOND) == []
    assert source.requests == 1


async def test_a_window_that_fits_a_page_is_not_halved_further() -> None:
    rows = Counter(dict.fromkeys(range(0, HOURS, 200), 1))
    source = Source(rows)
    [found] = await differing(YEARS, await source(YEARS), source, raw(Counter()), 1000, SECOND)
    assert found.window == YEARS
    assert source.requests == 1


async def test_a_field_of_days_is_never_cut_within_a_day() -> None:
    rows = Counter(dict.fromkeys(range(24 * 10), 500))
    window = Window(START, START + 10 * DAY)
    found = await differing(window, 500 * 240, Source(rows), raw(Counter()), 1000, DAY)
    assert all((d.window.start - START) % DAY == timedelta(0) for d in found)
    assert len(found) == 10


@given(
    st.lists(st.tuples(st.integers(0, HOURS - 1), st.integers(1, 400)), max_size=30),
    st.lists(st.tuples(st.integers(0, HOURS - 1), st.integers(1, 50)), max_size=4),
    st.integers(0, 5000),
)
def test_every_row_too_few_is_in_a_window_that_is_found(
    rows: list[tuple[int, int]], gone: list[tuple[int, int]], start_minutes: int
) -> None:
    import asyncio

    there: Counter[int] = Counter()
    for hour, number in [*rows, *gone]:
        there[hour] += number
    short = there.copy()
    for hour, number in gone:
        short[hour] -= number
    window = Window(START + timedelta(minutes=start_minutes), YEARS.end)
    inside = Counter({h: n for h, n in there.items() if START + timedelta(hours=h) >= window.start})
    less = Counter({h: n for h, n in short.items() if START + timedelta(hours=h) >= window.start})

    async def find() -> None:
        source = Source(inside)
        found = await differing(window, await source(window), source, raw(less), 1000, SECOND)
        for hour, number in (inside - less).items():
            moment = START + timedelta(hours=hour)
            assert number > 0
            assert any(d.window.start <= moment < d.window.end for d in found)
        assert sum(d.at_source - d.in_raw for d in found) == (inside - less).total()
        places = len(found)
        assert source.requests <= 1 + places * (1 + math.ceil(math.log2(HOURS)))

    asyncio.run(find())
