"""Fifty companies at once, each with Intuit's limits, against one alone: rows a second, and that no limit is broken."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from async_extractor.cli.many import CONNECTIONS
from qbo_simulator import Simulator, SimulatorConfig, run_in_thread
from tools.bench.outcome import Goal, Part, Table
from tools.bench.processes import BenchError, run_measured
from tools.bench.stage import COMMAND, EVERYTHING, Database, Stage, of_company, of_warehouse

LATENCY_MS = 300
ARGUMENTS = ("--chunk", "P1M", "--fecha-inicio", EVERYTHING[0], "--fecha-fin", EVERYTHING[1], "--json")


def measure(stage: Stage, *, companies: int, rows: int) -> Part:
    names = [f"c{number:02}" for number in range(companies)]
    ways = {"one company": [names[:1]], f"{companies} companies, one process": [names]}
    ways[f"{companies} companies, two processes"] = [names[::2], names[1::2]]
    found = {}
    for way, processes in ways.items():
        with _simulators(names, rows) as simulators, stage.database() as database:
            found[way] = _run(stage, database, simulators, processes, rows)
        print(f"{way}: {found[way]['rows_per_second']:,.0f} rows/s", flush=True)
    return _part(found, companies, rows)


@contextlib.contextmanager
def _simulators(names: Sequence[str], rows: int) -> Iterator[dict[str, Simulator]]:
    """A server a company, all in this process, which does nothing else meanwhile."""
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(
                run_in_thread(
                    SimulatorConfig(
                        realm_id=f"91303578490{number:08}",
                        seed=number,
                        invoices=rows,
                        customers=50,
                        items=20,
                        years=10,
                        latency_ms=LATENCY_MS,
                        refresh_token=f"RT1-00-H0-the-refresh-token-of-{name}",
                    )
                )
            )
            for number, name in enumerate(names, 1)
        }


def _run(
    stage: Stage,
    database: Database,
    simulators: dict[str, Simulator],
    processes: Sequence[Sequence[str]],
    rows: int,
) -> dict[str, float]:
    secrets = of_warehouse(database.address)
    for name, simulator in simulators.items():
        secrets |= of_company(simulator.address(), name)
    environ = stage.environ(secrets)
    share = str(CONNECTIONS // len(processes))

    def command(profiles: Sequence[str]) -> Any:
        named = ("--profile", ",".join(profiles), "--connections", share)
        return run_measured([*COMMAND, "run", "invoices", *ARGUMENTS, *named], env=environ)

    with _most_connections(database) as most, ThreadPoolExecutor(len(processes)) as pool:
        ended = list(pool.map(command, processes))
    if codes := [code for one in ended if (code := json.loads(one.stdout.splitlines()[-1]).get("exit_code"))]:
        raise BenchError(f"a command ended with {codes[0]}")
    ((seconds, read),) = database.ask(
        "SELECT extract(epoch FROM max(finished_at) - min(started_at))::float8, sum(rows_read)::int "
        "FROM ops.run_metrics WHERE status = 'done'"
    )
    used = [simulators[name] for group in processes for name in group]
    if read < rows * len(used):
        raise BenchError(f"{read} rows were read, of {rows * len(used)}")
    ledgers = [simulator.service.ledger.summary() for simulator in used]
    return {
        "companies": len(used),
        "seconds": seconds,
        "rows_per_second": read / seconds,
        "requests_per_second": sum(ledger["metered_calls"] for ledger in ledgers) / seconds,
        "violations": sum(ledger["violations_total"] for ledger in ledgers),
        "most_connections": max(most),
        "cpu_share": sum(one.cpu_seconds for one in ended) / seconds,
        "peak_mb": sum(one.peak_mb for one in ended),
    }


@contextlib.contextmanager
def _most_connections(database: Database) -> Iterator[list[int]]:
    """How many connections the extractor had to this database, looked at four times a second."""
    seen, stop = [0], threading.Event()

    def look() -> None:
        while not stop.wait(0.25):
            ((number,),) = database.ask(
                "SELECT count(*)::int FROM pg_stat_activity "
                "WHERE datname = current_database() AND application_name = 'qbo-backfill'"
            )
            seen.append(number)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def _part(found: dict[str, dict[str, float]], companies: int, rows: int) -> Part:
    alone, *together = found.values()
    part = Part(
        "companies",
        "Many companies",
        f"`qbo-backfill run invoices --chunk P1M --profile ...`: {rows:,} invoices a company, {LATENCY_MS} ms an "
        f"answer, Intuit's limits enforced for each, at most {CONNECTIONS} connections to Postgres in all. Seconds are "
        "from the first run's begin to the last one's end, plans and checks included. The simulators take a part of "
        "the machine's processors, too.",
        figures={"companies": companies, "rows": rows, "runs": found},
        goals=[
            Goal(f"rows a second, {way} against one", figures["rows_per_second"] / alone["rows_per_second"], at_least=4)
            for way, figures in list(found.items())[1:]
        ],
    )
    part.goals += [
        Goal("requests beyond a company's limits", max(one["violations"] for one in found.values()), at_most=0),
        Goal("connections at the most", max(one["most_connections"] for one in together), at_most=float(CONNECTIONS)),
    ]
    part.tables = [
        Table(
            "Runs",
            ("", "seconds", "rows/s", "requests/s", "connections", "processors used", "peak MB", "beyond a limit"),
            [
                (
                    way,
                    one["seconds"],
                    one["rows_per_second"],
                    one["requests_per_second"],
                    int(one["most_connections"]),
                    one["cpu_share"],
                    one["peak_mb"],
                    int(one["violations"]),
                )
                for way, one in found.items()
            ],
        )
    ]
    return part


def options(quick: bool) -> dict[str, Any]:
    return {"companies": 6, "rows": 1_000} if quick else {"companies": 50, "rows": 3_000}
