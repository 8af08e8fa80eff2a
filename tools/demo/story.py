"""What the demo shows: three one-time triggers, their backfills, and the proof that all of it arrived."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import yaml  # type: ignore[import-untyped]
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from async_extractor.backfill import Backfill
from async_extractor.cli.result import print_result
from async_extractor.entities import ENTITIES
from async_extractor.request import BackfillRequest
from async_extractor.result import BackfillResult
from async_extractor.warehouse.statements import statement
from tools.demo.mage_server import SCHEDULER_INTERVAL_S, failures
from tools.demo.stack import Stack

NAMES = ("invoices", "customers", "items")
AGAIN = "invoices"
_POLL_S = 0.5
_RUN_TIMEOUT_S = 600


class DemoError(Exception):
    """Something isn't as it should be: what, in one line."""


async def tell(stack: Stack, console: Console) -> None:
    """Run the story. Raises DemoError at the first thing that is not as it should be."""
    # Where Mage's blocks write theirs: the results shown here come with a report, too.
    os.environ["QBO_BACKFILL_REPORTS"] = str(stack.reports)
    warehouse = await asyncpg.connect(stack.warehouse.url(show_password=True))
    try:
        console.rule("three one-time triggers, fired together")
        for name in NAMES:
            stack.mage.activate(pipeline(name), trigger(name))
        await _watch(stack, warehouse, console, [(pipeline(name), trigger(name)) for name in NAMES])

        console.rule("what was loaded, chunk by chunk")
        for result in await _results(stack, warehouse, NAMES):
            print_result(result, console)

        console.rule("row for row against the source")
        await _compare(stack, warehouse, console)

        console.rule(f"{AGAIN} once more, all of it read again")
        await _again(stack, warehouse, console)

        console.rule("the triggers, after a restart of Mage")
        await _wait_until_closed_in_files(stack)
        stack.restart_mage()
        await asyncio.sleep(3 * SCHEDULER_INTERVAL_S)  # it reads the files and starts what is due at each tick
        await _closed(stack, console)
    finally:
        await warehouse.close()


def pipeline(name: str) -> str:
    return f"qb_{name}_backfill"


def trigger(name: str) -> str:
    return f"{name}_once"


