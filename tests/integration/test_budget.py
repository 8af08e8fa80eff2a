"""The shared gate on a real Postgres: what it hands out, to whom, and what it takes back from those who are gone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from async_extractor.qbo.budget import IN_FLIGHT, PER_MINUTE, PER_SECOND
from async_extractor.warehouse.budget import LOOK_AGAIN_SECONDS, SharedGate
from async_extractor.warehouse.company import CompanyConnection
from async_extractor.warehouse.connection import Address, connect
from async_extractor.warehouse.schema import bring_up_to_date
from bench.budget import measure
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import Recorder, backfill, secrets_for

CHECKOUT = Path(__file__).parents[2]
REALM = "4620816365000001234"


class CountingConnection(CompanyConnection):
    """Counts the calls."""

    calls = 0

    async def call(self, name: str, *values: object) -> Any:
        self.calls += 1
        return await super().call(name, *values)


class Company:
    """Gates of one company, each on a connection of its own as each process has one."""

    def __init__(self, address: Address, connection: Any, stack: AsyncExitStack) -> None:
        self.address = address
        self.sql = connection
        self._stack = stack

    def gate(self, *, per_minute: int = PER_MINUTE, places: int = IN_FLIGHT) -> SharedGate:
        return self.counted(per_minute=per_minute, places=places)[0]

    def counted(
        self, *, per_minute: int = PER_MINUTE, places: int = IN_FLIGHT
    ) -> tuple[SharedGate, CountingConnection]:
        connection = CountingConnection(self.address, REALM)
        self._stack.push_async_callback(connection.close)
        return SharedGate(connection, per_minute, PER_SECOND, places), connection

    async def value(self, query: str, *values: object) -> Any:
        return await self.sql.fetchval(query, *values)

    async def until(self, condition: str) -> None:
        while not await self.value(condition):  # noqa: ASYNC110 - what is waited for happens in Postgres
            await asyncio.sleep(0.01)

    async def requests(self) -> int:
        return int(await self.value("SELECT coalesce(sum(requests), 0)::int FROM ops.usage WHERE realm_id = $1", REALM))


@pytest.fixture
async def company(database: Any) -> AsyncIterator[Company]:
    address = Address(database.host, database.port, database.dbname, database.user, database.password)
    connection = await connect(address)
    await bring_up_to_date(connection)
    async with AsyncExitStack() as stack:
        yield Company(address, connection, stack)
    await connection.close()


async def next_turn(company: Company, per_minute: int = PER_MINUTE, places: int = IN_FLIGHT) -> float | None:
    """What the next asker is told: seconds from now to its moment, None when it has to queue."""
    found = await company.value(
        "SELECT extract(epoch FROM moment - clock)::float FROM ops.take_turn($1, $2, $3, $4, interval '0.18 s')",
        REALM,
        per_minute,
        PER_SECOND,
        places,
    )
    return None if found is None else float(found)


async def after_the_past(company: Company, per_minute: int = PER_MINUTE) -> float:
    """Seconds from the last answer of the past requests to the next asker's moment."""
    past = await company.value("SELECT max(arrived_by) FROM ops.turns")
    moment = await company.value(
        "SELECT moment FROM ops.take_turn($1, $2, $3, $4, interval '0.18 s')", REALM, per_minute, PER_SECOND, IN_FLIGHT
    )
    return float((moment - past).total_seconds())


async def past_requests(company: Company, count: int, *, answered_ago: float, taking: float = 0.1) -> None:
    await company.sql.execute(
        """INSERT INTO ops.turns (realm_id, moment, arrived_by, backend_pid, backend_start)
           SELECT $1, now() - make_interval(secs => $3::float + $4::float), now() - make_interval(secs => $3::float),
                  pg_backend_pid(), now()
             FROM generate_series(1, $2::int)""",
        REALM,
        count,
        answered_ago,
        taking,
    )


async def test_a_minute_that_is_full_is_waited_out_to_the_moment(company: Company) -> None:
    await past_requests(company, PER_MINUTE, answered_ago=30)
    assert await after_the_past(company) == 60.02


