"""Answers spoilt at random: whatever QuickBooks or a gateway sends, a run ends, in one line, and nothing is made up."""

from __future__ import annotations

import asyncio
import resource
from random import Random
from typing import Any
from unicodedata import category

import asyncpg
import pytest
from tenacity import wait_none

from async_extractor import ConfigurationError, IncompleteError
from async_extractor.qbo.breaker import Pauses
from async_extractor.qbo.client import Patience
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import Recorder, backfill, in_raw, secrets_for, simulate, truth

# A seed's share of the answers. What is waited for between tries is shortened, their number is not.
ANSWERS = 100
QUICK = Patience(first_pause=0.001, longest_pause=0.01, request_seconds=2.0)
PAUSES = Pauses(
    first=0.01, longest=0.05, throttle=0.05, throttled_again=0.01, outage_patience=2.0, throttle_patience=2.0
)
# Seconds; a run's own waits come to less, whatever `Retry-After` says.
LONGEST_RUN = 120.0
# Above what the process had before: a page is 100 KB here, and an answer nests or swells as the fuzz likes.
MOST_MEGABYTES = 400
ENTITIES = ("invoices", "customers", "items")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """An outage's pauses in milliseconds, whoever's limiter it is."""
    monkeypatch.setattr("async_extractor.qbo.breaker.Pauses", lambda: PAUSES)
    monkeypatch.setattr("async_extractor.limits.Pauses", lambda **_: PAUSES)
    monkeypatch.setattr("async_extractor.qbo.auth.access_tokens.tenacity.wait_exponential", lambda **_: wait_none())


async def attempt(secrets: Any, entity: str, recorder: Recorder, **more: Any) -> None:
    """One run that ends as 0, 3 or 4 would. Anything else it raises is a traceback, and fails."""
    running = backfill(secrets, entity, chunk="P1M", patience=QUICK, listeners=[recorder], **more)
    try:
        result = await asyncio.wait_for(running, LONGEST_RUN)
    except (ConfigurationError, IncompleteError) as error:
        said = str(error)
    else:
        assert (result.status == "done") == (result.error is None), result.error
        said = result.error or "done"
    assert said.strip()
    assert harmless(said), said


def harmless(text: str) -> bool:
    """Whether it is one line, without what moves a terminal's cursor or can't be written."""
    return not any(category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp") for character in text)


async def nothing_runs(database: Any) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        exists = await connection.fetchval("SELECT to_regclass('ops.runs')")
        if exists is not None:
            left = await connection.fetch("SELECT run_id, status FROM ops.runs WHERE finished_at IS NULL")
            assert not left, left
    finally:
        await connection.close()


async def fuzz_until_enough(
    database: Any, seed: int, *kinds: str, answers: int = ANSWERS, limits: bool = False
) -> None:
    """Runs against spoilt answers until there were enough; then the books are read in good order, and are equal."""
    chance = Random(seed)
    config = SimulatorConfig(seed=seed, invoices=300, customers=120, items=60, years=1, limits=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with Simulator(config) as simulator:
        secrets = secrets_for(simulator, database)
        first_token = secrets.values["QBO_REFRESH_TOKEN"]
        recorder = Recorder()
        spoilt, rounds = 0, 0
        while spoilt < answers:
            rate = chance.choice([0.6, 1.0] if kinds == ("token",) else [0.1, 0.3, 0.6, 1.0])
            rule = {"kind": "fuzz", "rate": rate} | ({"requests": list(kinds)} if kinds else {})
            simulator.service.adopt({"faults": [rule]})
            mode = "resume" if kinds == ("token",) else chance.choice(["resume", "reprocess"])
            await attempt(secrets, chance.choice(ENTITIES), recorder, mode=mode, limits=limits)
            await nothing_runs(database)
            spoilt += simulator.service.ledger.faults["fuzz"]
            simulator.service.ledger.faults.clear()
            rounds += 1
            assert rounds < 10 * answers, "runs that ask nothing"
            if "token" in kinds:
                await simulate(simulator, "tokens", {"restore": first_token})
                secrets.put({"QBO_REFRESH_TOKEN": first_token, "QBO_ACCESS_TOKEN": ""})
        for event in recorder.events:
            assert harmless(event.message), event
        simulator.service.adopt({})
        for entity in ENTITIES:
            for mode in ("reprocess", "resume"):
                result = await backfill(secrets, entity, patience=QUICK, mode=mode)
            assert result.status == "done", f"seed {seed}, {entity}: {result.error}"
            assert await in_raw(database, entity, living=True) == await truth(simulator, entity), (
                f"seed {seed}, {entity}"
            )
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < MOST_MEGABYTES


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("seed", range(9))
async def test_spoilt_answers(database: Any, seed: int) -> None:
    await fuzz_until_enough(database, seed)


@pytest.mark.slow
async def test_spoilt_tokens(database: Any) -> None:
    await fuzz_until_enough(database, 9, "token", answers=25)


@pytest.mark.slow
async def test_spoilt_answers_of_a_company(database: Any) -> None:
    """What an answer says of pauses reaches Postgres, too, where processes share the limits."""
    await fuzz_until_enough(database, 10, answers=20, limits=True)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(11, 100))
async def test_many_spoilt_answers(database: Any, seed: int) -> None:
    await fuzz_until_enough(database, seed, *(("token", "query", "count", "cdc") if seed % 10 == 9 else ()))
