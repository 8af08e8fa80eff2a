"""`warehouse prune`: what completeness rests on stays, whatever is removed of old runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import backfill, secrets_for
from tests.support.commands import CommandLine

COUNTS = """SELECT (SELECT count(*) FROM ops.events) AS events, (SELECT count(*) FROM ops.attempts) AS attempts,
                   (SELECT count(*) FROM ops.daily_volume) AS days, (SELECT count(*) FROM ops.chunks) AS chunks"""
# As if the run had failed at each of its chunks first, had told of it, and had ended so many days ago.
AGED = """
    UPDATE ops.attempts SET attempt = 2;
    UPDATE ops.chunks SET attempt = 2 WHERE attempt = 1;
    INSERT INTO ops.attempts (chunk_id, attempt, run_id, outcome, finished_at)
    SELECT chunk_id, 1, run_id, 'failed', finished_at FROM ops.attempts WHERE attempt = 2;
    INSERT INTO ops.events (run_id, happened_at, code, name, phase, level, message)
    SELECT run_id, now(), 'QBF-001', 'chunk_failed', 'extract', 'error', 'failed' FROM ops.runs;
    UPDATE ops.runs SET finished_at = finished_at - interval '{days} days';
"""


@pytest.mark.parametrize(("days", "goes"), [(100, True), (80, False)])
async def test_prune(database: Any, command_line: CommandLine, tmp_path: Path, days: int, goes: bool) -> None:
    """Counted first, removed when told; then a run reads nothing again, and the old run still has its report."""
    password = tmp_path / "password"
    password.write_text(database.password + "\n")
    where = ["--host", database.host, "--port", str(database.port), "--database", database.dbname]
    prune = ["warehouse", "prune", *where, "--user", database.user, "--password-file", str(password)]
    async with Simulator(SimulatorConfig(invoices=300, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        await backfill(secrets, "invoices", chunk="P1M")
        connection = await asyncpg.connect(database.dsn)
        try:
            await connection.execute(AGED.format(days=days))
            before = dict(await connection.fetchrow(COUNTS))
            counted = command_line.run(*prune)
            assert counted.code == 0, counted.stderr
            assert "Nothing was removed" in counted.stdout or not goes
            assert dict(await connection.fetchrow(COUNTS)) == before
            removed = command_line.run(*prune, "--delete")
            assert removed.code == 0, removed.stderr
            after = dict(await connection.fetchrow(COUNTS))
            failed = await connection.fetchval("SELECT count(*) FROM ops.attempts WHERE outcome = 'failed'")
            left = {"events": 0, "attempts": before["attempts"] // 2, "days": 0, "chunks": before["chunks"]}
            assert after == (left if goes else before)
            assert failed == (0 if goes else before["attempts"] // 2)
        finally:
            await connection.close()
        again = await backfill(secrets, "invoices")
        assert (again.status, again.rows["read"]) == ("done", 0)


@pytest.mark.parametrize("keep", ["90", "P0D", "-P1D", "P1H", "P99999D"])
def test_keep_that_is_no_duration(command_line: CommandLine, tmp_path: Path, keep: str) -> None:
    """One line, before anything is asked."""
    ended = command_line.run("warehouse", "prune", "--host", "x", "--password-file", str(tmp_path), f"--keep={keep}")
    assert ended.code == 2
    assert "a duration such as P90D" in ended.stderr


def test_keep_that_reaches_before_the_calendar(command_line: CommandLine, database: Any, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(database.password)
    where = ["--host", database.host, "--port", str(database.port), "--database", database.dbname]
    ended = command_line.run(
        *("warehouse", "prune", *where, "--user", database.user, "--password-file", str(password), "--keep=P3000Y")
    )
    assert (ended.code, "before the year 1" in ended.stderr) == (2, True)
