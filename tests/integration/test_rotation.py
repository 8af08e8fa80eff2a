"""Each secret that the pipelines use is replaced while a backfill runs, and the backfill doesn't notice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import pytest

from async_extractor.errors import ConfigurationError
from async_extractor.mage.rotation import (
    rotate_client_secret,
    rotate_postgres_password,
    rotate_refresh_token,
    scram_verifier,
)
from qbo_simulator import Simulator, SimulatorConfig
from tests.conftest import Database
from tests.support.backfilling import in_raw, secrets_for, simulate, truth
from tests.support.commands import CommandLine

FIRST = "the-first-password"
PATIENCE_S = 120


@dataclass
class Company:
    """A simulated company, its warehouse as a role with a password of its own, and Mage Secrets about both."""

    simulator: Simulator
    warehouse: Database
    command: CommandLine
    administrator: Any

    def start(self, entity: str = "invoices") -> subprocess.Popen[str]:
        return self.command.start(*self.command.backfill_arguments(entity, "--chunk", "P14D"))

    async def until_chunks_are_done(self, more: int = 20) -> None:
        target = await self._done() + more
        deadline = time.monotonic() + PATIENCE_S
        while await self._done() < target:
            assert time.monotonic() < deadline, "the run doesn't get on"
            await asyncio.sleep(0.05)

    async def end_all_sessions(self) -> int:
        """As a server that is restarted does: every connection has to be made anew."""
        return int(
            await self.administrator.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1", self.warehouse.user
            )
        )

    async def _done(self) -> int:
        try:
            return int(await self.administrator.fetchval("SELECT count(*) FROM ops.chunks WHERE status = 'done'"))
        except asyncpg.UndefinedTableError:
            return 0


@pytest.fixture
async def company(database: Database, command_line: CommandLine) -> AsyncIterator[Company]:
    administrator = await asyncpg.connect(database.dsn)
    await administrator.execute(f"CREATE ROLE rotating LOGIN PASSWORD '{FIRST}'")
    await administrator.execute(f"ALTER DATABASE {database.dbname} OWNER TO rotating")
    warehouse = replace(database, user="rotating", password=FIRST)
    config = SimulatorConfig(invoices=1500, customers=20, items=20, latency_ms=40, limits=False)
    try:
        async with Simulator(config) as simulator:
            for name, value in secrets_for(simulator, warehouse).values.items():
                command_line.secrets.set(name, value)
            yield Company(simulator, warehouse, command_line, administrator)
    finally:
        await administrator.execute(f"ALTER DATABASE {database.dbname} OWNER TO {database.user}")
        await administrator.execute("REASSIGN OWNED BY rotating TO CURRENT_USER; DROP OWNED BY rotating")
        await administrator.execute("DROP ROLE rotating")
        await administrator.close()


async def test_the_password_of_postgres_is_rotated_while_a_run_goes_on(company: Company) -> None:
    run = company.start()
    await company.until_chunks_are_done()
    rotated = await asyncio.to_thread(company.command.run, "secrets", "rotate", "POSTGRES_PASSWORD")
    assert (rotated.code, rotated.stderr) == (0, "")
    assert await company.end_all_sessions() > 0
    await _ended_well(run)
    assert await in_raw(replace(company.warehouse, password=_password(company)), "invoices") == await truth(
        company.simulator, "invoices"
    )
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(company.warehouse.dsn)
    assert company.command.secrets.get("POSTGRES_PASSWORD_NEXT") is None
    assert _password(company) not in rotated.stdout


async def test_a_rotation_that_was_cut_short_hinders_no_run_and_is_ended_by_the_next(company: Company) -> None:
    # As it is when the process dies between Postgres and Mage Secrets.
    company.command.secrets.set("POSTGRES_PASSWORD_NEXT", "the-next-password")
    await company.administrator.execute(f"ALTER ROLE rotating PASSWORD '{scram_verifier('the-next-password')}'")
    ended = await asyncio.to_thread(company.command.backfill, "items")
    assert (ended.code, ended.result["status"]) == (0, "done")
    await rotate_postgres_password(company.command.secrets)
    assert _password(company) != "the-next-password"
    await (await asyncpg.connect(replace(company.warehouse, password=_password(company)).dsn)).close()
    assert company.command.secrets.get("POSTGRES_PASSWORD_NEXT") is None


async def test_two_rotations_at_once_leave_one_password_that_works(company: Company) -> None:
    both = await asyncio.gather(
        *(asyncio.to_thread(company.command.run, "secrets", "rotate", "POSTGRES_PASSWORD") for _ in range(2))
    )
    codes = sorted(ended.code for ended in both)
    assert codes in ([0, 0], [0, 4]), [ended.stderr for ended in both]
    connection = await asyncpg.connect(replace(company.warehouse, password=_password(company)).dsn)
    await connection.close()


async def test_a_wrong_password_is_still_one_line_and_exit_4(company: Company) -> None:
    company.command.secrets.set("POSTGRES_PASSWORD", "guessed-wrong-Kp3")
    for arguments in (["secrets", "rotate", "POSTGRES_PASSWORD"], company.command.backfill_arguments("items")):
        ended = await asyncio.to_thread(company.command.run, *arguments)
        assert ended.code == 4
        assert ended.stderr.count("\n") == 1
        assert "guessed-wrong-Kp3" not in ended.stderr + ended.stdout
    assert company.command.secrets.get("POSTGRES_PASSWORD_NEXT") is None


@pytest.mark.slow
async def test_the_client_secret_is_rotated_while_a_run_goes_on(company: Company) -> None:
    run = company.start()
    await company.until_chunks_are_done()
    company.simulator.service.consent.client_secret = "the-apps-second-secret"
    await rotate_client_secret(company.command.secrets, "the-apps-second-secret")
    refreshes = company.simulator.service.ledger.tokens
    before = refreshes["refreshed"]
    # The run's next request is refused, and it has to refresh: by the new secret.
    await simulate(company.simulator, "tokens", {"expire_access": True})
    await _ended_well(run)
    assert refreshes["refreshed"] > before
    assert company.command.secrets.get("QBO_CLIENT_SECRET") == "the-apps-second-secret"


async def test_a_client_secret_that_intuit_refuses_is_not_stored(company: Company) -> None:
    before = {name: company.command.secrets.get(name) for name in company.command.secrets.names()}
    with pytest.raises(ConfigurationError, match="invalid_client") as refused:
        await rotate_client_secret(company.command.secrets, "mistyped-secret-Wq8")
    assert "mistyped-secret-Wq8" not in str(refused.value)
    assert {name: company.command.secrets.get(name) for name in company.command.secrets.names()} == before


@pytest.mark.slow
async def test_the_refresh_token_is_rotated_while_a_run_goes_on(company: Company) -> None:
    run = company.start()
    await company.until_chunks_are_done()
    await rotate_refresh_token(company.command.secrets)
    access = json.loads(company.command.secrets.require("QBO_ACCESS_TOKEN"))["token"]
    await rotate_refresh_token(company.command.secrets)
    assert json.loads(company.command.secrets.require("QBO_ACCESS_TOKEN"))["token"] != access
    await _ended_well(run)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["QBO_REALM_ID"], "`secrets set` replaces it"),
        (["POSTGRES_PASSWORD", "--profile", "acme"], "one for all companies"),
        (["QBO_CLIENT_SECRET"], "is empty"),
    ],
)
def test_what_cannot_be_rotated_is_refused_in_one_line(
    command_line: CommandLine, arguments: list[str], says: str
) -> None:
    ended = command_line.run("secrets", "rotate", *arguments, text="")
    assert ended.code == 2
    assert ended.stderr.count("\n") == 1
    assert says in ended.stderr


def _password(company: Company) -> str:
    return company.command.secrets.require("POSTGRES_PASSWORD")


async def _ended_well(run: subprocess.Popen[str]) -> None:
    stdout, stderr = await asyncio.to_thread(run.communicate)
    assert run.returncode == 0, stderr[-2000:]
    assert json.loads(stdout.strip().splitlines()[-1])["status"] == "done"
