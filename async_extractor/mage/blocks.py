"""What Mage's blocks call: one function a block, each one stage of a backfill.

A block gets Mage's variables as `kwargs` and gives a dict or a DataFrame (Mage spreads a list over several
outputs, and a one-element list arrives as its element). Each block may run in a process of its own, so
the run's number travels from one to the next; all else is in Postgres.

Nothing here catches SIGTERM: Mage resumes a run whose block was simply killed, and marks it FAILED for good
when the block had time to raise. The chunks of a killed worker come free with its connection.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from async_extractor.backfill import Backfill
from async_extractor.errors import BackfillError, RequestError
from async_extractor.events import Event, Listener, LogListener
from async_extractor.mage.secrets import MageSecrets
from async_extractor.monitoring.progress import ProgressLines
from async_extractor.request import BackfillRequest

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

Variables = Mapping[str, Any]

# The block that runs once for each worker.
EXTRACT = "qb_extract"
# As many blocks as the project's metadata.yaml lets Mage run at once (queue_config.concurrency).
MOST_WORKERS = 20
Result = TypeVar("Result")

# Keys that Mage's logger writes itself.
_MAGES_OWN_FIELDS = {"level", "message", "timestamp", "uuid", "error", "error_stack", "error_stacktrace", "log_level"}

# The report's table, in the order of a person's questions; its times are UTC.
_COLUMNS = (
    "kind",
    "window_start",
    "window_end",
    "status",
    "attempts",
    "pages",
    "requests",
    "retries",
    "rows_read",
    "rows_inserted",
    "rows_updated",
    "rows_unchanged",
    "rows_quarantined",
    "seconds",
    "error",
)


def plan(variables: Variables) -> dict[str, Any]:
    """Cut what is left of the range into chunks: `{"run_id": ..., "entity": ..., "window": ...}`."""

    async def stage(backfill: Backfill) -> dict[str, Any]:
        run_id = await backfill.plan()
        return {"run_id": run_id, "entity": backfill.request.entity.name, "window": str(backfill.request.window)}

    return _run(variables, stage)


def plan_for_workers(variables: Variables) -> list[list[dict[str, Any]]]:
    """Plan, as a dynamic block of Mage's gives it: the plan once for each worker, and what each is called.

    Mage then runs the next block once for each, in a process of its own. They work on the same run.
    """
    planned = plan(variables)
    names = [f"worker_{number}" for number in range(1, _workers(variables) + 1)]
    return [[{**planned, "worker": name} for name in names], [{"block_uuid": name} for name in names]]


def extract(planned: Mapping[str, Any], variables: Variables) -> dict[str, Any]:
    """Read the run's chunks into raw. Raises IncompleteError when some are left: Mage then tries again.

    A run that has ended is not opened again: another try of the block, Mage's own or a person's, is a new
    run over what the first one left, and one for all of its workers.
    """

    async def stage(backfill: Backfill) -> dict[str, Any]:
        run_id = await backfill.take_up(int(planned["run_id"]))
        await backfill.extract(run_id)
        return {**planned, "run_id": run_id}

    # Only a new run plans here, and whatever the first one was for, it takes up what is left.
    return _run({**variables, "mode": "resume"}, stage)


def validate(extracted: Mapping[str, Any] | Sequence[Mapping[str, Any]], variables: Variables) -> dict[str, Any]:
    """Check what arrived; each check's severity and sentence under its name.

    `extracted` is one worker's, or a list of all of them; where one of them had to begin a new run, that is the one.
    """
    by_worker = [extracted] if isinstance(extracted, Mapping) else extracted
    last = max(by_worker, key=lambda one: int(one["run_id"]))
    done = {name: value for name, value in last.items() if name != "worker"}

    async def stage(backfill: Backfill) -> dict[str, Any]:
        checks = await backfill.validate(int(done["run_id"]))
        found = {check.name: f"{check.severity}: {check.message}" for check in checks}
        return {**done, "validations": found}

    return _run(variables, stage)


def report(validated: Mapping[str, Any], variables: Variables) -> pd.DataFrame:
    """Close the run; its chunks as a table whose last row is the total."""
    import pandas as pd  # noqa: PLC0415 - half a second, and only Mage's processes have it

    async def stage(backfill: Backfill) -> pd.DataFrame:
        result = await backfill.report(int(validated["run_id"]))
        chunks = pd.DataFrame(result.chunk_table, columns=_COLUMNS)
        total: dict[str, Any] = {name: chunks[name].sum() for name in _COLUMNS if chunks[name].dtype.kind in "iuf"}
        total |= {
            "kind": "total",
            "window_start": result.window.start,
            "window_end": result.window.end,
            "status": result.status,
            "requests": result.requests["sent"],
            "seconds": result.seconds,
        }
        table = pd.concat([chunks, pd.DataFrame([total], columns=_COLUMNS)], ignore_index=True)
        for name in ("window_start", "window_end"):
            table[name] = pd.to_datetime(table[name], utc=True)
        table["seconds"] = table["seconds"].astype(float).round(1)
        return table.astype({"error": "string"})

    return _run(variables, stage)


def close_trigger(variables: Variables) -> None:
    """Set the one-time trigger that began this run inactive in triggers.yaml.

    Mage does so in its database only, and takes the file's word again when it restarts.
    """
    from mage_ai.data_preparation.models.triggers import (  # noqa: PLC0415 - only inside Mage
        ScheduleStatus,
        add_or_update_trigger_for_pipeline_and_persist,
        get_triggers_by_pipeline,
    )

    pipeline = variables["pipeline_uuid"]
    for trigger in get_triggers_by_pipeline(pipeline):
        began_this = trigger.name == variables.get("trigger_name") and trigger.schedule_interval == "@once"
        if began_this and trigger.status == ScheduleStatus.ACTIVE:
            trigger.status = ScheduleStatus.INACTIVE
            add_or_update_trigger_for_pipeline_and_persist(trigger, pipeline, update_only_if_exists=True)


def entity_of(pipeline: object) -> str:
    """`invoices` for `qb_invoices_backfill`: the pipeline's name says what it loads."""
    found = re.fullmatch(r"qb_([a-z0-9_]+)_backfill", str(pipeline))
    if found is None:
        raise RequestError(f"pipeline: {str(pipeline)!r} is not named qb_<entity>_backfill")
    return found[1]


