"""A real Mage server, started and stopped as a whole, and what of its REST API the demo and the tests need.

Mage is several processes (server, scheduler, workers). They are one process group: stopping the server
alone would leave a scheduler behind that goes on starting blocks.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tools.demo.processes import stop_process_group

CHECKOUT = Path(__file__).parents[2]
OWNER_EMAIL = "owner@example.com"
# Mage waits for its next tick before each block; its own default is 10 s.
SCHEDULER_INTERVAL_S = 2

# The public id of Mage's own web page (mage_ai.settings.server.OAUTH2_APPLICATION_CLIENT_ID): each call
# needs it beside the login.
PAGE_CLIENT_ID = "zkWlN0PkIKSN0C11CfUHUj84OT5XOJ6tDZ6bDRO2"
_BOOT_TIMEOUT_S = 180


def failures(run: dict[str, Any]) -> dict[str, str]:
    """The failed blocks of a run, each with its exception's message."""
    return {
        block["block_uuid"]: ((block["metrics"] or {}).get("error") or {}).get("error", "")
        for block in run["block_runs"]
        if block["status"] == "failed"
    }


def remove_scratch(log: Path) -> None:
    """What the Mage with this log put into the temporary folder, and was ended before it could tidy up."""
    scratch = _scratch(log)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(scratch.readlink(), ignore_errors=True)
        scratch.unlink()


def _scratch(log: Path) -> Path:
    return log.with_suffix(".scratch")


class MageError(Exception):
    """Mage didn't start, or answered with an error."""


