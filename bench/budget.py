"""What the shared budget gives and keeps: `python -m bench.budget`.

So many processes ask a simulator with Intuit's strict sliding windows, each with more demand than the quota, through
one Postgres; once undisturbed and once with a process killed and replaced every few seconds. Printed as ratios:
the requests of the worst 60 s, of the worst second and in flight against Intuit's limits, the quota's share in
the poorest minute after the first, and the 429s.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg2

from async_extractor.embedded_postgres import EmbeddedPostgres, PostgresAddress
from qbo_simulator.simulator import SimulatorProcess, run_as_process

# Intuit's limits page.
PER_MINUTE, PER_SECOND, IN_FLIGHT = 500, 10, 10


@dataclass(frozen=True)
class Measured:
    """One measurement; `share` is the poorest whole minute after the first against Intuit's 500."""

    processes: int
    kills: int
    seconds: float
    latency_ms: float
    sent: int
    worst_minute: int
    worst_second: int
    worst_in_flight: int
    share: float
    throttled: int
    violations: dict[str, int]
    by_process: list[int]

    def line(self) -> str:
        return (
            f"{self.processes} processes, {self.kills:3} kills, {self.latency_ms:4.0f} ms: "
            f"worst 60 s {self.worst_minute:3}/{PER_MINUTE}, worst second {self.worst_second:2}/{PER_SECOND}, "
            f"in flight {self.worst_in_flight:2}/{IN_FLIGHT}, poorest minute {self.share:6.1%} of the quota, "
            f"{self.throttled} times 429, {self.sent} sent"
        )


class Senders:
    """Processes that ask as much as they may. Killed ones are replaced."""

    def __init__(self, simulator: SimulatorProcess, postgres: PostgresAddress, count: int, what: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-budget-")
        self._config = Path(self._folder.name) / "config.json"
        self._config.write_text(
            json.dumps(
                {
                    "simulator": asdict(simulator),
                    "postgres": asdict(postgres),
                    "what": what,
                    "access_token": access_token(simulator),
                }
            )
        )
        self.running = [self._start() for _ in range(count)]

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603 - this interpreter, this package
            [sys.executable, "-m", "bench.sender", str(self._config)], stdout=subprocess.PIPE, text=True
        )

    def kill_one(self, chance: random.Random) -> None:
        """SIGKILL, then a new one in its place, as an orchestrator would do."""
        number = chance.randrange(len(self.running))
        self.running[number].kill()
        self.running[number].wait()
        self.running[number] = self._start()

    def stop(self) -> list[int]:
        """Ends them; how many requests each of the living ones was answered."""
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        counts = []
        for process in self.running:
            output, _ = process.communicate(timeout=60)
            counts.append(int(output or 0))
        self._folder.cleanup()
        return counts


def measure(
    postgres: PostgresAddress,
    processes: int,
    seconds: float,
    *,
    kill_every: float | None = None,
    latency_ms: float = 50,
    what: str = "count",
    seed: int = 1,
) -> Measured:
    """Runs so many processes for so long against a fresh simulator, and reads its ledger."""
    chance = random.Random(seed)  # noqa: S311 - who is killed
    kills = 0
    options = (
        "--latency-ms",
        str(latency_ms),
        "--log-format",
        "none",
        "--realm-id",
        str(chance.randrange(10**12, 10**13)),
    )
    with run_as_process(*options) as simulator:
        senders = Senders(simulator, postgres, processes, what)
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            time.sleep(min(left, kill_every * chance.uniform(0.5, 1.5) if kill_every else left))
            if kill_every and time.monotonic() < began + seconds:
                senders.kill_one(chance)
                kills += 1
        with urllib.request.urlopen(f"{simulator.url}/_simulator/ledger?log=1") as answer:  # noqa: S310 - loopback
            ledger = json.load(answer)
        counts = senders.stop()
    arrivals = sorted(entry["arrived"] for entry in ledger["log"] if entry["kind"] != "token")
    return Measured(
        processes=processes,
        kills=kills,
        seconds=seconds,
        latency_ms=latency_ms,
        sent=len(arrivals),
        worst_minute=ledger["worst_60_seconds"],
        worst_second=ledger["worst_second"],
        worst_in_flight=ledger["worst_in_flight"],
        share=poorest_minute(arrivals) / PER_MINUTE,
        throttled=int(ledger["statuses"].get("429", 0)),
        violations=ledger["violations"],
        by_process=counts,
    )


