"""Safeguards of the shared gate that show only where a request fails or nobody answers: tests/mutants lists them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from async_extractor.warehouse import limits
from async_extractor.warehouse.limits import SharedGate
from tests.support.gates import Company, company_on


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    async with company_on(database) as company:
        yield company


async def fail(gate: SharedGate, company: Company, answered: int | None) -> None:
    async with gate.turn() as turn:
        if answered is not None:
            turn.answered(answered)
        assert await company.next_turn(places=1) is None
        raise ConnectionResetError


@pytest.mark.parametrize("answered", [None, 503])
async def test_a_request_that_fails_gives_its_place_back_at_once_and_was_sent(
    company: Company, answered: int | None
) -> None:
    with pytest.raises(ConnectionResetError):
        await fail(company.gate(places=1), company, answered)
    assert await company.next_turn(places=1) is not None
    assert await company.value("SELECT count(*) FROM ops.turns WHERE arrived_by = 'infinity'") == 1, "the asker's own"
    assert await company.requests() == 2


async def test_who_waits_for_a_place_is_told_and_does_not_only_look_again(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LOOK_AGAIN_SECONDS", 3600.0)
    holder, waiter = company.gate(places=1), company.gate(places=1)

    async def ask() -> None:
        async with waiter.turn():
            pass

    async with holder.turn():
        asked = asyncio.ensure_future(ask())
        await company.until("SELECT count(*) = 1 FROM ops.waiting")
    await asyncio.wait_for(asked, 60)


async def test_a_request_that_leaves_after_its_moment_takes_its_turn_anew_and_counts_once(
    company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LATEST_SECONDS", -1.0)  # whoever leaves at its moment is late
    gate, connection = company.counted()
    async with gate.turn():
        pass
    assert connection.calls == 1 + limits.MOST_RETAKES + 1, "taken, taken anew, ended"
    assert await company.requests() == 1
