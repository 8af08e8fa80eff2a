"""Where things are measured: a Postgres server with its default, durable settings, a simulator that is a process of
its own, and `qbo-backfill` with a Mage Secrets store of its own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from async_extractor.mage.secrets import MageSecrets
from local_postgres.embedded import EmbeddedPostgres, PostgresAddress
from qbo_simulator.simulator import SimulatorProcess, run_as_process
from tools.bench.processes import BenchError, Ran, cpu_seconds, run_measured

COMMAND = (sys.executable, "-c", "from async_extractor.cli import main; main()")
# All that a simulated company has: its books end before this day.
EVERYTHING = ("2010-01-01", "2026-01-31")

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Database:
    """A database of its own on the bench's server, and the server's process."""

    address: PostgresAddress
    postmaster: int

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with contextlib.closing(psycopg2.connect(self.address.url(show_password=True))) as connection:
            connection.autocommit = True
            cursor = connection.cursor()
            cursor.execute(query, values or None)
            return list(cursor.fetchall()) if cursor.description else []

    def wal_bytes(self) -> int:
        """Write-ahead log written by the server so far."""
        return int(self.ask("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")[0][0])

    def checkpoint(self) -> None:
        """So that no measurement pays for the writes of the one before, and each begins with whole-page images."""
        self.ask("CHECKPOINT")

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.postmaster)


class Stage:
    """One Postgres server; databases and simulators on it as they are asked for."""

    def __init__(self, folder: Path, server: PostgresAddress) -> None:
        self.folder = folder
        self._server = server
        with contextlib.closing(psycopg2.connect(server.url(show_password=True))) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT (regexp_split_to_array(pg_read_file('postmaster.pid'), '\n'))[1]::int, version()")
            found = cursor.fetchone() or (0, "")
            self._postmaster, self.version = int(found[0]), str(found[1])
        self._mage = _MageHome(folder / "mage")

    @contextlib.contextmanager
    def database(self) -> Iterator[Database]:
        """An empty database, dropped afterwards."""
        server, name = self._server, f"bench_{next(_numbers)}"
        maintenance = Database(server, self._postmaster)
        maintenance.ask(f"CREATE DATABASE {name}")
        try:
            yield Database(
                PostgresAddress(server.host, server.port, server.user, server.password, name), self._postmaster
            )
        finally:
            maintenance.ask(f"DROP DATABASE {name} WITH (FORCE)")

    def secrets(self, simulator: SimulatorProcess, database: Database) -> MageSecrets:
        """Mage Secrets that name this company and this database."""
        self._mage.store({**of_company(vars(simulator)), **of_warehouse(database.address)})
        return MageSecrets.locate(self._mage.environ)

    def backfill(self, simulator: SimulatorProcess, database: Database, *arguments: str) -> Backfilled:
        """`qbo-backfill run invoices` to its end: all that the company has, unless the arguments say other dates."""
        environ = self.environ({**of_company(vars(simulator)), **of_warehouse(database.address)})
        return backfilled(database, environ, *arguments)

    def environ(self, secrets: Mapping[str, str]) -> dict[str, str]:
        """An environment in which commands find these secrets."""
        self._mage.store(secrets)
        return outside() | self._mage.environ


@dataclass(frozen=True)
class Backfilled:
    """A run, as the command's process and as the ledger saw it. `extraction_seconds` is from the first chunk begun
    to the last one done; `parts` are the sums over all attempts in ops.attempts, in seconds."""

    process: Ran
    result: dict[str, Any]
    extraction_seconds: float
    attempts_seconds: float
    parts: dict[str, float]
    bytes_read: int
    server_cpu_seconds: float
    wal_bytes: int


PARTS = ("wait_seconds", "fetch_seconds", "split_seconds", "copy_seconds", "merge_seconds")


def backfilled(database: Database, environ: Mapping[str, str], *arguments: str) -> Backfilled:
    """One `qbo-backfill run` in an environment that has its secrets."""
    dates = () if "--fecha-inicio" in arguments else ("--fecha-inicio", EVERYTHING[0], "--fecha-fin", EVERYTHING[1])
    server_cpu, wal = database.cpu_seconds(), database.wal_bytes()
    ran = run_measured([*COMMAND, "run", "invoices", *dates, "--json", *arguments], env={**outside(), **environ})
    server_cpu, wal = database.cpu_seconds() - server_cpu, database.wal_bytes() - wal
    result: dict[str, Any] = json.loads(ran.stdout.strip().splitlines()[-1])
    if result["status"] != "done":
        raise BenchError(f"the run ended {result['status']}: {result.get('error')}")
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in PARTS)
    ((elapsed, attempts, bytes_read, *parts),) = database.ask(
        f"""SELECT coalesce(extract(epoch FROM max(finished_at) - min(started_at)), 0)::float8,
                   coalesce(sum(extract(epoch FROM finished_at - started_at)), 0)::float8,
                   coalesce(sum(bytes_read), 0)::bigint, {sums}
              FROM ops.attempts WHERE run_id = %s""",
        result["run_id"],
    )
    return Backfilled(ran, result, elapsed, attempts, dict(zip(PARTS, parts, strict=True)), bytes_read, server_cpu, wal)


class _MageHome:
    """A Mage data folder, made once; its secrets are set anew for each database and simulator."""

    def __init__(self, folder: Path) -> None:
        project = folder / "mage_project"
        (project / "pipelines").mkdir(parents=True)
        (project / "metadata.yaml").write_text("project_type: standalone\nhelp_improve_mage: false\n")
        self.environ = {"MAGE_REPO_PATH": str(project), "MAGE_DATA_DIR": str(folder / "data")}
        self._stored: dict[str, str] = {}

    def store(self, values: Mapping[str, str]) -> None:
        secrets = MageSecrets.locate(self.environ)
        for name, value in values.items():
            if self._stored.get(name) != value:
                secrets.set(name, value)
                self._stored[name] = value


def outside() -> dict[str, str]:
    """This process's environment, without a Mage or secrets of somebody's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MAGE_", "QBO_", "POSTGRES_"))}