async def test_one_request_less_and_the_next_goes_at_once(company: Company) -> None:
    await past_requests(company, PER_MINUTE - 1, answered_ago=30)
    assert await next_turn(company) == 0


async def test_a_request_counts_from_its_answer_since_nobody_knows_when_it_arrived(company: Company) -> None:
    await past_requests(company, PER_MINUTE, answered_ago=20, taking=50)
    assert await after_the_past(company) == 60.02


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
        gate = company.gate(per_minute=6000)

        async def worker() -> None:
            while len(began) < 35:
                async with gate.turn() as turn:
                    began.append(loop.time())
                    turn.answered(200)

        await asyncio.gather(*(worker() for _ in range(5)))

    await asyncio.gather(*(process() for _ in range(4)))
    began.sort()
    worst = max(sum(first <= moment < first + 1 for moment in began) for first in began)
    assert worst <= PER_SECOND
    assert await company.requests() == len(began)


async def test_no_more_than_the_places_are_in_flight_over_all_processes(company: Company) -> None:
    in_flight, most, done = 0, 0, 0

    async def process() -> None:
        gate = company.gate(per_minute=6000, places=4)

        async def worker() -> None:
            nonlocal in_flight, most, done
            while done < 20:
                async with gate.turn() as turn:
                    in_flight += 1
                    most = max(most, in_flight)
                    await asyncio.sleep(0.1)
                    in_flight -= 1
                    done += 1
                    turn.answered(200)

        await asyncio.gather(*(worker() for _ in range(4)))

    await asyncio.gather(*(process() for _ in range(3)))
    assert most == 4


