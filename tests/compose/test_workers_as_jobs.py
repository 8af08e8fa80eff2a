"""The extract block as deploy/kubernetes runs it: each of its workers by a Job's command, in a container of its own."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.compose.composed import Stack

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

WORKERS = 3
VARIABLES = {
    "fecha_inicio": "2023-01-01",
    "fecha_fin": "2025-12-31",
    "chunk": "week",
    "concurrency": 1,
    "mode": "reprocess",
    "workers": WORKERS,
}
PROJECT = "/home/src/mage_project"

# Mage's own code, in a container: a run that no scheduler looks after, and the commands that Mage's executor for
# Kubernetes would give to a Job for each of its blocks.
IN_MAGE = f"""
import json, sys
from mage_ai.settings.repo import set_repo_path
set_repo_path("{PROJECT}")
from datetime import datetime
from mage_ai.data_preparation.executors.k8s_block_executor import K8sBlockExecutor
from mage_ai.data_preparation.models.pipeline import Pipeline
from mage_ai.orchestration.db import db_connection
from mage_ai.orchestration.db.models.schedules import PipelineRun, PipelineSchedule
db_connection.start_session()
asked = json.loads(sys.argv[1])
pipeline = Pipeline.get("qb_invoices_backfill", repo_path="{PROJECT}")
if "variables" in asked:
    trigger = PipelineSchedule.create(
        name="as_jobs", pipeline_uuid=pipeline.uuid, schedule_type="time", schedule_interval="@once",
        status="inactive", variables=asked["variables"], repo_path="{PROJECT}",
    )
    run = PipelineRun.create(
        pipeline_schedule_id=trigger.id, pipeline_uuid=pipeline.uuid, execution_date=datetime.utcnow(),
        variables={{}}, create_block_runs=True,
    )
    run.update(status="running")
else:
    run = PipelineRun.query.get(asked["run"])
blocks = {{
    block.block_uuid: {{
        "status": block.status.value,
        "command": K8sBlockExecutor(
            pipeline, block.block_uuid, execution_partition=run.execution_partition
        )._run_commands(block_run_id=block.id, pipeline_run_id=run.id),
    }}
    for block in run.block_runs
}}
print(json.dumps({{"run": run.id, "blocks": blocks}}))
"""


def test_each_worker_of_a_run_may_be_a_container_of_its_own(stack: Stack) -> None:
    newest = int(stack.psql("SELECT coalesce(max(run_id), 0) FROM ops.runs"))
    stack.compose("stop", "mage")  # with its scheduler, which would run the blocks itself
    try:
        run = _in_mage(stack, variables=VARIABLES)
        for block in ("qb_plan", "qb_extract"):
            _as_a_job(stack, run["blocks"][block]["command"])
        blocks = _in_mage(stack, run=run["run"])["blocks"]
        workers = [f"qb_extract:worker_{number}" for number in range(1, WORKERS + 1)]
        print(" ".join(blocks[workers[0]]["command"]))
        with ThreadPoolExecutor(WORKERS) as at_once:
            logs = list(at_once.map(lambda worker: _as_a_job(stack, blocks[worker]["command"]), workers))
        for block in ("qb_validate", "qb_report"):
            _as_a_job(stack, blocks[block]["command"])
        ended = {name: block["status"] for name, block in _in_mage(stack, run=run["run"])["blocks"].items()}
    finally:
        stack.compose("up", "--detach", "--wait", "--no-recreate", "mage")
    assert ended == dict.fromkeys([*blocks], "completed")
    shares = [log.count('"event": "chunk_done"') for log in logs]
    assert min(shares) > 0
    done = stack.psql(
        "SELECT count(DISTINCT chunk_id), count(*), sum(rows_read) FROM ops.attempts "
        f"WHERE run_id > {newest} AND outcome = 'done'"
    )
    chunks, attempts, read = map(int, done.split("|"))
    rows = stack.assert_raw_is_the_truth("invoices")
    assert (sum(shares), attempts, read) == (chunks, chunks, rows)
    print(f"chunks done by each of {WORKERS} containers: {shares}")
    print(f"{chunks} in all, each done once; {read:,} rows read, as at the source")


def _in_mage(stack: Stack, **asked: Any) -> dict[str, Any]:
    said = _in_a_container(stack, "python", "-", json.dumps(asked), given=IN_MAGE)
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found


def _as_a_job(stack: Stack, command: list[str]) -> str:
    """What the command says, its log with it."""
    said = _in_a_container(stack, "sh", "-c", 'exec "$@" 2>&1', "sh", *command)
    assert "Pipeline run completed." in said
    return said


def _in_a_container(stack: Stack, *command: str, given: str | None = None) -> str:
    """A new container of the service `mage`, as a Job's pod has its image, environment and volumes."""
    return stack.compose("run", "--rm", "--no-TTY", "--no-deps", "mage", *command, given=given)
