"""Postgres' clock is set back: what was dated by the old one holds nobody up, and no quota is passed for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from async_extractor.events import Events
from async_extractor.qbo.limits import PER_MINUTE
from tests.support.backfilling import Recorder
from tests.support.limiters import Company, ask, company_on, throttled

# What a clock that is set back by an hour leaves behind.
AN_HOUR_AHEAD = """
    UPDATE ops.turns SET moment = moment + interval '1 h', arrived_by = arrived_by + interval '1 h';
    UPDATE ops.budget SET next_slot_at = next_slot_at + interval '1 h', paused_until = paused_until + interval '1 h',
                          open_since = open_since + interval '1 h';
    UPDATE ops.waiting SET asked_at = asked_at + interval '1 h'"""


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    async with company_on(database) as company:
        yield company


async def test_turns_of_before_hold_nobody_up_and_it_is_told(company: Company) -> None:
    told = Recorder()
    limiter = company.limiter(events=Events([told]))
    for _ in range(5):
        await ask(limiter)
    await company.sql.execute(AN_HOUR_AHEAD)
    await asyncio.wait_for(ask(limiter), 5)
    await ask(limiter)
    (event,) = told.named("clock_set_back")
    assert event.level == "warning"


async def test_requests_of_the_last_minute_still_count(company: Company) -> None:
    await company.past_requests(PER_MINUTE, answered_ago=1)
    await company.sql.execute(AN_HOUR_AHEAD)
    await company.sql.execute("INSERT INTO ops.budget (realm_id) SELECT realm_id FROM ops.turns LIMIT 1")
    assert 59 < (await company.next_turn() or 0) < 62


async def test_a_pause_of_before_lasts_no_longer_than_it_was_to_last(company: Company) -> None:
    limiter = company.limiter()
    await ask(limiter, throttled(2))
    await company.sql.execute(AN_HOUR_AHEAD)
    began = asyncio.get_running_loop().time()
    assert 1.5 < await asyncio.wait_for(ask(limiter), 10) - began < 5


async def test_a_long_pause_is_no_clock_that_was_set(company: Company) -> None:
    told = Recorder()
    limiter = company.limiter(events=Events([told]))
    await ask(limiter, throttled(3600))
    assert 3590 < (await company.next_turn() or 0) <= 3601
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(ask(limiter), 0.5)
    assert told.named("clock_set_back") == []


async def test_who_left_the_queue_before_does_not_block_it(company: Company) -> None:
    holder, gone, next_one = (company.limiter(places=1) for _ in range(3))
    async with holder.permit() as permit:
        waiting = asyncio.ensure_future(ask(gone))
        await company.until("SELECT count(*) = 1 FROM ops.waiting")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await company.sql.execute(AN_HOUR_AHEAD)
        permit.answered(None)
    await asyncio.wait_for(ask(next_one), 5)