async def _watch(stack: Stack, warehouse: Any, console: Console, fired: list[tuple[str, str]]) -> None:
    """Show progress until each of the triggers has a run that ended; DemoError when one failed."""
    with Progress(
        TextColumn("{task.description:24}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("chunks, {task.fields[rows]:>7,} rows, {task.fields[state]}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        tasks = {name: progress.add_task(name, total=None, rows=0, state="waiting") for name, _ in fired}
        before = {row["entity"]: row["run_id"] for row in await _newest_runs(warehouse)}
        deadline = time.monotonic() + _RUN_TIMEOUT_S
        said: dict[str, str] = {}
        while True:
            await _show(warehouse, progress, tasks, before)
            states = {name: _state(stack, name, once) for name, once in fired}
            for name, state in states.items():
                progress.update(tasks[name], state=state)
                if not console.is_terminal and said.get(name) != state:
                    console.print(f"{name}: {state}, {progress.tasks[tasks[name]].fields['rows']:,} rows")
                    said[name] = state
            if all(state == "completed" for state in states.values()):
                await _show(warehouse, progress, tasks, before)
                return
            if time.monotonic() > deadline:
                raise DemoError(f"the runs didn't end within {_RUN_TIMEOUT_S} s: {states}")
            await asyncio.sleep(_POLL_S)


def _state(stack: Stack, name: str, once: str) -> str:
    runs = stack.mage.runs(name, once)
    if not runs:
        return "waiting"
    if runs[0]["status"] in ("failed", "cancelled"):
        reasons = "; ".join(f"{block}: {message}" for block, message in failures(runs[0]).items())
        raise DemoError(f"{name} {runs[0]['status']}: {reasons or 'see Mage'}")
    return str(runs[0]["status"])


async def _show(warehouse: Any, progress: Progress, tasks: dict[str, TaskID], before: dict[str, int]) -> None:
    for row in await _newest_runs(warehouse):
        task = tasks.get(pipeline(row["entity"]))
        if task is not None and row["run_id"] != before.get(row["entity"]):
            progress.update(task, total=row["chunks"], completed=row["done"], rows=row["rows_read"])


async def _newest_runs(warehouse: Any) -> list[Any]:
    """Each entity's newest run in the ledger; none while the first run still makes the ledger, file by file."""
    try:
        runs = await warehouse.fetch(statement("recent_runs"), 50, None, None)
    except (asyncpg.InvalidSchemaNameError, asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
        return []
    newest: dict[str, Any] = {}
    for row in runs:
        newest.setdefault(row["entity"], row)
    return list(newest.values())


async def _results(stack: Stack, warehouse: Any, names: tuple[str, ...]) -> list[BackfillResult]:
    newest = {row["entity"]: row for row in await _newest_runs(warehouse)}
    results = []
    for name in names:
        run = newest[name]
        request = BackfillRequest.parse(name, run["range_start"].isoformat(), run["range_end"].isoformat())
        async with Backfill(request, stack.secrets()) as backfill:
            results.append(await backfill.report(run["run_id"]))
    return results


async def _compare(stack: Stack, warehouse: Any, console: Console) -> None:
    """Every record of the source beside the one in raw, its whole payload as text."""
    table = Table("table", "at the source", "in raw", "missing", "surplus", "different")
    wrong = []
    for name in NAMES:
        entity = ENTITIES[name]
        await warehouse.execute("CREATE TEMPORARY TABLE truth (payload jsonb) ON COMMIT PRESERVE ROWS")
        # A quote and a delimiter that JSON can't hold: each line is one value as it is.
        await warehouse.copy_to_table(
            "truth",
            source=_truth(stack, entity.query_name),
            format="csv",
            quote="\x01",
            delimiter="\x02",
        )
        found = await warehouse.fetchrow(
            f"""
            SELECT count(truth.payload) AS source, count(loaded.id) AS raw,
                   count(*) FILTER (WHERE loaded.id IS NULL) AS missing,
                   count(*) FILTER (WHERE truth.payload IS NULL) AS surplus,
                   count(*) FILTER (WHERE loaded.payload::text <> truth.payload::text) AS different
              FROM truth FULL JOIN raw.{entity.table} AS loaded ON loaded.id = truth.payload ->> 'Id'
            """
        )
        await warehouse.execute("DROP TABLE truth")
        table.add_row(f"raw.{entity.table}", *(f"{number:,}" for number in found.values()))
        if found["missing"] or found["surplus"] or found["different"] or not found["raw"]:
            wrong.append(entity.table)
    console.print(table)
    if wrong:
        raise DemoError(f"not as at the source: {', '.join(wrong)}")


async def _truth(stack: Stack, query_name: str) -> AsyncIterator[bytes]:
    url = f"{stack.simulator_url}/_simulator/truth/{query_name}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        response.raise_for_status()
        async for part in response.content.iter_chunked(1 << 16):
            yield part


async def _again(stack: Stack, warehouse: Any, console: Console) -> None:
    """A second trigger reads the whole range again; not one row of the table is written."""
    table = ENTITIES[AGAIN].table
    before = await _writes(warehouse, table)
    once = stack.mage.trigger(pipeline(AGAIN), trigger(AGAIN))
    stack.mage.create_trigger(pipeline(AGAIN), f"{AGAIN}_again", {**once["variables"], "mode": "reprocess"})
    await _watch(stack, warehouse, console, [(pipeline(AGAIN), f"{AGAIN}_again")])
    (result,) = await _results(stack, warehouse, (AGAIN,))
    after = await _writes(warehouse, table)
    shown = Table(f"raw.{table}", "rows", "n_tup_ins", "n_tup_upd", "n_tup_del", "hash of all row versions")
    shown.add_row("before", *(str(value) for value in before.values()))
    shown.add_row("after", *(str(value) for value in after.values()))
    console.print(shown)
    console.print(f"{result.rows['read']:,} rows read again, {result.rows['unchanged']:,} unchanged")
    if before != after or not result.rows["read"]:
        raise DemoError(f"running {AGAIN} again changed raw.{table}")


async def _writes(warehouse: Any, table: str) -> dict[str, Any]:
    """Postgres' own count of writes, and a hash over each row's id and version (xmin)."""
    # A session hands in its counts a second after its last transaction at the latest.
    await asyncio.sleep(1.5)
    await warehouse.execute("SELECT pg_stat_clear_snapshot()")
    found = await warehouse.fetchrow(
        f"""
        SELECT (SELECT count(*) FROM raw.{table}) AS rows, n_tup_ins, n_tup_upd, n_tup_del,
               (SELECT md5(string_agg(id || ':' || xmin::text, ',' ORDER BY id)) FROM raw.{table}) AS versions
          FROM pg_stat_user_tables WHERE schemaname = 'raw' AND relname = $1
        """,
        table,
    )
    return dict(found)


async def _wait_until_closed_in_files(stack: Stack) -> None:
    """The callback that writes the files runs just after its run is COMPLETED."""
    deadline = time.monotonic() + 30
    while any(_in_file(stack.project, name) != "inactive" for name in NAMES):
        if time.monotonic() > deadline:
            raise DemoError("the triggers' files weren't closed")
        await asyncio.sleep(_POLL_S)


async def _closed(stack: Stack, console: Console) -> None:
    """Each trigger is inactive in Mage's database and in its file, and has had its one run."""
    table = Table("trigger", "in Mage's database", "in triggers.yaml", "runs")
    wrong = []
    for name in NAMES:
        in_database = stack.mage.trigger(pipeline(name), trigger(name))["status"]
        in_file = _in_file(stack.project, name)
        runs = stack.mage.runs(pipeline(name), trigger(name))
        table.add_row(trigger(name), in_database, in_file, ", ".join(f"{run['id']}: {run['status']}" for run in runs))
        if (in_database, in_file, len(runs)) != ("inactive", "inactive", 1):
            wrong.append(trigger(name))
    console.print(table)
    if wrong:
        raise DemoError(f"not closed: {', '.join(wrong)}")


def _in_file(project: Path, name: str) -> str:
    content = yaml.safe_load((project / "pipelines" / pipeline(name) / "triggers.yaml").read_text())
    return next(str(entry["status"]) for entry in content["triggers"] if entry["name"] == trigger(name))
