"""Processes that share the limiter take turns, and one that waits costs hardly anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from async_extractor.limits import LOOK_AGAIN_SECONDS
from async_extractor.qbo.limits import IN_FLIGHT, PER_MINUTE, PER_SECOND
from async_extractor.warehouse.limits import Turns
from async_extractor.warehouse.shared_connection import CompanyConnection
from tests.support.limiters import Company, company_on


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    async with company_on(database) as company:
        yield company


class Asker:
    """A process that asks and gives back step by step."""

    def __init__(self, connection: CompanyConnection) -> None:
        self._connection = connection
        self._turn: int | None = None

    async def asks(self, places: int = IN_FLIGHT) -> float | None:
        """The moment that it is given, None when it is told to wait."""
        row = await Turns(self._connection, PER_MINUTE, PER_SECOND, places).take(None)
        self._turn = row["turn"]
        return None if self._turn is None else float(row["moment"])

    async def is_answered(self) -> None:
        assert self._turn is not None
        turns = Turns(self._connection, PER_MINUTE, PER_SECOND, IN_FLIGHT)
        await turns.end(self._turn, "taken", "", None, 8, 15, 60, 60, 5)


async def test_of_those_who_wait_for_a_place_the_first_is_the_first_and_none_takes_two_meanwhile(
    company: Company,
) -> None:
    a, b, c = (Asker(company.counted()[1]) for _ in range(3))
    assert await a.asks(places=2) is not None
    assert await b.asks(places=2) is not None
    assert await c.asks(places=2) is None
    for served, next_one in ((a, c), (b, a), (c, b), (a, c), (b, a)):
        await served.is_answered()
        # It wants another turn at once, but somebody has waited longer.
        assert await served.asks(places=2) is None
        assert await next_one.asks(places=2) is not None


async def test_turns_are_dated_in_the_order_of_asking(company: Company) -> None:
    askers = [Asker(company.counted()[1]) for _ in range(3)]
    moments = [await asker.asks() for _ in range(3) for asker in askers]
    assert None not in moments
    assert moments == sorted(moments, key=lambda moment: moment or 0)


async def test_a_process_asks_for_one_turn_at_a_time_whatever_its_concurrency(company: Company) -> None:
    limiter, other = company.limiter(per_minute=6), company.limiter(per_minute=6)
    async with limiter.permit() as permit:
        permit.answered(None)
    waiting = [asyncio.ensure_future(limiter.permit().__aenter__()) for _ in range(8)]
    waiting.append(asyncio.ensure_future(other.permit().__aenter__()))
    await company.until("SELECT requests >= 3 FROM ops.usage")
    await asyncio.sleep(0.5)
    assert await company.requests() == 3
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_process_that_waits_for_a_place_asks_once_a_second_and_is_told_when_one_is_free(
    company: Company,
) -> None:
    first, second = company.limiter(places=1), company.counted(places=1)
    async with first.permit() as permit:
        waiting = asyncio.ensure_future(second[0].permit().__aenter__())
        await asyncio.sleep(2.5 * LOOK_AGAIN_SECONDS)
        assert 1 <= second[1].calls <= 4
        permit.answered(None)
    await waiting
