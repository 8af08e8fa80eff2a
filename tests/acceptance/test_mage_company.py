"""The company's pipeline in a real Mage server: every entity in a child block of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import aiohttp
import pytest
import yaml

from async_extractor.entities import ENTITIES, Entity
from tests.acceptance.test_mage_pipeline import EVERYTHING, ended, in_file, query, until
from tests.support.backfilling import exactly
from tools.demo.mage_server import failures
from tools.demo.stack import Company, Stack

PIPELINE = "qb_company_backfill"

pytestmark = [pytest.mark.mage, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Mage, a warehouse, and a small company with records of every entity."""
    stack = Stack(tmp_path_factory.mktemp("mage") / "stack", Company(120, 40, 30, everything=True))
    try:
        stack.up(lambda _step: None)
        yield stack
    finally:
        stack.down()


def fire(stack: Stack, trigger: str, **variables: Any) -> None:
    """The trigger of triggers.yaml under another name, due now, with these variables."""
    path = stack.project / "pipelines" / PIPELINE / "triggers.yaml"
    content = yaml.safe_load(path.read_text())
    now = datetime.now(timezone.utc).replace(tzinfo=None, microsecond=0)
    due = {"name": trigger, "status": "active", "start_time": now}
    content["triggers"].append({**content["triggers"][0], **due, "variables": {**EVERYTHING, **variables}})
    path.write_text(yaml.safe_dump(content))


async def run_of(stack: Stack, trigger: str) -> dict[str, Any]:
    await until(lambda: [known for known in stack.mage.triggers(PIPELINE) if known["name"] == trigger])
    return await ended(stack, PIPELINE, trigger)


async def behave(stack: Stack, **switches: Any) -> None:
    wanted = {"scenario": "calm", "switches": switches}
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{stack.simulator_url}/_simulator/faults", json=wanted) as response,
    ):
        assert response.status == 200, await response.text()


def record(entity: Entity, text: str) -> tuple[str, Any]:
    """A record's key, and the record without what differs at each reading."""
    payload = exactly(text)
    (inner,) = payload.values() if entity.wrapped else (payload,)
    key = "/".join(inner[name] for name in entity.key)
    return key, {name: value for name, value in payload.items() if name not in entity.volatile}


async def truth(stack: Stack, entity: Entity) -> dict[str, Any]:
    url = f"{stack.simulator_url}/_simulator/truth/{entity.query_name}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return dict(record(entity, line) for line in (await response.text()).splitlines())


async def raw(stack: Stack, entity: Entity) -> dict[str, Any]:
    rows = await query(stack, f"SELECT payload::text FROM raw.{entity.table}")
    return dict(record(entity, row["payload"]) for row in rows)


async def begun(stack: Stack) -> list[Any]:
    """The runs that the ledger knows; none where no run has made one yet."""
    ((ledger,),) = await query(stack, "SELECT to_regclass('ops.runs')")
    return await query(stack, "SELECT run_id FROM ops.runs") if ledger else []


@pytest.mark.slow
async def test_every_entity_is_loaded_by_a_child_of_its_own(company: Stack) -> None:
    """What the company doesn't have is told and fails nothing; at the end the trigger is inactive."""
    await behave(company, queries={"absent": ["JournalCode"]})
    fire(company, "all of it", entities="all", fecha_inicio="2015-01-01")
    run = await run_of(company, "all of it")
    assert (run["status"], failures(run)) == ("completed", {})
    blocks = {block["block_uuid"] for block in run["block_runs"]}
    assert blocks == {"qb_list_entities", "qb_entity", "qb_company_report"} | {f"qb_entity:{name}" for name in ENTITIES}
    runs = await query(company, "SELECT DISTINCT entity, status FROM ops.runs")
    assert {tuple(row) for row in runs} == {(name, "done") for name in ENTITIES if name != "journal_codes"}
    for entity in ENTITIES.values():
        if entity.name != "journal_codes":
            assert await raw(company, entity) == await truth(company, entity) != {}, entity.name
    await until(lambda: in_file(company, PIPELINE, "all of it")["status"] == "inactive")
    await until(lambda: company.mage.trigger(PIPELINE, "all of it")["status"] == "inactive")


@pytest.mark.slow
async def test_an_entity_that_fails_stops_no_other_and_the_run_fails(company: Stack) -> None:
    metadata = company.project / "pipelines" / PIPELINE / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace("retries: 1", "retries: 0").replace("limit: 3", "limit: 1"))
    await behave(company, faults=[{"kind": "user-rights-lost", "containing": "from vendor"}])
    fire(company, "one fails", entities="vendors,terms,employees", mode="reprocess")
    run = await run_of(company, "one fails")
    assert run["status"] == "failed"
    (failed,) = failures(run).items()
    assert failed[0] == "qb_entity:vendors"
    assert failed[1].startswith("QuickBooks"), failed
    statuses = {block["block_uuid"]: block["status"] for block in run["block_runs"]}
    assert statuses["qb_entity:terms"] == statuses["qb_entity:employees"] == "completed"
    assert statuses["qb_company_report"] == "upstream_failed"
    assert in_file(company, PIPELINE, "one fails")["status"] == "active"

    await behave(company)
    company.mage.retry(run["id"])
    await until(lambda: company.mage.runs(PIPELINE, "one fails")[0]["status"] == "completed")
    await until(lambda: in_file(company, PIPELINE, "one fails")["status"] == "inactive")
    runs = await query(company, "SELECT entity, count(*) AS n FROM ops.runs WHERE mode = 'reprocess' GROUP BY entity")
    assert {row["entity"]: row["n"] for row in runs} == {"vendors": 1, "terms": 1, "employees": 1}


@pytest.mark.slow
async def test_a_bad_list_is_one_line_and_nothing_is_begun(company: Stack) -> None:
    before = await begun(company)
    fire(company, "bad", entities="factura, payments,payments")
    run = await run_of(company, "bad")
    assert failures(run) == {
        "qb_list_entities": "entity: 'factura' is not an entity; invoices is; entity: payments is there twice"
    }
    assert await begun(company) == before
