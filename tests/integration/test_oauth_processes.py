"""One token for all processes: as few exchanges as can be, in time, and a refusal that says what to do."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from async_extractor.events import Events
from async_extractor.qbo.auth.access_tokens import AccessTokens
from async_extractor.qbo.auth.token_endpoint import Client
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import simulate
from tests.support.commands import CommandLine, Ended, store

if TYPE_CHECKING:
    from tests.integration.conftest import MageHome

ROTATES_AT_EACH_USE = {"tokens": {"rotate_after_seconds": 0, "grace_seconds": 0, "reuse": "revokes-all"}}


async def run(command_line: CommandLine, *arguments: str) -> Ended:
    return await asyncio.to_thread(command_line.backfill, *arguments)


def one_line(ended: Ended) -> str:
    """What the command ends with on stderr: one line, and no traceback before it."""
    assert "Traceback" not in ended.stderr
    return ended.stderr.strip().splitlines()[-1]


async def test_three_pipelines_that_begin_together_exchange_the_refresh_token_once(
    command_line: CommandLine, database: Any
) -> None:
    async with Simulator(SimulatorConfig(invoices=300, switches=ROTATES_AT_EACH_USE, limits=False)) as simulator:
        store(command_line, simulator, database)
        runs = await asyncio.gather(*(run(command_line, entity) for entity in ("invoices", "customers", "items")))
        ledger = simulator.service.ledger.summary()
    assert [ended.code for ended in runs] == [0, 0, 0]
    assert ledger["tokens"] == {"refreshed": 1, "rotated": 1}


async def test_the_next_run_uses_the_token_that_the_last_one_stored(command_line: CommandLine, database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=300, switches=ROTATES_AT_EACH_USE, limits=False)) as simulator:
        store(command_line, simulator, database)
        for entity in ("invoices", "customers"):
            assert (await run(command_line, entity)).code == 0
        assert simulator.service.ledger.summary()["refreshes"] == 1


@pytest.mark.slow
async def test_a_run_that_outlives_its_tokens_renews_each_before_it_ends(
    command_line: CommandLine, database: Any
) -> None:
    config = SimulatorConfig(
        invoices=2_000, years=3, latency_ms=150, access_token_seconds=2, switches=ROTATES_AT_EACH_USE, limits=False
    )
    async with Simulator(config) as simulator:
        store(command_line, simulator, database)
        ended = await run(command_line, "invoices", "--chunk", "P2M", "--concurrency", "1")
        ledger = simulator.service.ledger.summary()
    assert ended.code == 0
    assert ledger["refreshes"] >= 3
    assert ledger["tokens"]["rotated"] == ledger["refreshes"]
    assert "401" not in ledger["statuses"]


async def test_a_refresh_token_that_is_refused_ends_the_run_with_4_and_says_how_to_reauthorise(
    command_line: CommandLine, database: Any
) -> None:
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        store(command_line, simulator, database)
        await simulate(simulator, "tokens", {"revoke": True})
        ended = await run(command_line)
        asked = simulator.service.ledger.summary()["requests"]
    assert ended.code == 4
    assert "invalid_grant" in one_line(ended)
    assert "qbo-backfill auth login" in one_line(ended)
    assert ended.result["exit_code"] == 4
    assert asked == {"token": 1}


async def test_an_app_secret_that_is_refused_ends_the_run_with_4_and_names_it(
    command_line: CommandLine, database: Any
) -> None:
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        store(command_line, simulator, database)
        command_line.secrets.set("QBO_CLIENT_SECRET", "another-apps-secret")
        ended = await run(command_line)
        asked = simulator.service.ledger.summary()["requests"]
    assert ended.code == 4
    assert "invalid_client" in one_line(ended)
    assert "QBO_CLIENT_SECRET" in one_line(ended)
    assert "another-apps-secret" not in ended.stderr + ended.stdout
    assert asked == {"token": 1}


@pytest.mark.parametrize("concurrency", ["1", "10"])
async def test_a_consent_that_ends_in_the_middle_of_a_run_ends_it_with_4(
    command_line: CommandLine, database: Any, concurrency: str
) -> None:
    async with Simulator(SimulatorConfig(invoices=3_000, latency_ms=100, limits=False)) as simulator:
        store(command_line, simulator, database)
        running = asyncio.ensure_future(run(command_line, "invoices", "--chunk", "P1M", "--concurrency", concurrency))
        while simulator.service.ledger.requests["query"] < 12 and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await simulate(simulator, "tokens", {"revoke": True})
        ended = await running
        ledger = simulator.service.ledger.summary()
    assert ended.code == 4
    assert "invalid_grant" in one_line(ended)
    # A second exchange of a refused token would look like an attack.
    assert ledger["tokens"]["invalid_grant"] == 1


@pytest.mark.timeout(60)
async def test_runs_in_one_process_that_wait_for_the_token_keep_no_thread_from_the_one_that_has_it(
    mage: MageHome,
) -> None:
    """The loop's pool, which name resolution needs, too, has two threads here; on two cores it has six."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    async with Simulator(SimulatorConfig(invoices=10, switches=ROTATES_AT_EACH_USE)) as simulator:
        address = simulator.address()
        client = Client(str(address["client_id"]), str(address["client_secret"]))
        mage.secrets.set("QBO_REFRESH_TOKEN", str(address["refresh_token"]))
        async with aiohttp.ClientSession() as session:
            runs = [
                AccessTokens(session, f"{address['url']}/oauth2/v1/tokens/bearer", client, mage.secrets, Events())
                for _ in range(12)
            ]
            found = await asyncio.gather(*(tokens.current() for tokens in runs))
        assert len(set(found)) == 1
        assert simulator.service.ledger.summary()["tokens"] == {"refreshed": 1, "rotated": 1}
