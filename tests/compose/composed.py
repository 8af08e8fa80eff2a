"""The stack of docker-compose.yml, started for real from a copy of the checkout, under a name of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import aiohttp

from tests.compose.terminal import answer
from tools.demo.mage_server import PAGE_CLIENT_ID, MageError, MageServer

CHECKOUT = Path(__file__).parents[2]
# What a user has after `git clone`, as far as the stack needs it.
COPIED = (
    *(
        "docker-compose.yml",
        ".dockerignore",
        "deploy",
        "sql",
        "mage_project",
        "async_extractor",
        "local_postgres",
        "qbo_simulator",
    ),
    *("pyproject.toml", "constraints.txt", "README.md", "LICENSE"),
)
SERVICES = ("postgres", "mage", "pgadmin", "simulator")
ENTITIES = {"invoices": "Invoice", "customers": "Customer", "items": "Item"}
UP_TIMEOUT_S = 600
RUN_TIMEOUT_S = 420
READ_ANEW_S = 10
ANSWER_S = 5
# The file of deploy/docker/secrets that holds each role's password.
PASSWORD_OF = {
    "qbo_owner": "warehouse_owner_password",
    "qbo_extractor": "extractor_password",
    "qbo_reader": "reader_password",
    "mage": "mage_pgpass",
}


class CommandError(AssertionError):
    """A command ended with another code than 0; its last lines say why."""


class Stack:
    """One Compose project in a folder of its own, on free ports, with the simulator's profile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = f"qbo-backfill-test-{os.getpid()}"
        self.ports = {name: _free_port() for name in ("MAGE_PORT", "POSTGRES_PORT", "PGADMIN_PORT")}
        self.mage = _Mage(
            project=Path("/home/src/mage_project"), data_dir=folder, log=folder / "unused", port=self.ports["MAGE_PORT"]
        )
        for name in COPIED:
            source = CHECKOUT / name
            if source.is_dir():
                leave = shutil.ignore_patterns("__pycache__", "secrets" if name == "deploy" else "__pycache__")
                shutil.copytree(source, folder / name, ignore=leave)
            else:
                shutil.copy(source, folder / name)
        (folder / ".env").write_text("COMPOSE_PROFILES=simulator\n")
        self._make_triggers_due()

    def environ(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith(("MAGE_", "COMPOSE_"))}
        chosen = {"COMPOSE_PROJECT_NAME": self.project, "STACK_TAG": self.project}
        return {**others, **chosen, **{name: str(port) for name, port in self.ports.items()}}

    def create_secrets(self) -> str:
        return self._run(["deploy/docker/create_secrets.sh"])

    def rotate(self, name: str) -> str:
        return self._run(["deploy/docker/rotate_secret.sh", name])

    def up(self) -> str:
        return self.compose("up", "--detach", "--build", "--wait", "--wait-timeout", str(UP_TIMEOUT_S))

    def down(self, *, volumes: bool = False) -> None:
        self.compose("down", "--timeout", "30", *(["--volumes", "--rmi", "local"] if volumes else []))

    def compose(self, *arguments: str, given: str | bytes | None = None) -> str:
        return self._run(["docker", "compose", *arguments], given)

    def execute(self, service: str, *command: str, given: str | bytes | None = None) -> str:
        return self.compose("exec", "--no-TTY", service, *command, given=given)

    def container(self, service: str) -> str:
        """The id of a service's container, one that has ended, too."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self._run(["docker", "inspect", self.container(service)]))
        return found[0]

    def secret(self, name: str) -> str:
        """A value of deploy/docker/secrets; of a .pgpass line its password."""
        return (self.folder / "deploy" / "docker" / "secrets" / name).read_text().strip().rpartition(":")[2]

    def secrets(self) -> dict[str, str]:
        folder = self.folder / "deploy" / "docker" / "secrets"
        return {path.name: self.secret(path.name) for path in folder.iterdir() if path.name != "passwd"}

    def processes(self, service: str) -> str:
        """The command lines and the environment of all processes of a service, as root reads them."""
        return self.as_root(
            service, "for p in /proc/[0-9]*; do cat $p/cmdline $p/environ 2>/dev/null | tr '\\0' '\\n'; done"
        )

    def shell(self, commands: str) -> str:
        """Commands as the documentation has them, in the checkout; the first that fails ends them."""
        return self._run(["bash", "-euo", "pipefail", "-c", commands])

    def as_root(self, service: str, script: str) -> str:
        """What a script says that reads what the service's own user may not."""
        container = self.container(service)
        return self._run(["docker", "exec", "--privileged", "--user", "0", container, "sh", "-c", script])

    def type_into(self, service: str, *command: str, prompt: str, typed: str) -> str:
        """What a terminal shows when a person gives a command in a service and types what it asks for."""
        arguments = ["docker", "compose", "exec", service, *command]
        code, shown = answer(arguments, prompt, typed, self.folder, self.environ())
        if code != 0:
            raise CommandError(f"{' '.join(arguments)} ended with {code}:\n{shown}")
        return shown

    def memory(self, service: str) -> str:
        """What a service holds of what it may, as `docker stats` says it."""
        used = ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", self.container(service)]
        return self._run(used).strip()

    def newest_run(self) -> int:
        return int(self.psql("SELECT max(run_id) FROM ops.runs"))

    def psql(
        self,
        *commands: str,
        role: str = "qbo_reader",
        password: str = "",
        database: str = "warehouse",
        given: bytes | None = None,
    ) -> str:
        """Commands in one session, from a container of its own, which finds Postgres by its service's name."""
        return self._run(
            [
                *("docker", "run", "--rm", "--interactive", "--network", f"{self.project}_backfill"),
                *("--env", "PGPASSWORD", "--entrypoint", "psql", "postgres:17"),
                *("--host", "postgres", "--username", role, "--dbname", database, "--no-psqlrc", "--quiet"),
                *("--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"),
                *(part for command in commands for part in ("--command", command)),
            ],
            given,
            PGPASSWORD=password or self.secret(PASSWORD_OF[role]),
        ).strip()

    def simulator_truth(self, entity: str) -> bytes:
        """The simulated company's records, one JSON a line."""
        url = f"http://127.0.0.1:8080/_simulator/truth/{ENTITIES[entity]}"
        return self.execute("simulator", "curl", "-fsS", url).encode()

    def assert_raw_is_the_truth(self, entity: str) -> int:
        """Every record of the source beside the one in raw, its whole payload; how many there are."""
        found = self.psql(
            "CREATE TEMPORARY TABLE truth (payload jsonb)",
            # A quote and a delimiter that JSON can't hold: each line is one value as it is.
            "\\copy truth FROM pstdin WITH (FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')",
            f"""
            SELECT count(truth.payload), count(*) FILTER (WHERE loaded.id IS NULL),
                   count(*) FILTER (WHERE truth.payload IS NULL),
                   count(*) FILTER (WHERE loaded.payload::text <> truth.payload::text)
              FROM truth FULL JOIN raw.qb_{entity} AS loaded ON loaded.id = truth.payload ->> 'Id'
            """,
            role="qbo_owner",
            given=self.simulator_truth(entity),
        )
        source, missing, surplus, different = map(int, found.split("|"))
        assert source > 0
        assert (missing, surplus, different) == (0, 0, 0), f"raw.qb_{entity}: {missing=} {surplus=} {different=}"
        return source

    def wait_for_run(self, pipeline: str, trigger: str) -> dict[str, Any]:
        """The trigger's newest run when it has completed. AssertionError when it fails or takes too long."""
        deadline = time.monotonic() + RUN_TIMEOUT_S
        state = "waiting"
        while time.monotonic() < deadline:
            try:
                self.mage.read_anew()
                runs = self.mage.runs(pipeline, trigger)
            except (OSError, MageError):  # it is being restarted
                runs = []
            if runs:
                state = str(runs[0]["status"])
                if state == "completed":
                    return runs[0]
                assert state not in ("failed", "cancelled"), f"{pipeline}: {state}: {_blocks(runs[0])}"
            time.sleep(1)
        raise AssertionError(f"{pipeline}, {trigger}: still {state} after {RUN_TIMEOUT_S} s")

    def trigger_in_file(self, entity: str) -> str:
        text = (self.folder / f"mage_project/pipelines/qb_{entity}_backfill/triggers.yaml").read_text()
        found = re.search(r"^\s+status: (\w+)", text, re.MULTILINE)
        assert found is not None
        return found[1]

    def _make_triggers_due(self) -> None:
        due = (datetime.now(timezone.utc) - timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S")
        for triggers in self.folder.glob("mage_project/pipelines/*/triggers.yaml"):
            triggers.write_text(re.sub(r"(?m)^( +start_time:).*$", rf"\1 {due}", triggers.read_text()))

    def _run(self, command: list[str], given: str | bytes | None = None, **environ: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environ(), **environ},
            input=given.encode() if isinstance(given, str) else given or b"",
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            lines = (done.stderr + done.stdout).decode(errors="replace").strip().splitlines()[-15:]
            raise CommandError(f"{' '.join(command[:8])} ... ended with {done.returncode}:\n" + "\n".join(lines))
        return done.stdout.decode(errors="replace")


class _Mage(MageServer):
    """The composed Mage, by the same API as the demo's."""

    _logged_in_at = 0.0

    def read_anew(self) -> None:
        """Log in again now and then while waiting.

        Mage's server goes on showing what it has once read for as long as something there still refers to it, for
        minutes when it is idle; whatever it writes, such as a log-in, makes it read its database again.
        """
        if time.monotonic() - self._logged_in_at > READ_ANEW_S:
            self.log_in(self.password)

    def log_in(self, password: str) -> None:
        self._logged_in_at = time.monotonic()
        self._token = ""
        self.password = password
        self._log_in()

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return self._call(method, path, body)

    def run_in_notebook(self, code: str) -> str:
        """What the page gets that sends code to run, as it does for "play" on a block."""
        return asyncio.run(self._send("/websocket/", {"code": code, "uuid": "found"}))

    def type_in_terminal(self, line: str) -> str:
        """What the page's terminal shows when somebody types a line."""
        return asyncio.run(self._send("/websocket/terminal?term_name=found", {"command": ["stdin", f"{line}\r"]}))

    async def _send(self, path: str, message: dict[str, Any]) -> str:
        """All that comes back in the seconds after a message, and the greeting before it."""
        login = {"api_key": PAGE_CLIENT_ID, "token": self._token}
        said = []
        async with aiohttp.ClientSession() as session, session.ws_connect(f"{self.address}{path}") as socket:
            await socket.send_json({**login, **message})
            with contextlib.suppress(asyncio.TimeoutError):
                while True:
                    said.append(str((await socket.receive(timeout=ANSWER_S)).data))
        return "\n".join(said)


def _blocks(run: dict[str, Any]) -> str:
    return json.dumps([(block["block_uuid"], block["status"], block["metrics"]) for block in run["block_runs"]])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
