"""The pipelines in a real Mage server: its scheduler, its workers, its one-time triggers, kills and restarts."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone
from typing import Any

import aiohttp
import asyncpg
import pytest
import yaml

from async_extractor.mage.location import MageData
from async_extractor.mage.triggers import rearm
from tests.support.backfilling import exactly
from tools.demo.mage_server import failures
from tools.demo.stack import Company, Stack

EVERYTHING = {"fecha_inicio": "2023-01-01", "fecha_fin": "2025-12-31", "concurrency": 4}
# Mage's tick, a fork, a block: seconds on a quiet machine. This is only what a hung test waits.
PATIENCE_S = 240

pytestmark = [pytest.mark.mage, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Mage, the simulator and a warehouse of their own for this file. Each test loads an entity of its own."""
    stack = Stack(tmp_path_factory.mktemp("mage") / "stack", Company(invoices=2_000, customers=900, items=300))
    try:
        stack.up(lambda _step: None)
        yield stack
    finally:
        stack.down()


async def until(condition: Callable[[], Any]) -> Any:
    """What the condition gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.2)
    return found


async def ended(stack: Stack, pipeline: str, trigger: str) -> dict[str, Any]:
    """The trigger's run, once it is over."""

    def over() -> dict[str, Any] | None:
        runs = stack.mage.runs(pipeline, trigger)
        return runs[0] if runs and runs[0]["status"] in ("completed", "failed", "cancelled") else None

    return await until(over)


def add_to_file(stack: Stack, pipeline: str, trigger: str, variables: dict[str, Any]) -> None:
    """A one-time trigger in triggers.yaml, due now, as a person adds one."""
    path = stack.project / "pipelines" / pipeline / "triggers.yaml"
    content = yaml.safe_load(path.read_text())
    content["triggers"].append(
        {
            "name": trigger,
            "schedule_type": "time",
            "schedule_interval": "@once",
            "start_time": datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0),
            "status": "active",
            "variables": variables,
        }
    )
    path.write_text(yaml.safe_dump(content))


def in_file(stack: Stack, pipeline: str, trigger: str) -> dict[str, Any]:
    content = yaml.safe_load((stack.project / "pipelines" / pipeline / "triggers.yaml").read_text())
    return next(entry for entry in content["triggers"] if entry["name"] == trigger)


def mages_data(stack: Stack) -> MageData:
    """This Mage's project and database, as a command finds them."""
    environ = {"MAGE_REPO_PATH": str(stack.project), "MAGE_DATA_DIR": str(stack.mage_data)}
    if stack.mage.database_url:
        environ["MAGE_DATABASE_CONNECTION_URL"] = stack.mage.database_url
    return MageData.locate(environ)


async def query(stack: Stack, statement: str) -> list[Any]:
    connection = await asyncpg.connect(stack.warehouse.url(show_password=True))
    try:
        return await connection.fetch(statement)
    finally:
        await connection.close()


async def payloads(stack: Stack, table: str) -> dict[str, Any]:
    return {row["id"]: exactly(row["payload"]) for row in await query(stack, f"SELECT id, payload::text FROM {table}")}


async def truth(stack: Stack, query_name: str) -> dict[str, Any]:
    url = f"{stack.simulator_url}/_simulator/truth/{query_name}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return {record["Id"]: record for record in map(exactly, (await response.text()).splitlines())}


async def nothing_was_written(stack: Stack, entity: str) -> bool:
    """No run of the entity in the ledger, no row in raw; before the first run there is no ledger at all."""
    (found,) = await query(stack, f"SELECT to_regclass('ops.runs') AS ledger, to_regclass('raw.qb_{entity}') AS raw")
    if found["ledger"] is None:
        return found["raw"] is None
    (counts,) = await query(
        stack,
        f"SELECT (SELECT count(*) FROM ops.runs WHERE entity = '{entity}')"
        f" + (SELECT count(*) FROM ops.chunks WHERE entity = '{entity}') + (SELECT count(*) FROM raw.qb_{entity}) AS n",
    )
    return bool(counts["n"] == 0)


