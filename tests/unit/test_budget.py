"""The pace of one process, counted over every second and every minute, on a clock that needs no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from async_extractor.qbo.limits import IN_FLIGHT, PER_SECOND, SPACING, LocalGate, OpenGate, part_of
from tests.unit.virtual_time import Clock, VirtualTimePolicy


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


async def turns(gate: LocalGate, clock: Clock, number: int, *, workers: int = 10, each: float = 0.0) -> list[float]:
    """When each of so many turns began, taken by so many workers as fast as they are given."""
    began: list[float] = []

    async def worker() -> None:
        while len(began) < number:
            async with gate.turn():
                began.append(clock.now)
                await asyncio.sleep(each)

    await asyncio.gather(*(worker() for _ in range(workers)))
    return began[:number]


def most_within(moments: Sequence[float], seconds: float) -> int:
    """How many of the moments any span of that length holds at the most."""
    return max(sum(first <= moment < first + seconds for moment in moments) for first in moments)


async def test_intuits_limits_hold_over_every_minute_and_every_second(clock: Clock) -> None:
    began = await turns(LocalGate(), clock, 1200)
    assert most_within(began, 60) <= 492
    assert most_within(began, 1) <= 9


async def test_the_first_minute_is_no_exception(clock: Clock) -> None:
    began = await turns(LocalGate(), clock, 600)
    assert sum(moment < 60 for moment in began) <= 492


async def test_nearly_all_of_the_quota_is_used(clock: Clock) -> None:
    began = await turns(LocalGate(), clock, 1200)
    assert most_within(began, 60) >= 485


async def test_an_idle_hour_saves_up_nothing(clock: Clock) -> None:
    gate = LocalGate()
    await turns(gate, clock, 3)
    await asyncio.sleep(3600)
    began = await turns(gate, clock, 30)
    assert most_within(began, 1) <= 9


async def test_the_first_turn_is_given_at_once_and_the_next_after_the_spacing(clock: Clock) -> None:
    began = await turns(LocalGate(), clock, 4)
    assert round(began[0], 3) == 0
    assert [round(b - a, 3) for a, b in zip(began, began[1:], strict=False)] == [SPACING] * 3


async def test_no_more_are_in_flight_than_intuit_allows_and_each_end_lets_one_in(clock: Clock) -> None:
    gate = LocalGate()
    in_flight, most = 0, 0

    async def request() -> None:
        nonlocal in_flight, most
        async with gate.turn():
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(30)
            in_flight -= 1

    await asyncio.gather(*(request() for _ in range(35)))
    assert most == IN_FLIGHT
    assert in_flight == 0


async def test_a_share_of_the_quota_is_a_share_of_the_pace_and_of_the_places(clock: Clock) -> None:
    gate = LocalGate(share=1 / 3)
    began = await turns(gate, clock, 200, each=0)
    assert most_within(began, 60) <= 500 / 3
    held = [gate.turn() for _ in range(3)]
    for turn in held:
        await turn.__aenter__()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(gate.turn().__aenter__(), 100)
    await held[0].__aexit__(None, None, None)
    await asyncio.wait_for(gate.turn().__aenter__(), 100)


@pytest.mark.parametrize("processes", range(1, PER_SECOND + 1))
async def test_the_parts_of_processes_that_dont_know_of_each_other_are_safe_however_they_fall_together(
    clock: Clock, processes: int
) -> None:
    began = await turns(part_of(processes), clock, 600)
    assert processes * most_within(began, 1) <= PER_SECOND
    assert processes * most_within(began, 60) <= 500
    gate, places = part_of(processes), IN_FLIGHT // processes
    held = [gate.turn() for _ in range(places)]
    for turn in held:
        await turn.__aenter__()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(gate.turn().__aenter__(), 100)


async def test_up_to_three_lose_nothing_of_the_quota_by_that(clock: Clock) -> None:
    for processes in (1, 2, 3):
        began = await turns(part_of(processes), clock, 600)
        assert processes * most_within(began, 60) >= 0.97 * 500


def test_for_more_than_ten_there_is_no_safe_part() -> None:
    with pytest.raises(ValueError, match="no part in 11 is safe"):
        part_of(11)


@pytest.mark.parametrize("share", [0.01, 0.05])
async def test_the_smallest_share_still_has_one_place(clock: Clock, share: float) -> None:
    assert len(await turns(LocalGate(share), clock, 2)) == 2


async def test_a_pause_holds_everyone_and_ends_without_a_burst(clock: Clock) -> None:
    gate = LocalGate()
    began: list[float] = []

    async def request() -> None:
        async with gate.turn():
            began.append(clock.now)

    async with gate.turn():
        await gate.pause(60)
    await asyncio.gather(*(request() for _ in range(25)))
    assert min(began) >= 60
    assert min(began) < 61
    assert most_within(began, 1) <= 9


async def test_a_pause_holds_those_too_that_were_waiting_already(clock: Clock) -> None:
    gate = LocalGate()
    began: list[float] = []

    async def request() -> None:
        async with gate.turn():
            began.append(round(clock.now, 2))
            if len(began) == 3:
                await gate.pause(60)

    await asyncio.gather(*(request() for _ in range(8)))
    assert began[:3] == [0.0, 0.12, 0.24]
    assert all(moment >= 60.24 for moment in began[3:])
    assert most_within(began, 1) <= 9


async def test_a_short_pause_does_not_shorten_a_long_one(clock: Clock) -> None:
    gate = LocalGate()
    await gate.pause(60)
    await gate.pause(1)
    async with gate.turn():
        assert clock.now >= 60


async def test_a_pause_that_is_prolonged_while_it_lasts_holds_to_its_new_end(clock: Clock) -> None:
    gate = LocalGate()
    await gate.pause(10)

    async def request() -> float:
        async with gate.turn():
            return clock.now

    waiting = asyncio.ensure_future(request())
    await asyncio.sleep(5)
    await gate.pause(30)
    assert await waiting >= 35


async def test_to_ask_for_a_pause_takes_no_time(clock: Clock) -> None:
    await LocalGate().pause(60)
    assert round(clock.now, 3) == 0


async def test_a_request_that_fails_gives_its_place_back(clock: Clock) -> None:
    gate = LocalGate(share=0.1)

    async def failing() -> None:
        async with gate.turn():
            raise OSError("reset")

    for _ in range(20):
        with pytest.raises(OSError, match="reset"):
            await failing()
    assert len(await asyncio.wait_for(turns(gate, clock, 2, workers=1), 100)) == 2


async def test_a_request_that_is_cancelled_while_it_waits_takes_no_place(clock: Clock) -> None:
    gate = LocalGate(share=0.1)
    async with gate.turn():
        waiting = [asyncio.ensure_future(gate.turn().__aenter__()) for _ in range(5)]
        await asyncio.sleep(1)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
    assert len(await asyncio.wait_for(turns(gate, clock, 2, workers=1), 100)) == 2


async def test_the_gate_without_limits_lets_everyone_through(clock: Clock) -> None:
    gate = OpenGate()

    async def request() -> None:
        async with gate.turn():
            await asyncio.sleep(1)

    await asyncio.gather(*(request() for _ in range(500)))
    assert round(clock.now, 1) == 1


async def test_the_gate_without_limits_pauses_a_second_at_most(clock: Clock) -> None:
    await OpenGate().pause(0.25)
    assert round(clock.now, 3) == 0.25
    await OpenGate().pause(60)
    assert round(clock.now, 3) == 1.25
