"""How long a lost database is waited for, on a clock that needs no waiting and with connections that only pretend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from async_extractor.errors import BackfillError
from async_extractor.events import Events
from async_extractor.warehouse import session as module
from async_extractor.warehouse.connection import Address
from async_extractor.warehouse.failures import in_one_line
from async_extractor.warehouse.failures import told as told_of
from async_extractor.warehouse.reach import Reach
from async_extractor.warehouse.session import NoConnectionLeft, Session, WarehouseLost
from async_extractor.warehouse.shared_connection import CompanyConnection
from tests.support.backfilling import Recorder
from tests.unit.virtual_time import Clock, VirtualTimePolicy

LOST = asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
CANCELLED = asyncpg.QueryCanceledError("canceling statement due to statement timeout")
READ_ONLY = asyncpg.ReadOnlySQLTransactionError("cannot execute INSERT in a read-only transaction")
FULL = asyncpg.TooManyConnectionsError("sorry, too many clients already")


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


class Connection:
    closed = False

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True


class Server:
    """Gives connections, unless it has `troubles` to tell first: each is raised once, or for ever."""

    def __init__(self) -> None:
        self.given = 0
        self.troubles: list[BaseException] = []
        self.down: BaseException | None = None

    async def connect(self, _: Address) -> Connection:
        if self.down is not None:
            raise self.down
        if self.troubles:
            raise self.troubles.pop(0)
        self.given += 1
        return Connection()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    server = Server()
    monkeypatch.setattr(module, "connect", server.connect)
    return server


@pytest.fixture
def told() -> Recorder:
    return Recorder()


@pytest.fixture
def session(server: Server, told: Recorder, clock: Clock) -> Session:
    return Session(Address("host", 5432, "db", "user", "password"), Events([told]))


def steps(*steps: tuple[float, object]) -> Callable[[Any], Awaitable[object]]:
    """Work that takes so long and then fails, or comes to something, one step a try; the last for ever."""
    left = list(steps)

    async def work(_: Any) -> object:
        seconds, end = left.pop(0) if len(left) > 1 else left[0]
        await asyncio.sleep(seconds)
        if isinstance(end, BaseException):
            raise end
        return end

    return work


async def test_a_lost_connection_is_replaced_and_the_work_done_again(
    session: Session, server: Server, told: Recorder
) -> None:
    assert await session.do(steps((0, LOST), (0, LOST), (0, "done"))) == "done"
    assert server.given == 3
    assert len(told.named("database_retry")) == 2


async def test_an_outage_is_waited_for_a_minute_and_a_half_in_growing_pauses(
    session: Session, server: Server, clock: Clock, told: Recorder
) -> None:
    server.down = ConnectionRefusedError()
    with pytest.raises(WarehouseLost, match=r"was lost \(ConnectionRefusedError\), for 90 s"):
        await session.do(steps((0, "done")))
    assert clock.now == pytest.approx(93, abs=4)
    assert len(told.named("database_retry")) < 30


async def test_what_a_lost_connection_held_is_given_back_by_nobody(session: Session, server: Server) -> None:
    """A run that has been told to stop would wait for the server to come back."""
    await session.do(steps((0, "done")))
    await session.give_back(steps((0, LOST)))
    server.down = ConnectionRefusedError()
    await session.give_back(steps((0, ValueError())))
    assert server.given == 1


async def test_what_somebody_ends_each_time_is_not_tried_for_ever(session: Session, server: Server) -> None:
    """As a guard does with statements that take longer than so many seconds."""
    with pytest.raises(WarehouseLost, match="57014"):
        await session.do(steps((20, CANCELLED)))
    assert server.given <= module.MOST_AT_WORK + 1


async def test_a_server_that_has_been_away_for_the_patience_is_not_waited_for_again(
    session: Session, server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run writes at its end would each wait as long."""
    server.down = ConnectionRefusedError()
    monkeypatch.setattr(module, "reach", lambda _address: Reach(_failing=(clock.now - 91, clock.now)))
    with pytest.raises(WarehouseLost):
        await session.do(steps((0, "done")))
    assert clock.now < 1


