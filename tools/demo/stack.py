"""What the demo runs on: Postgres, the simulated QuickBooks, Mage's secrets and project, Mage itself.

All of it lives in one folder, so that taking it down leaves the checkout as it was.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.sql

from async_extractor.mage.secrets import MageSecrets
from local_postgres.embedded import EmbeddedPostgres, PostgresAddress
from tools.demo.mage_server import CHECKOUT, MageServer, remove_scratch
from tools.demo.processes import stop_own_process_group


class StackError(Exception):
    """A part didn't come up: which, and where its log is."""


Say = Callable[[str], None]

_SIMULATOR_TIMEOUT_S = 120
_REMOVAL_TRIES = 10


@dataclass
class Company:
    """How large the simulated company is."""

    invoices: int = 30_000
    customers: int = 5_000
    items: int = 1_000
    years: int = 3
    seed: int = 7
    everything: bool = False


class Stack:
    """`up` brings everything up, `down` ends and removes all of it, whoever brought it up."""

    def __init__(self, folder: Path, company: Company | None = None) -> None:
        self.folder = folder.absolute()
        self.company = company or Company()
        self.project = self.folder / "mage_project"
        self.mage_data = self.folder / "mage_data"
        self.reports = self.mage_data / "reports"
        self._mage_log = self.folder / "mage.log"
        self.postgres = EmbeddedPostgres(self.folder / "postgres")
        self.warehouse: PostgresAddress
        self.mage: MageServer
        self.simulator_url = ""

    def up(self, say: Say) -> None:
        """Bring it up, telling each step. Raises BackfillError, MageError or StackError when a part doesn't start."""
        self.folder.mkdir(parents=True)
        say("the simulated QuickBooks Online")
        simulator = self._start_simulator()
        say("PostgreSQL")
        server = self.postgres.up()
        self.warehouse = _new_database(server, "warehouse", owner="backfill")
        mages = _new_database(server, "mage", owner="mage")
        say("Mage's project and secrets")
        self._copy_project()
        url = f"postgresql+psycopg2://{mages.user}:{mages.password}@{mages.host}:{mages.port}/{mages.dbname}"
        self.mage = MageServer(self.project, self.mage_data, self._mage_log, database_url=url)
        self._store_secrets(self._wait_for(simulator))
        say("Mage")
        self._start_mage()

    def restart_mage(self) -> None:
        """Stop Mage and start it again."""
        self.mage.stop()
        self._start_mage()

    def down(self) -> None:
        """End all processes, remove all data. Does nothing where nothing is."""
        for process in self._remembered().values():
            stop_own_process_group(process, self.folder)
        remove_scratch(self._mage_log)
        self.postgres.destroy()
        for _ in range(_REMOVAL_TRIES):
            # Somebody else may be removing it, too.
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(0.5)
        raise StackError(f"{self.folder} can't be removed")

    def secrets(self) -> MageSecrets:
        """The demo's Mage Secrets, as the blocks read them."""
        environ = {"MAGE_REPO_PATH": str(self.project), "MAGE_DATA_DIR": str(self.mage_data)}
        if self.mage.database_url:
            environ["MAGE_DATABASE_CONNECTION_URL"] = self.mage.database_url
        return MageSecrets.locate(environ)

    def _start_mage(self) -> None:
        self.mage.launch()
        self._remember("mage", self.mage.pid)  # before it can fail: whatever was launched can be taken down
        self.mage.wait_until_ready()

    def _start_simulator(self) -> subprocess.Popen[bytes]:
        company = self.company
        with (self.folder / "simulator.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "qbo_simulator"),
                    *("--port", "0", "--ready-file", self.folder / "simulator.json"),
                    *("--seed", str(company.seed), "--years", str(company.years)),
                    *("--invoices", str(company.invoices), "--customers", str(company.customers)),
                    *("--items", str(company.items)),
                    *(["--everything"] if company.everything else []),
                ],
                cwd=CHECKOUT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._remember("simulator", process.pid)
        return process

    def _wait_for(self, simulator: subprocess.Popen[bytes]) -> dict[str, Any]:
        ready = self.folder / "simulator.json"
        deadline = time.monotonic() + _SIMULATOR_TIMEOUT_S
        while not ready.exists():
            if simulator.poll() is not None or time.monotonic() > deadline:
                raise StackError(f"The simulator didn't start, see {self.folder / 'simulator.log'}")
            time.sleep(0.05)
        address: dict[str, Any] = json.loads(ready.read_text())
        self.simulator_url = address["url"]
        return address

    def _copy_project(self) -> None:
        """The project as it is in the checkout, its one-time triggers due now. Mage writes into the copy."""
        shutil.copytree(CHECKOUT / "mage_project", self.project, ignore=shutil.ignore_patterns("__pycache__"))
        now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        for triggers in self.project.glob("pipelines/*/triggers.yaml"):
            text = re.sub(r"(?m)^( +start_time:).*$", rf"\1 {now}", triggers.read_text())
            triggers.write_text(text)

    def _store_secrets(self, simulator: dict[str, Any]) -> None:
        store = self.secrets()
        values = {
            "QBO_ENVIRONMENT": "simulator",
            "QBO_SIMULATOR_URL": simulator["url"],
            "QBO_REALM_ID": simulator["realm_id"],
            "QBO_CLIENT_ID": simulator["client_id"],
            "QBO_CLIENT_SECRET": simulator["client_secret"],
            "QBO_REFRESH_TOKEN": simulator["refresh_token"],
            "POSTGRES_HOST": self.warehouse.host,
            "POSTGRES_PORT": str(self.warehouse.port),
            "POSTGRES_DB": self.warehouse.dbname,
            "POSTGRES_USER": self.warehouse.user,
            "POSTGRES_PASSWORD": self.warehouse.password,
        }
        for name, value in values.items():
            store.set(name, value)

    def _remember(self, name: str, process: int) -> None:
        kept = {**self._remembered(), name: process}
        (self.folder / "processes.json").write_text(json.dumps(kept))

    def _remembered(self) -> dict[str, int]:
        try:
            kept: dict[str, int] = json.loads((self.folder / "processes.json").read_text())
        except FileNotFoundError:
            return {}
        return kept


def _new_database(server: PostgresAddress, name: str, *, owner: str) -> PostgresAddress:
    """A database and the role that owns it, with a random password; no superuser's rights."""
    password = secrets.token_urlsafe(24)
    connection = psycopg2.connect(server.url(show_password=True))
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        role, database = psycopg2.sql.Identifier(owner), psycopg2.sql.Identifier(name)
        cursor.execute(
            psycopg2.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, psycopg2.sql.Literal(password))
        )
        cursor.execute(psycopg2.sql.SQL("CREATE DATABASE {} OWNER {}").format(database, role))
        cursor.execute(psycopg2.sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
    finally:
        connection.close()
    return PostgresAddress(server.host, server.port, owner, password, name)
