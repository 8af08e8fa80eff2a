"""The shared limiter after a 429: everybody waits, one request probes, and the pace comes back gently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from async_extractor.events import Events
from async_extractor.limits import SharedLimiter
from async_extractor.qbo.breaker import Pauses
from async_extractor.qbo.faults import UnavailableFault
from tests.support.backfilling import Recorder
from tests.support.limiters import Company, ask, company_on, throttled


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    async with company_on(database) as company:
        yield company


async def test_a_429_pauses_all_processes_also_those_that_have_a_turn_already(company: Company) -> None:
    limiters = [company.limiter(per_minute=100) for _ in range(3)]  # far apart: each holds one that is to come
    async with limiters[0].permit() as permit:
        waiting = [asyncio.ensure_future(ask(limiter)) for limiter in limiters]
        await company.until("SELECT requests = 4 FROM ops.usage")
        permit.answered(throttled(3))
    paused = asyncio.get_running_loop().time()
    assert min(await asyncio.gather(*waiting)) >= paused + 2.9


async def test_each_process_tells_the_pause_once(company: Company) -> None:
    told = [Recorder() for _ in range(3)]
    limiters = [company.limiter(events=Events([heard])) for heard in told]
    for limiter in limiters:
        await ask(limiter)
    async with limiters[0].permit() as first, limiters[0].permit() as second:
        first.answered(throttled(1))
        second.answered(throttled(1))
    await asyncio.gather(*(ask(limiter) for limiter in limiters))
    for heard in told:
        assert [event.message for event in heard.named("throttled")] == ["429: the company pauses for 1 s"]


async def test_several_429s_at_once_are_one_pause_and_the_longest_wish_counts(company: Company) -> None:
    limiter = company.limiter()
    async with limiter.permit() as first, limiter.permit() as second, limiter.permit() as third:
        first.answered(throttled(30))
        second.answered(throttled(60))
        third.answered(throttled(1))
    row = await company.sql.fetchrow("SELECT pauses_in_a_row, slowdown, open_for, failures_in_a_row FROM ops.budget")
    assert tuple(row) == (1, 2, "throttled", 0)
    assert await company.next_turn() > 55


async def test_after_a_pause_one_request_probes_and_when_it_is_taken_the_others_follow(company: Company) -> None:
    limiter = company.limiter(pauses=Pauses(throttled_again=0.1))
    await ask(limiter, throttled(0))
    async with limiter.permit() as probe:
        assert limiter.state == "half-open"
        assert await company.next_turn() is None
        probe.answered(throttled(0))
    assert await company.value("SELECT pauses_in_a_row FROM ops.budget") == 2
    async with limiter.permit() as probe:
        probe.answered(None)
    assert limiter.state == "closed"
    assert await company.next_turn() is not None
    assert await company.next_turn() is not None


async def test_pauses_grow_from_the_second_429_whatever_intuit_wishes(company: Company) -> None:
    limiter, seconds = company.limiter(), []
    for _ in range(5):
        await ask(limiter, throttled(1))
        seconds.append(float(await company.value("SELECT extract(epoch FROM pause) FROM ops.budget")))
        await company.sql.execute("UPDATE ops.budget SET paused_until = now()")
    assert seconds == [1, 5, 10, 20, 40]


async def test_what_was_sent_before_a_429_does_not_end_its_pause(company: Company) -> None:
    limiter = company.limiter()
    async with limiter.permit() as sent_before:
        await ask(limiter, throttled(60))
        sent_before.answered(None)
    assert limiter.state == "open"
    assert await company.next_turn() > 55


async def test_an_allowance_is_used_up_when_no_request_is_taken_for_too_long(company: Company) -> None:
    pauses = Pauses(throttled_again=0.1, longest=0.4, throttle_patience=2.0)
    first, second = company.limiter(pauses=pauses), company.limiter(pauses=pauses)
    await ask(first, throttled(0.1))

    sent = 0

    async def until_refused(limiter: SharedLimiter) -> None:
        nonlocal sent
        while True:
            await ask(limiter, throttled(0.1))
            sent += 1

    began = asyncio.get_running_loop().time()
    for end in await asyncio.gather(until_refused(first), until_refused(second), return_exceptions=True):
        assert isinstance(end, UnavailableFault)
        assert "monthly allowance" in str(end)
    assert asyncio.get_running_loop().time() - began >= 1.9
    assert 2 <= sent < 12


async def test_after_a_429_turns_are_twice_as_far_apart_and_draw_near_again(company: Company) -> None:
    limiter = company.limiter()
    await ask(limiter, throttled(0))
    await ask(limiter)
    slow = float(await company.value("SELECT slowdown FROM ops.budget"))
    assert 1.9 < slow < 2
    for _ in range(5):
        await ask(limiter)
    assert 1 < float(await company.value("SELECT slowdown FROM ops.budget")) < slow
