"""Days without records, gaps and outliers of volume, judged by the days around them.

A day is held against the same weekday of the eight weeks before and after it: companies write few
invoices on Sundays and more each year, and a bound over all days would see neither. Counts are compared
by their square roots, whose spread doesn't grow with the count; the middle is the median of the weekday,
and the spread the median distance (MAD) that all days of these weeks have from theirs, so that the odd day
itself doesn't move the bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from statistics import median
from typing import Any, Literal

from async_extractor.checks.result import MOST_NAMED, CheckResult

# Weeks before and after a day whose same weekdays it is held against.
WEEKS_AROUND = 8
# Fewer of them than this say nothing.
FEWEST_NEIGHBOURS = 4
# The MAD of a normal distribution times this is its standard deviation.
MAD_TO_SIGMA = 1.4826
# A Poisson count's square root has a standard deviation of a half, whatever the count: no day is steadier.
LEAST_SIGMA = 0.5
# Standard deviations. By chance alone one day in ten years or so is farther off.
THRESHOLD = 4.0
# Rows that should have come in a stretch of empty days: by chance it stays empty once in 20,000 times.
EXPECTED_IN_A_GAP = 10.0

OddDayKind = Literal["empty", "high", "low"]


@dataclass(frozen=True)
class OddDay:
    """A day whose rows are unlike those of the same weekday around it. `usual` is their median, `spread` their MAD."""

    day: date
    rows: int
    kind: OddDayKind
    usual: float
    spread: float
    first: date
    last: date

    def figures(self) -> dict[str, Any]:
        """For ops.validations and the report."""
        return {**vars(self), "day": str(self.day), "first": str(self.first), "last": str(self.last)}


@dataclass(frozen=True)
class Gap:
    """Days in a row without a row, where so many should have come. `last` is the gap's last day."""

    first: date
    last: date
    expected: float

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def figures(self) -> dict[str, Any]:
        """For ops.validations and the report."""
        expected = round(self.expected)
        return {
            "kind": "gap",
            "first": str(self.first),
            "last": str(self.last),
            "days": self.days,
            "expected": expected,
        }


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
    counts = [rows_by_day.get(day, 0) for day in days]
    around = [_around(at, len(days)) for at in range(len(days))]
    middles = [_middle([counts[other] for other in near]) for near in around]
    usual = [(low + high) / 2 for low, high in middles]
    # How far the square root of each day's count is from the median of its weekday around it.
    distances = [
        math.sqrt(count) - (math.sqrt(low) + math.sqrt(high)) / 2 if near else 0.0
        for count, near, (low, high) in zip(counts, around, middles, strict=True)
    ]
    odd = [
        found
        for at, near in enumerate(around)
        if len(near) >= FEWEST_NEIGHBOURS and (found := _judge_day(at, days, counts, near, distances)) is not None
    ]
    gaps = _gaps(days, counts, usual)
    inside = {day for gap in gaps for day in days if gap.first <= day <= gap.last}
    return Volume(
        sum(counts),
        first,
        last,
        [day for day in odd if not (day.kind == "empty" and day.day in inside)],
        gaps,
    )


def _middle(counts: list[int]) -> tuple[int, int]:
    """The two in the middle, whose mean is the median: of their square roots, too, which are in the same order."""
    counts.sort()
    half = len(counts) // 2
    return (counts[~half], counts[half]) if counts else (0, 0)


def _sigma(at: int, distances: Sequence[float]) -> float:
    """The usual distance in the weeks around a day, as a standard deviation."""
    near = distances[max(0, at - 7 * WEEKS_AROUND) : at + 7 * WEEKS_AROUND + 1]
    return max(MAD_TO_SIGMA * median(map(abs, near)), LEAST_SIGMA)


def _judge_day(
    at: int, days: Sequence[date], counts: Sequence[int], around: Sequence[int], distances: Sequence[float]
) -> OddDay | None:
    distance = distances[at]
    # Most days are nearer than any sigma asks for, so that none is worked out for them.
    if abs(distance) < THRESHOLD * LEAST_SIGMA or abs(distance) < THRESHOLD * _sigma(at, distances):
        return None
    others = [counts[other] for other in around]
    usual = median(others)
    spread = median(abs(count - usual) for count in others)
    kind: OddDayKind = "empty" if counts[at] == 0 else "high" if distance > 0 else "low"
    return OddDay(days[at], counts[at], kind, usual, spread, days[min(*around, at)], days[max(*around, at)])


