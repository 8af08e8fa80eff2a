"""Whether every worker is busy to the end: extraction's wall against the least that its pages can take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from async_extractor.qbo.limits import PER_MINUTE
from async_extractor.qbo.query import MOST_ROWS
from tools.bench.outcome import Goal, Part, Table, median
from tools.bench.stage import Stage, simulator

CONCURRENCY = 10


def ideal_seconds(rows: int, latency: float) -> float:
    """The least that reading so many rows takes with ten workers, by the quota or by the answers' time.

    The catch-up asks once more, and by decision 10 not before all windows are read.
    """
    pages = math.ceil(rows / MOST_ROWS)
    by_answers = math.ceil(pages / CONCURRENCY) * latency
    by_quota = (pages - 1) * 60 / PER_MINUTE + latency
    return max(by_answers, by_quota) + latency


def measure(stage: Stage, *, rows: Sequence[int], latencies: Sequence[float], rounds: int) -> Part:
    part = Part(
        "even",
        "Workers busy to the end",
        f"`qbo-backfill run --concurrency {CONCURRENCY}` with `chunk=auto` and Intuit's limits, of invoices that lie as "
        "unevenly over ten years as trade does. The ideal is pages / workers x the time of an answer, or the quota, and "
        "one answer for the catch-up. *Busy* is the workers' own time of workers x extraction's wall.",
        figures={"runs": []},
    )
    table = Table(
        "Runs",
        ("rows", "s an answer", "extraction, s", "ideal, s", "of it", "busy", "requests", "of a plain pager's", "chunks"),
    )
    for size in rows:
        for latency in latencies:
            runs = []
            with simulator(size, "--latency-ms", str(int(1000 * latency)), limits=True) as source:
                for _ in range(rounds):
                    with stage.database() as database:
                        ran = stage.backfill(source, database, "--concurrency", str(CONCURRENCY))
                    wall = ran.extraction_seconds
                    busy = ran.attempts_seconds / (wall * CONCURRENCY)
                    requests = int(ran.result["requests"]["sent"])
                    chunks = int(ran.result["chunks"]["planned"])
                    runs.append({"seconds": wall, "busy": busy, "requests": requests, "chunks": chunks})
                    print(f"{size:,} rows, {latency:g} s: {wall:.1f} s, {requests} requests, {chunks} chunks", flush=True)
            wall, ideal = median([run["seconds"] for run in runs]), ideal_seconds(size, latency)
            sent = median([run["requests"] for run in runs])
            # A plain pager ends with the page that isn't full.
            share = sent / (size // MOST_ROWS + 1)
            part.figures["runs"] += [{"rows": size, "latency": latency, "ideal": ideal, **run} for run in runs]
            part.goals.append(Goal(f"{size:,} rows, {latency:g} s an answer: of the ideal", wall / ideal, at_most=1.15))
            if size >= 100_000:
                part.goals.append(Goal(f"{size:,} rows: requests of a plain pager's", share, at_most=1.06))
            busy = median([run["busy"] for run in runs])
            row = (size, latency, wall, ideal, wall / ideal, f"{busy:.0%}", int(sent), share, runs[0]["chunks"])
            table.rows.append(row)
    part.tables = [table]
    return part


def options(quick: bool) -> dict[str, Any]:
    if quick:
        return {"rows": (60_000,), "latencies": (1.0,), "rounds": 1}
    return {"rows": (60_000, 200_000), "latencies": (1.0, 3.0), "rounds": 3}
