"""Where Postgres refuses the shared limiter, a process says so and takes a safe part; where it is away, it waits."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import asyncpg
import pytest

from async_extractor.errors import ConfigurationError
from async_extractor.events import Events
from async_extractor.limits import shared_limits
from async_extractor.qbo.limits import IN_FLIGHT, PER_SECOND
from async_extractor.warehouse.connection import Address
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import Recorder, backfill, secrets_for
from tests.support.limiters import REALM, company_on


async def test_where_postgres_cant_share_the_budget_the_process_says_so_and_takes_a_part(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=200)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "items", "2025-01-01", "2025-01-02")
        simulator.service.ledger.reset()
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


async def test_more_workers_than_a_second_has_room_for_are_refused_without_it(database: Any) -> None:
    async with company_on(database) as company:
        await company.sql.execute("CREATE ROLE no_gate_at_all LOGIN PASSWORD 'no-gate'")
        address = Address(database.host, database.port, database.dbname, "no_gate_at_all", "no-gate")
        told = Recorder()
        async with shared_limits(address, REALM, Events([told]), workers=3):
            (warning,) = told.named("budget_not_shared")
            assert "one part in 9" in warning.message
        with pytest.raises(ConfigurationError, match="or run with at most 3 workers") as refused:
            async with shared_limits(address, REALM, Events(), workers=4):
                raise AssertionError("it began")
        assert "\n" not in str(refused.value)
        await company.sql.execute("DROP ROLE no_gate_at_all")


async def test_a_postgres_that_is_away_for_a_moment_is_waited_for_since_others_may_be_using_it(database: Any) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(database.host, database.port)
        await asyncio.gather(pump(reader, forth), pump(back, writer))

    async with company_on(database) as company:
        # Nobody listens at this port yet.
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        address = Address("127.0.0.1", port, database.dbname, database.user, database.password)
        told = Recorder()

        async def ask() -> None:
            async with shared_limits(address, REALM, Events([told])) as limiter, limiter.permit() as permit:
                permit.answered(None)

        asking = asyncio.ensure_future(ask())
        await asyncio.sleep(0.5)
        assert not asking.done()
        server = await asyncio.start_server(connected, "127.0.0.1", port)
        await asking
        server.close()
        assert told.named("budget_not_shared") == []
        assert await company.requests() == 1


async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    target.close()
