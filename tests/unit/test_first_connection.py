"""Whether a server that can't be reached is waited for, or is a mistake in the settings."""

from __future__ import annotations

import pytest

from async_extractor.errors import ConfigurationError
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
    monkeypatch.setattr(module, "_reached", set())
    return tried


async def test_a_server_that_was_never_reached_is_a_mistake(tries: list[Address], clock: Clock) -> None:
    with pytest.raises(ConfigurationError, match="check the POSTGRES_"):
        await connect_first(HERE)
    assert (len(tries), clock.now) == (1, pytest.approx(0, abs=0.01))


async def test_a_server_that_restarts_is_waited_for(tries: list[Address], clock: Clock) -> None:
    module._reached.add(HERE)
    assert await connect_first(HERE) == "connected"
    assert (len(tries), clock.now) == (4, pytest.approx(1.5, abs=0.01))


async def test_a_server_that_stays_away_is_not(
    tries: list[Address], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    module._reached.add(HERE)
    monkeypatch.setattr(module, "RESTART_SECONDS", 0.9)
    with pytest.raises(ConfigurationError, match="check the POSTGRES_"):
        await connect_first(HERE)
