"""What is sent in an outage of QuickBooks: ten minutes of 503, with the breaker's real pauses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from local_postgres.embedded import PostgresAddress
from qbo_simulator.simulator import run_as_process
from tools.bench.outcome import Goal, Part, Table
from tools.bench.senders import Senders, control, prepare
from tools.bench.stage import Stage

# Fewer than this, however many processes the company has.
MOST = 30


@dataclass(frozen=True)
class Outage:
    """One measurement. `after_seconds` is from the outage's end until requests are answered again."""

    processes: int
    seconds: float
    sent: int
    after_seconds: float

    @property
    def name(self) -> str:
        """Whose requests they are."""
        return "1 process" if self.processes == 1 else f"{self.processes} processes"


def measure_one(postgres: PostgresAddress, processes: int, seconds: float) -> Outage:
    """So many processes of one company, with an outage of so many seconds."""
    prepare(postgres)
    options = ("--latency-ms", "50", "--log-format", "none", "--realm-id", f"46208163650000{processes:05}")
    with run_as_process(*options) as simulator, Senders(simulator, postgres, processes) as senders:
        time.sleep(10)
        control(simulator, "faults", {"switches": {"faults": [{"kind": "unavailable", "rate": 1}]}})
        time.sleep(seconds)
        statuses = control(simulator, "ledger")["statuses"]
        sent, answered = int(statuses.get("503", 0)), int(statuses.get("200", 0))
        control(simulator, "faults", {"scenario": "calm", "switches": {"latency": {"base_ms": [50, 50]}}})
        ended = time.monotonic()
        while int(control(simulator, "ledger")["statuses"].get("200", 0)) < answered + 3 * processes:
            time.sleep(0.2)
        after = time.monotonic() - ended
        senders.stop()
    return Outage(processes, seconds, sent, after)


def measure(stage: Stage, *, seconds: float, processes: Sequence[int]) -> Part:
    """All at once, each with a company and a database of its own: in an outage nobody has much to do."""

    def one(count: int) -> Outage:
        with stage.database() as database:
            return measure_one(database.address, count, seconds)

    with ThreadPoolExecutor(len(processes)) as pool:
        found = list(pool.map(one, processes))
    part = Part(
        "outage",
        "An outage of QuickBooks",
        f"Processes of one company, each with ten requests in flight or waiting, while QuickBooks answers nothing but "
        f"503 for {seconds:.0f} s, with the circuit breaker's real pauses. *It goes on after* is from the outage's end "
        "until the processes are answered again; one probe a minute is what that waits for.",
        figures={"rows": [asdict(outage) for outage in found]},
    )
    part.goals = [Goal(f"{outage.name}: requests", outage.sent, at_most=MOST - 1) for outage in found]
    part.tables = [
        Table(
            "Each measurement",
            ("processes", "outage, s", "requests in all", "it goes on after, s"),
            [(one.processes, one.seconds, one.sent, one.after_seconds) for one in found],
        )
    ]
    return part


def options(quick: bool) -> dict[str, Any]:
    return {"seconds": 120, "processes": (1, 3)} if quick else {"seconds": 600, "processes": (1, 3, 6)}