async def test_a_one_time_trigger_in_the_file_loads_the_company_and_is_closed_for_good(stack: Stack) -> None:
    pipeline, trigger = "qb_invoices_backfill", "history"
    add_to_file(stack, pipeline, trigger, EVERYTHING)
    await until(lambda: [known for known in stack.mage.triggers(pipeline) if known["name"] == trigger])
    run = await ended(stack, pipeline, trigger)
    assert (run["status"], failures(run)) == ("completed", {})
    assert {block["block_uuid"]: block["status"] for block in run["block_runs"]} == {
        "qb_plan": "completed",
        "qb_extract": "completed",
        "qb_extract:worker_1": "completed",
        "qb_validate": "completed",
        "qb_report": "completed",
    }
    assert await payloads(stack, "raw.qb_invoices") == await truth(stack, "Invoice")

    await until(lambda: in_file(stack, pipeline, trigger)["status"] == "inactive")
    await until(lambda: stack.mage.trigger(pipeline, trigger)["status"] == "inactive")

    stack.restart_mage()
    # The scheduler has read the file again once it has taken over a change that only the file has.
    path = stack.project / "pipelines" / pipeline / "triggers.yaml"
    content = yaml.safe_load(path.read_text())
    for entry in content["triggers"]:
        entry["description"] = "read after the restart"
    path.write_text(yaml.safe_dump(content))
    await until(lambda: stack.mage.trigger(pipeline, trigger)["description"] == "read after the restart")
    assert stack.mage.trigger(pipeline, trigger)["status"] == "inactive"
    assert in_file(stack, pipeline, trigger)["status"] == "inactive"
    assert [run["id"] for run in stack.mage.runs(pipeline, trigger)] == [run["id"]]

    # Rearmed it fires once more, reads only what is new, and is closed again; its first run stays under another name.
    before = stack.mage.trigger(pipeline, trigger)["id"]
    rearm(mages_data(stack), trigger, datetime.now(timezone.utc))
    await until(
        lambda: [one["id"] for one in stack.mage.triggers(pipeline) if one["name"] == trigger] not in ([], [before])
    )
    second = await ended(stack, pipeline, trigger)
    assert (second["status"], failures(second)) == ("completed", {})
    assert second["id"] != run["id"]
    await until(lambda: in_file(stack, pipeline, trigger)["status"] == "inactive")
    kept = [known["name"] for known in stack.mage.triggers(pipeline) if known["name"].startswith(f"{trigger} (run ")]
    assert len(kept) == 1


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"fecha_inicio": "01/02/2023"},
            (
                "fecha_inicio: '01/02/2023' is not an ISO date (2024-01-31) or "
                "timestamp with an offset (2024-01-31T12:00:00Z)"
            ),
        ),
        (
            {"concurrency": 11},
            "concurrency: '11' is not a whole number from 1 to 10 (Intuit allows 10 requests in flight for a company)",
        ),
        (
            {"fecha_inicio": None},
            "fecha_inicio: is missing; give an ISO date such as 2024-01-31",
        ),
    ],
)
async def test_a_bad_variable_is_a_failed_block_with_one_line_and_nothing_is_written(
    stack: Stack, variables: dict[str, Any], message: str
) -> None:
    trigger = f"bad {next(iter(variables))} {next(iter(variables.values()))}"
    stack.mage.create_trigger("qb_items_backfill", trigger, {**EVERYTHING, **variables})
    run = await ended(stack, "qb_items_backfill", trigger)
    assert run["status"] == "failed"
    assert failures(run) == {"qb_plan": message}
    assert await nothing_was_written(stack, "items")


async def test_a_missing_secret_is_a_failed_block_that_says_how_to_set_it(stack: Stack) -> None:
    secrets = stack.secrets()
    value = secrets.require("QBO_REALM_ID")
    secrets.delete("QBO_REALM_ID")
    try:
        stack.mage.create_trigger("qb_items_backfill", "no realm", EVERYTHING)
        run = await ended(stack, "qb_items_backfill", "no realm")
    finally:
        secrets.set("QBO_REALM_ID", value)
    assert failures(run) == {
        "qb_plan": "The Mage secret QBO_REALM_ID is missing; set it with: qbo-backfill secrets set QBO_REALM_ID"
    }
    assert await nothing_was_written(stack, "items")


@pytest.mark.slow
async def test_a_date_without_quotes_starts_its_trigger_and_silences_no_other(stack: Stack) -> None:
    dates = {"fecha_inicio": date(2023, 1, 1), "fecha_fin": date(2025, 12, 31)}
    add_to_file(stack, "qb_items_backfill", "unquoted", dates)
    await until(lambda: [one for one in stack.mage.triggers("qb_items_backfill") if one["name"] == "unquoted"])
    run = await ended(stack, "qb_items_backfill", "unquoted")
    assert (run["status"], failures(run)) == ("completed", {})
    assert await payloads(stack, "raw.qb_items") == await truth(stack, "Item")


@pytest.mark.slow
async def test_a_mage_that_is_killed_whole_in_mid_extraction_completes_the_run_when_it_is_back(stack: Stack) -> None:
    pipeline, trigger = "qb_customers_backfill", "killed"
    # A page at a time, each of them slow: there is a half way to be killed at.
    await slow_down(stack, milliseconds=400)
    stack.mage.create_trigger(pipeline, trigger, {**EVERYTHING, "chunk": "P1M", "concurrency": 1})

    async def half_way() -> bool:
        (found,) = await query(stack, "SELECT to_regclass('raw.qb_customers') AS raw")
        if found["raw"] is None:
            return False
        (counts,) = await query(
            stack,
            "SELECT count(*) FILTER (WHERE status = 'done') AS done, count(*) FILTER (WHERE status <> 'done') AS left"
            " FROM ops.chunks WHERE entity = 'customers'",
        )
        return bool(counts["done"] >= 5 and counts["left"] >= 5)

    deadline = time.monotonic() + PATIENCE_S
    while not await half_way():
        assert time.monotonic() < deadline, "the extraction never came half way"
        await asyncio.sleep(0.1)
    stack.mage.stop(signal.SIGKILL)
    before = await query(stack, "SELECT id, xmin::text FROM raw.qb_customers")
    await slow_down(stack, milliseconds=0)
    stack.restart_mage()

    run = await ended(stack, pipeline, trigger)
    assert (run["status"], failures(run)) == ("completed", {})
    assert [run["id"] for run in stack.mage.runs(pipeline, trigger)] == [run["id"]]
    assert await payloads(stack, "raw.qb_customers") == await truth(stack, "Customer")
    # What was there before the kill was not written again.
    after = {row["id"]: row["xmin"] for row in await query(stack, "SELECT id, xmin::text FROM raw.qb_customers")}
    assert before
    assert {row["id"]: row["xmin"] for row in before} == {row["id"]: after[row["id"]] for row in before}


async def slow_down(stack: Stack, *, milliseconds: int) -> None:
    latency = {"switches": {"latency": {"base_ms": [milliseconds, milliseconds]}}}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stack.simulator_url}/_simulator/faults", json=latency) as response,
    ):
        assert response.status == 200, await response.text()