def _around(at: int, days: int) -> list[int]:
    """The same weekdays of the weeks around; more on one side where the other has none."""
    weekday = range(at % 7, days, 7)
    begin = max(0, min(at // 7 - WEEKS_AROUND, len(weekday) - 2 * WEEKS_AROUND - 1))
    return [other for other in weekday[begin : begin + 2 * WEEKS_AROUND + 1] if other != at]


def _gaps(days: Sequence[date], counts: Sequence[int], usual: Sequence[float]) -> list[Gap]:
    """Stretches of empty days in which rows should have come."""
    gaps: list[Gap] = []
    start: int | None = None
    for at, count in enumerate([*counts, 1]):
        if count == 0 and start is None:
            start = at
        elif count != 0 and start is not None:
            # A single day is an odd day of its own.
            if at - start > 1 and (expected := _expected(counts, usual, start, at)) >= EXPECTED_IN_A_GAP:
                gaps.append(Gap(days[start], days[at - 1], expected))
            start = None
    return gaps


def _expected(counts: Sequence[int], usual: Sequence[float], start: int, end: int) -> float:
    """Rows that should have come on the days `[start:end]`: what their weekdays usually have.

    In a company of less than a row a day, by the mean of a year around, if the stretch is far longer than the
    others of that year.
    """
    by_weekday = sum(usual[start:end])
    # By less than a row a day, fewer days than that come to less than a gap.
    if by_weekday >= EXPECTED_IN_A_GAP or end - start <= EXPECTED_IN_A_GAP:
        return by_weekday
    near = [*counts[max(0, start - 182) : start], *counts[end : end + 182]]
    a_day = sum(near) / len(near) if near else 0.0
    if a_day >= 1 or end - start <= 3 * _longest_empty(near):
        return by_weekday
    return max(by_weekday, (end - start) * a_day)


def _longest_empty(counts: Sequence[int]) -> int:
    longest = length = 0
    for rows in counts:
        length = 0 if rows else length + 1
        longest = max(longest, length)
    return longest


def volume_result(
    volume: Volume, *, table_rows: int, lost: int, lost_since: int | None, same_as_source: bool, repair: str
) -> CheckResult:
    """What the days say, as a check's result. `lost` rows were in raw after run `lost_since` and aren't now."""
    high = [day for day in volume.odd if day.kind == "high"]
    low = [day for day in volume.odd if day.kind != "high"]
    found: dict[str, Any] = {
        "rows": volume.rows,
        "table_rows": table_rows,
        "first_day": volume.first and str(volume.first),
        "last_day": volume.last and str(volume.last),
        "odd_days": [day.figures() for day in volume.odd[:MOST_NAMED]],
        "gaps": [gap.figures() for gap in volume.gaps[:MOST_NAMED]],
        "gap_count": len(volume.gaps),
        "low": len(low),
        "high": len(high),
    }
    if lost:
        found |= {"lost": lost, "lost_since": lost_since}
        says = ("volume.lost", *(["volume.lost_elsewhere"] if same_as_source else []))
        return CheckResult("volume", "warning" if same_as_source else "error", found, repair, says)
    if volume.first is None:
        return CheckResult("volume", "notice", found, says=("volume.empty",))
    if volume.gaps:
        found["longest_gap"] = max(volume.gaps, key=lambda gap: gap.days).figures()
    if low:
        found["lowest"] = min(low, key=_ratio).figures()
    if high:
        found["highest"] = max(high, key=_ratio).figures()
    odd = [name for name, some in (("gaps", volume.gaps), ("low", low), ("high", high)) if some]
    if not odd:
        return CheckResult("volume", "ok", found)
    says = tuple(f"volume.{name}" for name in (*odd, *(["confirmed"] if same_as_source else [])))
    return CheckResult(
        "volume", "notice" if same_as_source else "warning", found, "" if same_as_source else repair, says
    )


def _ratio(day: OddDay) -> float:
    return (day.rows + 1) / (day.usual + 1)
