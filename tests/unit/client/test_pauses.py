"""What a query does to all others: 429 pauses them, an outage opens the breaker, a place in flight comes back."""

from __future__ import annotations

import asyncio

import pytest

from async_extractor.qbo.client import Patience, Spent
from async_extractor.qbo.faults import StoppedFault, TransientFault, UnavailableFault
from async_extractor.qbo.limits import IN_FLIGHT, SPACING
from tests.unit.client.query_endpoint import ASKED, GOOD, World


async def test_a_429_with_retry_after_pauses_so_long_and_then_succeeds(world: World) -> None:
    world.answer({"status": 429, "headers": {"Retry-After": "7"}}, GOOD)
    assert (await world.fetch()).page.rows == 1
    assert 7 <= world.clock.now < 8
    assert (world.spent.requests, world.spent.retries, world.spent.throttled) == (2, 1, 1)
    assert world.limiter.state == "closed"


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


async def test_workers_whose_requests_were_under_way_in_the_same_429_pause_once(world: World) -> None:
    world.answer(*[{"status": 429, "after": 2}] * 5, *[GOOD] * 5)
    spent = [Spent() for _ in range(5)]
    await asyncio.gather(*(world.client.fetch(ASKED, each) for each in spent))
    assert [(each.requests, each.throttled) for each in spent] == [(2, 1)] * 5
    assert 62 <= world.clock.now < 70


async def test_every_try_has_a_permit_of_its_own(world: World) -> None:
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


async def test_a_429_that_never_ends_is_said_to_be_the_monthly_allowance_after_ten_minutes(world: World) -> None:
    world.answer(*[{"status": 429, "body": "<Error code='3001'/>", "headers": {"Retry-After": "1"}}] * 60)
    with pytest.raises(UnavailableFault, match="monthly allowance") as fault:
        await world.fetch()
    assert "it can be resumed" in str(fault.value)
    assert world.clock.now == pytest.approx(600, abs=1)
    assert world.spent.requests == world.spent.throttled < 20


async def test_short_429s_that_end_in_time_are_waited_out(world: World) -> None:
    world.answer(*[{"status": 429, "headers": {"Retry-After": "1"}}] * 8, GOOD)
    assert (await world.fetch()).page.rows == 1
    assert world.clock.now < 600


async def test_a_probe_that_is_cancelled_does_not_hold_the_others_up(world: World) -> None:
    world.answer(*[{"status": 503}] * 8, {**GOOD, "after": 10_000}, GOOD)
    probe = asyncio.ensure_future(world.client.fetch(ASKED, world.spent, Patience()))
    while world.limiter.state != "half-open":  # noqa: ASYNC110 - the state is what is waited for
        await asyncio.sleep(1)
    await asyncio.sleep(10)
    probe.cancel()
    await asyncio.gather(probe, return_exceptions=True)
    at = world.clock.now
    assert (await world.fetch()).page.rows == 1
    assert world.clock.now - at < 1
    assert world.limiter.state == "closed"


@pytest.mark.parametrize("trouble", ["an outage", "a pause after 429", "a slow answer", "a slow token"])
async def test_a_stop_is_heard_at_once_whatever_is_waited_for(world: World, trouble: str) -> None:
    world.answer(*{
        "an outage": [{"status": 503}] * 60,
        "a pause after 429": [{"status": 429}] * 60,
        "a slow answer": [{**GOOD, "after": 140}] * 60,
        "a slow token": [GOOD] * 60,
    }[trouble])  # fmt: skip
    world.tokens.seconds = 1000.0 if trouble == "a slow token" else 0.0
    asking = [asyncio.ensure_future(world.client.fetch(ASKED, Spent(), Patience())) for _ in range(4)]
    await asyncio.sleep(100)
    at = world.clock.now
    world.stop.set()
    ends = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(end) for end in ends} == {StoppedFault}
    assert world.clock.now - at < 0.1
    with pytest.raises(StoppedFault):
        await world.fetch()


async def test_a_permit_that_waited_for_a_token_is_given_up_for_one_that_is_in_time(world: World) -> None:
    world.tokens.seconds = 3.0
    world.answer(GOOD)
    await world.fetch()
    (sent,) = world.requests
    assert sent["at"] == pytest.approx(3 + SPACING, abs=SPACING)
    assert world.spent.wait_seconds >= 0


async def test_a_token_endpoint_that_is_down_opens_the_circuit_and_is_probed_as_gently(world: World) -> None:
    world.tokens.troubles = [TransientFault("Intuit's token endpoint answered HTTP 503")] * 12
    world.answer(*[GOOD] * 4)
    answers = await asyncio.gather(*(world.client.fetch(ASKED, world.spent, Patience()) for _ in range(4)))
    assert [answer.page.rows for answer in answers] == [1] * 4
    assert world.clock.now > 15 + 30 + 60
