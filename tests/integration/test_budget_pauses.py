"""The shared gate after a 429: everybody waits, one request probes, and the pace comes back gently."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from async_extractor.warehouse.limits import SharedGate
from tests.support.gates import Company, company_on


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    async with company_on(database) as company:
        yield company


async def test_a_429_pauses_all_processes_also_those_that_have_a_turn_already(company: Company) -> None:
    gates = [company.gate(per_minute=100) for _ in range(3)]  # far apart: each holds one that is to come
    began: list[float] = []
    loop = asyncio.get_running_loop()

    async def ask(gate: SharedGate) -> None:
        async with gate.turn() as turn:
            began.append(loop.time())
            turn.answered(200)

    await ask(gates[0])
    waiting = [asyncio.ensure_future(ask(gate)) for gate in gates]
    await company.until("SELECT requests = 4 FROM ops.usage")
    assert await gates[0].pause(3) == 1
    paused = loop.time()
    await asyncio.gather(*waiting)
    assert all(moment >= paused + 2.9 for moment in began[1:])


async def test_the_other_processes_are_told_of_a_pause_once_and_not_the_one_that_began_it(company: Company) -> None:
    told: list[list[str]] = [[], [], []]
    gates = [company.gate(paused_by_another=lambda heard=heard: heard.append("paused")) for heard in told]
    for gate in gates:
        async with gate.turn() as turn:
            turn.answered(200)
    for _ in range(3):
        await gates[0].pause(0.1)
    while not (told[1] and told[2]):  # noqa: ASYNC110 - what is waited for comes from Postgres
        await asyncio.sleep(0.01)
    assert told == [[], ["paused"], ["paused"]]


async def test_several_429s_at_once_are_one_pause(company: Company) -> None:
    gate = company.gate()
    assert [await gate.pause(60) for _ in range(5)] == [1] * 5
    assert await company.value("SELECT pauses FROM ops.budget") == 1
    assert await company.value("SELECT slowdown FROM ops.budget") == 2


async def test_a_short_pause_does_not_shorten_a_long_one(company: Company) -> None:
    gate = company.gate()
    await gate.pause(60)
    await gate.pause(1)
    assert await company.next_turn() > 55


async def test_after_a_pause_one_request_probes_and_when_it_is_taken_the_others_follow(company: Company) -> None:
    gate = company.gate()
    assert await gate.pause(0) == 1
    async with gate.turn() as probe:
        assert await company.next_turn() is None
        probe.answered(429)
    assert await gate.pause(0) == 2
    async with gate.turn() as probe:
        probe.answered(200)
    assert await gate.pause(0) == 1


async def test_after_a_429_turns_are_twice_as_far_apart_and_draw_near_again(company: Company) -> None:
    gate = company.gate()
    await gate.pause(0)
    async with gate.turn() as probe:
        probe.answered(200)
    slow = float(await company.value("SELECT slowdown FROM ops.budget"))
    assert 1.9 < slow < 2
    for _ in range(5):
        async with gate.turn() as turn:
            turn.answered(200)
    assert 1 < float(await company.value("SELECT slowdown FROM ops.budget")) < slow
