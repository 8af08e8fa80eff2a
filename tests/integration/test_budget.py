"""The shared limiter on a real Postgres: what it hands out, over any minute, any second and in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from async_extractor.qbo.limits import PER_MINUTE, PER_SECOND
from tests.support.limiters import REALM, Company, company_on


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    async with company_on(database) as company:
        yield company


async def test_a_minute_that_is_full_is_waited_out_to_the_moment(company: Company) -> None:
    await company.past_requests(PER_MINUTE, answered_ago=30)
    assert await company.after_the_past() == 60.02


async def test_one_request_less_and_the_next_goes_at_once(company: Company) -> None:
    await company.past_requests(PER_MINUTE - 1, answered_ago=30)
    assert await company.next_turn() == 0


async def test_a_request_counts_from_its_answer_since_nobody_knows_when_it_arrived(company: Company) -> None:
    await company.past_requests(PER_MINUTE, answered_ago=20, taking=50)
    assert await company.after_the_past() == 60.02


async def test_a_second_holds_ten_and_the_eleventh_waits_until_one_has_left_it(company: Company) -> None:
    moments = [
        await company.value(
            "SELECT moment FROM ops.take_turn($1, 60000, $2, 100, interval '0.18 s')", REALM, PER_SECOND
        )
        for _ in range(PER_SECOND + 1)
    ]
    # None is answered: each is taken to have arrived 0.18 s after its moment.
    assert (moments[-1] - moments[0]).total_seconds() == 1.2


async def test_over_any_second_no_more_than_ten_turns_begin_however_many_ask(company: Company) -> None:
    began: list[float] = []
    loop = asyncio.get_running_loop()

    async def process() -> None:
        # A pace that the second alone holds back.
        limiter = company.limiter(per_minute=6000)

        async def worker() -> None:
            while len(began) < 35:
                async with limiter.permit() as permit:
                    began.append(loop.time())
                    permit.answered(None)

        await asyncio.gather(*(worker() for _ in range(5)))

    await asyncio.gather(*(process() for _ in range(4)))
    began.sort()
    worst = max(sum(first <= moment < first + 1 for moment in began) for first in began)
    assert worst <= PER_SECOND
    assert await company.requests() == len(began)


async def test_no_more_than_the_places_are_in_flight_over_all_processes(company: Company) -> None:
    in_flight, most, done = 0, 0, 0

    async def process() -> None:
        limiter = company.limiter(per_minute=6000, places=4)

        async def worker() -> None:
            nonlocal in_flight, most, done
            while done < 20:
                async with limiter.permit() as permit:
                    in_flight += 1
                    most = max(most, in_flight)
                    await asyncio.sleep(0.1)
                    in_flight -= 1
                    done += 1
                    permit.answered(None)

        await asyncio.gather(*(worker() for _ in range(4)))

    await asyncio.gather(*(process() for _ in range(3)))
    assert most == 4


async def test_requests_are_counted_for_each_company_and_month(company: Company) -> None:
    limiter = company.limiter(per_minute=6000)
    for _ in range(7):
        async with limiter.permit() as permit:
            permit.answered(None)
    rows = await company.sql.fetch(
        "SELECT realm_id, month = date_trunc('month', now())::date AS now, requests FROM ops.usage"
    )
    assert [tuple(row) for row in rows] == [(REALM, True, 7)]


async def test_two_companies_have_a_budget_each(company: Company) -> None:
    await company.past_requests(PER_MINUTE, answered_ago=1)
    other = await company.value(
        "SELECT moment - clock = interval '0' FROM ops.take_turn('99999999', 494, 10, 10, interval '0.18 s')"
    )
    assert other is True
    assert await company.next_turn() > 55
