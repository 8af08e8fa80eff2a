"""What Mage's blocks call: one function a block, each one stage of a backfill.

`variables` is what Mage gives a block as `kwargs`: the pipeline's, the trigger's and the run's variables. `plan` alone
reads the backfill's parameters from them; the other blocks take the run's number from the block before, and its
parameters from its row in ops.runs. Each block may run in a process of its own. A block gives a dict or a DataFrame
(Mage spreads a list over several outputs, and a one-element list arrives as its element).

Nothing here catches SIGTERM: Mage resumes a run whose block was simply killed, and marks it FAILED for good
when the block had time to raise. The chunks of a killed worker come free with its connection.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import asyncpg

from async_extractor.backfill import Backfill
from async_extractor.checks import why_not_done
from async_extractor.errors import ConfigurationError, IncompleteError, RequestError
from async_extractor.events import Event, Listener
from async_extractor.mage.secrets import MageSecrets
from async_extractor.mage.stage import Variables, in_a_block, text_of
from async_extractor.profile_option import work_for
from async_extractor.report.figures import gather
from async_extractor.report.texts import Texts
from async_extractor.report.verdict import verdict
from async_extractor.request import BackfillRequest, misspelt, whole_number
from async_extractor.settings import Settings
from async_extractor.spoken import spoken
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.failures import in_one_line
from async_extractor.warehouse.first_connection import connect_first
from async_extractor.warehouse.statements import statement

if TYPE_CHECKING:
    import pandas as pd  # type: ignore[import-untyped]

# As many blocks as the project's metadata.yaml lets Mage run at once (queue_config.concurrency).
MOST_WORKERS = 20


def plan(variables: Variables) -> dict[str, Any]:
    """Check all parameters, and cut what is left of the range into chunks.

    Gives `run_id` (0 when the block is only played in Mage's editor: nothing is written then), `entity`, `window` and
    `workers`. Another try of the same run of Mage's (*Retry run*) goes on with what the first one planned, whatever
    its mode: nothing that is done is read again.
    """
    return in_a_block(variables, "plan", lambda listeners: plan_run(variables, listeners))


def plan_for_workers(variables: Variables) -> list[list[dict[str, Any]]]:
    """Plan, as a dynamic block of Mage's gives it: the plan once for each worker, and what each is called.

    Mage then runs the next block once for each, in a process of its own. They work on the same run.
    """
    planned = plan(variables)
    names = [f"worker_{number}" for number in range(1, planned["workers"] + 1)]
    return [[{**planned, "worker": name} for name in names], [{"block_uuid": name} for name in names]]


def extract(planned: Mapping[str, Any], variables: Variables) -> dict[str, Any]:
    """Read the run's chunks into raw. Raises IncompleteError when some are left: Mage then tries again.

    Gives what it got, with the number of chunks and of those that are done. A run that has ended is not opened again:
    another try of the block, Mage's own or a person's, is a new run over what the first one left, and one for all of
    its workers.
    """

    async def stage(listeners: list[Listener]) -> dict[str, Any]:
        if not planned["run_id"]:
            return {**planned, **await _play(variables, listeners)}
        stored = await _stored(planned["run_id"], variables)
        # Only a new run plans here, and whatever the first one was for, it takes up what is left.
        request = replace(stored.request, mode="resume")
        async with _backfill(stored.secrets, request, variables, listeners, int(planned["workers"])) as backfill:
            run_id = await _taken_up(backfill, stored, request, variables)
            await backfill.extract(run_id)
        async with _warehouse(stored.settings) as connection:
            counts = await connection.fetchrow(statement("run_chunk_counts"), run_id)
        return {**planned, "run_id": run_id, "chunks": counts["planned"], "chunks_done": counts["done"]}

    return in_a_block(variables, "extract", stage)


def validate(extracted: Mapping[str, Any] | Sequence[Mapping[str, Any]], variables: Variables) -> pd.DataFrame:
    """Check what arrived; a table of the checks, the gravest first, with the run's number in each row.

    `extracted` is one worker's, or a list of all of them; where one of them had to begin a new run, that is the one.
    When a check is an error the run is closed, its report written, and IncompleteError raised: Mage's run must not
    complete over rows that are missing. Another try of the block is a new run over what was left.
    """
    from async_extractor.mage import tables  # noqa: PLC0415 - pandas: half a second, and only Mage has it

    async def stage(listeners: list[Listener]) -> pd.DataFrame:
        stored = await _stored(_run_of(extracted), variables)
        request = replace(stored.request, mode="resume")
        async with _backfill(stored.secrets, request, variables, listeners) as backfill:
            run_id = await _taken_up(backfill, stored, request, variables)
            if run_id != stored.run_id:
                await backfill.extract(run_id)
            checks = await backfill.validate(run_id)
            why = why_not_done(checks)
            if why is not None:
                await backfill.report(run_id)
                raise IncompleteError(f"run {run_id}: {why}")
        return tables.of_checks(checks, run_id, request.lang)

    return in_a_block(variables, "validate", stage)


def report(validated: pd.DataFrame | Mapping[str, Any], variables: Variables) -> pd.DataFrame:
    """Close the run. A table: verdict and totals, then a row a chunk. IncompleteError when the run isn't done.

    `run` is the extractor's number, `mage_run` Mage's, `report` the page with all of it.
    """
    from async_extractor.mage import tables  # noqa: PLC0415 - as above

    async def stage(listeners: list[Listener]) -> pd.DataFrame:
        stored = await _stored(_run_of(validated), variables)
        written: list[str] = []

        def note_path(event: Event) -> None:
            if event.name == "report_written":
                written.append(event.fields["path"])

        request = replace(stored.request, mode="resume")
        async with _backfill(stored.secrets, request, variables, [*listeners, note_path]) as backfill:
            run_id = await _taken_up(backfill, stored, request, variables)
            if run_id != stored.run_id:
                await backfill.extract(run_id)
                await backfill.validate(run_id)
            result = await backfill.report(run_id)
        if result.status != "done":
            raise IncompleteError(f"run {run_id}: {result.error}")
        async with _warehouse(stored.settings) as connection:
            figures = await gather(connection, run_id)
        _, headline, why, _ = verdict(figures, Texts(stored.request.lang))
        return tables.of_run(result, f"{headline}. {why}", "".join(written), variables.get("pipeline_run_id"))

    return in_a_block(variables, "report", stage)


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


async def plan_run(variables: Variables, listeners: list[Listener]) -> dict[str, Any]:
    """What `plan` gives. Raises NotOfferedError where the company has no such entity."""
    asked = asked_of(variables)
    request, settings = asked.request, Settings.read(asked.secrets, asked.profile)
    planned = {"entity": request.entity.name, "window": str(request.window), "workers": asked.workers}
    if _is_played(variables):
        async with _backfill(asked.secrets, request, variables, listeners, asked.workers) as backfill:
            return {"run_id": 0, **planned, "plan": f"{await backfill.preview()}; qb_extract will write and read it"}
    before = await _before(settings, request, variables)
    # What is read with another `include` isn't what is asked for by now: a run of its own, or told why it can't be.
    same = before is not None and (not request.include or before["include"] == request.include)
    if before is not None and same and before["finished_at"] is None:
        return {"run_id": before["run_id"], **planned}
    if before is not None and before["status"] != "done":
        request = replace(request, mode="resume")
    async with _backfill(asked.secrets, request, variables, listeners, asked.workers) as backfill:
        run_id = await backfill.plan()
    await _note(settings, run_id, request, variables)
    return {"run_id": run_id, **planned}


async def _play(variables: Variables, listeners: list[Listener]) -> dict[str, Any]:
    """The whole extraction, planned, read, checked and closed: what qb_extract is when it is played in the editor."""
    asked = asked_of(variables)
    async with _backfill(asked.secrets, asked.request, variables, listeners) as backfill:
        run_id = await backfill.plan()
        await backfill.extract(run_id)
        await backfill.validate(run_id)
        result = await backfill.report(run_id)
    if result.status != "done":
        raise IncompleteError(f"run {run_id}: {result.error}")
    return {"run_id": run_id, "chunks": result.chunks["planned"], "chunks_done": result.chunks["done"]}


@dataclass(frozen=True)
class Asked:
    request: BackfillRequest
    workers: int
    secrets: MageSecrets
    profile: str


def asked_of(variables: Variables) -> Asked:
    """The parameters, checked all at once: RequestError names each that is wrong."""
    work_for(text_of(variables, "profile"))
    found: dict[str, Any] = {}
    wrong = misspelt(variables)
    parts: dict[str, Callable[[], Any]] = {
        "request": lambda: BackfillRequest.of_variables({"lang": spoken(), **variables}),
        "workers": lambda: whole_number("workers", text_of(variables, "workers") or 1, MOST_WORKERS),
        "secrets": lambda: MageSecrets.locate(profile=text_of(variables, "profile")),
    }
    for name, parse in parts.items():
        try:
            found[name] = parse()
        except RequestError as error:
            wrong.append(str(error))
    if wrong:
        raise RequestError("; ".join(wrong))
    return Asked(**found, profile=text_of(variables, "profile"))


@dataclass(frozen=True)
class _Stored:
    run_id: int
    request: BackfillRequest
    secrets: MageSecrets
    settings: Settings


async def _taken_up(backfill: Backfill, stored: _Stored, request: BackfillRequest, variables: Variables) -> int:
    """The run that goes on: the stored one, or a new one of this run of Mage's where that has ended and isn't done."""
    run_id = await backfill.take_up(stored.run_id)
    if run_id != stored.run_id:
        await _note(stored.settings, run_id, request, variables)
    return run_id


async def _stored(run_id: int, variables: Variables) -> _Stored:
    """The run's request as ops.runs has it, whatever Mage's variables say by now."""
    profile = text_of(variables, "profile")
    work_for(profile)
    secrets = MageSecrets.locate(profile=profile)
    settings = Settings.read(secrets, profile)
    row = None
    async with _warehouse(settings) as connection:
        with contextlib.suppress(asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            row = await connection.fetchrow(statement("select_run"), int(run_id))
    if row is None or row["realm_id"] != settings.realm_id:
        raise ConfigurationError(
            f"run {run_id} is not one of company {settings.realm_id} in {settings.warehouse}: "
            "the secrets were changed after qb_plan; start the pipeline anew"
        )
    return _Stored(int(run_id), BackfillRequest.of_run(row), secrets, settings)


async def _before(settings: Settings, request: BackfillRequest, variables: Variables) -> Any:
    """The run that an earlier try of this run of Mage's planned; None when this is the first one."""
    execution = _execution(variables)
    if execution is None:
        return None
    window = request.window
    series = (settings.realm_id, request.entity.name, request.filter_field)
    async with _warehouse(settings) as connection:
        with contextlib.suppress(asyncpg.UndefinedTableError, asyncpg.InvalidSchemaNameError):
            return await connection.fetchrow(
                statement("run_of_mage_execution"), *series, window.start, window.end, execution
            )
    return None


async def _note(settings: Settings, run_id: int, request: BackfillRequest, variables: Variables) -> None:
    noted = {
        "lang": request.lang,
        "mage_run": variables.get("pipeline_run_id"),
        "mage_execution": _execution(variables),
    }
    known = {name: value for name, value in noted.items() if value is not None}
    async with _warehouse(settings) as connection:
        await connection.execute(statement("note_mage_run"), run_id, json.dumps(known).encode())


def _execution(variables: Variables) -> str | None:
    """What all tries of one run of Mage's have in common: the trigger, and when it fired."""
    partition = variables.get("execution_partition")
    return None if partition is None else f"{variables.get('pipeline_uuid')} {partition}"


def _is_played(variables: Variables) -> bool:
    """Whether a person plays the block on Mage's Edit page: in its notebook's kernel, and outside of any run."""
    ipython = sys.modules.get("IPython")
    return variables.get("pipeline_run_id") is None and ipython is not None and ipython.get_ipython() is not None


def _run_of(upstream: Any) -> int:
    if hasattr(upstream, "columns"):
        return int(upstream["run"].iloc[0])
    by_worker = [upstream] if isinstance(upstream, Mapping) else upstream
    return max(int(one["run_id"]) for one in by_worker)


@contextlib.asynccontextmanager
async def _warehouse(settings: Settings) -> AsyncIterator[Connection]:
    connection = await connect_first(settings.warehouse)
    try:
        with in_one_line():
            yield connection
    finally:
        await connection.close(timeout=5)


def _backfill(
    secrets: MageSecrets,
    request: BackfillRequest,
    variables: Variables,
    listeners: list[Listener],
    workers: int = 1,
) -> Backfill:
    return Backfill(request, secrets, listeners, profile=text_of(variables, "profile"), workers=workers)
