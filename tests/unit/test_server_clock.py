"""Postgres' clock on the process's own: exact to the quickest call, never early, and right again after one was set."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from async_extractor.warehouse.shared_connection import ServerClock

# Seconds since 1970 when this process's monotonic clock said 0.
APART = 1_800_000_000.0
delays = st.floats(0, 2)


def test_one_call_is_exact_to_the_time_it_took() -> None:
    clock = ServerClock()
    clock.read(APART + 10.3, asked=10.0, answered=10.4)
    assert 20 <= clock.here(APART + 20) <= 20.4


@given(st.lists(st.tuples(delays, delays), min_size=1, max_size=40))
# Calls that take no time, whose spans miss each other by a rounding.
@example([(0.0, 0.0)] * 4 + [(0.19005912490159954, 0.0), (0.0, 1.0)])
def test_a_moment_is_never_early_and_late_by_no_more_than_the_quickest_answer(calls: list[tuple[float, float]]) -> None:
    clock = ServerClock()
    now = 0.0
    for forth, back in calls:
        clock.read(APART + now + forth, asked=now, answered=now + forth + back)
        now += forth + back + 0.1
    late = clock.here(APART + now) - now
    quickest = min(back for _, back in calls[-30:])
    assert -1e-5 <= late <= quickest + 1e-5


def test_slow_calls_do_not_spoil_what_a_quick_one_said() -> None:
    clock = ServerClock()
    clock.read(APART + 1.0005, asked=1.0, answered=1.001)
    for second in range(2, 20):
        clock.read(APART + second + 0.9, asked=float(second), answered=second + 1.8)
    assert abs(clock.here(APART + 30) - 30) < 0.0011


def test_a_clock_that_was_set_is_followed_at_once() -> None:
    clock = ServerClock()
    for second in range(5):
        clock.read(APART + second, asked=float(second), answered=second + 0.001)
    clock.read(APART + 3600 + 6, asked=6.0, answered=6.001)
    assert abs(clock.here(APART + 3600 + 10) - 10) < 0.002
    clock.read(APART + 7, asked=7.0, answered=7.001)
    assert abs(clock.here(APART + 10) - 10) < 0.002
