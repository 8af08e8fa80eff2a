"""Windows tile what they were cut from, gaps are exactly what is not covered, and months are calendar months."""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from async_extractor.windows import (
    DAY,
    MOST_CHUNKS,
    SECOND,
    UTC,
    Window,
    add_months,
    cut,
    cut_evenly,
    gaps,
    iso,
    parse_step,
    whole_second_up,
)

EARLY, LATE = datetime(1990, 1, 1), datetime(2037, 1, 1)  # noqa: DTZ001 - hypothesis wants them naive
moments = st.datetimes(EARLY, LATE).map(lambda moment: moment.replace(microsecond=0, tzinfo=UTC))


@st.composite
def windows(draw: st.DrawFn, most: timedelta = timedelta(days=3700)) -> Window:
    """Up to a decade, with bounds that are often a month's or a year's end, or a midnight."""
    start = draw(moments | st.sampled_from(EDGES))
    seconds = draw(st.integers(1, int(most.total_seconds())) | st.sampled_from([1, 59, 3600, 86_399, 86_400, 86_401]))
    return Window(start, start + seconds * SECOND)


def day(year: int, month: int, of_month: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(year, month, of_month, hour, minute, second, tzinfo=UTC)


EDGES = [
    day(2024, 2, 29),
    day(2024, 2, 29, 23, 59, 59),
    day(2023, 2, 28),
    day(2023, 12, 31, 23, 59, 59),
    day(2024, 1, 31, 12),
    day(2000, 2, 29),
    day(2024, 3, 31),
    day(2024, 11, 3, 9),
    day(2024, 3, 10, 10),
]


def assert_tiles(window: Window, pieces: list[Window]) -> None:
    assert pieces[0].start == window.start
    assert pieces[-1].end == window.end
    assert [piece.end for piece in pieces[:-1]] == [piece.start for piece in pieces[1:]]
    assert all(piece.start < piece.end for piece in pieces)


def as_days(*bounds: datetime) -> list[tuple[datetime, datetime]]:
    return list(zip(bounds, bounds[1:], strict=False))


def pairs(pieces: list[Window]) -> list[tuple[datetime, datetime]]:
    return [(piece.start, piece.end) for piece in pieces]


@given(windows(), st.sampled_from(["day", "week", "P1M", "P1Y", "PT6H", "P1DT12H", "P2M", "P1M1D", "P1Y2M3DT4H5M6S"]))
def test_every_step_tiles_the_range_exactly(window: Window, chunk: str) -> None:
    assert_tiles(window, cut(window, parse_step(chunk)))


@given(windows(most=timedelta(hours=20)), st.sampled_from(["PT1S", "PT59S", "PT1M", "PT1H"]))
def test_short_steps_tile_the_range_exactly(window: Window, chunk: str) -> None:
    assert_tiles(window, cut(window, parse_step(chunk)))


@given(windows())
def test_every_bound_inside_a_range_cut_by_day_is_a_midnight_in_utc_and_none_is_missed(window: Window) -> None:
    pieces = cut(window, parse_step("day"))
    assert all(piece.start.hour == piece.start.minute == piece.start.second == 0 for piece in pieces[1:])
    assert {piece.start.date() for piece in pieces} == {
        (window.start + number * DAY).date()
        for number in range((window.end - SECOND).date().toordinal() - window.start.date().toordinal() + 1)
    }


@given(windows())
def test_every_bound_inside_a_range_cut_by_week_is_a_monday_midnight_in_utc_and_none_is_missed(window: Window) -> None:
    pieces = cut(window, parse_step("week"))
    assert all(
        piece.start.isoweekday() == 1 and piece.start.hour == piece.start.minute == piece.start.second == 0
        for piece in pieces[1:]
    )
    weeks = [piece.start.date().isocalendar()[:2] for piece in pieces]
    assert len(set(weeks)) == len(weeks)
    assert weeks[-1] == (window.end - SECOND).date().isocalendar()[:2]


@given(windows(), st.sampled_from([("PT6H", 6), ("P1DT12H", 36), ("PT1500M", 25), ("P2W", 336)]))
def test_durations_without_months_are_counted_from_the_start_of_the_range(
    window: Window, step: tuple[str, int]
) -> None:
    chunk, hours = step
    pieces = cut(window, parse_step(chunk))
    assert all(piece.end - piece.start == timedelta(hours=hours) for piece in pieces[:-1])
    assert timedelta(0) < pieces[-1].end - pieces[-1].start <= timedelta(hours=hours)


@given(windows(), st.sampled_from([("P1M", 1), ("P1Y", 12), ("P5M", 5), ("P1Y1M", 13)]))
def test_months_keep_the_starts_day_of_month_or_take_the_months_last_day(window: Window, step: tuple[str, int]) -> None:
    chunk, months = step
    origin = window.start
    for number, piece in enumerate(cut(window, parse_step(chunk))[1:], start=1):
        bound = piece.start
        assert (bound.year - origin.year) * 12 + bound.month - origin.month == months * number
        assert bound.day == min(origin.day, calendar.monthrange(bound.year, bound.month)[1])
        assert bound.time() == origin.time()


def test_a_month_from_31_january_ends_at_each_months_own_end() -> None:
    assert pairs(cut(Window(day(2024, 1, 31), day(2024, 7, 1)), parse_step("P1M"))) == as_days(
        day(2024, 1, 31),
        day(2024, 2, 29),
        day(2024, 3, 31),
        day(2024, 4, 30),
        day(2024, 5, 31),
        day(2024, 6, 30),
        day(2024, 7, 1),
    )


def test_a_year_from_29_february_comes_back_to_29_february_in_the_next_leap_year() -> None:
    assert pairs(cut(Window(day(2020, 2, 29), day(2024, 3, 1)), parse_step("P1Y"))) == as_days(
        day(2020, 2, 29), day(2021, 2, 28), day(2022, 2, 28), day(2023, 2, 28), day(2024, 2, 29), day(2024, 3, 1)
    )


def test_a_leap_day_is_a_day_of_its_own() -> None:
    assert pairs(cut(Window(day(2024, 2, 28), day(2024, 3, 2)), parse_step("day"))) == as_days(
        day(2024, 2, 28), day(2024, 2, 29), day(2024, 3, 1), day(2024, 3, 2)
    )


def test_days_go_over_the_end_of_a_year() -> None:
    assert pairs(cut(Window(day(2023, 12, 31, 18), day(2024, 1, 1, 6)), parse_step("day"))) == as_days(
        day(2023, 12, 31, 18), day(2024, 1, 1), day(2024, 1, 1, 6)
    )


def test_a_range_that_begins_on_a_wednesday_has_a_short_first_week() -> None:
    assert pairs(cut(Window(day(2024, 5, 1), day(2024, 5, 14)), parse_step("week"))) == as_days(
        day(2024, 5, 1), day(2024, 5, 6), day(2024, 5, 13), day(2024, 5, 14)
    )


def test_weeks_before_the_epoch_begin_on_monday_too() -> None:
    assert pairs(cut(Window(day(1969, 12, 28), day(1970, 1, 6)), parse_step("week"))) == as_days(
        day(1969, 12, 28), day(1969, 12, 29), day(1970, 1, 5), day(1970, 1, 6)
    )


@pytest.mark.parametrize("changes_on", [(2024, 3, 10), (2024, 11, 3)])
def test_a_day_on_which_pacific_time_changes_its_offset_has_24_hours(changes_on: tuple[int, int, int]) -> None:
    pacific = ZoneInfo("America/Los_Angeles")
    year, month, of_month = changes_on
    midnight = datetime(year, month, of_month, tzinfo=pacific)
    assert midnight.utcoffset() != (midnight + DAY).utcoffset()
    pieces = cut(Window(day(year, month, of_month), day(year, month, of_month) + 2 * DAY), parse_step("day"))
    assert [piece.end - piece.start for piece in pieces] == [DAY, DAY]


def test_six_hours_over_the_hour_that_pacific_time_repeats_are_six_hours() -> None:
    window = Window(day(2024, 11, 3, 3), day(2024, 11, 4, 3))
    assert [piece.start.hour for piece in cut(window, parse_step("PT6H"))] == [3, 9, 15, 21]


def test_a_step_longer_than_the_range_leaves_it_whole() -> None:
    window = Window(day(2024, 1, 1), day(2024, 1, 2))
    assert cut(window, parse_step("P1Y")) == [window]


def test_as_many_chunks_as_are_allowed_are_cut_and_one_more_is_refused() -> None:
    start = day(2024, 1, 1)
    step = parse_step("PT1S")
    assert len(cut(Window(start, start + MOST_CHUNKS * SECOND), step)) == MOST_CHUNKS
    with pytest.raises(ValueError, match="into more than 100,000 chunks"):
        cut(Window(start, start + (MOST_CHUNKS + 1) * SECOND), step)


@pytest.mark.parametrize(
    ("chunk", "why"),
    [
        ("", "is not day, week"),
        ("P", "is not day, week"),
        ("PT", "is not day, week"),
        ("P1DT", "is not day, week"),
        ("P1H", "is not day, week"),
        ("PT1D", "is not day, week"),
        ("P-1D", "is not day, week"),
        ("-P1D", "is not day, week"),
        ("P1.5D", "is not day, week"),
        ("P1D ", "is not day, week"),
        ("1D", "is not day, week"),
        ("month", "is not day, week"),
        ("Day", "is not day, week"),
        ("P0D", "is a duration of nothing"),
        ("P0Y0M0W0DT0H0M0S", "is a duration of nothing"),
        ("P101Y", "is longer than a century"),
        ("P1201M", "is longer than a century"),
        ("P5300W", "is longer than a century"),
        ("PT99999999H", "is longer than a century"),
        ("PT9999999999M", "is longer than a century"),
        ("PT9999999999999S", "is longer than a century"),
        ("PT99999999999999999999S", "is longer than a century"),
    ],
)
def test_what_is_not_a_step_is_refused_with_the_reason(chunk: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"^{why}"):
        parse_step(chunk)


@given(st.integers(0, 100), st.integers(0, 11), st.integers(0, 9), st.integers(0, 9), st.integers(0, 100))
def test_a_duration_is_read_part_by_part(years: int, months: int, weeks: int, days: int, seconds: int) -> None:
    assume(years * 12 + months <= 1200)
    assume(years or months or weeks or days or seconds)
    step = parse_step(f"P{years}Y{months}M{weeks}W{days}DT{seconds}S")
    assert (step.months, step.span) == (years * 12 + months, timedelta(weeks=weeks, days=days, seconds=seconds))


@given(windows(), st.integers(1, 500), st.sampled_from([SECOND, DAY]))
def test_even_pieces_tile_the_range_on_the_granularity_and_differ_by_at_most_one_unit(
    window: Window, parts: int, granularity: timedelta
) -> None:
    pieces = cut_evenly(window, parts, granularity)
    assert_tiles(window, pieces)
    assert len(pieces) == max(1, min(parts, (window.end - window.start) // granularity))
    assert all((piece.start - window.start) % granularity == timedelta(0) for piece in pieces)
    units = [(piece.end - piece.start) // granularity for piece in pieces]
    assert max(units) - min(units) <= 1


def test_a_range_of_two_seconds_is_not_cut_into_ten() -> None:
    start = day(2024, 1, 1)
    assert pairs(cut_evenly(Window(start, start + 2 * SECOND), 10)) == as_days(
        start, start + SECOND, start + 2 * SECOND
    )


def test_half_a_day_is_not_cut_where_days_are_the_finest_step() -> None:
    window = Window(day(2024, 1, 1), day(2024, 1, 1, 12))
    assert cut_evenly(window, 4, DAY) == [window]


short = st.tuples(st.integers(0, 60), st.integers(1, 20))


@given(short, st.lists(short, max_size=8))
def test_gaps_are_exactly_the_seconds_that_nothing_covers(
    whole: tuple[int, int], covered: list[tuple[int, int]]
) -> None:
    def window(span: tuple[int, int]) -> Window:
        return Window(day(2024, 1, 1) + span[0] * SECOND, day(2024, 1, 1) + sum(span) * SECOND)

    def seconds(*spans: tuple[int, int]) -> set[int]:
        return {second for start, length in spans for second in range(start, start + length)}

    found = gaps(window(whole), [window(span) for span in covered])
    as_spans = [
        (int((gap.start - day(2024, 1, 1)).total_seconds()), int((gap.end - gap.start).total_seconds()))
        for gap in found
    ]
    assert seconds(*as_spans) == seconds(whole) - seconds(*covered)
    # In order, and no two of them touch: each is as long as it can be.
    assert all(a.end < b.start for a, b in zip(found, found[1:], strict=False))


def test_nothing_covered_leaves_the_range_itself() -> None:
    window = Window(day(2024, 1, 1), day(2024, 2, 1))
    assert gaps(window, []) == [window]


def test_windows_end_to_end_leave_no_gap() -> None:
    window = Window(day(2024, 1, 1), day(2025, 1, 1))
    assert gaps(window, reversed(cut(window, parse_step("P1M")))) == []


@given(st.datetimes(EARLY, LATE).map(lambda moment: moment.replace(tzinfo=UTC)))
def test_a_moment_is_taken_up_to_the_next_whole_second(moment: datetime) -> None:
    up = whole_second_up(moment)
    assert up.microsecond == 0
    assert timedelta(0) <= up - moment < SECOND


@given(moments)
def test_a_whole_second_stays_itself(moment: datetime) -> None:
    assert whole_second_up(moment) == moment


def test_the_second_after_the_last_microsecond_of_a_year_is_the_new_year() -> None:
    assert whole_second_up(datetime(2023, 12, 31, 23, 59, 59, 1, tzinfo=UTC)) == day(2024, 1, 1)


def test_the_end_of_a_window_is_not_in_it_and_its_start_is() -> None:
    january = Window(day(2024, 1, 1), day(2024, 2, 1))
    assert january.contains(january)
    assert january.contains(Window(day(2024, 1, 31, 23, 59, 59), day(2024, 2, 1)))
    assert not january.contains(Window(day(2024, 1, 31), day(2024, 2, 1, 0, 0, 1)))
    assert not january.contains(Window(day(2023, 12, 31, 23, 59, 59), day(2024, 1, 2)))


def test_a_window_without_a_zone_or_without_a_length_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        Window(datetime(2024, 1, 1), day(2024, 1, 2))  # noqa: DTZ001 - naive is what is refused
    with pytest.raises(ValueError, match="time zone"):
        Window(day(2024, 1, 1), datetime(2024, 1, 2))  # noqa: DTZ001
    for end in (day(2024, 1, 1), day(2023, 12, 31)):
        with pytest.raises(ValueError, match="before its end"):
            Window(day(2024, 1, 1), end)


def test_times_are_written_in_utc_whatever_their_offset() -> None:
    assert iso(datetime(2024, 2, 29, 19, 0, 0, 999, tzinfo=timezone(timedelta(hours=-5)))) == "2024-03-01T00:00:00Z"
    assert str(Window(day(2024, 1, 1), day(2024, 1, 2))) == "[2024-01-01T00:00:00Z, 2024-01-02T00:00:00Z)"


@pytest.mark.parametrize(
    ("start", "months", "expected"),
    [
        (day(2024, 1, 31), 0, day(2024, 1, 31)),
        (day(2024, 1, 31), 1, day(2024, 2, 29)),
        (day(2023, 1, 31), 1, day(2023, 2, 28)),
        (day(2024, 12, 31, 23, 59, 59), 1, day(2025, 1, 31, 23, 59, 59)),
        (day(2024, 12, 15), 2, day(2025, 2, 15)),
        (day(2024, 2, 29), 48, day(2028, 2, 29)),
        (day(1899, 11, 30), 3, day(1900, 2, 28)),
    ],
)
def test_months_are_added_by_the_calendar(start: datetime, months: int, expected: datetime) -> None:
    assert add_months(start, months) == expected


@pytest.mark.parametrize(("longest", "longer"), [("P100Y", "P1201M"), ("P36600D", "P36600DT1S")])
def test_a_century_is_a_step_and_anything_longer_is_not(longest: str, longer: str) -> None:
    parse_step(longest)
    with pytest.raises(ValueError, match="longer than a century"):
        parse_step(longer)