def access_token(simulator: SimulatorProcess) -> str:
    """One for all the processes: what is measured here is the budget."""
    form = urllib.parse.urlencode({"grant_type": "refresh_token", "refresh_token": simulator.refresh_token})
    credentials = base64.b64encode(f"{simulator.client_id}:{simulator.client_secret}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{simulator.url}/oauth2/v1/tokens/bearer", form.encode(), {"Authorization": f"Basic {credentials}"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
        return str(json.load(answer)["access_token"])


def poorest_minute(arrivals: Sequence[float]) -> float:
    """Requests in the poorest whole minute after the first; of a part of it, scaled, when there is no whole one.

    Every minute that ends with a request is looked at, not only those by the clock.
    """
    first, last = arrivals[0], arrivals[-1]
    if last - first < 120:
        if last - first <= 60:
            return len(arrivals)
        part = [moment for moment in arrivals if moment > first + 60]
        return len(part) * 60 / (last - first - 60)
    poorest, begin = float("inf"), 0
    for number, moment in enumerate(arrivals):
        while arrivals[begin] <= moment - 60:
            begin += 1
        if moment - first >= 120:
            poorest = min(poorest, number - begin + 1)
    return poorest


def write(folder: Path, found: Sequence[Measured]) -> None:
    """The figures as JSON and as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    figures = [asdict(measured) for measured in found]
    (folder / "budget.json").write_text(json.dumps(figures, indent=1) + "\n")
    rows = [
        f"| {one.processes} | {one.kills or 'none'} | {one.worst_minute} of {PER_MINUTE} | {one.worst_second} of "
        f"{PER_SECOND} | {one.worst_in_flight} of {IN_FLIGHT} | {one.share:.1%} | {one.throttled} |"
        for one in found
    ]
    text = f"""# The shared budget

Each process has more demand than the quota, against the simulator with Intuit's strict sliding windows, an answer
taking {found[0].latency_ms:.0f} ms, {found[0].seconds:.0f} s for each row. Killed processes are replaced at once.
The last share is of the poorest minute, any minute, after the first. `python -m bench budget`

| processes | kills | worst 60 s | worst second | in flight | share of 500 a minute | 429 |
|---|---|---|---|---|---|---|
""" + "\n".join(rows)
    (folder / "budget.md").write_text(text + "\n")


@contextlib.contextmanager
def throwaway_postgres() -> Iterator[PostgresAddress]:
    """A server of the benchmark's own."""
    with tempfile.TemporaryDirectory(prefix="bench-postgres-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "server", throwaway=True)
        address = server.up()
        try:
            yield address
        finally:
            server.destroy()


def fresh_database(server: PostgresAddress, name: str) -> PostgresAddress:
    """An empty database on the server."""
    connection = psycopg2.connect(server.url(show_password=True))
    connection.autocommit = True
    connection.cursor().execute(f"CREATE DATABASE {name}")
    connection.close()
    return PostgresAddress(server.host, server.port, server.user, server.password, name)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.budget", description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long each measurement runs (300)")
    parser.add_argument("--processes", type=int, nargs="*", default=[1, 3, 6], help="(1 3 6)")
    parser.add_argument("--latency-ms", type=float, default=50, help="of the simulator (50)")
    parser.add_argument("--kill-every", type=float, default=5, help="seconds between kills, where there are any (5)")
    parser.add_argument("--pages", action="store_true", help="ask for full pages instead of COUNT(*)")
    parser.add_argument("--out", type=Path, help="a folder for budget.json and budget.md, such as evidence/bench")
    options = parser.parse_args(arguments)
    found: list[Measured] = []
    with throwaway_postgres() as server:
        database = fresh_database(server, "bench")
        for processes in options.processes:
            for kill_every in (None, options.kill_every):
                measured = measure(
                    database,
                    processes,
                    options.seconds,
                    kill_every=kill_every,
                    latency_ms=options.latency_ms,
                    what="pages" if options.pages else "count",
                )
                print(measured.line(), flush=True)
                found.append(measured)
    if options.out:
        write(options.out, found)
    return 1 if any(measured.throttled for measured in found) else 0


if __name__ == "__main__":
    sys.exit(main())
