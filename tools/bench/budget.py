"""What the shared budget gives and keeps.

So many processes ask a simulator with Intuit's strict sliding windows, each with more demand than the quota, through
one Postgres; once undisturbed and once with a process killed and replaced every few seconds. Looked at: the requests
of the worst 60 s, of the worst second and in flight against Intuit's limits, the quota's share in the poorest minute
after the first, the 429s, and whether the processes take turns.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import Any

import psycopg2

from async_extractor.report.svg import bars
from local_postgres.embedded import PostgresAddress
from qbo_simulator.simulator import run_as_process
from tools.bench.fairness import Fairness, watch, watched
from tools.bench.outcome import Goal, Part, Table
from tools.bench.senders import Senders, control, prepare
from tools.bench.stage import Stage

# Intuit's limits page.
PER_MINUTE, PER_SECOND, IN_FLIGHT = 500, 10, 10
# What demand above the quota must come to, of 500 a minute.
SHARE = 0.97
KILL_EVERY_SECONDS = 5.0
SLOW_MS = 2000.0
# Each with a company, a database and a simulator of its own: the processes sleep most of the time.
AT_ONCE = 3
HEADINGS = (
    "processes",
    "kills",
    "an answer takes, ms",
    "worst 60 s, of 500",
    "worst second, of 10",
    "in flight, of 10",
    "poorest minute, of 500",
    "429",
    "waits in which another took two turns",
    "turns come too late for",
)


@dataclass(frozen=True)
class Measured:
    """One measurement; `share` is the poorest whole minute after the first against Intuit's 500.
    `fairness` is None where no turns are handed out."""

    processes: int
    kills: int
    seconds: float
    latency_ms: float
    shared: bool
    sent: int
    worst_minute: int
    worst_second: int
    worst_in_flight: int
    share: float
    throttled: int
    violations: dict[str, int]
    by_process: list[int]
    fairness: Fairness | None

    @property
    def name(self) -> str:
        """What it was a measurement of."""
        told = "1 process" if self.processes == 1 else f"{self.processes} processes"
        told += f", {self.kills} kills" if self.kills else ""
        told += f", {self.latency_ms:.0f} ms an answer" if self.latency_ms >= SLOW_MS else ""
        return told if self.shared else f"{told}, without the shared limiter"

    def row(self) -> tuple[object, ...]:
        fairness = self.fairness
        return (
            self.processes if self.shared else f"{self.processes}, each for itself",
            self.kills or "none",
            int(self.latency_ms),
            self.worst_minute,
            self.worst_second,
            self.worst_in_flight,
            f"{self.share:.1%}",
            self.throttled,
            "" if fairness is None or self.processes == 1 else f"{fairness.overtaken} of {fairness.waits:,}",
            "" if fairness is None else fairness.too_late,
        )


def measure_one(
    postgres: PostgresAddress,
    processes: int,
    seconds: float,
    *,
    kill_every: float | None = None,
    latency_ms: float = 50,
    shared: bool = True,
    what: str = "count",
    seed: int = 1,
) -> Measured:
    """Runs so many processes for so long against a fresh simulator, and reads its ledger. `kill_every` in seconds."""
    chance = random.Random(seed)  # noqa: S311 - who is killed
    kills = 0
    realm_id = str(chance.randrange(10**12, 10**13))
    options = ("--latency-ms", str(latency_ms), "--log-format", "none", "--realm-id", realm_id)
    prepare(postgres)
    watch(postgres)
    with (
        run_as_process(*options) as simulator,
        contextlib.nullcontext(postgres) if shared else _without_the_limiter(postgres) as as_whom,
        Senders(simulator, as_whom, processes, what) as senders,
    ):
        began = time.monotonic()
        while (left := began + seconds - time.monotonic()) > 0:
            time.sleep(min(left, kill_every * chance.uniform(0.5, 1.5) if kill_every else left))
            if kill_every and time.monotonic() < began + seconds:
                senders.kill_one(chance)
                kills += 1
        ledger = control(simulator, "ledger?log=1")
        counts = senders.stop()
    arrivals = sorted(entry["arrived"] for entry in ledger["log"] if entry["kind"] != "token")
    return Measured(
        processes=processes,
        kills=kills,
        seconds=seconds,
        latency_ms=latency_ms,
        shared=shared,
        sent=len(arrivals),
        worst_minute=ledger["worst_60_seconds"],
        worst_second=ledger["worst_second"],
        worst_in_flight=ledger["worst_in_flight"],
        share=poorest_minute(arrivals) / PER_MINUTE,
        throttled=int(ledger["statuses"].get("429", 0)),
        violations=ledger["violations"],
        by_process=counts,
        fairness=watched(postgres, realm_id) if shared else None,
    )


@contextlib.contextmanager
def _without_the_limiter(postgres: PostgresAddress) -> Iterator[PostgresAddress]:
    """A role that may not use it."""
    role = f"no_limiter_{postgres.dbname}"
    with contextlib.closing(psycopg2.connect(postgres.url(show_password=True))) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(
            f"""CREATE ROLE {role} LOGIN PASSWORD '{role}';
                GRANT USAGE ON SCHEMA ops TO {role};
                GRANT SELECT ON ALL TABLES IN SCHEMA ops TO {role}"""
        )
        try:
            yield replace(postgres, user=role, password=role)
        finally:
            cursor.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")


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


def measure(stage: Stage, *, seconds: float, processes: Sequence[int]) -> Part:
    """Each number of processes without and with kills; then slow answers, and processes that share none."""
    rows: list[tuple[int, dict[str, Any]]] = []
    for count in processes:
        rows += [(count, {}), (count, {"kill_every": KILL_EVERY_SECONDS})]
    rows += [(3, {"latency_ms": SLOW_MS}), (3, {"latency_ms": SLOW_MS, "kill_every": KILL_EVERY_SECONDS})]
    rows += [(3, {"shared": False})]

    def one(row: tuple[int, dict[str, Any]]) -> Measured:
        count, how = row
        with stage.database() as database:
            measured = measure_one(database.address, count, seconds, **how)
        print(f"budget: {measured.name}: {measured.share:.1%}, {measured.throttled} times 429", flush=True)
        return measured

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(one, rows))
    return _part(seconds, found)


def _part(seconds: float, found: Sequence[Measured]) -> Part:
    calm = [one for one in found if one.latency_ms < SLOW_MS and not one.kills and one.shared]
    part = Part(
        "budget",
        "The shared budget",
        "Processes of one company, each with more demand than the whole quota, against the simulator with Intuit's "
        f"strict sliding windows (500 in 60 s, 10 in a second, 10 in flight), {seconds:.0f} s for each row, three rows "
        "at a time, whatever else the machine does. Where there are kills, a process is killed (SIGKILL) every "
        f"{KILL_EVERY_SECONDS:.0f} s on average, and one that was started beforehand takes its place: what is measured "
        "is what a kill costs the others, not how long Python takes to start. The poorest minute is of "
        "all minutes after the first, wherever they begin. Slow answers let ten in flight do no more than "
        f"{60_000 * IN_FLIGHT / SLOW_MS:.0f} a minute. *Each for itself*: a role that may not use the shared "
        "limiter, so that each of the three takes the third of the quota that is safe. The last columns are of the "
        "turns that Postgres handed out: between a process's asking for a turn and its moment, did "
        "another take two or more? "
        "A process that the machine keeps from using a turn for 0.1 s gives it up for a new one.",
        figures={"seconds": seconds, "rows": [asdict(one) for one in found]},
    )
    part.goals = [
        Goal("answers with 429", sum(one.throttled for one in found), at_most=0),
        Goal("requests in the worst 60 s", max(one.worst_minute for one in found), at_most=PER_MINUTE),
        Goal("requests in the worst second", max(one.worst_second for one in found), at_most=PER_SECOND),
        Goal("requests in flight", max(one.worst_in_flight for one in found), at_most=IN_FLIGHT),
        *(Goal(f"{one.name}: poorest minute, of 500", one.share, at_least=SHARE) for one in calm),
        *(
            Goal(f"{one.name}: waits in which another took two turns", one.fairness.overtaken, at_most=0)
            for one in found
            if one.fairness is not None and one.processes > 1 and not one.kills
        ),
    ]
    part.tables = [Table("Each measurement", HEADINGS, [one.row() for one in found])]
    part.charts = {
        "budget": bars(
            "Requests in the poorest minute",
            "an answer takes 50 ms; Intuit allows 500",
            {one.name: one.share * PER_MINUTE for one in found if one.latency_ms < SLOW_MS},
            line_at=SHARE * PER_MINUTE,
        )
    }
    return part


def options(quick: bool) -> dict[str, Any]:
    return {"seconds": 130, "processes": (1, 3)} if quick else {"seconds": 300, "processes": (1, 3, 6)}
