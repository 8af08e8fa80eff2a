"""The warehouse's disk is full: one line that says so, nothing lost, and with space the run resumes."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psycopg2
import pytest

from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import backfill, in_raw, secrets_for, truth


@pytest.fixture
def small_disk(database: Any, tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 24 MB that the server's user owns, mounted; the test's database is moved onto it."""
    if os.geteuid() != 0:
        pytest.skip("NOT RUN: only root mounts a tmpfs")
    folder = Path("/var/tmp") / f"qbo-backfill-small-disk-{os.getpid()}"  # noqa: S108 - where the server's user gets to
    folder.mkdir(mode=0o755)
    connection = psycopg2.connect(database.dsn)
    connection.autocommit = True
    cursor = connection.cursor()
    uid = Path(f"/proc/{connection.info.backend_pid}").stat().st_uid
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size=24m,uid={uid},mode=0700", "tmpfs", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        connection.close()
        folder.rmdir()
        pytest.skip(f"NOT RUN: no tmpfs can be mounted here: {mounted.stderr.strip()}")
    try:
        cursor.execute(f"CREATE TABLESPACE small_disk LOCATION '{folder}'")
        cursor.execute("SET default_tablespace = small_disk")
        cursor.execute(f"ALTER DATABASE {database.dbname} SET default_tablespace = small_disk")
        yield folder
        cursor.execute("DROP SCHEMA raw CASCADE; DROP SCHEMA ops CASCADE")
        cursor.execute("DROP TABLESPACE small_disk")
    finally:
        connection.close()
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


@pytest.mark.slow
async def test_a_full_disk_is_one_line_and_with_space_the_run_resumes(database: Any, small_disk: Path) -> None:
    async with Simulator(SimulatorConfig(seed=41, invoices=12_000, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        full = await backfill(secrets, "invoices", chunk="P1M", concurrency=2)
        assert full.status == "incomplete"
        assert "53100" in (full.error or "")
        assert "free space" in (full.error or "")
        assert "\n" not in (full.error or "")
        kept = len(await in_raw(database, "invoices"))
        assert 0 < kept < 12_000
        await asyncio.to_thread(subprocess.run, ["mount", "-o", "remount,size=400m", str(small_disk)], check=True)
        resumed = await backfill(secrets, "invoices", chunk="P1M")
        assert resumed.status == "done", resumed.error
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
    connection = await asyncpg.connect(database.dsn)
    again = await connection.fetchval("SELECT count(*) FROM ops.chunks WHERE attempt > 1 AND status = 'done'")
    await connection.close()
    assert again >= 1
