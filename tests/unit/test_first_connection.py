"""Whether a server that can't be reached is waited for, or is a mistake in the settings."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest

from async_extractor.errors import ConfigurationError, IncompleteError
from async_extractor.warehouse import connection, first_connection, reach
from async_extractor.warehouse.connection import Address
from async_extractor.warehouse.first_connection import connect_first
from tests.unit.virtual_time import Clock, VirtualTimePolicy

HERE = Address("host", 5432, "db", "user", "password")


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> reach.Reach:
    """Of the server HERE: nothing yet."""
    monkeypatch.setattr(reach, "_known", defaultdict(reach.Reach))
    return reach.reach(HERE)


@pytest.fixture
def tries(known: reach.Reach, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[Address]:
    """The tries so far: the fourth succeeds."""
    tried: list[Address] = []

    async def first(address: Address) -> str:
        tried.append(address)
        if len(tried) < 4:
            raise ConnectionRefusedError
        return "connected"

    monkeypatch.setattr(first_connection, "_first", first)
    return tried


async def test_a_server_that_was_never_reached_is_a_mistake(tries: list[Address], clock: Clock) -> None:
    with pytest.raises(ConfigurationError, match="check the POSTGRES_"):
        await connect_first(HERE, waits=True)
    assert (len(tries), clock.now) == (1, pytest.approx(0, abs=0.01))


async def test_a_server_that_restarts_is_waited_for(tries: list[Address], clock: Clock, known: reach.Reach) -> None:
    known.answered = 0.0
    assert await connect_first(HERE, waits=True) == "connected"
    assert (len(tries), clock.now) == (4, pytest.approx(1.5, abs=0.01))


async def test_a_server_that_stays_away_is_not(
    tries: list[Address], known: reach.Reach, monkeypatch: pytest.MonkeyPatch
) -> None:
    known.answered = 0.0
    monkeypatch.setattr(first_connection, "RESTART_SECONDS", 0.9)
    with pytest.raises(IncompleteError, match="it has answered before: run again"):
        await connect_first(HERE, waits=True)


async def test_a_run_that_begins_leaves_others_time_to_return(
    tries: list[Address], clock: Clock, known: reach.Reach
) -> None:
    """Else it would take theirs, whose signs of life were lost with their connections, for gone."""
    tries += [HERE] * 3
    known.returned = clock.now - 1
    await connect_first(HERE, waits=True)
    assert clock.now == pytest.approx(first_connection.OTHERS_RETURN_SECONDS - 1, abs=0.01)


async def test_since_when_a_server_is_away(known: reach.Reach, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Since the first try that failed after one that didn't; a refusal is an answer, and old tries say nothing."""
    ends: list[BaseException | None] = []

    async def connected(_address: Address) -> SimpleNamespace:
        if (error := ends.pop()) is not None:
            raise error
        return SimpleNamespace(set_type_codec=nothing)

    async def nothing(*_values: Any, **_options: Any) -> None:
        pass

    async def tried(end: BaseException | None) -> float | None:
        ends.append(end)
        with contextlib.suppress(OSError, asyncpg.PostgresError):
            await connection.connect(HERE)
        await asyncio.sleep(10)
        return known.away_since

    monkeypatch.setattr(connection, "_by_any_password", connected)
    monkeypatch.setattr(connection, "pin_settings", nothing)
    assert await tried(asyncpg.TooManyConnectionsError("sorry")) is None
    assert await tried(ConnectionRefusedError()) == pytest.approx(10, abs=0.01)
    assert await tried(ConnectionRefusedError()) == pytest.approx(10, abs=0.01)
    assert await tried(None) is None
    assert await tried(ConnectionRefusedError()) == pytest.approx(40, abs=0.01)
    await asyncio.sleep(reach.OUTAGE_GAP_SECONDS)
    assert known.away_since is None


@pytest.mark.parametrize("at_work", [True, False])
async def test_connections_at_work_are_not_cut(
    known: reach.Reach, clock: Clock, monkeypatch: pytest.MonkeyPatch, at_work: bool
) -> None:
    """Where only new ones have to wait, as before a proxy that has its most."""

    class Connected:
        cut = False

        def terminate(self) -> None:
            self.cut = True

    async def nothing(_address: Address) -> bool:
        return False

    connected = Connected()
    monkeypatch.setattr(connection, "_answers", nothing)
    monkeypatch.setattr(connection, "_connections", {connected: (asyncio.get_running_loop(), HERE)})
    async with connection.cut_when_silent(HERE):
        for _ in range(20):
            await asyncio.sleep(5)
            if at_work:
                known.answered = clock.now
    assert connected.cut is not at_work


class Silent:
    """A connection of which the login was answered and nothing else; `logger` is told of its queries."""

    terminated = False

    def get_server_version(self) -> SimpleNamespace:
        return SimpleNamespace(major=16)

    def add_query_logger(self, logger: Callable[[Any], None]) -> None:
        self.logger = logger

    async def execute(self, _query: str) -> None:
        await asyncio.sleep(3600)

    def terminate(self) -> None:
        self.terminated = True


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Silent:
    silent = Silent()

    async def connected(**_options: Any) -> Silent:
        return silent

    monkeypatch.setattr(asyncpg, "connect", connected)
    return silent


async def test_a_pooler_that_answers_a_login_by_itself_is_no_server(
    silent: Silent, known: reach.Reach, clock: Clock
) -> None:
    assert not await connection._answers(HERE)
    assert silent.terminated
    assert known.answered is None


async def test_a_session_behind_such_a_pooler_is_not_waited_for(
    silent: Silent, known: reach.Reach, clock: Clock
) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await connection.connect(HERE)
    assert silent.terminated
    assert (known.answered, known.away_since) == (None, pytest.approx(connection.CONNECT_SECONDS, abs=0.01))


async def test_a_query_that_failed_is_no_answer(silent: Silent, known: reach.Reach) -> None:
    await connection._by_any_password(HERE)
    silent.logger(SimpleNamespace(exception=TimeoutError()))
    assert known.answered is None
    silent.logger(SimpleNamespace(exception=None))
    assert known.answered is not None
