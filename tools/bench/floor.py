"""The floor and the whole: plain COPY from memory against `qbo-backfill run` from the simulator, in turn."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from async_extractor.backfill import Backfill
from async_extractor.report.svg import bars
from async_extractor.request import BackfillRequest
from qbo_simulator.simulator import SimulatorProcess
from tools.bench.outcome import Goal, Part, Table, median, medians
from tools.bench.processes import cpu_seconds, run_measured
from tools.bench.stage import EVERYTHING, PARTS, Database, Stage, simulator

CONNECTIONS = 4
# More than all pages of the largest company here, so that the simulator makes each once.
KEEP_PAGES_MB = 6_000
LARGE = 1_000_000


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


def end_to_end(stage: Stage, database: Database, source: SimulatorProcess, rows: int, mode: str) -> dict[str, float]:
    """A run once."""
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
        "whole_rows_per_second": rows / ran.process.seconds,
        "extraction_seconds": ran.extraction_seconds,
        "whole_seconds": ran.process.seconds,
        "client_us_per_row": 1e6 * ran.process.cpu_seconds / rows,
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


def validation_us(stage: Stage, source: SimulatorProcess, rows: int) -> float:
    """What the checks after a first run cost Postgres, in microseconds of processor time a row."""

    async def seconds(database: Database) -> float:
        secrets = stage.secrets(source, database)
        request = BackfillRequest.parse("invoices", *EVERYTHING, "auto", CONNECTIONS)
        async with Backfill(request, secrets, limits=False) as backfill:
            run_id = await backfill.plan()
            await backfill.extract(run_id)
            # What has been written is not to be the checks' to write.
            database.checkpoint()
            before = database.cpu_seconds()
            await backfill.validate(run_id)
            spent = database.cpu_seconds() - before
            result = await backfill.report(run_id)
        assert (result.status, result.rows["inserted"]) == ("done", rows), result
        return spent

    with stage.database() as database:
        return 1e6 * asyncio.run(seconds(database)) / rows


def measure(stage: Stage, *, sizes: Sequence[tuple[int, int]]) -> Part:
    """`sizes` are pairs of invoices and rounds. A round is floor, first run, second run; ratios are made within it."""
    part = Part(
        "floor",
        "The floor and the whole",
        "The same invoices (3.4 KB each), in turn on one server with default, durable settings: plain `COPY` "
        f"from memory over {CONNECTIONS} connections straight into an empty table like `raw.qb_invoices`; then "
        f"`qbo-backfill run --concurrency {CONNECTIONS} --no-limits` from a simulator that is already up and has "
        "made its pages before; then the same again in mode reprocess, over unchanged data (after a VACUUM, "
        "which is the first run's). The whole command is from exec to exit: start, plan, extraction, change data "
        "capture, checks and report; extraction from the first chunk begun to the last one done. The simulator, "
        "the extractor and Postgres share the machine's cores, so the last columns are what a row costs each of "
        "them, start and checks included.",
        figures={"server": stage.version, "sizes": []},
    )
    for rows, rounds in sizes:
        floors: list[dict[str, float]] = []
        firsts: list[dict[str, float]] = []
        seconds: list[dict[str, float]] = []
        with simulator(rows, "--keep-pages", str(KEEP_PAGES_MB)) as source:
            # The simulator makes the pages that the rounds are served.
            checks = validation_us(stage, source, rows)
            for number in range(rounds):
                with stage.database() as database:
                    floors.append(copy_floor(stage, database, source))
                with stage.database() as database:
                    firsts.append(end_to_end(stage, database, source, rows, "resume"))
                    seconds.append(end_to_end(stage, database, source, rows, "reprocess"))
                print(
                    f"floor, {rows:,} rows, round {number + 1}: {floors[-1]['rows_per_second']:,.0f} rows/s, whole "
                    f"command {firsts[-1]['whole_rows_per_second']:,.0f}, again {seconds[-1]['rows_per_second']:,.0f}",
                    flush=True,
                )
        _add(part, rows, checks, floors, firsts, seconds)
    return part


def _add(
    part: Part,
    rows: int,
    checks: float,
    floors: list[dict[str, float]],
    firsts: list[dict[str, float]],
    seconds: list[dict[str, float]],
) -> None:
    """Adds one size's goals, tables and chart."""

    def ratio(runs: list[dict[str, float]], name: str) -> float:
        return median([run[name] / floor["rows_per_second"] for run, floor in zip(runs, floors, strict=True)])

    part.figures["sizes"].append(
        {"rows": rows, "validation_us_per_row": checks, "floor": floors, "first": firsts, "second": seconds}
    )
    floor, first, second = medians(floors), medians(firsts), medians(seconds)
    cpu = median([_cpu(a) / _cpu(b) for a, b in zip(firsts, floors, strict=True)])
    wal = median([b["wal_bytes"] / a["wal_bytes"] for a, b in zip(firsts, seconds, strict=True)])
    of = f"{rows:,} rows"
    part.goals += [
        Goal(
            f"{of}: whole command against the floor, rows a second",
            ratio(firsts, "whole_rows_per_second"),
            at_least=0.85 if rows >= LARGE else 0.8,
        ),
        Goal(f"{of}: processor time of extractor and Postgres a row, whole command, of the floor's", cpu, at_most=1.2),
        Goal(
            f"{of}: second run over unchanged data against the floor, rows a second",
            ratio(seconds, "rows_per_second"),
            at_least=3.0,
        ),
        Goal(f"{of}: second run over unchanged data against the first, WAL", wal, at_most=0.02),
        Goal(f"{of}: the checks after it, Postgres' µs a new row", checks, at_most=4.0),
    ]
    part.tables += [
        Table(
            f"{of}: medians of {len(floors)}",
            (
                "",
                "rows/s",
                "against the floor",
                "whole command, s",
                "extractor µs/row",
                "Postgres µs/row",
                "simulator µs/row",
                "WAL bytes/row",
            ),
            [
                (
                    name,
                    one["rows_per_second"],
                    ratio(runs, "rows_per_second"),
                    one.get("whole_seconds", ""),
                    one["client_us_per_row"],
                    one["server_us_per_row"],
                    one.get("simulator_us_per_row", 0.0),
                    one["wal_per_row"],
                )
                for name, one, runs in (
                    ("floor", floor, floors),
                    ("first run, its extraction", first, firsts),
                    ("second run, its extraction", second, seconds),
                )
            ],
        ),
        Table(
            f"{of}: where a worker's time goes (shares of the attempts' wall time)",
            ("", "wait", "fetch", "split", "copy", "merge", "other"),
            [
                (name, *(f"{run[f'{p}_share']:.0%}" for p in ("wait", "fetch", "split", "copy", "merge", "other")))
                for name, run in (("first run", first), ("second run", second))
            ],
        ),
    ]
    if not part.charts:
        part.charts["floor"] = bars(
            "Rows a second",
            f"{rows:,} invoices, medians of {len(floors)}",
            {
                "COPY from memory": floor["rows_per_second"],
                "whole command, first run": first["whole_rows_per_second"],
                "whole command, second run": second["whole_rows_per_second"],
            },
            line_at=0.8 * floor["rows_per_second"],
        )


def _cpu(run: dict[str, float]) -> float:
    return run["client_us_per_row"] + run["server_us_per_row"]


def options(quick: bool) -> dict[str, Any]:
    return {"sizes": ((20_000, 3),)} if quick else {"sizes": ((100_000, 5), (LARGE, 2))}
