"""Safeguards of the shared limiter that show only where a request fails or nobody answers: tests/mutants lists them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from async_extractor import limits
from async_extractor.qbo.faults import TransientFault
from tests.support.limiters import Company, ask, company_on


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    async with company_on(database) as company:
        yield company


async def test_a_request_that_fails_gives_its_place_back_at_once_and_was_sent(company: Company) -> None:
    async with company.limiter(places=1).permit() as permit:
        assert await company.next_turn(places=1) is None
        permit.answered(TransientFault("reset"))
    assert await company.next_turn(places=1) is not None
    assert await company.value("SELECT count(*) FROM ops.turns WHERE arrived_by = 'infinity'") == 1, "the asker's own"
    assert await company.requests() == 2


async def test_a_permit_that_is_not_used_gives_slot_and_place_back_and_counts_for_nothing(company: Company) -> None:
    async with company.limiter(places=1).permit() as permit:
        permit.unused()
    assert await company.requests() == 0
    assert await company.next_turn(places=1) == 0


async def test_who_waits_for_a_place_is_told_and_does_not_only_look_again(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_AGAIN_SECONDS", 3600.0)
    holder, waiter = company.limiter(places=1), company.limiter(places=1)

    async with holder.permit() as permit:
        asked = asyncio.ensure_future(ask(waiter))
        await company.until("SELECT count(*) = 1 FROM ops.waiting")
        permit.answered(None)
    await asyncio.wait_for(asked, 60)


async def test_a_request_that_leaves_after_its_moment_takes_its_turn_anew_and_counts_once(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LATEST_SECONDS", -1.0)  # whoever leaves at its moment is late
    limiter, connection = company.counted()
    await ask(limiter)
    assert connection.calls == 1 + limits.MOST_RETAKES + 1, "taken, taken anew, ended"
    assert await company.requests() == 1
