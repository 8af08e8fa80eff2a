"""Each `qbo-backfill` command of the two READMEs, run in their order as they stand there, against the simulator."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from local_postgres.embedded import EmbeddedPostgres, PostgresAddress
from qbo_simulator import SimulatorProcess, run_as_process
from tests.support.commands import CommandLine
from tests.support.documents import READMES, ROOT, Document

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

# A person's part, or another test's.
NOT_RUN = {
    "auth login": "opens a browser, in which a person consents",
    "warehouse migrate": "is the owner's, with the roles of sql/roles.sql: tests/integration/test_rights.py",
    "bench": "runs a grid of backfills: tests of its own",
}
# Named in a sentence, without what they need.
ONLY_NAMED = ("run", "secrets set")
STANDS_FOR = {
    "ENTITY": "invoices",
    "ENTIDAD": "invoices",
    "NAME": "QBO_CLIENT_ID",
    "NOMBRE": "QBO_CLIENT_ID",
    "FILE": "written-by-a-command",
    "ARCHIVO": "written-by-a-command",
}
# What `...` stands for after an option.
MEANT = {"--fecha-inicio": "2024-01-01", "--fecha-fin": "2024-12-31"}


@dataclass(frozen=True)
class Newcomer:
    """Who follows a README: a folder, a Mage of their own, a company, a warehouse."""

    folder: Path
    environ: dict[str, str]
    values: dict[str, str]

    def run(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        asked = arguments[-1] if arguments[:2] in (["secrets", "set"], ["secrets", "rotate"]) else ""
        return subprocess.run(
            [sys.executable, "-c", "from async_extractor.cli import main; main()", *arguments],
            cwd=self.folder,
            env=self.environ,
            input=self.values.get(asked, ""),
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def newcomer(tmp_path: Path, mage_template: Path, postgres_server: PostgresAddress) -> Iterator[Newcomer]:
    shutil.copytree(mage_template / "data", tmp_path / "data")
    shutil.copytree(ROOT / "mage_project", tmp_path / "mage_project", ignore=shutil.ignore_patterns("__pycache__"))
    ours = ("MAGE_", "QBO_", "POSTGRES_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environ |= {
        "MAGE_REPO_PATH": str(tmp_path / "mage_project"),
        "MAGE_DATA_DIR": str(tmp_path / "data"),
        "PYTHONPATH": str(ROOT),
        "BROWSER": "true",  # which opens nothing
    }
    # A role of its own: `secrets rotate POSTGRES_PASSWORD` changes its password.
    _administer(postgres_server, "CREATE ROLE newcomer LOGIN PASSWORD 'a-password-to-rotate'")
    _administer(postgres_server, "CREATE DATABASE newcomer OWNER newcomer")
    try:
        with run_as_process("--invoices", "800", "--customers", "50", "--items", "20") as simulator:
            values = _values(simulator, postgres_server)
            store = CommandLine(environ).secrets
            for name, value in values.items():
                store.set(name, value)
            # What `secrets set --from-url` asks for.
            address = replace(postgres_server, user="newcomer", password="a-password-to-rotate", dbname="newcomer")
            yield Newcomer(tmp_path, environ, values | {"--from-url": address.url(show_password=True)})
    finally:
        EmbeddedPostgres(tmp_path / ".state" / "postgres").destroy()
        _administer(postgres_server, "DROP DATABASE newcomer WITH (FORCE)")
        _administer(postgres_server, "DROP ROLE newcomer")


@pytest.mark.parametrize("lang", READMES)
def test_every_command_of_the_readme_ends_well(lang: str, newcomer: Newcomer) -> None:
    commands = list(dict.fromkeys(Document(READMES[lang]).commands("qbo-backfill")))
    # What a reader has done when they come to the validations: fired the triggers.
    assert (
        newcomer.run(["run", "invoices", "--fecha-inicio", "2024-01-01", "--fecha-fin", "2024-12-31"]).returncode == 0
    )
    ran, failed = 0, {}
    for command in commands:
        arguments = _as_meant(command)
        if not arguments or command in ONLY_NAMED or any(command.startswith(other) for other in NOT_RUN):
            continue
        ended = newcomer.run(arguments)
        ran += 1
        if ended.returncode:
            failed[" ".join(arguments)] = (ended.returncode, ended.stderr[-300:])
    assert failed == {}
    assert ran >= 20


def _as_meant(command: str) -> list[str]:
    """The arguments with values for what stands for one; none where the rest is left to the reader."""
    arguments: list[str] = []
    for word in shlex.split(re.sub(r"\[[A-Z]+\]", "", command)):
        if word == "...":
            if not arguments or arguments[-1] not in MEANT:
                return []
            arguments.append(MEANT[arguments[-1]])
        else:
            arguments.append(STANDS_FOR.get(word, word))
    return arguments


def _values(simulator: SimulatorProcess, server: PostgresAddress) -> dict[str, str]:
    return {
        "QBO_ENVIRONMENT": "simulator",
        "QBO_SIMULATOR_URL": simulator.url,
        "QBO_CLIENT_ID": simulator.client_id,
        "QBO_CLIENT_SECRET": simulator.client_secret,
        "QBO_REALM_ID": simulator.realm_id,
        "QBO_REFRESH_TOKEN": simulator.refresh_token,
        "POSTGRES_HOST": server.host,
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_DB": "newcomer",
        "POSTGRES_USER": "newcomer",
        "POSTGRES_PASSWORD": "a-password-to-rotate",
    }


def _administer(server: PostgresAddress, statement: str) -> Any:
    connection = psycopg2.connect(server.url(show_password=True))
    try:
        connection.autocommit = True
        connection.cursor().execute(statement)
    finally:
        connection.close()