@dataclass
class MageServer:
    """One Mage over one project folder. `database_url` is SQLAlchemy's; without one Mage uses its SQLite."""

    project: Path
    data_dir: Path
    log: Path
    database_url: str | None = None
    password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    port: int = 0
    pid: int = 0
    _server: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _token: str = field(default="", repr=False)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Launch it and wait; it isn't left running when it doesn't come up."""
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def launch(self) -> None:
        """Start the process group, `pid`."""
        self.port = self.port or _free_port()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        remove_scratch(self.log)
        # A short path: a socket's name has 108 bytes at most. Remembered for who ends it from another process.
        _scratch(self.log).symlink_to(tempfile.mkdtemp(prefix="mage-"))
        with self.log.open("ab") as log:
            server = subprocess.Popen(
                [
                    *(sys.executable, "-m", "async_extractor.mage.launch"),
                    self.project,
                    "--host",
                    "127.0.0.1",  # Mage's default name, localhost, would listen on every address
                    "--port",
                    str(self.port),
                ],
                cwd=self.data_dir.parent,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid = server.pid
        self._server = server

    def wait_until_ready(self) -> None:
        """Returns when the API answers and the login works. Raises MageError with the log's last line."""
        self._token = ""  # a login of before a restart would be refused
        deadline = time.monotonic() + _BOOT_TIMEOUT_S
        while not self._answers():
            if self._server is None or self._server.poll() is not None or time.monotonic() > deadline:
                raise MageError(f"Mage didn't start, see {self.log}: {_last_line(self.log)}")
            time.sleep(0.25)
        self._log_in()

    def stop(self, with_signal: signal.Signals = signal.SIGTERM) -> None:
        """End the whole group: server, scheduler, workers. Runs under way are resumed by the next start."""
        stop_process_group(self.pid, with_signal)
        remove_scratch(self.log)

    def activate(self, pipeline: str, trigger: str) -> None:
        """Switch a trigger on, as a person does on its page. It fires when its start time has come."""
        schedule = self.trigger(pipeline, trigger)
        self._call("PUT", f"pipeline_schedules/{schedule['id']}", {"pipeline_schedule": {"status": "active"}})

    def create_trigger(self, pipeline: str, name: str, variables: dict[str, Any]) -> None:
        """Make a one-time trigger, as a person does on its page, and fire it. It is in Mage's database only."""
        new = {"name": name, "schedule_type": "time", "schedule_interval": "@once"}
        made = self._call("POST", f"pipelines/{pipeline}/pipeline_schedules", {"pipeline_schedule": new})
        start = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
        fire = {"status": "active", "start_time": start, "variables": variables, "schedule_interval": "@once"}
        path = f"pipeline_schedules/{made['pipeline_schedule']['id']}"
        self._call("PUT", path, {"pipeline_schedule": fire})

    def trigger(self, pipeline: str, name: str) -> dict[str, Any]:
        """The trigger as Mage's database has it. Raises MageError when it isn't there (yet)."""
        return _named(name, self.triggers(pipeline))

    def triggers(self, pipeline: str) -> list[dict[str, Any]]:
        """All of a pipeline's triggers that Mage's database has.

        Mage's API goes on answering what it once read, for a minute and more [seen with runs of 40 blocks], until
        something is written in its session. A login is.
        """
        self._log_in()
        return self._triggers(pipeline)

    def runs(self, pipeline: str, trigger: str) -> list[dict[str, Any]]:
        """The trigger's runs, the newest first: `id`, `status`, `block_runs` and so on."""
        schedule = _named(trigger, self._triggers(pipeline))
        runs: list[dict[str, Any]] = self._call("GET", f"pipeline_schedules/{schedule['id']}/pipeline_runs")[
            "pipeline_runs"
        ]
        return sorted(runs, key=lambda run: int(run["id"]), reverse=True)

    def retry(self, run: int) -> None:
        """*Retry run*, as a person asks for it on its page: what is completed stays, the other blocks run again."""
        self._call("PUT", f"pipeline_runs/{run}", {"pipeline_run": {"pipeline_run_action": "retry_blocks"}})

    def _environ(self) -> dict[str, str]:
        others = {name: value for name, value in os.environ.items() if not name.startswith("MAGE_")}
        mine = {
            "MAGE_DATA_DIR": str(self.data_dir),
            "TMPDIR": str(_scratch(self.log).readlink()),
            # For the blocks, wherever the project was copied to.
            "PYTHONPATH": str(CHECKOUT),
            "REQUIRE_USER_AUTHENTICATION": "1",
            "DEFAULT_OWNER_EMAIL": OWNER_EMAIL,
            "DEFAULT_OWNER_USERNAME": "owner",
            "DEFAULT_OWNER_PASSWORD": self.password,
            "JWT_SECRET": secrets.token_urlsafe(32),
            "DISABLE_TERMINAL": "1",
            "DISABLE_AUTO_BROWSER_OPEN": "1",
            "SCHEDULER_TRIGGER_INTERVAL": str(SCHEDULER_INTERVAL_S),
        }
        if self.database_url:
            mine["MAGE_DATABASE_CONNECTION_URL"] = self.database_url
        return {**others, **mine}

    def _answers(self) -> bool:
        """True when this very project answers: with its port taken Mage goes to another one, silently."""
        try:
            statuses = self._call("GET", "statuses")["statuses"]
        except (OSError, MageError):
            return False
        return bool(statuses) and statuses[0].get("repo_path") == str(self.project)

    def _triggers(self, pipeline: str) -> list[dict[str, Any]]:
        found = self._call("GET", f"pipelines/{pipeline}/pipeline_schedules")
        schedules: list[dict[str, Any]] = found["pipeline_schedules"]
        return schedules

    def _log_in(self) -> None:
        self._token = ""  # Mage refuses a login beside a token
        login = {"session": {"email": OWNER_EMAIL, "password": self.password}}
        answer = self._call("POST", "sessions", login)["session"]["token"]
        payload = answer.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        self._token = claims["token"]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - always http
            f"{self.address}/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Content-Type": "application/json",
                "X-API-KEY": PAGE_CLIENT_ID,
                "OAUTH-TOKEN": self._token,
            },
        )
        # Loopback only, whatever a proxy variable says.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as response:
            answer: dict[str, Any] = json.load(response)
        if "error" in answer:  # with HTTP 200
            error = answer["error"]
            raise MageError(f"Mage answered {method} {path}: {error.get('message') or error.get('code')}")
        return answer


def _named(name: str, triggers: list[dict[str, Any]]) -> dict[str, Any]:
    for trigger in triggers:
        if trigger["name"] == name:
            return trigger
    raise MageError(f"Mage has no trigger {name}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"
