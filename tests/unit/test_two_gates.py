"""A process's own gate before the shared one: what the first holds back never asks the second."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from async_extractor.qbo.limits import LocalTurn, TwoGates


class Noted:
    """A gate that notes who comes and goes."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self._name = name
        self._notes = notes

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[LocalTurn]:
        self._notes.append(f"into {self._name}")
        turn = LocalTurn()
        yield turn
        self._notes.append(f"out of {self._name}, {turn.status}")

    async def pause(self, seconds: float) -> int:
        self._notes.append(f"{self._name} pauses {seconds}")
        return 7


async def test_the_own_gate_comes_first_and_the_shared_one_hears_the_answer() -> None:
    notes: list[str] = []
    async with TwoGates(Noted("own", notes), Noted("shared", notes)).turn() as turn:
        turn.answered(404)
    assert notes == ["into own", "into shared", "out of shared, 404", "out of own, 200"]


async def test_a_pause_is_the_shared_gates_and_so_is_its_count() -> None:
    notes: list[str] = []
    assert await TwoGates(Noted("own", notes), Noted("shared", notes)).pause(60) == 7
    assert notes == ["shared pauses 60"]