class Asker:
    """A process that asks and gives back step by step."""

    def __init__(self, connection: CompanyConnection) -> None:
        self._connection = connection
        self._turn: int | None = None

    async def asks(self, places: int = IN_FLIGHT) -> float | None:
        """The moment that it is given, None when it is told to wait."""
        row = await self._connection.call(
            "take_turn", REALM, PER_MINUTE, PER_SECOND, places, timedelta(seconds=0.18), None
        )
        self._turn = row["turn"]
        return None if self._turn is None else float(row["moment"])

    async def is_answered(self) -> None:
        await self._connection.call("end_turn", self._turn, REALM, 200)


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
    gate, other = company.gate(per_minute=6), company.gate(per_minute=6)
    async with gate.turn() as turn:
        turn.answered(200)
    waiting = [asyncio.ensure_future(gate.turn().__aenter__()) for _ in range(8)]
    waiting.append(asyncio.ensure_future(other.turn().__aenter__()))
    await company.until("SELECT requests >= 3 FROM ops.usage")
    await asyncio.sleep(0.5)
    assert await company.requests() == 3
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_places_of_a_killed_process_come_free_by_themselves(company: Company) -> None:
    address = [getattr(company.address, name) for name in ("host", "port", "database", "user", "password")]
    holder = subprocess.Popen(  # noqa: ASYNC220 - it is killed by its Popen
        [sys.executable, "-c", HOLDER, json.dumps(address)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    assert await asyncio.to_thread(holder.stdout.readline) == "holding\n"
    assert await next_turn(company) is None
    holder.kill()
    holder.wait()
    holder.stdout.close()
    gate = company.gate()
    taken = [gate.turn() for _ in range(IN_FLIGHT)]
    for turn in taken:
        await turn.__aenter__()
    for turn in taken:
        await turn.__aexit__(None, None, None)


HOLDER = f"""
import asyncio, json, sys
from async_extractor.qbo.budget import IN_FLIGHT, PER_SECOND
from async_extractor.warehouse.budget import SharedGate
from async_extractor.warehouse.company import CompanyConnection
from async_extractor.warehouse.connection import Address

async def hold():
    gate = SharedGate(CompanyConnection(Address(*json.loads(sys.argv[1])), {REALM!r}), 6000, PER_SECOND, IN_FLIGHT)
    turns = [gate.turn() for _ in range(IN_FLIGHT)]
    for turn in turns:
        await turn.__aenter__()
    print("holding", flush=True)
    await asyncio.sleep(3600)

asyncio.run(hold())
"""


async def test_a_killed_process_s_request_is_in_flight_for_as_long_as_others_took(company: Company) -> None:
    await past_requests(company, 1, answered_ago=0.1, taking=30)
    await company.sql.execute(
        """INSERT INTO ops.turns (realm_id, moment, backend_pid, backend_start)
           SELECT $1, clock_timestamp() - interval '20 s', 0, now() FROM generate_series(1, 10)""",
        REALM,
    )
    assert await next_turn(company) is None
    await company.sql.execute("UPDATE ops.turns SET moment = moment - interval '18 s' WHERE backend_pid = 0")
    assert await next_turn(company) is not None


async def test_a_turn_that_a_killed_process_never_used_is_the_next_ones(company: Company) -> None:
    await company.sql.execute(
        """INSERT INTO ops.turns (realm_id, moment, backend_pid, backend_start)
           VALUES ($1, clock_timestamp() + interval '1 h', 2147483000, now())""",
        REALM,
    )
    await company.sql.execute("SELECT ops.count_request($1, 1)", REALM)
    assert await next_turn(company) == 0
    assert await company.requests() == 1


async def test_a_worker_that_goes_away_from_its_request_leaves_the_place_taken_for_a_while(company: Company) -> None:
    gate = company.gate(places=1)

    async def request() -> None:
        async with gate.turn():
            await asyncio.sleep(3600)

    asked = asyncio.ensure_future(request())
    await company.until("SELECT count(*) > 0 FROM ops.turns")
    await asyncio.sleep(0.2)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert await next_turn(company, places=1) is None
    assert await company.value("SELECT backend_pid FROM ops.turns") == 0
    await company.sql.execute("UPDATE ops.turns SET moment = moment - interval '3 s'")
    assert await next_turn(company, places=1) is not None


async def test_a_worker_that_goes_away_while_it_waits_leaves_nothing_behind(company: Company) -> None:
    gate = company.gate(per_minute=2)
    async with gate.turn() as turn:
        turn.answered(200)
    waiting = asyncio.ensure_future(gate.turn().__aenter__())
    await company.until("SELECT requests = 2 FROM ops.usage")
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await company.value("SELECT count(*) FROM ops.turns WHERE arrived_by = 'infinity'") == 0
    assert await company.requests() == 1


async def test_a_process_that_waits_for_a_place_asks_once_a_second_and_is_told_when_one_is_free(
    company: Company,
) -> None:
    first, second = company.gate(places=1), company.counted(places=1)
    async with first.turn() as turn:
        waiting = asyncio.ensure_future(second[0].turn().__aenter__())
        await asyncio.sleep(2.5 * LOOK_AGAIN_SECONDS)
        assert 1 <= second[1].calls <= 4
        turn.answered(200)
    await waiting


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


async def test_several_429s_at_once_are_one_pause(company: Company) -> None:
    gate = company.gate()
    assert [await gate.pause(60) for _ in range(5)] == [1] * 5
    assert await company.value("SELECT pauses FROM ops.budget") == 1
    assert await company.value("SELECT slowdown FROM ops.budget") == 2


async def test_a_short_pause_does_not_shorten_a_long_one(company: Company) -> None:
    gate = company.gate()
    await gate.pause(60)
    await gate.pause(1)
    assert await next_turn(company) > 55


async def test_after_a_pause_one_request_probes_and_when_it_is_taken_the_others_follow(company: Company) -> None:
    gate = company.gate()
    assert await gate.pause(0) == 1
    async with gate.turn() as probe:
        assert await next_turn(company) is None
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


async def test_requests_are_counted_for_each_company_and_month(company: Company) -> None:
    gate = company.gate(per_minute=6000)
    for _ in range(7):
        async with gate.turn() as turn:
            turn.answered(200)
    rows = await company.sql.fetch(
        "SELECT realm_id, month = date_trunc('month', now())::date AS now, requests FROM ops.usage"
    )
    assert [tuple(row) for row in rows] == [(REALM, True, 7)]


async def test_two_companies_have_a_budget_each(company: Company) -> None:
    await past_requests(company, PER_MINUTE, answered_ago=1)
    other = await company.value(
        "SELECT moment - clock = interval '0' FROM ops.take_turn('99999999', 494, 10, 10, interval '0.18 s')"
    )
    assert other is True
    assert await next_turn(company) > 55


async def test_where_postgres_cant_share_the_budget_the_process_says_so_and_takes_a_part(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=200)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "items", "2025-01-01", "2025-01-02")
        administrator = await asyncpg.connect(database.dsn)
        await administrator.execute(
            f"""DO $$ BEGIN
                    CREATE ROLE no_gate LOGIN PASSWORD 'no-gate';
                EXCEPTION WHEN duplicate_object THEN NULL;
                END $$;
                GRANT ALL ON SCHEMA raw, ops TO no_gate; GRANT ALL ON ALL TABLES IN SCHEMA raw, ops TO no_gate;
                GRANT CREATE ON DATABASE {database.dbname} TO no_gate;
                REVOKE ALL ON ops.budget FROM no_gate"""
        )
        secrets.values |= {"POSTGRES_USER": "no_gate", "POSTGRES_PASSWORD": "no-gate"}
        recorder = Recorder()
        result = await backfill(
            secrets,
            "invoices",
            "2025-01-01",
            "2025-12-31",
            limits=True,
            listeners=[recorder],
            concurrency=10,
            chunk="P1M",
        )
        ledger = simulator.service.ledger.summary(log=False)
        await administrator.execute("DROP OWNED BY no_gate")
        await administrator.close()
    assert result.status == "done"
    (told,) = recorder.named("budget_not_shared")
    assert told.level == "warning"
    assert "42501" in told.message
    assert ledger["worst_second"] <= PER_SECOND // 3 + 1
    assert ledger["worst_in_flight"] <= IN_FLIGHT // 3


async def test_a_gate_whose_connection_is_cut_again_and_again_loses_neither_a_request_nor_the_count(
    database: Any,
) -> None:
    async with Simulator(SimulatorConfig(invoices=400, latency_ms=20)) as simulator:
        secrets = secrets_for(simulator, database)
        running = asyncio.ensure_future(
            backfill(secrets, "invoices", "2024-01-01", "2025-12-31", chunk="P1M", concurrency=5, limits=True)
        )
        administrator = await asyncpg.connect(database.dsn)
        cut = 0
        while not running.done():
            await asyncio.sleep(0.3)
            cut += await administrator.fetchval(
                """SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
                    WHERE datname = current_database() AND query ~ 'ops.(take|end)_turn' AND pid <> pg_backend_pid()"""
            )
        result = await running
        counted = await administrator.fetchval("SELECT requests FROM ops.usage")
        await administrator.close()
        ledger = simulator.service.ledger.summary()
    assert result.status == "done", result.error
    assert cut > 3
    assert ledger["violations_total"] == 0
    # A turn whose handing out was cut off may have been counted without being used.
    assert ledger["metered_calls"] <= counted <= ledger["metered_calls"] + cut


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("processes", "kill_every"), [(1, None), (3, None), (6, None), (6, 3.0)])
def test_with_demand_above_the_quota_it_is_used_in_full_without_a_429(
    database: Any, processes: int, kill_every: float | None
) -> None:
    measured = measure(database, processes, 125, kill_every=kill_every)
    assert measured.throttled == 0
    assert sum(measured.violations.values()) == 0
    assert measured.share >= 0.97 or kill_every
    assert measured.share >= 0.93


@pytest.mark.long
@pytest.mark.timeout(400)
def test_slow_answers_and_kills_never_bring_an_eleventh_request_in_flight(database: Any) -> None:
    measured = measure(database, 3, 60, kill_every=2, latency_ms=2000)
    assert measured.worst_in_flight <= IN_FLIGHT
    assert measured.throttled == 0
    assert measured.sent > 60 * IN_FLIGHT / 2 * 0.5


@pytest.mark.long
@pytest.mark.timeout(400)
def test_two_companies_at_once_use_each_ones_quota_in_full(database: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda seed: measure(database, 2, 125, seed=seed), (1, 2)))
    for measured in both:
        assert measured.throttled == 0
        assert measured.share >= 0.97
