"""The Mage project as it is in the repository: three pipelines of one shape, blocks that hold no logic."""

from __future__ import annotations

import ast
import re
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from async_extractor.entities import ENTITIES
from async_extractor.request import VARIABLES, BackfillRequest

PROJECT = Path(__file__).parents[2] / "mage_project"
COURSE = ("invoices", "customers", "items")
ALL = (*COURSE, "company")


def pipeline(entity: str) -> dict[str, Any]:
    return yaml.safe_load((PROJECT / "pipelines" / f"qb_{entity}_backfill" / "metadata.yaml").read_text())


def trigger(entity: str) -> dict[str, Any]:
    path = PROJECT / "pipelines" / f"qb_{entity}_backfill" / "triggers.yaml"
    (only,) = yaml.safe_load(path.read_text())["triggers"]
    return only


def test_every_pipeline_loads_an_entity_that_the_extractor_knows() -> None:
    folders = {path.name for path in (PROJECT / "pipelines").iterdir() if path.is_dir()}
    assert {f"qb_{entity}_backfill" for entity in COURSE} <= folders
    assert {pipeline(entity)["variables"]["entity"] for entity in COURSE} == set(COURSE) <= ENTITIES.keys()


@pytest.mark.parametrize("entity", COURSE)
def test_the_pipelines_differ_in_nothing_but_their_names(entity: str) -> None:
    def general(one: str) -> str:
        text = (PROJECT / "pipelines" / f"qb_{one}_backfill" / "metadata.yaml").read_text()
        return (
            text.replace(f"qb_{one}", "qb_X")
            .replace(f"entity: {one}", "entity: X")
            .replace(ENTITIES[one].query_name, "X")
        )

    assert general(entity) == general("invoices")


@pytest.mark.parametrize("entity", COURSE)
def test_a_pipelines_blocks_are_one_chain_of_files_that_exist(entity: str) -> None:
    blocks = pipeline(entity)["blocks"]
    assert [block["uuid"] for block in blocks] == ["qb_plan", "qb_extract", "qb_validate", "qb_report"]
    for before, after in pairwise(blocks):
        assert before["downstream_blocks"] == [after["uuid"]]
        assert after["upstream_blocks"] == [before["uuid"]]
    assert all((PROJECT / "custom" / f"{block['uuid']}.py").is_file() for block in blocks)
    (closing,) = pipeline(entity)["callbacks"]
    assert closing["upstream_blocks"] == ["qb_report"]
    assert (PROJECT / "callbacks" / f"{closing['uuid']}.py").is_file()


@pytest.mark.parametrize("entity", ALL)
def test_a_blocks_retry_waits_less_in_sum_than_mage_allows(entity: str) -> None:
    # Mage gives up when the sum of the waits reaches max_delay.
    for block in pipeline(entity)["blocks"]:
        retry = block.get("retry_config")
        if retry:
            waits = [retry["delay"] * 2**n for n in range(retry["retries"])]
            assert sum(waits) < retry["max_delay"]
        assert not block.get("timeout")


@pytest.mark.parametrize("entity", ALL)
def test_the_trigger_runs_once_at_a_time_that_is_told_in_utc_and_guayaquil(entity: str) -> None:
    once = trigger(entity)
    assert (once["schedule_type"], once["schedule_interval"]) == ("time", "@once")
    assert once["pipeline_uuid"] == f"qb_{entity}_backfill"
    start = once["start_time"].replace(tzinfo=timezone.utc)
    local = start.astimezone(ZoneInfo("America/Guayaquil"))
    assert local.utcoffset() == timedelta(hours=-5)
    assert once["description"] == f"{start:%Y-%m-%d %H:%M} UTC, {local:%Y-%m-%d %H:%M} America/Guayaquil"


@pytest.mark.parametrize("entity", COURSE)
def test_the_triggers_variables_are_a_request_and_starting_mage_fires_nothing(entity: str) -> None:
    once = trigger(entity)
    request = BackfillRequest.of_variables({**pipeline(entity)["variables"], **once["variables"]})
    assert isinstance(request, BackfillRequest)
    assert request.window.end == datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert once["status"] == "inactive"


@pytest.mark.parametrize("entity", ALL)
def test_the_trigger_file_is_as_mage_writes_it(entity: str) -> None:
    # Else Mage's first start would leave the checkout changed.
    path = PROJECT / "pipelines" / f"qb_{entity}_backfill" / "triggers.yaml"
    without_comments = re.sub(r"(?m)^#.*\n", "", path.read_text())
    assert yaml.safe_dump(yaml.safe_load(without_comments)) == without_comments


def test_the_companys_pipeline_fans_out_and_fails_only_at_its_end() -> None:
    company, once = pipeline("company"), trigger("company")
    assert [block["uuid"] for block in company["blocks"]] == ["qb_list_entities", "qb_entity", "qb_company_report"]
    for before, after in pairwise(company["blocks"]):
        assert (before["downstream_blocks"], after["upstream_blocks"]) == ([after["uuid"]], [before["uuid"]])
    assert company["callbacks"][0]["upstream_blocks"] == ["qb_company_report"]
    assert (once["settings"], once["status"]) == ({"allow_blocks_to_fail": True}, "inactive")
    assert once["variables"].keys() < company["variables"].keys()
    assert set(VARIABLES) - {"entity", "workers"} | {"entities"} == company["variables"].keys()
    assert set(VARIABLES) == pipeline("invoices")["variables"].keys()


def test_blocks_call_one_function_and_hold_no_logic() -> None:
    blocks = [path for folder in ("custom", "callbacks") for path in (PROJECT / folder).glob("qb_*.py")]
    assert len(blocks) == 8
    for path in blocks:
        function, *tests = (node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef))
        assert function.name == path.stem
        docstring, call = function.body
        assert isinstance(docstring, ast.Expr)
        assert isinstance(call, (ast.Return, ast.Expr))
        assert all(len(test.body) == 2 for test in tests)


def test_the_project_tells_nothing_to_mages_makers_and_holds_no_secret() -> None:
    metadata = yaml.safe_load((PROJECT / "metadata.yaml").read_text())
    assert metadata["help_improve_mage"] is False
    text = "".join(path.read_text() for path in PROJECT.rglob("*") if path.suffix in (".yaml", ".py"))
    assert not re.search(r"(?i)password:|secret:|token: [^n]", text)
