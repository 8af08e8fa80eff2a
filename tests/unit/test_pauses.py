"""How many pauses there were since a request was last taken: by it a client tells a pace from an allowance used up."""

from __future__ import annotations

import asyncio

import pytest

from async_extractor.entities import FIRST_CLASS
from async_extractor.qbo.limits import (
    IN_FLIGHT,
    PER_MINUTE,
    PER_SECOND,
    PIPELINES,
    THROTTLE_SECONDS,
    Gate,
    LocalGate,
    OpenGate,
)
from tests.unit.virtual_time import Clock, VirtualTimePolicy


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


async def ask(gate: Gate, status: int) -> None:
    async with gate.turn() as turn:
        turn.answered(status)


@pytest.mark.parametrize("kind", [OpenGate, LocalGate])
async def test_pauses_count_up_until_a_request_is_taken_and_then_from_one_again(
    kind: type[OpenGate] | type[LocalGate], clock: Clock
) -> None:
    gate = kind()
    for _ in range(2):
        for number in (1, 2, 3):
            await ask(gate, 429)
            assert await gate.pause(5) == number
            await asyncio.sleep(6)
        await ask(gate, 200)


async def test_any_answer_but_a_429_is_a_request_that_was_taken(clock: Clock) -> None:
    for kind in (OpenGate, LocalGate):
        gate = kind()
        await gate.pause(1)
        await ask(gate, 428)
        assert await gate.pause(1) == 1


async def test_what_was_sent_before_a_pause_does_not_end_the_count(clock: Clock) -> None:
    gate = LocalGate()
    async with gate.turn() as sent_before:
        assert await gate.pause(5) == 1
        sent_before.answered(200)
    await ask(gate, 429)
    assert await gate.pause(5) == 2


async def test_several_429s_of_one_pause_count_once_and_the_longest_counts(clock: Clock) -> None:
    gate = LocalGate()
    assert [await gate.pause(seconds) for seconds in (5, 30, 5)] == [1, 1, 1]
    began = clock.now
    await ask(gate, 200)
    assert clock.now - began >= 30


async def test_a_pause_is_waited_out_to_its_last_moment(clock: Clock) -> None:
    gate = LocalGate()
    await gate.pause(0.9)
    began = clock.now
    await ask(gate, 200)
    assert clock.now - began == pytest.approx(0.9, abs=0.15)  # a spacing later at most
    assert clock.now - began >= 0.9


def test_the_numbers_are_intuits_and_leave_some_of_the_minute() -> None:
    """500 requests a minute, 10 a second, a minute after a 429 (limits page), 10 in flight (announcement)."""
    assert (PER_SECOND, IN_FLIGHT, THROTTLE_SECONDS) == (10, 10, 60)
    assert 490 <= PER_MINUTE < 500
    assert len(FIRST_CLASS) == PIPELINES
