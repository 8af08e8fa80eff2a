"""Every entity: read, edited, reprocessed, deleted or made inactive, verified, repaired. And the books as a whole."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import asyncpg
import pytest

from async_extractor.checks.verification_result import VerificationResult
from async_extractor.entities import ENTITIES, Entity
from async_extractor.request import BackfillRequest
from async_extractor.verification import Verification
from qbo_simulator import Simulator, SimulatorConfig, run_in_thread
from tests.support.backfilling import backfill, exactly, secrets_for
from tests.support.commands import CommandLine, store

# To the day before today, so that what is edited now is outside the range and what the catch-up has is inside.
DATES = ("2015-01-01", "2026-01-31")
SMALL = SimulatorConfig(invoices=60, customers=25, items=20, everything=True, limits=False)


def record_of(entity: Entity, payload: Any) -> Any:
    """The record itself, without what differs at each reading."""
    return {name: value for name, value in payload.items() if name not in entity.volatile}


def key_of(entity: Entity, payload: Any) -> str:
    if entity.wrapped:
        (payload,) = payload.values()
    return "/".join(payload[name] for name in entity.key)


def truth_of(simulator: Simulator, entity: Entity) -> dict[str, Any]:
    table = simulator.service.table(entity.query_name)
    payloads = [exactly(table.payload(slot).decode()) for slot in table.slots()]
    return {key_of(entity, payload): record_of(entity, payload) for payload in payloads}


async def raw_of(database: Any, entity: Entity, *, living: bool = True) -> dict[str, Any]:
    connection = await asyncpg.connect(database.dsn)
    try:
        where = "WHERE deleted_at_utc IS NULL" if living else ""
        rows = await connection.fetch(f"SELECT id, payload::text FROM raw.{entity.table} {where}")
    finally:
        await connection.close()
    return {row["id"]: record_of(entity, exactly(row["payload"])) for row in rows}


async def runs_of(database: Any) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database.dsn)
    try:
        return list(await connection.fetch("SELECT entity, status FROM ops.runs ORDER BY run_id"))
    finally:
        await connection.close()


async def verify(secrets: Any, entity: Entity, end: str = DATES[1], **how: bool) -> VerificationResult:
    request = BackfillRequest.parse(entity.name, DATES[0], end)
    async with Verification(request, secrets, limits=False) as verification:
        return await verification.verify(**how)


@pytest.mark.parametrize(
    "entity",
    [
        pytest.param(entity, id=name, marks=[] if number % 12 == 0 else pytest.mark.slow)
        for number, (name, entity) in enumerate(ENTITIES.items())
    ],
)
async def test_an_entity_is_read_followed_reprocessed_verified_and_repaired(entity: Entity, database: Any) -> None:
    async with Simulator(SMALL) as simulator:
        secrets, service = secrets_for(simulator, database), simulator.service
        # QuickBooks' clock moves on by half an hour here, and must not reach tomorrow.
        until, service.clock.offset = datetime.now(timezone.utc).date().isoformat(), -3600.0
        first = await backfill(secrets, entity.name, *DATES)
        assert (first.status, first.rows["quarantined"]) == ("done", 0), first.error
        assert await raw_of(database, entity) == truth_of(simulator, entity)

        # Edits, and new rows, come with the next run whose range holds them.
        service.change(entity.query_name, edit=1)
        if not entity.one_row:
            service.change(entity.query_name, insert=2)
        service.clock.offset += 900
        drifted = await backfill(secrets, entity.name, DATES[0], until)
        assert drifted.status == "done", drifted.error
        assert await raw_of(database, entity) == truth_of(simulator, entity)

        again = await backfill(secrets, entity.name, DATES[0], until, mode="reprocess")
        assert (again.status, again.rows["inserted"], again.rows["updated"]) == ("done", 0, 0), again.error

        if entity.leaves in ("inactive", "merged"):
            service.change(entity.query_name, inactivate=1)
        elif entity.leaves == "deleted":
            gone = service.change(entity.query_name, delete=1)["delete"][0]
        service.clock.offset += 900
        later = await backfill(secrets, entity.name, DATES[0], until)
        assert later.status == "done", later.error
        assert await raw_of(database, entity) == truth_of(simulator, entity)
        if entity.leaves == "deleted":
            assert gone in await raw_of(database, entity, living=False)

        assert (await verify(secrets, entity, until)).status == "equal"
        connection = await asyncpg.connect(database.dsn)
        await connection.execute(f"DELETE FROM raw.{entity.table} WHERE id IN (SELECT id FROM raw.{entity.table} "
                                 "WHERE deleted_at_utc IS NULL ORDER BY id LIMIT 1)")  # fmt: skip
        await connection.close()
        assert (await verify(secrets, entity, until)).status == "different"
        assert (await verify(secrets, entity, until, repair=True)).status == "repaired"
        assert await raw_of(database, entity) == truth_of(simulator, entity)


@pytest.mark.slow
def test_all_of_a_companys_books_arrive_row_for_row_by_one_command(command_line: CommandLine, database: Any) -> None:
    """But for what the company doesn't have, which is told and no failure."""
    absent = {"queries": {"absent": ["JournalCode"]}}
    with run_in_thread(replace(SMALL, switches=absent)) as simulator:
        store(command_line, simulator, database)
        dates = ("--fecha-inicio", DATES[0], "--fecha-fin", DATES[1], "--no-limits", "--json")
        process = command_line.run("run", "all", *dates)
        assert process.code == 0, process.stderr
        ended = {one["entity"]: one for one in process.result["entities"]}
        assert {name: one["status"] for name, one in ended.items() if one["status"] != "done"} == {
            "journal_codes": "not offered"
        }
        assert "needs a company in France" in ended["journal_codes"]["error"]
        for entity in ENTITIES.values():
            if entity.name != "journal_codes":
                assert asyncio.run(raw_of(database, entity)) == truth_of(simulator, entity), entity.name


@pytest.mark.slow
def test_all_of_a_companys_books_are_killed_and_resumed(command_line: CommandLine, database: Any) -> None:
    """`resume` takes what had begun, `run all` the rest; what is done isn't read again."""
    with run_in_thread(replace(SMALL, latency_ms=30)) as simulator:
        store(command_line, simulator, database)
        every = ("run", "all", "--fecha-inicio", DATES[0], "--fecha-fin", DATES[1], "--no-limits")
        process = command_line.start(*every)
        assert process.stderr is not None
        for line in process.stderr:
            if "done" in line:
                break
        process.kill()
        process.communicate()
        began = {run["entity"]: run["status"] for run in asyncio.run(runs_of(database))}
        assert "running" in began.values()
        assert len(began) < len(ENTITIES)
        resumed = command_line.run("resume", "--json")
        assert resumed.code == 0, resumed.stderr
        assert {run["status"] for run in asyncio.run(runs_of(database))} <= {"done", "incomplete"}
        again = command_line.run(*every, "--json")
        assert again.code == 0, again.stderr
        for entity in ENTITIES.values():
            assert asyncio.run(raw_of(database, entity)) == truth_of(simulator, entity), entity.name
