"""The pace of one process, counted over every second and every minute, on a clock that needs no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from async_extractor.entities import FIRST_CLASS
from async_extractor.events import Events
from async_extractor.limits import no_limits
from async_extractor.qbo.breaker import Pauses, Permit
from async_extractor.qbo.faults import ThrottledFault, TransientFault
from async_extractor.qbo.limits import IN_FLIGHT, PER_MINUTE, PER_SECOND, PIPELINES, SPACING, LocalLimiter, part_of
from tests.unit.virtual_time import Clock, VirtualTimePolicy


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


async def turns(
    limiter: LocalLimiter, clock: Clock, number: int, *, workers: int = 10, each: float = 0.0
) -> list[float]:
    """When each of so many turns began, taken by so many workers as fast as they are given."""
    began: list[float] = []

    async def worker() -> None:
        while len(began) < number:
            async with limiter.permit() as permit:
                began.append(clock.now)
                await asyncio.sleep(each)
                permit.answered(None)

    await asyncio.gather(*(worker() for _ in range(workers)))
    return began[:number]


def most_within(moments: Sequence[float], seconds: float) -> int:
    """How many of the moments any span of that length holds at the most."""
    return max(sum(first <= moment < first + seconds for moment in moments) for first in moments)


async def test_intuits_limits_hold_over_every_minute_and_every_second(clock: Clock) -> None:
    began = await turns(LocalLimiter(Events()), clock, 1200)
    assert most_within(began, 60) <= 492
    assert most_within(began, 1) <= 9


async def test_the_first_minute_is_no_exception(clock: Clock) -> None:
    began = await turns(LocalLimiter(Events()), clock, 600)
    assert sum(moment < 60 for moment in began) <= 492


async def test_nearly_all_of_the_quota_is_used(clock: Clock) -> None:
    began = await turns(LocalLimiter(Events()), clock, 1200)
    assert most_within(began, 60) >= 485


async def test_an_idle_hour_saves_up_nothing(clock: Clock) -> None:
    limiter = LocalLimiter(Events())
    await turns(limiter, clock, 3)
    await asyncio.sleep(3600)
    began = await turns(limiter, clock, 30)
    assert most_within(began, 1) <= 9


async def test_the_first_turn_is_given_at_once_and_the_next_after_the_spacing(clock: Clock) -> None:
    began = await turns(LocalLimiter(Events()), clock, 4)
    assert round(began[0], 3) == 0
    assert [round(b - a, 3) for a, b in zip(began, began[1:], strict=False)] == [SPACING] * 3


async def test_no_more_are_in_flight_than_intuit_allows_and_each_end_lets_one_in(clock: Clock) -> None:
    limiter = LocalLimiter(Events())
    in_flight, most = 0, 0

    async def request() -> None:
        nonlocal in_flight, most
        async with limiter.permit():
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(30)
            in_flight -= 1

    await asyncio.gather(*(request() for _ in range(35)))
    assert most == IN_FLIGHT
    assert in_flight == 0


@pytest.mark.parametrize("processes", range(1, PER_SECOND + 1))
async def test_the_parts_of_processes_that_dont_know_of_each_other_are_safe_however_they_fall_together(
    clock: Clock, processes: int
) -> None:
    began = await turns(part_of(processes, Events()), clock, 600)
    assert processes * most_within(began, 1) <= PER_SECOND
    assert processes * most_within(began, 60) <= 500
    limiter, places = part_of(processes, Events()), IN_FLIGHT // processes
    held = [limiter.permit() for _ in range(places)]
    for turn in held:
        await turn.__aenter__()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(limiter.permit().__aenter__(), 100)


async def test_up_to_three_lose_nothing_of_the_quota_by_that(clock: Clock) -> None:
    for processes in (1, 2, 3):
        began = await turns(part_of(processes, Events()), clock, 600)
        assert processes * most_within(began, 60) >= 0.97 * 500


def test_for_more_than_ten_there_is_no_safe_part() -> None:
    with pytest.raises(ValueError, match="no part in 11 is safe"):
        part_of(11, Events())


async def test_a_request_that_fails_gives_its_place_back(clock: Clock) -> None:
    limiter = LocalLimiter(Events(), in_flight=1)

    async def failing() -> None:
        async with limiter.permit():
            raise OSError("reset")

    for _ in range(20):
        with pytest.raises(OSError, match="reset"):
            await failing()
    assert len(await asyncio.wait_for(turns(limiter, clock, 2, workers=1), 100)) == 2


async def test_a_request_that_is_cancelled_while_it_waits_takes_no_place(clock: Clock) -> None:
    limiter = LocalLimiter(Events(), in_flight=1)
    async with limiter.permit():
        waiting = [asyncio.ensure_future(limiter.permit().__aenter__()) for _ in range(5)]
        await asyncio.sleep(1)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert len(await asyncio.wait_for(turns(limiter, clock, 2, workers=1), 100)) == 2


def throttled(retry_after: float | None) -> ThrottledFault:
    fault = ThrottledFault("QuickBooks answered HTTP 429")
    fault.retry_after = retry_after
    return fault


async def ask(limiter: LocalLimiter, clock: Clock, seconds: float | None = None) -> float:
    """When the request began; `seconds` is the pause that it is answered with."""
    async with limiter.permit() as permit:
        permit.answered(None if seconds is None else throttled(seconds))
        return clock.now


async def test_a_429_holds_everyone_and_its_pause_ends_without_a_burst(clock: Clock) -> None:
    limiter = LocalLimiter(Events())
    await ask(limiter, clock, 60)
    began = await asyncio.gather(*(ask(limiter, clock) for _ in range(25)))
    assert 60 <= min(began) < 61
    assert most_within(began, 1) <= 9


async def test_a_pause_holds_those_too_that_were_waiting_already(clock: Clock) -> None:
    limiter = LocalLimiter(Events())
    began = await asyncio.gather(*(ask(limiter, clock, 60 if number == 2 else None) for number in range(8)))
    began.sort()
    assert [round(moment, 2) for moment in began[:3]] == [0.0, 0.12, 0.24]
    assert all(moment >= 60.24 for moment in began[3:])
    assert most_within(began, 1) <= 9


async def test_a_wish_that_comes_later_prolongs_the_pause_and_a_shorter_one_does_not_shorten_it(clock: Clock) -> None:
    for second, end in ((30, 35), (1, 10)):
        limiter, began = LocalLimiter(Events()), clock.now
        async with limiter.permit() as sent_before:
            await ask(limiter, clock, 10)
            await asyncio.sleep(5)
            sent_before.answered(throttled(second))
        assert end <= await ask(limiter, clock) - began < end + 1


async def test_a_permit_that_was_not_used_leaves_the_probe_to_the_next(clock: Clock) -> None:
    limiter = LocalLimiter(Events())
    await ask(limiter, clock, 10)
    async with limiter.permit() as permit:
        assert limiter.state == "half-open"
        permit.unused()
    assert limiter.state == "open"
    assert await ask(limiter, clock) < 11
    assert limiter.state == "closed"


async def test_who_goes_away_as_the_probe_leaves_it_to_the_next(clock: Clock) -> None:
    limiter = LocalLimiter(Events())
    await ask(limiter, clock, 10)
    hanging = asyncio.ensure_future(limiter.permit().__aenter__())
    await asyncio.sleep(10 - SPACING / 2)
    await asyncio.sleep(SPACING)
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    assert await asyncio.wait_for(ask(limiter, clock), 5) < 15


async def test_without_limits_everyone_goes_through_and_a_pause_is_a_second(clock: Clock) -> None:
    async with no_limits(Events()) as limiter:

        async def request() -> None:
            async with limiter.permit() as permit:
                await asyncio.sleep(1)
                permit.answered(None)

        await asyncio.gather(*(request() for _ in range(500)))
        assert round(clock.now, 1) == 1
        async with limiter.permit() as permit:
            permit.answered(throttled(None))
        await request()
        assert round(clock.now, 1) == 3


async def test_failures_in_a_row_open_the_circuit_for_all(clock: Clock) -> None:
    limiter = LocalLimiter(Events(), pauses=Pauses(threshold=3))
    for _ in range(3):
        async with limiter.permit() as permit:
            permit.answered(TransientFault("QuickBooks answered HTTP 503"))
    assert limiter.state == "open"
    assert await ask(limiter, clock) >= 15


def test_what_nobody_says_of_a_request_is_that_it_was_left() -> None:
    assert Permit().outcome == "left"


def test_the_numbers_are_intuits_and_leave_some_of_the_minute() -> None:
    """500 requests a minute, 10 a second, a minute after a 429 (limits page), 10 in flight (announcement)."""
    assert (PER_SECOND, IN_FLIGHT, Pauses().throttle) == (10, 10, 60)
    assert 490 <= PER_MINUTE < 500
    assert len(FIRST_CLASS) == PIPELINES
