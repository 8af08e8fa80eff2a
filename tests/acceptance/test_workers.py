"""Six worker processes under one Mage server: one ledger, one budget, and a killed one's chunks are the others'."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from tests.support.backfilling import exactly
from tools.demo.mage_server import failures
from tools.demo.stack import Company, Stack

PIPELINE = "qb_invoices_backfill"
# Mage's tick, a fork, a block: seconds on a quiet machine. This is only what a hung test waits.
PATIENCE_S = 300
EVERYTHING = {"fecha_inicio": "2023-01-01", "fecha_fin": "2025-12-31", "chunk": "week", "concurrency": 2, "workers": 6}

pytestmark = [pytest.mark.mage, pytest.mark.timeout(700)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("workers") / "stack", Company(invoices=3_000, customers=50, items=30))
    try:
        stack.up(lambda _step: None)
        yield stack
    finally:
        stack.down()


async def until(condition: Any) -> Any:
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := await condition()):
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.2)
    return found


async def query(stack: Stack, statement: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(stack.warehouse.url(show_password=True))
    try:
        return list(await connection.fetch(statement, *values))
    finally:
        await connection.close()


async def ended(stack: Stack, trigger: str) -> dict[str, Any]:
    async def over() -> dict[str, Any] | None:
        runs = stack.mage.runs(PIPELINE, trigger)
        return runs[0] if runs and runs[0]["status"] in ("completed", "failed", "cancelled") else None

    found: dict[str, Any] = await until(over)
    return found


async def ledger_of(stack: Stack) -> dict[str, Any]:
    async with aiohttp.ClientSession() as session, session.get(f"{stack.simulator_url}/_simulator/ledger") as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def raw_equals_the_company(stack: Stack) -> bool:
    url = f"{stack.simulator_url}/_simulator/truth/Invoice"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        truth = {record["Id"]: record for record in map(exactly, (await response.text()).splitlines())}
    rows = await query(stack, "SELECT id, payload::text FROM raw.qb_invoices")
    return {row["id"]: exactly(row["payload"]) for row in rows} == truth


@pytest.mark.slow
async def test_six_workers_do_each_chunk_once_inside_the_limits_and_take_over_a_killed_ones(stack: Stack) -> None:
    stack.mage.create_trigger(PIPELINE, "six", EVERYTHING)

    async def begun() -> bool:
        done = await query(
            stack, "SELECT count(*) AS n FROM pg_tables WHERE schemaname = 'ops' AND tablename = 'attempts'"
        )
        if not done[0]["n"]:
            return False
        found = await query(stack, "SELECT count(*) FILTER (WHERE status = 'done') AS n FROM ops.chunks")
        return bool(found[0]["n"] > 20)

    await until(begun)

    async def killed() -> bool:
        """One of the workers that holds a chunk, like any process that runs out of memory."""
        holders = await query(
            stack,
            """SELECT DISTINCT a.pid, a.client_port FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND a.application_name = 'qbo-backfill'
                  AND l.classid::bigint = (hashtext('ops.chunks')::bigint & 4294967295)""",
        )
        holder = next((pid for one in holders if (pid := process_with_port(one["client_port"]))), None)
        if holder is not None:
            os.kill(holder, signal.SIGKILL)
        return holder is not None

    await until(killed)
    run = await ended(stack, "six")
    assert (run["status"], failures(run)) == ("completed", {})
    children = {block["block_uuid"]: block["status"] for block in run["block_runs"] if ":" in block["block_uuid"]}
    assert children == {f"qb_extract:worker_{number}": "completed" for number in range(1, 7)}
    assert await raw_equals_the_company(stack)

    attempts = await query(
        stack, "SELECT count(*) FILTER (WHERE outcome = 'done') AS done FROM ops.attempts GROUP BY chunk_id"
    )
    assert {row["done"] for row in attempts} == {1}
    again = await query(stack, "SELECT count(*) AS n FROM ops.attempts WHERE outcome IS NULL")
    assert again[0]["n"] >= 1
    ledger = await ledger_of(stack)
    assert ledger["violations_total"] == 0
    assert ledger["worst_second"] <= 10
    assert ledger["worst_in_flight"] <= 10


def process_with_port(port: int) -> int | None:
    """The process whose socket has this local port; None when it is closed by now."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inode = next((f[9] for f in map(str.split, lines) if int(f[1].rpartition(":")[2], 16) == port), None)
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if any(str(link.readlink()) == f"socket:[{inode}]" for link in (folder / "fd").iterdir()):
                    return int(folder.name)
            except OSError:
                continue  # it ended, or isn't ours
    return None


@pytest.mark.slow
async def test_a_worker_number_that_cant_be_ends_the_run_in_one_line(stack: Stack) -> None:
    stack.mage.create_trigger(PIPELINE, "many", {**EVERYTHING, "workers": 400})
    run = await ended(stack, "many")
    assert failures(run) == {"qb_plan": "workers: '400' is not a whole number from 1 to 20"}
