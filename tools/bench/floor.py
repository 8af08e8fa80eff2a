"""The floor and the whole: plain COPY from memory against `qbo-backfill run` from the simulator, in turn."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from async_extractor.report.svg import bars
from qbo_simulator.simulator import SimulatorProcess
from tools.bench.outcome import Goal, Part, Table, median, medians
from tools.bench.processes import cpu_seconds, run_measured
from tools.bench.stage import PARTS, Database, Stage, simulator

CONNECTIONS = 4
# More than all pages of the largest company here, so that the simulator makes each once.
KEEP_PAGES_MB = 4_000


def copy_floor(stage: Stage, database: Database, source: SimulatorProcess) -> dict[str, float]:
    """The floor once, in an empty database: rows a second, and what the server's processors did for a row."""
    config = stage.folder / "floor.json"
    postgres = asdict(database.address)
    config.write_text(json.dumps({"postgres": postgres, "simulator": asdict(source), "connections": CONNECTIONS}))
    config.chmod(0o600)
    wal = database.wal_bytes()
    found: dict[str, float] = json.loads(
        run_measured([sys.executable, "-m", "tools.bench.copy_floor", str(config)]).stdout
    )
    rows = found["rows"]
    return {
        "rows_per_second": rows / found["seconds"],
        "client_us_per_row": 1e6 * found["cpu_seconds"] / rows,
        "server_us_per_row": 1e6 * found["server_cpu_seconds"] / rows,
        "wal_per_row": (database.wal_bytes() - wal) / rows,
    }


def end_to_end(
    stage: Stage, database: Database, source: SimulatorProcess, rows: int, mode: str, idle: float
) -> dict[str, float]:
    """A run once. `idle` is what the command takes for nothing, in processor seconds: it is no row's part."""
    if mode == "reprocess":
        # Autovacuum would come for the rows of the first run, in the midst of the second.
        database.ask("VACUUM raw.qb_invoices")
    database.checkpoint()
    served = cpu_seconds(source.pid)
    ran = stage.backfill(source, database, "--no-limits", "--concurrency", str(CONNECTIONS), "--mode", mode)
    served = cpu_seconds(source.pid) - served
    assert ran.result["rows"]["read"] == rows, ran.result["rows"]
    found = {
        "rows_per_second": rows / ran.extraction_seconds,
        "extraction_seconds": ran.extraction_seconds,
        "whole_seconds": ran.process.seconds,
        "client_us_per_row": 1e6 * (ran.process.cpu_seconds - idle) / rows,
        "server_us_per_row": 1e6 * ran.server_cpu_seconds / rows,
        "simulator_us_per_row": 1e6 * served / rows,
        "wal_bytes": float(ran.wal_bytes),
        "wal_per_row": ran.wal_bytes / rows,
        "peak_mb": ran.process.peak_mb,
    }
    total = ran.attempts_seconds
    found |= {name.removesuffix("_seconds") + "_share": ran.parts[name] / total for name in PARTS}
    found["other_share"] = 1 - sum(ran.parts.values()) / total
    return found


def idle_cpu_seconds(stage: Stage, source: SimulatorProcess) -> float:
    """What `qbo-backfill run` costs where there is nothing to read: imports, secrets, migrations, checks."""
    with stage.database() as database:
        nothing = ("--no-limits", "--fecha-inicio", "2009-01-01", "--fecha-fin", "2009-01-02")
        stage.backfill(source, database, *nothing)
        return stage.backfill(source, database, *nothing, "--mode", "reprocess").process.cpu_seconds


def measure(stage: Stage, *, rows: int, rounds: int) -> Part:
    """Rounds of floor, first run, second run. Ratios are made within a round."""
    floors: list[dict[str, float]] = []
    firsts: list[dict[str, float]] = []
    seconds: list[dict[str, float]] = []
    with simulator(rows, "--keep-pages", str(KEEP_PAGES_MB)) as source:
        idle = idle_cpu_seconds(stage, source)
        with stage.database() as database:  # the simulator makes the pages that the rounds are served
            stage.backfill(source, database, "--no-limits", "--concurrency", str(CONNECTIONS))
        for number in range(rounds):
            with stage.database() as database:
                floors.append(copy_floor(stage, database, source))
            with stage.database() as database:
                firsts.append(end_to_end(stage, database, source, rows, "resume", idle))
                seconds.append(end_to_end(stage, database, source, rows, "reprocess", idle))
            print(
                f"floor, round {number + 1}: {floors[-1]['rows_per_second']:,.0f} rows/s, "
                f"end to end {firsts[-1]['rows_per_second']:,.0f}, again {seconds[-1]['rows_per_second']:,.0f}",
                flush=True,
            )
    return _part(rows, floors, firsts, seconds, stage.version)