async def test_a_database_that_was_given_up_is_waited_for_by_nobody_else(server: Server, clock: Clock) -> None:
    """Ten requests that end one after the other would each wait as long again."""
    company = CompanyConnection(Address("host", 5432, "db", "user", "password"), "1", Events())
    server.down = ConnectionRefusedError()
    ended = await asyncio.gather(*(company.call("return_turn") for _ in range(3)), return_exceptions=True)
    assert [type(one) for one in ended] == [WarehouseLost] * 3
    assert clock.now == pytest.approx(93, abs=4)


async def test_patience_counts_from_the_first_failure_and_not_from_the_first_try(
    session: Session, clock: Clock
) -> None:
    """To wait for another's chunk for minutes is no outage, and one failure after it is none."""
    assert await session.do(steps((300, LOST), (0.1, LOST), (200, LOST), (0, "done"))) == "done"
    assert clock.now > 500


async def test_a_wait_that_is_cancelled_again_and_again_is_no_outage(session: Session, clock: Clock) -> None:
    assert await session.do(steps(*[(15, CANCELLED)] * 20, (0, "done"))) == "done"


async def test_calls_that_hang_are_an_outage(session: Session, clock: Clock) -> None:
    with pytest.raises(WarehouseLost):
        await session.do(steps((20, asyncio.TimeoutError())))
    assert clock.now < 150


async def test_a_primary_that_was_demoted_is_left_for_a_new_connection(session: Session, server: Server) -> None:
    assert await session.do(steps((0, READ_ONLY), (0, "done"))) == "done"
    assert server.given == 2


async def test_a_server_without_a_connection_left_is_told_apart(session: Session, server: Server) -> None:
    server.down = FULL
    with pytest.raises(NoConnectionLeft, match="53300"):
        await session.do(steps((0, "done")))


@pytest.mark.parametrize(
    "error", [asyncpg.UndefinedTableError("no"), asyncpg.NotNullViolationError("no"), ValueError()]
)
async def test_what_no_retry_can_help_is_raised_at_once(session: Session, clock: Clock, error: Exception) -> None:
    with pytest.raises(type(error)):
        await session.do(steps((0, error)))
    assert clock.now < 0.1


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            asyncpg.DataError("invalid input for query argument $4: 'secret' (no)"),
            "invalid input for query argument $4",
        ),
        (asyncpg.InvalidTextRepresentationError('invalid input syntax for type integer: "secret"'), "type integer"),
        (asyncpg.NumericValueOutOfRangeError('value "secret" is out of range for type integer'), "is out of range"),
        (asyncpg.NotNullViolationError('null value in column "id" violates not-null constraint'), 'column "id"'),
    ],
)
def test_an_error_is_told_without_values_or_detail(error: asyncpg.PostgresError, said: str) -> None:
    error.detail = "Failing row contains (4, secret)."
    assert said in told_of(error)
    assert "secret" not in told_of(error)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LOST, 3),
        (asyncpg.InterfaceError("cannot call Transaction.__aexit__(): the underlying connection is closed"), 3),
        (ConnectionResetError("Connection reset by peer"), 3),
        (asyncpg.InsufficientPrivilegeError("permission denied for schema ops"), 4),
    ],
)
def test_a_command_that_loses_its_connection_may_be_called_again(error: Exception, code: int) -> None:
    with pytest.raises(BackfillError, match=r"^it can't be pruned: ") as ended, in_one_line("it can't be pruned: "):
        raise error
    assert ended.value.exit_code == code


def test_an_error_that_is_not_of_the_server_is_seen_whole() -> None:
    with pytest.raises(BrokenPipeError), in_one_line():
        raise BrokenPipeError
