"""Days without rows, gaps and outliers: found where a person would see them, and not where chance made them."""

from __future__ import annotations

import math
from datetime import date, timedelta
from random import Random

import pytest

from async_extractor.checks.messages import odd_day
from async_extractor.checks.volume import judge

START = date(2024, 1, 1)


def poisson(random: Random, mean: float) -> int:
    """Knuth's; means here are small."""
    limit, product, count = math.exp(-mean), random.random(), 0
    while product > limit:
        product *= random.random()
        count += 1
    return count


def company(days: int, mean: float, *, weekend: float = 0.2, growth: float = 1.0, seed: int = 1) -> dict[date, int]:
    """Counts as a growing company that rests at weekends would have them."""
    random = Random(seed)
    counts = {}
    for number in range(days):
        day = START + timedelta(days=number)
        wanted = mean * (weekend if day.weekday() >= 5 else 1.0) * growth ** (number / 365)
        counts[day] = poisson(random, wanted)
    return counts


@pytest.mark.parametrize("mean", [2, 8, 40, 150])
def test_ten_quiet_years_raise_hardly_any_alarm(mean: int) -> None:
    volume = judge(company(3650, mean, growth=1.3 if mean < 40 else 1.1))
    assert len(volume.odd) <= 3
    assert volume.gaps == []


@pytest.mark.parametrize("mean", [10, 40, 150])
def test_a_day_with_three_times_its_rows_is_found(mean: int) -> None:
    counts = company(400, mean)
    day = START + timedelta(days=200)
    counts[day] = 3 * mean
    [odd] = [odd for odd in judge(counts).odd if odd.day == day]
    assert odd.kind == "high"
    assert odd_day(odd.figures(), "en").startswith(f"{day:%A} {day} has {counts[day]:,} rows, where {day:%A}s from ")
    assert "(median)" in odd_day(odd.figures(), "en")
    assert "(MAD)" in odd_day(odd.figures(), "en")


def test_an_empty_weekday_is_found_and_an_empty_sunday_is_not() -> None:
    counts = company(400, 40, weekend=0.0)
    tuesday = START + timedelta(days=22 * 7 + 1)
    counts[tuesday] = 0
    odd = judge(counts).odd
    assert [(day.day, day.kind) for day in odd if day.rows == 0] == [(tuesday, "empty")]


def test_a_fortnight_without_rows_is_one_gap_and_not_ten_empty_days() -> None:
    counts = company(400, 20)
    for number in range(14):
        counts[START + timedelta(days=100 + number)] = 0
    volume = judge(counts)
    [gap] = volume.gaps
    assert (gap.first, gap.last, gap.days) == (START + timedelta(days=100), START + timedelta(days=113), 14)
    assert 100 < gap.expected < 300
    assert not [day for day in volume.odd if gap.first <= day.day <= gap.last]


def test_a_company_of_one_invoice_a_week_has_no_gaps_but_when_it_stops() -> None:
    counts = {START + timedelta(days=7 * number): 1 for number in range(60)}
    assert judge(counts).gaps == []
    [gap] = judge(counts, until=START + timedelta(days=700)).gaps
    assert gap.first == START + timedelta(days=59 * 7 + 1)


def test_days_before_the_first_row_are_not_judged() -> None:
    counts = {day: rows for day, rows in company(300, 30).items() if day > START + timedelta(days=100)}
    volume = judge(counts)
    assert volume.first == START + timedelta(days=101)
    assert volume.gaps == []


def test_growth_alone_is_not_odd() -> None:
    counts = {START + timedelta(days=number): round(10 * 1.002**number) for number in range(1500)}
    assert judge(counts).odd == []


def test_nothing_at_all_is_nothing() -> None:
    volume = judge({})
    assert (volume.rows, volume.first, list(volume.odd), list(volume.gaps)) == (0, None, [], [])
