"""What is sent in an outage of QuickBooks: `python -m bench.outage`.

So many processes of one company ask, with the breaker's real pauses, while the simulator answers 503 for ten minutes.
Printed: the requests of the outage, for each process, and how soon after its end all ask again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from async_extractor.embedded_postgres import PostgresAddress
from bench.budget import Senders, fresh_database, throwaway_postgres
from qbo_simulator.simulator import SimulatorProcess, run_as_process


@dataclass(frozen=True)
class Outage:
    """One measurement. `after_seconds` is from the outage's end until requests come again."""

    processes: int
    seconds: float
    sent: int
    after_seconds: float

    def line(self) -> str:
        return (
            f"{self.processes} processes, {self.seconds:.0f} s without QuickBooks: {self.sent} requests in all, "
            f"{self.sent / self.processes:.1f} for each process; {self.after_seconds:.0f} s after its end it goes on"
        )


def control(simulator: SimulatorProcess, what: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{simulator.url}/_simulator/{what}", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
        return json.load(answer)


def measure(postgres: PostgresAddress, processes: int, seconds: float) -> Outage:
    options = ("--latency-ms", "50", "--log-format", "none", "--realm-id", f"46208163650000{processes:05}")
    with run_as_process(*options) as simulator:
        senders = Senders(simulator, postgres, processes, "count")
        time.sleep(10)
        control(simulator, "faults", {"switches": {"faults": [{"kind": "unavailable", "rate": 1}]}})
        time.sleep(seconds)
        sent = int(control(simulator, "ledger")["statuses"].get("503", 0))
        answered = int(control(simulator, "ledger")["statuses"].get("200", 0))
        control(simulator, "faults", {"scenario": "calm", "switches": {"latency": {"base_ms": [50, 50]}}})
        ended = time.monotonic()
        while int(control(simulator, "ledger")["statuses"].get("200", 0)) < answered + 3 * processes:
            time.sleep(0.2)
        after = time.monotonic() - ended
        senders.stop()
    return Outage(processes, seconds, sent, after)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long the outage lasts (600)")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 3], help="(1 3)")
    options = parser.parse_args(arguments)
    worst = 0.0
    with throwaway_postgres() as server:
        for processes in options.processes:
            outage = measure(fresh_database(server, f"outage_{processes}"), processes, options.seconds)
            print(outage.line(), flush=True)
            worst = max(worst, outage.sent / processes)
    return 0 if worst < 30 else 1


if __name__ == "__main__":
    sys.exit(main())
