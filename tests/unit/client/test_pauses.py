"""What a query does to all others: 429 pauses them, an outage opens the breaker, a place in flight comes back."""

from __future__ import annotations

import asyncio

import pytest

from async_extractor.qbo.client import Patience, Spent
from async_extractor.qbo.faults import (
    TransientFault,
    UnavailableFault,
)
from async_extractor.qbo.limits import IN_FLIGHT, SPACING
from tests.unit.client.query_endpoint import ASKED, GOOD, World


async def test_a_429_with_retry_after_pauses_so_long_and_then_succeeds(world: World) -> None:
    world.answer({"status": 429, "headers": {"Retry-After": "7"}}, GOOD)
    assert (await world.fetch()).page.rows == 1
    assert 7 <= world.clock.now < 8
    assert (world.spent.requests, world.spent.retries, world.spent.throttled) == (2, 1, 1)
    assert world.breaker.state == "closed"


async def test_a_429_without_retry_after_pauses_a_minute(world: World) -> None:
    world.answer({"status": 429}, GOOD)
    await world.fetch()
    assert 60 <= world.clock.now < 64


async def test_a_429_pauses_everyone(world: World) -> None:
    world.answer({"status": 429}, *[GOOD] * 30)
    began: list[float] = []

    async def another() -> None:
        await asyncio.sleep(2)
        await world.client.fetch(ASKED, Spent())
        began.append(world.clock.now)

    await asyncio.gather(world.fetch(), *(another() for _ in range(15)))
    assert min(began) >= 60
    assert len(world.requests) == 17


async def test_a_429_that_never_ends_is_said_to_be_the_monthly_allowance_and_ends_the_run(world: World) -> None:
    world.answer(*[{"status": 429, "body": "<Error code='3001'/>"}] * 60)
    with pytest.raises(UnavailableFault, match="monthly allowance") as fault:
        await world.fetch()
    assert "it can be resumed" in str(fault.value)
    assert world.spent.requests == world.spent.throttled == 5
    assert 4 * 60 <= world.clock.now < 5 * 60


async def test_workers_whose_requests_were_under_way_in_the_same_429_pause_once(world: World) -> None:
    world.answer(*[{"status": 429, "after": 2}] * 5, *[GOOD] * 5)
    spent = [Spent() for _ in range(5)]
    await asyncio.gather(*(world.client.fetch(ASKED, each) for each in spent))
    assert [(each.requests, each.throttled) for each in spent] == [(2, 1)] * 5
    assert 62 <= world.clock.now < 70


async def test_every_try_has_its_own_turn_of_the_gate(world: World) -> None:
    world.answer(*[{"status": 503}, GOOD, {"exception": OSError()}, GOOD, {"status": 504}, GOOD])
    await asyncio.gather(*(world.client.fetch(ASKED, Spent()) for _ in range(3)))
    sent = [call["at"] for call in world.requests]
    assert len(sent) == 6
    assert all(b - a >= SPACING - 0.001 for a, b in zip(sent, sent[1:], strict=False))


async def test_no_more_than_intuit_allows_are_in_flight(world: World) -> None:
    world.answer(*[{**GOOD, "after": 20}] * 25)
    await asyncio.gather(*(world.client.fetch(ASKED, Spent()) for _ in range(25)))
    sent = [call["at"] for call in world.requests]
    assert max(sum(at <= other < at + 20 for other in sent) for at in sent) == IN_FLIGHT


async def test_in_an_outage_the_breaker_opens_and_waiting_requests_hold_no_place_in_flight(world: World) -> None:
    world.answer(*[{"status": 503}] * 60)
    await asyncio.gather(*(world.fetch() for _ in range(2)), return_exceptions=True)
    assert world.breaker.state == "open"
    waiting = [asyncio.ensure_future(world.fetch()) for _ in range(20)]
    await asyncio.sleep(1)
    before = world.clock.now
    async with world.gate.turn():
        assert world.clock.now - before < 1
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_an_outage_of_a_minute_is_survived(world: World) -> None:
    world.down_until = 60
    world.answer(*[GOOD] * 10)
    answers = await asyncio.gather(*(world.client.fetch(ASKED, world.spent, Patience()) for _ in range(10)))
    assert [answer.page.rows for answer in answers] == [1] * 10
    assert world.spent.requests < 40


async def test_an_outage_without_end_ends_the_run_resumable(world: World) -> None:
    world.down_until = 1e9
    ends = await asyncio.gather(
        *(world.client.fetch(ASKED, world.spent, Patience()) for _ in range(10)), return_exceptions=True
    )
    assert {type(end) for end in ends} == {UnavailableFault}
    assert world.clock.now < 1000
    assert world.spent.requests < 60


async def test_a_probe_that_is_cancelled_does_not_hold_the_others_up(world: World) -> None:
    for _ in range(8):
        world.breaker.failed(TransientFault("QuickBooks answered HTTP 503"))
    world.answer({**GOOD, "after": 10_000}, GOOD)
    probe = asyncio.ensure_future(world.fetch())
    await asyncio.sleep(20)
    assert world.breaker.state == "half-open"
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    at = world.clock.now
    assert (await world.fetch()).page.rows == 1
    assert world.clock.now - at < 1
    assert world.breaker.state == "closed"


async def test_a_request_that_is_cancelled_gives_its_place_in_flight_back(world: World) -> None:
    world.answer(*[{**GOOD, "after": 10_000}] * IN_FLIGHT, GOOD)
    hanging = [asyncio.ensure_future(world.fetch()) for _ in range(IN_FLIGHT)]
    await asyncio.sleep(10)
    for task in hanging:
        task.cancel()
    await asyncio.gather(*hanging, return_exceptions=True)
    at = world.clock.now
    assert (await world.fetch()).page.rows == 1
    assert world.clock.now - at < 1
