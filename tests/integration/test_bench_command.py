"""`qbo-backfill bench` against a simulator: a grid, a recommendation, and nothing left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from qbo_simulator.simulator import run_as_process
from tests.support.commands import CommandLine, store

DATES = ("--fecha-inicio", "2015-01-01", "--fecha-fin", "2026-01-31")
ROOT = Path(__file__).parents[2]


class AsIfHere:
    """A simulator's process as the support for secrets takes it."""

    def __init__(self, process: Any) -> None:
        self._process = process

    def address(self) -> dict[str, Any]:
        return dict(vars(self._process))


async def databases(database: Any) -> set[str]:
    connection = await asyncpg.connect(database.dsn)
    try:
        return {row[0] for row in await connection.fetch("SELECT datname FROM pg_database")}
    finally:
        await connection.close()


@pytest.mark.slow
async def test_a_grid_is_measured_in_a_database_of_its_own(
    command_line: CommandLine, database: Any, tmp_path: Path
) -> None:
    before = await databases(database)
    with run_as_process("--invoices", "3000", "--no-limits", "--log-format", "none") as process:
        store(command_line, AsIfHere(process), database)
        out = tmp_path / "out"
        grid = ("--concurrency", "1,2", "--chunk", "auto,P6M", "--no-limits", "--out", str(out), "--json")
        ended = command_line.run("bench", "invoices", *DATES, *grid)
    assert ended.code == 0, ended.stderr
    found = ended.result
    assert [(cell["concurrency"], cell["chunk"]) for cell in found["cells"]] == [
        (1, "auto"),
        (2, "auto"),
        (1, "P6M"),
        (2, "P6M"),
    ]
    for cell in found["cells"]:
        assert cell["rows"] == 3000
        assert cell["rows_per_second"] > 0
        assert 0 < cell["p50"] <= cell["p95"]
        assert cell["requests"] >= 4
    assert found["recommended"] in [
        {"concurrency": cell["concurrency"], "chunk": cell["chunk"]} for cell in found["cells"]
    ]
    assert json.loads((out / "bench.json").read_text()) == found["cells"]
    assert "<svg" in (out / "bench.svg").read_text()
    assert await databases(database) == before
    connection = await asyncpg.connect(database.dsn)
    try:
        assert await connection.fetchval("SELECT to_regclass('ops.runs')") is None
    finally:
        await connection.close()


async def test_no_pair_is_begun_that_would_pass_the_requests_allowed(command_line: CommandLine, database: Any) -> None:
    with run_as_process("--invoices", "2000", "--no-limits", "--log-format", "none") as process:
        store(command_line, AsIfHere(process), database)
        ended = command_line.run(
            "bench", "invoices", *DATES, "--concurrency", "1,2,4", "--most-requests", "3", "--no-limits", "--json"
        )
    assert ended.code == 0, ended.stderr
    assert (len(ended.result["cells"]), ended.result["left_out"]) == (1, 2)


async def test_a_role_that_may_make_no_database_is_told_what_to_do(command_line: CommandLine, database: Any) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute("DROP ROLE IF EXISTS bench_nobody")
        await connection.execute("CREATE ROLE bench_nobody LOGIN PASSWORD 'nothing'")
        with run_as_process("--invoices", "10", "--no-limits", "--log-format", "none") as process:
            store(command_line, AsIfHere(process), database)
            command_line.secrets.set("POSTGRES_USER", "bench_nobody")
            command_line.secrets.set("POSTGRES_PASSWORD", "nothing")
            ended = command_line.run("bench", "invoices", *DATES, "--no-limits")
        await connection.execute("DROP ROLE bench_nobody")
    finally:
        await connection.close()
    assert ended.code == 4
    assert "ALTER ROLE bench_nobody CREATEDB" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_parameters_that_cannot_be_are_told_in_one_line(command_line: CommandLine) -> None:
    for wrong in (("--concurrency", "0,1"), ("--concurrency", "two"), ("--chunk", "fortnight")):
        ended = command_line.run("bench", "invoices", *DATES, *wrong)
        assert (ended.code, len(ended.stderr.strip().splitlines())) == (2, 1), ended.stderr


@pytest.mark.slow
@pytest.mark.mage
def test_the_bench_of_the_repository_writes_its_outcome_and_says_met_or_missed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SMALL, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / "floor.json").read_text())
    assert figures["goals"][0]["name"] == "3,000 rows: whole command against the floor, rows a second"
    (size,) = figures["figures"]["sizes"]
    assert size["first"][0]["whole_rows_per_second"] > 0
    assert size["second"][0]["wal_bytes"] < size["first"][0]["wal_bytes"]


SMALL = """
import sys
from pathlib import Path
from tools.bench import floor
from tools.bench.stage import stage
with stage() as on:
    part = floor.measure(on, sizes=((3000, 1),))
part.write(Path(sys.argv[1]))
assert all(line.line().startswith(('met', 'MISSED')) for line in part.goals)
"""