def _workers(variables: Variables) -> int:
    given = variables.get("workers")
    text = "1" if given in (None, "") else str(given).strip()
    if not re.fullmatch(r"\d{1,3}", text) or not 1 <= int(text) <= MOST_WORKERS:
        raise RequestError(f"workers: {text!r} is not a whole number from 1 to {MOST_WORKERS}")
    return int(text)


def _request(variables: Variables) -> BackfillRequest:
    chosen = {
        name: variables[name]
        for name in ("chunk", "concurrency", "filter_field", "mode", "lang")
        if variables.get(name) not in (None, "")
    }
    return BackfillRequest.parse(
        entity_of(variables.get("pipeline_uuid")),
        variables.get("fecha_inicio"),
        variables.get("fecha_fin"),
        **chosen,
    )


def _run(variables: Variables, stage: Callable[[Backfill], Awaitable[Result]]) -> Result:
    """One stage with an event loop of its own. What a person can act on is raised as its one line alone."""

    async def run() -> Result:
        request = _request(variables)
        profile = str(variables.get("profile") or "")
        secrets = MageSecrets.locate(profile=profile)
        listener = _listener(variables)
        listeners: list[Listener] = [listener, ProgressLines(listener)]
        workers = _workers(variables)
        async with Backfill(request, secrets, listeners, profile=profile, workers=workers) as backfill:
            return await stage(backfill)

    try:
        return _in_a_loop(run)
    except BackfillError as error:
        failure = type(error)(str(error))
        _tell_mage(variables, str(error))
    # Raised out here, it carries no frames of the event loop into Mage's log and database.
    raise failure


def _tell_mage(variables: Variables, line: str) -> None:
    """Put the line where Mage shows why a block failed, for a dynamic block and its children.

    Mage 0.9.80 does so itself, but changes what it has read of the block's metrics in place: where there were any
    before, as these have them, its database layer sees no change.
    """
    run_id, block = variables.get("pipeline_run_id"), variables.get("block_uuid")
    if run_id is None or block is None:
        return
    if variables.get("dynamic_block_index") is not None:
        block = f"{EXTRACT}:{block}"  # a child is given its own name only
    from mage_ai.orchestration.db.models.schedules import BlockRun  # noqa: PLC0415 - only inside Mage

    found = BlockRun.get(pipeline_run_id=run_id, block_uuid=block)
    if found is not None and found.metrics:
        found.update(metrics={**found.metrics, "error": {"error": line, "errors": [line], "message": line}})


def _in_a_loop(run: Callable[[], Awaitable[Result]]) -> Result:
    """In a thread and an event loop of its own, because in this one there may be a loop already.

    Mage's notebook ("play" on the Edit page) runs blocks inside a loop, which can't wait for another one. And a
    scheduler that died, as it does when its database restarts, is forked anew from inside the server's loop: there
    `asyncio.run`, which Mage has patched by nest_asyncio, would go on with the server's loop, in both processes.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(_in_a_new_loop, run).result()


def _in_a_new_loop(run: Callable[[], Awaitable[Result]]) -> Result:
    async def main() -> Result:
        return await run()

    async def end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(end())
        loop.close()


def _listener(variables: Variables) -> Listener:
    logger = variables.get("logger")
    if logger is None or isinstance(logger, logging.Logger):  # `mage run` and the notebook give none
        return LogListener(logger)

    def to_mage(event: Event) -> None:
        fields = {f"event_{name}" if name in _MAGES_OWN_FIELDS else name: value for name, value in event.fields.items()}
        plain = json.loads(json.dumps(fields, default=str))
        getattr(logger, event.level)(
            event.message, **{**plain, "event": event.name, "code": event.code, "phase": event.phase}
        )

    return to_mage
