"""Whether a server that can't be reached is waited for, or is a mistake in the settings."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import pytest

from async_extractor.errors import ConfigurationError, IncompleteError
from async_extractor.warehouse import connection as module
from async_extractor.warehouse.connection import Address, connect_first
from tests.unit.virtual_time import Clock, VirtualTimePolicy

HERE = Address("host", 5432, "db", "user", "password")


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """The tries so far: the fourth succeeds."""
    tried: list[Address] = []

    async def first(address: Address) -> str:
        tried.append(address)
        if len(tried) < 4:
            raise ConnectionRefusedError
        return "connected"

    monkeypatch.setattr(module, "_first", first)
    monkeypatch.setattr(module, "_answered", {})
    monkeypatch.setattr(module, "_unreached", {})
    monkeypatch.setattr(module, "_returned", {})
    return tried


async def test_a_server_that_was_never_reached_is_a_mistake(tries: list[Address], clock: Clock) -> None:
    with pytest.raises(ConfigurationError, match="check the POSTGRES_"):
        await connect_first(HERE, waits=True)
    assert (len(tries), clock.now) == (1, pytest.approx(0, abs=0.01))


async def test_a_server_that_restarts_is_waited_for(tries: list[Address], clock: Clock) -> None:
    module._answered[HERE] = 0.0
    assert await connect_first(HERE, waits=True) == "connected"
    assert (len(tries), clock.now) == (4, pytest.approx(1.5, abs=0.01))


async def test_a_server_that_stays_away_is_not(
    tries: list[Address], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    module._answered[HERE] = 0.0
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.9)
    with pytest.raises(IncompleteError, match="it has answered before: run again"):
        await connect_first(HERE, waits=True)


async def test_a_run_that_begins_leaves_others_time_to_return(
    tries: list[Address], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would take theirs, whose signs of life were lost with their connections, for gone."""
    tries += [HERE] * 3
    monkeypatch.setattr(module, "_returned", {HERE: clock.now - 1})
    await connect_first(HERE, waits=True)
    assert clock.now == pytest.approx(module.OTHERS_RETURN_SECONDS - 1, abs=0.01)


async def test_since_when_a_server_is_away(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since the first try that failed after one that didn't; a refusal is an answer, and old tries say nothing."""
    monkeypatch.setattr(module, "_unreached", {})
    ends: list[BaseException | None] = []

    async def connected(_address: Address) -> str:
        if (error := ends.pop()) is not None:
            raise error
        return "connected"

    async def tried(end: BaseException | None) -> float | None:
        ends.append(end)
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            await module._opened(HERE)
        await asyncio.sleep(10)
        return module.away_since(HERE)

    monkeypatch.setattr(module, "_by_any_password", connected)
    assert await tried(asyncpg.TooManyConnectionsError("sorry")) is None
    assert await tried(ConnectionRefusedError()) == pytest.approx(10, abs=0.01)
    assert await tried(ConnectionRefusedError()) == pytest.approx(10, abs=0.01)
    assert await tried(None) is None
    assert await tried(ConnectionRefusedError()) == pytest.approx(40, abs=0.01)
    await asyncio.sleep(module.OUTAGE_GAP_SECONDS)
    assert module.away_since(HERE) is None


@pytest.mark.parametrize("at_work", [True, False])
async def test_connections_at_work_are_not_cut(clock: Clock, monkeypatch: pytest.MonkeyPatch, at_work: bool) -> None:
    """Where only new ones have to wait, as before a proxy that has its most."""

    class Connected:
        cut = False

        def terminate(self) -> None:
            self.cut = True

    async def nothing(_address: Address) -> bool:
        return False

    connected = Connected()
    monkeypatch.setattr(module, "_answers", nothing)
    monkeypatch.setattr(module, "_answered", {})
    monkeypatch.setattr(module, "_connections", {connected: (asyncio.get_running_loop(), HERE)})
    async with module.cut_when_silent(HERE):
        for _ in range(20):
            await asyncio.sleep(5)
            if at_work:
                module._answered[HERE] = clock.now
    assert connected.cut is not at_work
