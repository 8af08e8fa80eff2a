"""One token for three processes that are killed at any moment.

The simulator rotates the refresh token at every use, kills the old value at once and revokes everything when it
comes again; access tokens live 4 s. A process is killed at any moment but one: between the request that makes Intuit
rotate the token and the storing of the answer, where nothing on this side could help. How long that span is,
is measured. Counted: kills, rotations, and the refusals that Intuit's side saw.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from async_extractor.mage.secrets import MageSecrets
from qbo_simulator import Simulator, SimulatorConfig
from qbo_simulator.simulator import run_in_thread
from tools.bench.outcome import Goal, Part, Table
from tools.bench.stage import Stage

CHECKOUT = Path(__file__).parents[2]


@dataclass
class Tormented:
    """What came of it. Milliseconds: `exchange` from asking to the answer, `storing` from the answer to its commit."""

    seconds: float
    kills: int = 0
    spared: int = 0
    rotations: int = 0
    refused: int = 0
    used: int = 0
    rejected: int = 0
    faults: list[str] = field(default_factory=list)
    exchange_ms: list[float] = field(default_factory=list)
    storing_ms: list[float] = field(default_factory=list)

    def line(self) -> str:
        def spread(values: list[float]) -> str:
            if not values:
                return "not measured"
            return f"median {statistics.median(values):.1f} ms, most {max(values):.1f} ms"

        return (
            f"{self.kills} kills in {self.seconds:.0f} s ({self.spared} moments inside the span were let pass): "
            f"{self.rotations} rotations, {self.refused} refusals, {self.used:,} tokens used, {self.rejected} of them "
            f"rejected, {len(self.faults)} faults; exchange {spread(self.exchange_ms)}; "
            f"answer to storing {spread(self.storing_ms)}"
        )


class User:
    """A process of bench.token_user, and what it says."""

    def __init__(self, simulator: Simulator, environ: Mapping[str, str], hear: Callable[[str], None]) -> None:
        address = simulator.address()
        command = [f"{address['url']}/oauth2/v1/tokens/bearer", str(address["url"]), str(address["realm_id"])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tools.bench.token_user", *command],
            cwd=CHECKOUT,
            env={**os.environ, **environ},
            stdout=subprocess.PIPE,
            text=True,
        )
        self.spoke = False
        self._reader = threading.Thread(target=self._read, args=(hear,), daemon=True)
        self._reader.start()

    def _read(self, hear: Callable[[str], None]) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.spoke = True
            hear(line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


def torment(
    environ: Mapping[str, str], seconds: float, *, processes: int = 3, kill_every: float = 1.0, seed: int = 1
) -> Tormented:
    """`environ` names a Mage whose secrets this fills. Kills and replaces processes for so many seconds."""
    chance = random.Random(seed)  # noqa: S311 - who is killed and when
    found = Tormented(seconds)
    config = SimulatorConfig(
        invoices=10,
        customers=10,
        items=10,
        access_token_seconds=4,
        limits=False,
        switches={"tokens": {"rotate_after_seconds": 0, "grace_seconds": 0, "reuse": "revokes-all"}},
    )
    with run_in_thread(config) as simulator:
        secrets = MageSecrets.locate(environ)
        for name, value in credentials(simulator).items():
            secrets.set(name, value)
        hear = Listener(found)
        users = [User(simulator, environ, hear) for _ in range(processes)]
        try:
            _kill_and_replace(
                users, lambda: User(simulator, environ, hear), found, simulator, secrets, kill_every, chance
            )
        finally:
            for user in users:
                # The last ones may be in the span, too; what they lose nobody needs any more.
                user.kill()
        tokens = simulator.service.ledger.tokens
        found.rotations, found.refused = tokens["rotated"], tokens["invalid_grant"]
    return found


def _kill_and_replace(
    users: list[User],
    another: Callable[[], User],
    found: Tormented,
    simulator: Simulator,
    secrets: MageSecrets,
    kill_every: float,
    chance: random.Random,
) -> None:
    end = time.monotonic() + found.seconds
    while time.monotonic() < end:
        time.sleep(chance.uniform(0, 2 * kill_every))
        number = chance.randrange(len(users))
        if users[number].process.poll() is not None:
            return  # it ended by a fault, and has said so
        if not users[number].spoke:
            continue  # on a busy machine nobody would ever get as far as an exchange
        os.kill(users[number].process.pid, signal.SIGSTOP)
        if outside_the_span(simulator, secrets):
            users[number].kill()
            found.kills += 1
            users[number] = another()
        else:
            found.spared += 1
            os.kill(users[number].process.pid, signal.SIGCONT)


def outside_the_span(simulator: Simulator, secrets: MageSecrets) -> bool:
    """Whether, with one process stopped, no exchange is under way and what was rotated last is stored."""
    # A request on its way to the simulator arrives meanwhile.
    time.sleep(0.05)
    consent = simulator.service.consent
    stored: list[str | None] = []
    # Stopped in the middle of a commit, a process keeps SQLite's readers out: that is inside the span.
    reading = threading.Thread(target=lambda: stored.append(secrets.get("QBO_REFRESH_TOKEN")), daemon=True)
    reading.start()
    reading.join(0.3)
    return not consent.exchanging and stored == [consent.refresh_token]


def credentials(simulator: Simulator) -> dict[str, str]:
    address = simulator.address()
    return {
        "QBO_CLIENT_ID": str(address["client_id"]),
        "QBO_CLIENT_SECRET": str(address["client_secret"]),
        "QBO_REFRESH_TOKEN": str(address["refresh_token"]),
    }


class Listener:
    """Adds up what the processes say."""

    def __init__(self, found: Tormented) -> None:
        self._found = found
        self._lock = threading.Lock()

    def __call__(self, line: str) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return  # a line that the kill cut off
        with self._lock:
            if said["what"] == "refreshed":
                self._found.exchange_ms.append(said["exchange_ms"])
                self._found.storing_ms.append(said["stored_ms"])
            elif said["what"] == "used":
                self._found.used += 1
                self._found.rejected += said["status"] == 401
            else:
                self._found.faults.append(said["message"])


def measure(stage: Stage, *, minutes: float) -> Part:
    """With Mage's secrets in Postgres, as in the Compose stack."""
    project = stage.folder / "tokens" / "mage_project"
    (project / "pipelines").mkdir(parents=True)
    (project / "metadata.yaml").write_text("project_type: standalone\nhelp_improve_mage: false\n")
    with stage.database() as mages:
        at = f"{mages.address.user}:{mages.address.password}@{mages.address.host}:{mages.address.port}"
        found = torment(
            {
                "MAGE_REPO_PATH": str(project),
                "MAGE_DATA_DIR": str(project.parent / "data"),
                "MAGE_DATABASE_CONNECTION_URL": f"postgresql+psycopg2://{at}/{mages.address.dbname}",
            },
            minutes * 60,
        )
    part = Part(
        "tokens",
        "One rotating token",
        f"Three processes use one company's token for {minutes:g} minutes. Access tokens live 4 s; the refresh token "
        "is rotated at every use, the old one is dead at once, and its reuse would revoke all. About every second "
        "one of the processes is killed (SIGKILL) and replaced, at any moment but one: between the request that makes "
        "Intuit rotate the token and the storing of the answer (*let pass*), which nothing on this side could mend. "
        "How long that moment is, is in the second table.",
        figures=asdict(found),
    )
    part.goals = [
        Goal("refresh tokens refused (invalid_grant)", found.refused, at_most=0),
        Goal("access tokens refused (401)", found.rejected, at_most=0),
        Goal("processes that ended with a fault", len(found.faults), at_most=0),
    ]
    part.tables = [
        Table(
            "What happened",
            ("kills", "let pass", "rotations", "tokens used", "invalid_grant", "401"),
            [(found.kills, found.spared, found.rotations, found.used, found.refused, found.rejected)],
        ),
        Table(
            "The moment that is let pass, ms",
            ("", "median", "longest"),
            [
                (name, statistics.median(values), max(values))
                for name, values in (
                    ("from asking Intuit to its answer", found.exchange_ms),
                    ("from the answer to its commit in Mage Secrets", found.storing_ms),
                )
                if values
            ],
        ),
    ]
    return part


def options(quick: bool) -> dict[str, Any]:
    return {"minutes": 1 if quick else 30}
