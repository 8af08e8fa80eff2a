"""SIGKILL at random moments, again and again, and in the end raw equals the source."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import asyncpg
import pytest

from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import in_raw, truth
from tests.support.commands import CommandLine, store

# A process needs about this long from its start to its end in these tests; kills fall anywhere in it.
LIFE_SECONDS = 2.5


async def kill_and_resume(command_line: CommandLine, database: Any, seed: int, kills: int) -> int:
    """Starts and kills the command `kills` times, then lets it finish. How many kills hit a living process."""
    chance = random.Random(seed)
    entity = chance.choice(["invoices", "customers"])
    chunk = chance.choice(["auto", "P1M", "P3M"])
    field = chance.choice(["last_updated", "created"])
    arguments = command_line.backfill_arguments(
        entity, "--chunk", chunk, "--filter-field", field, "--concurrency", str(chance.randint(1, 8))
    )
    hits = 0
    config = SimulatorConfig(seed=seed, invoices=5_000, customers=3_000, years=2, limits=False, latency_ms=40)
    async with Simulator(config) as simulator:
        store(command_line, simulator, database)
        for _ in range(kills):
            process = command_line.start(*arguments)
            await asyncio.sleep(chance.uniform(0.3, LIFE_SECONDS))
            hits += process.poll() is None
            process.kill()
            await asyncio.to_thread(process.communicate)
            if process.returncode == 0:
                # It was done before the kill: something is to be read again.
                arguments = [*arguments, "--mode", "reprocess"] if "--mode" not in arguments else arguments
        final = [a for a in arguments if a not in ("--mode", "reprocess")]
        ended = await asyncio.to_thread(command_line.run, *final)
        assert ended.code == 0, f"seed {seed}: {ended.stderr}"
        assert await in_raw(database, entity) == await truth(simulator, entity), f"seed {seed}"
    connection = await asyncpg.connect(database.dsn)
    left = await connection.fetchval("SELECT count(*) FROM ops.chunks WHERE status NOT IN ('done', 'superseded')")
    await connection.close()
    assert left == 0, f"seed {seed}: {left} chunks are left"
    return hits


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("seed", range(2))
async def test_killed_and_resumed_it_ends_equal_to_the_source(
    command_line: CommandLine, database: Any, seed: int
) -> None:
    assert await kill_and_resume(command_line, database, seed, kills=5) >= 1


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", range(100, 120))
async def test_a_hundred_kills_lose_and_double_nothing(command_line: CommandLine, database: Any, seed: int) -> None:
    await kill_and_resume(command_line, database, seed, kills=6)
