"""What every test may ask for: a PostgreSQL server for the session, and an empty database for each test."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_postgres.embedded import EmbeddedPostgres, PostgresAddress
from tests.support.commands import COMMAND, CommandLine, new_mage
from tests.support.databases import execute

_numbers = itertools.count(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that is skipped is one that failed where NOTHING_LEFT_OUT is set, as by `make test-compose`."""
    report = yield
    if report.skipped and os.environ.get("NOTHING_LEFT_OUT"):
        report.outcome, report.longrepr = "failed", str(report.longrepr)
    return report


@dataclass(frozen=True)
class Database(PostgresAddress):
    """An empty database: `host`, `port`, `user`, `password`, `dbname`, and all of it as `dsn`."""

    @property
    def dsn(self) -> str:
        return self.url(show_password=True)


@pytest.fixture(scope="session", autouse=True)
def _reports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A run in this process, which has no MAGE_DATA_DIR, must not leave its report in somebody's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QBO_BACKFILL_REPORTS", str(tmp_path_factory.mktemp("reports")))
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresAddress]:
    """A throwaway server (no fsync) for the session; its superuser's address.

    Its folder is named after this process, so that a session that was killed is cleaned up by the next one.
    """
    sessions = _own_folder(Path(tempfile.gettempdir()) / f"qbo-backfill-tests-{os.geteuid()}")
    for left_over in sessions.iterdir():
        if not Path(f"/proc/{left_over.name}").exists():
            EmbeddedPostgres(left_over, throwaway=True).destroy()
            shutil.rmtree(left_over, ignore_errors=True)
    server = EmbeddedPostgres(sessions / str(os.getpid()), throwaway=True)
    try:
        yield server.up()
    finally:
        server.destroy()


def _own_folder(folder: Path) -> Path:
    """The folder, this user's alone; another one where somebody has put something of theirs under its name.

    What is in it names folders to remove, and the temporary folder is everybody's.
    """
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
        return folder
    return Path(tempfile.mkdtemp(prefix=f"{folder.name}-"))


def _fresh(server: PostgresAddress) -> Iterator[Database]:
    name = f"test_{next(_numbers)}"
    execute(server, f"CREATE DATABASE {name}")
    yield Database(server.host, server.port, server.user, server.password, name)
    execute(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def database(postgres_server: PostgresAddress) -> Iterator[Database]:
    """A fresh, empty database for one test, dropped afterwards whoever is still connected."""
    yield from _fresh(postgres_server)


@pytest.fixture
def other_database(postgres_server: PostgresAddress) -> Iterator[Database]:
    """A second one, to compare the first with."""
    yield from _fresh(postgres_server)


@pytest.hookimpl(tryfirst=True)  # before pytest looks who is slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Which of a test's cases are slow. Those that run Mage itself are skipped, by name, where it isn't here."""
    seen = Counter[str]()
    for item in items:
        after = item.get_closest_marker("slow_after")
        if after and not (item.get_closest_marker("slow") or item.get_closest_marker("long")):
            test = item.nodeid.split("[")[0]
            seen[test] += 1
            if seen[test] > after.args[0]:
                item.add_marker(pytest.mark.slow)
    if importlib.util.find_spec("mage_ai") is None:
        for item in items:
            if item.get_closest_marker("mage"):
                item.add_marker(pytest.mark.skip(reason="NOT RUN: mage-ai isn't installed here"))


@pytest.fixture(scope="session")
def mages_python() -> str:
    """A Python that has mage-ai: this one, or where newer libraries than it takes are installed, MAGE_PYTHON's."""
    python = sys.executable if importlib.util.find_spec("mage_ai") else os.environ.get("MAGE_PYTHON")
    if not python:
        pytest.fail("mage-ai isn't installed here; MAGE_PYTHON has to name a Python that has it")
    return python


@pytest.fixture(scope="session")
def mage_template(tmp_path_factory: pytest.TempPathFactory, mages_python: str) -> Path:
    """A Mage data folder as Mage's own migrations leave it; made once, since they take seconds."""
    folder = tmp_path_factory.mktemp("mage_template")
    words = [mages_python, *COMMAND[1:], "secrets", "set", "QBO_ENVIRONMENT"]
    subprocess.run(words, input=b"simulator", env={**os.environ, **new_mage(folder).environ}, check=True)
    return folder


@pytest.fixture
def command_line(tmp_path: Path, mage_template: Path) -> CommandLine:
    """`qbo-backfill` with a Mage Secrets store of its own, in SQLite."""
    return new_mage(tmp_path, mage_template)
