"""What everybody waits for before anything is done: the command's imports, and a run that finds nothing to do."""

from __future__ import annotations

import sys
from typing import Any

from tools.bench.outcome import Goal, Part, Table, median
from tools.bench.processes import Ran, run_measured
from tools.bench.stage import COMMAND, Stage, backfilled, of_company, of_warehouse, simulator

ROWS = 1_000
BARE, IDLE = "python -c pass", "qbo-backfill run, nothing to do"
LIGHT = {f"qbo-backfill {option}": [*COMMAND, option] for option in ("--version", "--help")}


def measure(stage: Stage, *, rounds: int) -> Part:
    """Each round runs all of them in turn, Python itself first."""
    found: dict[str, list[Ran]] = {}
    # With bytecode at hand, as an installed package has it and a checkout may not.
    bytecode = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(stage.folder / "bytecode")}
    with simulator(ROWS) as source, stage.database() as database:
        environ = stage.environ({**of_company(vars(source)), **of_warehouse(database.address)}) | bytecode
        backfilled(database, environ)
        for _ in range(rounds):
            for name, command in {BARE: [sys.executable, "-c", "pass"], **LIGHT}.items():
                found.setdefault(name, []).append(run_measured(command, env=environ))
            database.checkpoint()
            idle = backfilled(database, environ)
            assert idle.result["rows"]["read"] == 0, idle.result
            found.setdefault(IDLE, []).append(idle.process)
    seconds = {name: median([ran.seconds for ran in runs]) for name, runs in found.items()}
    cpu = {name: median([ran.cpu_seconds for ran in runs]) for name, runs in found.items()}
    part = Part(
        "start",
        "The start",
        f"What a command takes from exec to exit, medians of {rounds}. The run is of a range of {ROWS:,} invoices that "
        "is done, at the simulator without latency and within Intuit's limits: its three requests have to be a turn "
        "apart.",
        figures={"seconds": seconds, "cpu_seconds": cpu},
        goals=[
            *(Goal(f"{name}, wall in s", seconds[name], at_most=0.3) for name in LIGHT),
            Goal(f"{IDLE}, wall in s", seconds[IDLE], at_most=1.0),
        ],
    )
    part.tables = [
        Table(
            "Each command",
            ("command", "wall, s", "processor, s", "of Python's own start"),
            [(name, seconds[name], cpu[name], seconds[name] / seconds[BARE]) for name in found],
        )
    ]
    return part


def options(quick: bool) -> dict[str, Any]:
    return {"rounds": 3 if quick else 7}