def of_company(simulator: Mapping[str, Any], profile: str = "") -> dict[str, str]:
    """The secrets of a simulator's company, from its address."""
    prefix = f"{profile.upper()}_" if profile else ""
    names = {"QBO_SIMULATOR_URL": "url", "QBO_REALM_ID": "realm_id", "QBO_REFRESH_TOKEN": "refresh_token"}
    return {
        "QBO_ENVIRONMENT": "simulator",
        "QBO_CLIENT_ID": simulator["client_id"],
        "QBO_CLIENT_SECRET": simulator["client_secret"],
        **{prefix + name: str(simulator[key]) for name, key in names.items()},
    }


def of_warehouse(address: PostgresAddress) -> dict[str, str]:
    """The secrets of a database."""
    return {
        "POSTGRES_HOST": address.host,
        "POSTGRES_PORT": str(address.port),
        "POSTGRES_DB": address.dbname,
        "POSTGRES_USER": address.user,
        "POSTGRES_PASSWORD": address.password,
    }


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """A server with Postgres' default, durable settings; gone with the block."""
    with tempfile.TemporaryDirectory(prefix="qbo-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # the server's own OS user must reach its data
        server = EmbeddedPostgres(folder / "postgres")
        try:
            yield Stage(folder, server.up())
        finally:
            server.destroy()


@contextlib.contextmanager
def simulator(invoices: int, *options: str, limits: bool = False) -> Iterator[SimulatorProcess]:
    """A company of so many invoices over ten years, without latency and limits unless they are asked for."""
    sizes = ("--invoices", str(invoices), "--customers", "2000", "--items", "500", "--years", "10")
    without = () if limits else ("--no-limits",)
    with run_as_process(*sizes, *without, "--log-format", "none", *options, wait_seconds=300) as process:
        yield process
