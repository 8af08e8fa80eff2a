"""Concurrency 1, 2, 4, 8, 10 where each answer takes 300 ms: linear, until Intuit's quota is the limit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from async_extractor.report.svg import lines
from tools.bench.outcome import Goal, Part, Table
from tools.bench.stage import Stage, simulator

LATENCY_MS = 300
# Intuit's limits page: 500 requests a minute.
QUOTA_PER_SECOND = 500 / 60


def measure(stage: Stage, *, rows: int, concurrencies: Sequence[int]) -> Part:
    found: dict[int, dict[str, float]] = {}
    with simulator(rows, "--latency-ms", str(LATENCY_MS), limits=True) as source:
        for concurrency in concurrencies:
            with stage.database() as database:
                # Chunks of one size: what is measured is concurrency, not how the range was cut.
                ran = stage.backfill(source, database, "--concurrency", str(concurrency), "--chunk", "P3M")
                ((requests,),) = database.ask("SELECT sum(requests)::int FROM ops.attempts")
            found[concurrency] = {
                "rows_per_second": rows / ran.extraction_seconds,
                "requests_per_second": requests / ran.extraction_seconds,
                "share_waiting": ran.parts["wait_seconds"] / ran.attempts_seconds,
                "throttled": float(ran.result["requests"]["throttled"]),
            }
            print(f"concurrency {concurrency}: {rows / ran.extraction_seconds:,.0f} rows/s", flush=True)
    base = found[min(found)]["requests_per_second"] / min(found)
    part = Part(
        "concurrency",
        "Concurrency",
        f"`qbo-backfill run --chunk P3M` of {rows:,} invoices with Intuit's limits enforced and {LATENCY_MS} ms an "
        "answer. What one worker does times the number of workers is linear; Intuit's quota is "
        f"{QUOTA_PER_SECOND:.2f} requests a second.",
        figures={"rows": rows, "runs": found},
    )
    for concurrency, figures in found.items():
        ideal = min(base * concurrency, QUOTA_PER_SECOND)
        if concurrency > min(found):
            share = figures["requests_per_second"] / ideal
            part.goals.append(Goal(f"concurrency {concurrency}: of linear, or of the quota", share, at_least=0.9))
    part.goals.append(Goal("answers with 429", max(f["throttled"] for f in found.values()), at_most=0))
    part.tables = [
        Table(
            "Runs",
            ("concurrency", "rows/s", "requests/s", "waiting for the budget", "429"),
            [
                (
                    concurrency,
                    figures["rows_per_second"],
                    figures["requests_per_second"],
                    f"{figures['share_waiting']:.0%}",
                    int(figures["throttled"]),
                )
                for concurrency, figures in found.items()
            ],
        )
    ]
    part.charts = {
        "concurrency": lines(
            f"Requests a second at {LATENCY_MS} ms",
            "concurrency",
            "requests a second",
            {
                "measured": [(c, f["requests_per_second"]) for c, f in found.items()],
                "linear, until the quota": [(c, min(base * c, QUOTA_PER_SECOND)) for c in found],
            },
        )
    }
    return part


def options(quick: bool) -> dict[str, Any]:
    return {"rows": 6_000, "concurrencies": (1, 4)} if quick else {"rows": 40_000, "concurrencies": (1, 2, 4, 8, 10)}
