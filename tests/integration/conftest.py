"""A Mage of its own for a test: a data folder and a database as Mage's own migrations leave them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from async_extractor.mage.secrets import MageSecrets
from local_postgres.embedded import PostgresAddress
from tests.support.commands import CommandLine
from tests.support.databases import execute

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class MageHome:
    """The environment that makes this Mage the one in use, here and in child processes."""

    environ: Mapping[str, str]
    python: str = sys.executable

    @property
    def secrets(self) -> MageSecrets:
        return MageSecrets.locate(self.environ)

    @property
    def command_line(self) -> CommandLine:
        return CommandLine(dict(self.environ))

    @property
    def secrets_dir(self) -> Path:
        return Path(self.environ["MAGE_DATA_DIR"]) / "secrets"

    def run(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        """A Python process in this Mage's environment; Mage itself can be imported there."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith("MAGE_")}
        return subprocess.Popen(
            [self.python, "-c", script, *arguments],
            cwd=CHECKOUT,
            env={**environ, **self.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def output(self, script: str, *arguments: str) -> str:
        process = self.run(script, *arguments)
        output, errors = process.communicate()
        assert process.returncode == 0, errors
        return output


def _new_home(folder: Path, database_url: str | None = None, python: str = sys.executable) -> MageHome:
    project = folder / "mage_project"
    (project / "pipelines").mkdir(parents=True)
    (project / "metadata.yaml").write_text("project_type: standalone\nhelp_improve_mage: false\n")
    environ = {"MAGE_REPO_PATH": str(project), "MAGE_DATA_DIR": str(folder / "data")}
    if database_url:
        environ["MAGE_DATABASE_CONNECTION_URL"] = database_url
    return MageHome(environ, python)


def _set_up(home: MageHome) -> None:
    """Mage's own migrations; the first secret makes them run."""
    script = """
from async_extractor.mage.secrets import MageSecrets
MageSecrets.locate().set("FIRST", "1")
MageSecrets.locate().delete("FIRST")
"""
    home.output(script)


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory, mages_python: str) -> Path:
    home = _new_home(tmp_path_factory.mktemp("migrated"), python=mages_python)
    _set_up(home)
    return Path(home.environ["MAGE_DATA_DIR"]) / "mage_project" / "mage-ai.db"


@pytest.fixture(scope="session")
def _migrated_postgres(
    postgres_server: PostgresAddress, tmp_path_factory: pytest.TempPathFactory, mages_python: str
) -> Iterator[str]:
    execute(postgres_server, "CREATE DATABASE migrated_mage")
    home = _new_home(tmp_path_factory.mktemp("migrated"), _url(postgres_server, "migrated_mage"), mages_python)
    _set_up(home)
    yield "migrated_mage"
    execute(postgres_server, "DROP DATABASE migrated_mage WITH (FORCE)")


@pytest.fixture
def empty_mage(tmp_path: Path, mages_python: str) -> MageHome:
    """A Mage that never ran: no database, no key."""
    return _new_home(tmp_path, python=mages_python)


@pytest.fixture(params=["sqlite", "postgres"])
def mage(request: pytest.FixtureRequest, tmp_path: Path, mages_python: str) -> Iterator[MageHome]:
    """A migrated Mage without secrets, once with its SQLite file and once with a database in Postgres."""
    if request.param == "sqlite":
        home = _new_home(tmp_path, python=mages_python)
        database = Path(home.environ["MAGE_DATA_DIR"]) / "mage_project" / "mage-ai.db"
        database.parent.mkdir(parents=True)
        shutil.copy(request.getfixturevalue("_migrated_sqlite"), database)
        yield home
        return
    server: PostgresAddress = request.getfixturevalue("postgres_server")
    template = request.getfixturevalue("_migrated_postgres")
    execute(server, f"CREATE DATABASE mage_test TEMPLATE {template}")
    yield _new_home(tmp_path, _url(server, "mage_test"), mages_python)
    execute(server, "DROP DATABASE mage_test WITH (FORCE)")


def _url(server: PostgresAddress, dbname: str) -> str:
    return f"postgresql+psycopg2://{server.user}:{server.password}@{server.host}:{server.port}/{dbname}"
