"""`qbo-backfill run` as a process: exit codes, one line for each slip, JSON on the last line, kills and stops."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

import asyncpg
import pytest

from qbo_simulator import Simulator, SimulatorConfig, run_in_thread
from tests.support.backfilling import in_raw, truth
from tests.support.commands import CommandLine, store

RUN = ["run", "invoices", "--fecha-inicio", "2024-01-01", "--fecha-fin", "2024-01-31"]


def replaced(**values: str) -> list[str]:
    arguments = list(RUN)
    if "entity" in values:
        arguments[1] = values.pop("entity")
    for name, value in values.items():
        option = "--" + name.replace("_", "-")
        if option in arguments:
            arguments[arguments.index(option) + 1] = value
        else:
            arguments += [option, value]
    return arguments


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fecha_inicio", "01/02/2024"),
        ("fecha_inicio", "2024-02-30"),
        ("fecha_inicio", "2024-01-01T00:00:00"),
        ("fecha_inicio", "1066-10-14"),
        ("fecha_fin", "2023-12-31"),
        ("fecha_fin", "2999-12-31"),
        ("concurrency", "0"),
        ("concurrency", "11"),
        ("concurrency", "many"),
        ("chunk", "fortnight"),
        ("mode", "again"),
        ("filter_field", "due_date"),
        ("entity", "wages"),
    ],
)
def test_a_bad_parameter_is_one_line_with_its_name_and_exit_2(command_line: CommandLine, name: str, value: str) -> None:
    ended = command_line.run(*replaced(**{name: value}))
    assert ended.code == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"qbo-backfill: {name}: ")
    assert ended.stderr.count("\n") == 1


def test_a_bad_parameter_with_json_is_an_object_too(command_line: CommandLine) -> None:
    ended = command_line.run(*replaced(concurrency="99"), "--json")
    assert ended.code == 2
    assert ended.result["exit_code"] == 2
    assert ended.result["error"].startswith("concurrency: ")


@pytest.mark.parametrize("option", ["--speed", "-h", "-1"])
def test_an_unknown_option_is_one_line_and_exit_2(command_line: CommandLine, option: str) -> None:
    ended = command_line.run(*RUN, option, "9")
    assert (ended.code, ended.stderr.count("\n")) == (2, 1)
    assert f"No such option: {option}" in ended.stderr


def test_a_missing_secret_is_named_with_how_to_set_it_and_exit_4(command_line: CommandLine) -> None:
    ended = command_line.run(*RUN)
    assert ended.code == 4
    assert "qbo-backfill secrets set QBO_SIMULATOR_URL" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_no_limits_is_refused_outside_the_simulator(command_line: CommandLine, database: Any) -> None:
    with run_in_thread(SimulatorConfig(invoices=1)) as simulator:
        store(command_line, simulator, database)
        command_line.secrets.set("QBO_ENVIRONMENT", "sandbox")
        ended = command_line.run(*RUN, "--no-limits")
    assert ended.code == 4
    assert "simulator" in ended.stderr


def test_a_run_ends_with_0_and_its_figures(command_line: CommandLine, database: Any) -> None:
    with run_in_thread(SimulatorConfig(invoices=1_500)) as simulator:
        store(command_line, simulator, database)
        ended = command_line.backfill("invoices")
    assert ended.code == 0, ended.stderr
    result = ended.result
    assert set(result) >= {"run_id", "entity", "status", "window", "chunks", "rows", "requests", "seconds"}
    assert set(result["chunks"]) == {"planned", "done", "failed"}
    assert result["rows"] == {"read": 1500, "inserted": 1500, "updated": 0, "unchanged": 0, "quarantined": 0}
    assert set(result["requests"]) == {"sent", "retried", "throttled"}
    assert (result["entity"], result["status"], result["chunks"]["failed"]) == ("invoices", "done", 0)


def test_without_json_a_person_gets_a_table(command_line: CommandLine, database: Any) -> None:
    with run_in_thread(SimulatorConfig(invoices=120)) as simulator:
        store(command_line, simulator, database)
        arguments = [a for a in command_line.backfill_arguments("invoices") if a != "--json"]
        ended = command_line.run(*arguments)
        status = command_line.run("status")
    assert ended.code == 0
    assert "total" in ended.stdout
    assert ended.stdout.splitlines()[-1].startswith("Complete")
    assert "120" in ended.stdout
    assert status.code == 0
    assert "invoices" in status.stdout


def test_a_dry_run_tells_the_price_that_plan_tells_and_begins_nothing(command_line: CommandLine, database: Any) -> None:
    with run_in_thread(SimulatorConfig(invoices=120)) as simulator:
        store(command_line, simulator, database)
        arguments = command_line.backfill_arguments("invoices", "--dry-run")
        dry = command_line.run(*arguments)
        planned = command_line.run("plan", *(one for one in arguments[1:] if one not in ("--no-limits", "--dry-run")))
        status = command_line.run("status")
    assert (dry.code, dry.result["reading"]) == (0, planned.result["reading"])
    assert dry.result["rows"] == 120
    assert "No run yet" in status.stdout


def test_a_revoked_connection_ends_with_4_and_says_how_to_reauthorise(command_line: CommandLine, database: Any) -> None:
    with run_in_thread(SimulatorConfig(invoices=50)) as simulator:
        store(command_line, simulator, database)
        command_line.secrets.set("QBO_REFRESH_TOKEN", "an-old-refresh-token")
        ended = command_line.backfill("invoices")
    assert ended.code == 4
    assert "invalid_grant" in ended.stderr
    assert "auth login" in ended.stderr
    assert "an-old-refresh-token" not in ended.stderr + ended.stdout


async def _wait_until(database: Any, condition: str) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            ready = await connection.fetchval("SELECT to_regclass('raw.qb_invoices') IS NOT NULL")
            if ready and await connection.fetchval(f"SELECT {condition}"):
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"never came to: {condition}")
    finally:
        await connection.close()


SOME_ROWS = "(SELECT count(*) FROM raw.qb_invoices) >= 2000"


async def test_a_run_killed_half_way_resumes_and_ends_equal_to_the_source(
    command_line: CommandLine, database: Any
) -> None:
    config = SimulatorConfig(invoices=6_000, limits=False, latency_ms=150)
    async with Simulator(config) as simulator:
        store(command_line, simulator, database)
        arguments = command_line.backfill_arguments("invoices", "--concurrency", "2", "--chunk", "P3M")
        process = command_line.start(*arguments)
        await _wait_until(database, SOME_ROWS)
        process.kill()
        await asyncio.to_thread(process.communicate)
        assert process.returncode == -signal.SIGKILL
        half = len(await in_raw(database, "invoices"))
        assert half < 6_000
        resumed = await asyncio.to_thread(command_line.run, *arguments)
        assert resumed.code == 0, resumed.stderr
        assert resumed.result["rows"]["inserted"] == 6_000 - half
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_sigterm_finishes_the_page_releases_the_chunk_and_ends_with_3(
    command_line: CommandLine, database: Any
) -> None:
    async with Simulator(SimulatorConfig(invoices=6_000, limits=False, latency_ms=150)) as simulator:
        store(command_line, simulator, database)
        arguments = command_line.backfill_arguments("invoices", "--concurrency", "1")
        process = command_line.start(*arguments)
        await _wait_until(database, SOME_ROWS)
        process.terminate()
        stdout, stderr = await asyncio.to_thread(process.communicate)
        assert process.returncode == 3, stderr
        assert "SIGTERM" in stderr
        assert '"status": "incomplete"' in stdout
        connection = await asyncpg.connect(database.dsn)
        left = await connection.fetch("SELECT status, count(*) FROM ops.chunks WHERE status <> 'done' GROUP BY 1")
        released = await connection.fetchval("SELECT count(*) FROM ops.attempts WHERE outcome = 'released'")
        await connection.close()
        assert {row["status"] for row in left} == {"planned"}
        assert released == 1
        resumed = await asyncio.to_thread(command_line.run, *arguments)
        assert resumed.code == 0
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_two_runs_of_one_range_at_once_share_the_chunks(command_line: CommandLine, database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=4_000, limits=False, latency_ms=60)) as simulator:
        store(command_line, simulator, database)
        arguments = command_line.backfill_arguments("invoices", "--concurrency", "2", "--chunk", "P1M")
        both = [command_line.start(*arguments) for _ in range(2)]
        outputs = await asyncio.gather(*(asyncio.to_thread(process.communicate) for process in both))
        assert [process.returncode for process in both] == [0, 0], outputs
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
        twice = "SELECT count(*) FROM (SELECT FROM ops.attempts GROUP BY chunk_id HAVING count(*) > 1) AS again"
        connection = await asyncpg.connect(database.dsn)
        assert await connection.fetchval(twice) == 0
        await connection.close()
