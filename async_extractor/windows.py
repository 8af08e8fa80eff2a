"""Windows: half-open `[start, end)` spans of UTC time, and the ways to cut a range into them.

QuickBooks' own times have whole seconds (`MetaData.LastUpdatedTime` carries none finer), so every
bound is a whole second: cutting finer would make windows that can hold nothing.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

UTC = timezone.utc
SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

# A row may become visible some time after its LastUpdatedTime, and QuickBooks' servers need not agree on what time it
# is. No window is closed nearer than this to the present, and catch-ups begin this much earlier (ops.settling_time).
SETTLING = timedelta(minutes=5)
# A decade by the hour is 87,600 chunks. More than this is a slip of the hand, not a plan.
MOST_CHUNKS = 100_000


@dataclass(frozen=True, order=True)
class Window:
    """A half-open span of UTC time: `start` belongs to it, `end` doesn't."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("a window's bounds need a time zone")
        if not self.start < self.end:
            raise ValueError(f"a window's start must be before its end: {self}")

    def __str__(self) -> str:
        return f"[{iso(self.start)}, {iso(self.end)})"

    def contains(self, other: Window) -> bool:
        return self.start <= other.start and other.end <= self.end


@dataclass(frozen=True)
class Step:
    """How far one chunk reaches: whole months and a span, and where its bounds fall.

    `anchor` is what bounds are counted from: the range's start when it is None, else a moment such
    as a Monday's midnight, so that `day` and `week` fall on calendar days and ISO weeks in UTC.
    """

    months: int
    span: timedelta
    anchor: datetime | None = None

    def boundaries(self, start: datetime) -> Iterator[datetime]:
        """Every bound after `start`, in order, without end."""
        origin = start
        if self.anchor is not None:
            origin = self.anchor + ((start - self.anchor) // self.span) * self.span
        count = 1
        while True:
            # Counted from the origin each time: adding a month to 29 February again and again drifts.
            yield add_months(origin, self.months * count) + self.span * count
            count += 1


_EPOCH_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)
_DURATION = re.compile(
    r"P(?=.)(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=.)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.IGNORECASE | re.ASCII,
)


def parse_step(text: str) -> Step:
    """`day`, `week` or an ISO 8601 duration (`P1M`, `PT6H`, `P1DT12H`) as a `Step`; ValueError otherwise."""
    if text == "day":
        return Step(0, DAY, _EPOCH_MONDAY)
    if text == "week":
        return Step(0, 7 * DAY, _EPOCH_MONDAY)
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError("is not day, week or an ISO 8601 duration such as P1M or PT6H")
    part = {name: int(value) for name, value in match.groupdict(default="0").items()}
    months = part["years"] * 12 + part["months"]
    hours = (part["weeks"] * 7 + part["days"]) * 24 + part["hours"]
    seconds = (hours * 60 + part["minutes"]) * 60 + part["seconds"]
    if months > 12 * 100 or seconds > 366 * 100 * 86_400:
        raise ValueError("is longer than a century")
    span = timedelta(seconds=seconds)
    if not months and not span:
        raise ValueError("is a duration of nothing")
    return Step(months, span)


def add_months(moment: datetime, months: int) -> datetime:
    """The same day of the month and time, `months` later; the month's last day where it has no such day."""
    if not months:
        return moment
    year, month = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    month += 1
    return moment.replace(year=year, month=month, day=min(moment.day, calendar.monthrange(year, month)[1]))


def cut(window: Window, step: Step) -> list[Window]:
    """The window in pieces of `step`, in order, tiling it exactly; the outer ones may be shorter.

    ValueError when it would take more than `MOST_CHUNKS`.
    """
    pieces: list[Window] = []
    bounds = step.boundaries(window.start)
    start = window.start
    while start < window.end:
        end = min(next(bounds), window.end)
        pieces.append(Window(start, end))
        if len(pieces) > MOST_CHUNKS:
            raise ValueError(f"would cut {window} into more than {MOST_CHUNKS:,} chunks")
        start = end
    return pieces


def cut_evenly(window: Window, parts: int, granularity: timedelta = SECOND) -> list[Window]:
    """The window in at most `parts` pieces of equal length, bounds on multiples of `granularity`."""
    units = (window.end - window.start) // granularity
    parts = max(1, min(parts, units))
    bounds = [window.start + granularity * (units * number // parts) for number in range(parts)]
    return [Window(a, b) for a, b in zip(bounds, [*bounds[1:], window.end], strict=True)]


def gaps(window: Window, covered: Iterable[Window]) -> list[Window]:
    """What of `window` no window of `covered` covers, in order."""
    left: list[Window] = []
    start = window.start
    for other in sorted(covered):
        if other.start >= window.end:
            break
        if other.start > start:
            left.append(Window(start, other.start))
        start = max(start, other.end)
    if start < window.end:
        left.append(Window(start, window.end))
    return left


def whole_second_up(moment: datetime) -> datetime:
    """The next whole second, or the moment itself: for values of whole seconds, `x >= a` is `x >= ceil(a)`."""
    floor = moment.replace(microsecond=0)
    return floor if floor == moment else floor + SECOND


def iso(moment: datetime) -> str:
    """`2024-03-01T00:00:00Z`: UTC, whole seconds, as QuickBooks' filters take it without escaping."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