def _part(
    rows: int,
    floors: list[dict[str, float]],
    firsts: list[dict[str, float]],
    seconds: list[dict[str, float]],
    version: str,
) -> Part:
    ratios = [first["rows_per_second"] / floor["rows_per_second"] for floor, first in zip(floors, firsts, strict=True)]
    floor, first, second = medians(floors), medians(firsts), medians(seconds)
    of_floor = floor["client_us_per_row"] + floor["server_us_per_row"]
    without_simulator = of_floor / (first["client_us_per_row"] + first["server_us_per_row"])
    again = [b["extraction_seconds"] / a["extraction_seconds"] for a, b in zip(firsts, seconds, strict=True)]
    wal = [b["wal_bytes"] / a["wal_bytes"] for a, b in zip(firsts, seconds, strict=True)]
    part = Part(
        "floor",
        "The floor and the whole",
        f"The same {rows:,} invoices (3.4 KB each), {len(floors)} rounds in turn on one server with default, durable "
        f"settings: plain `COPY` from memory over {CONNECTIONS} connections straight into an empty table like "
        f"`raw.qb_invoices`; then `qbo-backfill run --concurrency {CONNECTIONS} --no-limits` from a simulator that is "
        "already up and has made its pages before; then the same again in mode reprocess, over unchanged data (after a "
        "VACUUM, which is the first run's). Rows a second of a run are from its "
        "first chunk begun to its last done: planning, start and validation are counted apart. The simulator, the "
        "extractor and Postgres share the machine's cores, so the last column is what a row costs each of them. "
        "The server's figure for a run holds its planning and validation too.",
        figures={"rows": rows, "server": version, "floor": floors, "first": firsts, "second": seconds},
    )
    part.goals = [
        Goal("end to end against the floor, rows a second", median(ratios), at_least=0.8),
        Goal("second run over unchanged data against the first, wall", median(again), at_most=1.0),
        Goal("second run over unchanged data against the first, WAL", median(wal), at_most=0.02),
    ]
    part.tables = [
        Table(
            "Medians",
            (
                "",
                "rows/s",
                "against the floor",
                "extractor µs/row",
                "Postgres µs/row",
                "simulator µs/row",
                "WAL bytes/row",
            ),
            [
                (
                    "floor",
                    floor["rows_per_second"],
                    1.0,
                    floor["client_us_per_row"],
                    floor["server_us_per_row"],
                    0.0,
                    floor["wal_per_row"],
                ),
                (
                    "first run",
                    first["rows_per_second"],
                    median(ratios),
                    first["client_us_per_row"],
                    first["server_us_per_row"],
                    first["simulator_us_per_row"],
                    first["wal_per_row"],
                ),
                (
                    "second run",
                    second["rows_per_second"],
                    median([b["rows_per_second"] / a["rows_per_second"] for a, b in zip(floors, seconds, strict=True)]),
                    second["client_us_per_row"],
                    second["server_us_per_row"],
                    second["simulator_us_per_row"],
                    second["wal_per_row"],
                ),
            ],
        ),
        Table(
            "Where a worker's time goes (shares of the attempts' wall time)",
            ("", "wait", "fetch", "split", "copy", "merge", "other"),
            [
                (name, *(f"{run[f'{p}_share']:.0%}" for p in ("wait", "fetch", "split", "copy", "merge", "other")))
                for name, run in (("first run", first), ("second run", second))
            ],
        ),
        Table(
            "Beside the extraction",
            ("", "whole command, s", "of it extraction, s", "processor time, floor / (extractor + Postgres)"),
            [("first run", first["whole_seconds"], first["extraction_seconds"], without_simulator)],
        ),
    ]
    part.charts = {
        "floor": bars(
            "Rows a second",
            f"{rows:,} invoices, medians of {len(floors)}",
            {
                "COPY from memory": floor["rows_per_second"],
                "end to end, first run": first["rows_per_second"],
                "end to end, second run": second["rows_per_second"],
            },
            line_at=0.8 * floor["rows_per_second"],
        )
    }
    return part


def options(quick: bool) -> dict[str, Any]:
    return {"rows": 20_000, "rounds": 3} if quick else {"rows": 100_000, "rounds": 5}
