"""Whether every worker is busy to the end: extraction's wall against the least that its pages can take."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any

from async_extractor.qbo.limits import PER_MINUTE
from async_extractor.qbo.query import MOST_ROWS
from qbo_simulator.simulator import SimulatorProcess
from tools.bench.outcome import Goal, Part, Table, median
from tools.bench.senders import control
from tools.bench.stage import Stage, simulator

CONCURRENCY = 10
YEARS = 10
BEGIN = datetime(2016, 1, 1, tzinfo=timezone.utc)


def plant(source: SimulatorProcess, rows: int) -> None:
    """So many invoices, few at first and most of them in the last years, some days with many; light ones, since it is
    the waiting that is measured, not the machine that it shares with the simulator."""
    chance, records = Random(7), []  # noqa: S311 - a spread, the same each time
    days = [int(YEARS * 365 * chance.random() ** 0.4) for _ in range(rows // 50)]
    for number in range(1, rows + 1):
        moment = BEGIN + timedelta(days=chance.choice(days), seconds=chance.randrange(86_400))
        at = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        times = {"CreateTime": at, "LastUpdatedTime": at}
        payload = {"Id": str(number), "SyncToken": "0", "TxnDate": at[:10], "MetaData": times}
        records.append({"payload": json.dumps(payload)})
    for start in range(0, rows, 10_000):
        some = records[start : start + 10_000]
        control(source, "load", {"entity": "Invoice", "replace": start == 0, "records": some})


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
        f"`qbo-backfill run --concurrency {CONCURRENCY}` with `chunk=auto` and Intuit's limits, of light invoices that "
        "lie unevenly over ten years. The ideal is pages / workers x the time of an answer, or the quota, and then an "
        "answer for the catch-up. *Busy* is the workers' own time of workers x extraction's wall.",
        figures={"runs": []},
    )
    table = Table(
        "Runs",
        (
            "rows",
            "s an answer",
            "extraction, s",
            "ideal, s",
            "of it",
            "busy",
            "requests",
            "of a plain pager's",
            "chunks",
        ),
    )
    for size in rows:
        for latency in latencies:
            runs = []
            with simulator(1, "--latency-ms", str(int(1000 * latency)), limits=True) as source:
                plant(source, size)
                for _ in range(rounds):
                    with stage.database() as database:
                        ran = stage.backfill(source, database, "--concurrency", str(CONCURRENCY))
                    wall = ran.extraction_seconds
                    busy = ran.attempts_seconds / (wall * CONCURRENCY)
                    requests = int(ran.result["requests"]["sent"])
                    chunks = int(ran.result["chunks"]["planned"])
                    runs.append({"seconds": wall, "busy": busy, "requests": requests, "chunks": chunks})
                    print(
                        f"{size:,} rows, {latency:g} s: {wall:.1f} s, {requests} requests, {chunks} chunks", flush=True
                    )
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
