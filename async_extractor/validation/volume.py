"""Days without records, gaps and outliers of volume, judged by the days around them.

A day is held against the same weekday of the eight weeks before and after it: companies write few
invoices on Sundays and more each year, and a bound over all days would see neither. Counts are compared
by their square roots, whose spread doesn't grow with the count; the middle is the median and the spread
the median of the distances from it (MAD), so that the odd day itself doesn't move the bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Literal

# Weeks before and after a day whose same weekdays it is held against.
WEEKS_AROUND = 8
# Fewer of them than this say nothing.
FEWEST_NEIGHBOURS = 4
# The MAD of a normal distribution times this is its standard deviation.
MAD_TO_SIGMA = 1.4826
# A Poisson count's square root has a standard deviation of a half, whatever the count: no day is steadier.
LEAST_SIGMA = 0.5
# Standard deviations. By chance alone one day in some thousands is farther off.
THRESHOLD = 3.5
# Rows that should have come in a stretch of empty days: by chance it stays empty once in 20,000 times.
EXPECTED_IN_A_GAP = 10.0

Kind = Literal["empty", "high", "low"]

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class OddDay:
    """A day whose rows are unlike those of the same weekday around it. `usual` is their median, `spread` their MAD."""

    day: date
    rows: int
    kind: Kind
    usual: float
    spread: float
    first: date
    last: date

    def sentence(self) -> str:
        """Why it is odd, for people."""
        rows = "no rows" if self.rows == 0 else f"{self.rows:,} rows"
        weekday = _WEEKDAYS[self.day.weekday()]
        return (
            f"{weekday} {self.day} has {rows}; {weekday}s from {self.first} to {self.last} have "
            f"{_number(self.usual)} as a rule (median), give or take {_number(self.spread)} (MAD)"
        )


@dataclass(frozen=True)
class Gap:
    """Days in a row without a row, where so many should have come. `last` is the gap's last day."""

    first: date
    last: date
    expected: float

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def sentence(self) -> str:
        return (
            f"no rows on the {self.days:,} days from {self.first} to {self.last}, where the days around "
            f"would have let expect about {self.expected:,.0f}"
        )


@dataclass(frozen=True)
class Volume:
    """What is odd about the days of a range. `first` and `last` are the first and last day that have rows."""

    rows: int
    first: date | None
    last: date | None
    odd: Sequence[OddDay]
    gaps: Sequence[Gap]


def judge(rows_by_day: Mapping[date, int], until: date | None = None) -> Volume:
    """What is odd between the first day with rows and the last, or `until` (inclusive) where that is later.

    Before the first record there was no company yet, so those days are not judged. Days that
    `rows_by_day` doesn't name have no rows.
    """
    present = sorted(day for day, rows in rows_by_day.items() if rows > 0)
    if not present:
        return Volume(0, None, None, [], [])
    first, last = present[0], present[-1]
    end = max(last, until) if until is not None else last
    days = [first + timedelta(days=number) for number in range((end - first).days + 1)]
    counts = {day: rows_by_day.get(day, 0) for day in days}
    odd = [found for day in days if (found := _judge_day(day, counts, first, end)) is not None]
    gaps = _gaps(days, counts)
    inside = {day for gap in gaps for day in days if gap.first <= day <= gap.last}
    return Volume(
        sum(counts.values()),
        first,
        last,
        [day for day in odd if not (day.kind == "empty" and day.day in inside)],
        gaps,
    )


def _judge_day(day: date, counts: Mapping[date, int], first: date, end: date) -> OddDay | None:
    around = _around(day, first, end)
    if len(around) < FEWEST_NEIGHBOURS:
        return None
    others = [counts[other] for other in around]
    usual = median(others)
    spread = median(abs(count - usual) for count in others)
    roots = [math.sqrt(count) for count in others]
    middle = median(roots)
    sigma = max(MAD_TO_SIGMA * median(abs(root - middle) for root in roots), LEAST_SIGMA)
    distance = (math.sqrt(counts[day]) - middle) / sigma
    if abs(distance) < THRESHOLD:
        return None
    kind: Kind = "empty" if counts[day] == 0 else "high" if distance > 0 else "low"
    return OddDay(day, counts[day], kind, usual, spread, min(*around, day), max(*around, day))


def _around(day: date, first: date, end: date) -> list[date]:
    """The same weekdays of the weeks around; more on one side where the other has none."""
    wanted = 2 * WEEKS_AROUND
    near = sorted(range(1, 2 * wanted + 1), key=lambda n: (n + 1) // 2)
    offsets = [((n + 1) // 2) * (1 if n % 2 else -1) for n in near]
    found = []
    for weeks in offsets:
        other = day + timedelta(weeks=weeks)
        if first <= other <= end:
            found.append(other)
        if len(found) == wanted:
            break
    return found


def _gaps(days: Sequence[date], counts: Mapping[date, int]) -> list[Gap]:
    """Stretches of empty days in which rows should have come, by the mean of the days that have rows around them."""
    gaps: list[Gap] = []
    total, number = sum(counts.values()), len(days)
    start: int | None = None
    for at, day in enumerate([*days, None]):
        empty = day is not None and counts[day] == 0
        if empty and start is None:
            start = at
        elif not empty and start is not None:
            length = at - start
            near = [counts[days[i]] for i in range(max(0, start - 60), min(number, at + 60)) if not start <= i < at]
            rate = sum(near) / len(near) if near else total / number
            expected = rate * length
            # Weekends are empty in many companies: a gap is longer than what is usual before it.
            if expected >= EXPECTED_IN_A_GAP and length > _longest_usual(days, counts, start, at):
                gaps.append(Gap(days[start], days[at - 1], expected))
            start = None
    return gaps


def _longest_usual(days: Sequence[date], counts: Mapping[date, int], start: int, end: int) -> int:
    """The median of the empty stretches in the 120 days around: two where weekends are free."""
    stretches: list[int] = []
    length = 0
    for at in range(max(0, start - 120), min(len(days), end + 120)):
        if start <= at < end or counts[days[at]] > 0:
            if length:
                stretches.append(length)
            length = 0
        else:
            length += 1
    return int(median(stretches)) if stretches else 1


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
