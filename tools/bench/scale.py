"""Ten thousand, a hundred thousand, a million invoices: time and memory at concurrency 8."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from async_extractor.report.svg import lines
from tools.bench.outcome import Goal, Part, Table, median
from tools.bench.processes import run_measured
from tools.bench.stage import Stage, simulator

CONCURRENCY = 8
# Fewer rows than this leave workers without a chunk, so that memory says nothing of how it grows.
BUSY = 100_000
IMPORTS = (
    "import async_extractor.cli.run, async_extractor.backfill, async_extractor.mage.secrets, "
    "aiohttp, asyncpg, rich.progress"
)


def measure(stage: Stage, *, sizes: Sequence[tuple[int, int]]) -> Part:
    """`sizes` are pairs of invoices and rounds."""
    bare = median([run_measured([sys.executable, "-c", IMPORTS]).peak_mb for _ in range(3)])
    found: dict[int, list[dict[str, float]]] = {}
    for rows, rounds in sizes:
        with simulator(rows) as source:
            for _ in range(rounds):
                with stage.database() as database:
                    database.checkpoint()
                    ran = stage.backfill(source, database, "--no-limits", "--concurrency", str(CONCURRENCY))
                    assert ran.result["rows"]["inserted"] == rows, ran.result["rows"]
                found.setdefault(rows, []).append(
                    {
                        "seconds": ran.extraction_seconds,
                        "us_per_row": 1e6 * ran.extraction_seconds / rows,
                        "cpu_us_per_row": 1e6 * (ran.process.cpu_seconds + ran.server_cpu_seconds) / rows,
                        "requests_per_1000_rows": 1000 * ran.result["requests"]["sent"] / rows,
                        "peak_mb": ran.process.peak_mb,
                    }
                )
                print(
                    f"scale: {rows:,} invoices, {ran.extraction_seconds:.1f} s, {ran.process.peak_mb:.0f} MB",
                    flush=True,
                )
    return _part(bare, found)


def _part(bare: float, found: dict[int, list[dict[str, float]]]) -> Part:
    sizes = sorted(found)
    middle = {rows: {name: median([run[name] for run in found[rows]]) for name in found[rows][0]} for rows in sizes}
    part = Part(
        "scale",
        "Scale",
        f"`qbo-backfill run --no-limits --concurrency {CONCURRENCY}` of companies of different size, "
        "medians. Seconds are of the extraction. Memory is the process's peak; the bare interpreter with the same "
        f"imports has {bare:.0f} MB.",
        figures={"bare_mb": bare, "runs": found},
    )
    for smaller, larger in zip(sizes, sizes[1:], strict=False):
        ratio = middle[larger]["us_per_row"] / middle[smaller]["us_per_row"]
        part.goals.append(Goal(f"time a row, {larger:,} invoices against {smaller:,}", ratio, at_most=1.1))
        if smaller >= BUSY:
            ratio = middle[larger]["peak_mb"] / middle[smaller]["peak_mb"]
            part.goals.append(Goal(f"peak memory, {larger:,} invoices against {smaller:,}", ratio, at_most=1.05))
    most = max(figures["peak_mb"] for figures in middle.values())
    part.goals.append(Goal("peak memory, MB", most, at_most=150))
    part.tables = [
        Table(
            "Medians",
            ("invoices", "seconds", "µs/row", "CPU µs/row", "requests per 1,000 rows", "peak MB", "above bare MB"),
            [
                (
                    rows,
                    figures["seconds"],
                    figures["us_per_row"],
                    figures["cpu_us_per_row"],
                    figures["requests_per_1000_rows"],
                    figures["peak_mb"],
                    figures["peak_mb"] - bare,
                )
                for rows, figures in middle.items()
            ],
        )
    ]
    part.charts = {
        "scale-time": lines(
            "Time",
            "invoices",
            "seconds",
            {"extraction": [(r, f["seconds"]) for r, f in middle.items()]},
            logarithmic=True,
        ),
        "scale-memory": lines(
            "Peak memory",
            "invoices",
            "MB",
            {
                "peak": [(r, f["peak_mb"]) for r, f in middle.items()],
                "bare interpreter with the imports": [(r, bare) for r in middle],
            },
        ),
    }
    return part


def options(quick: bool) -> dict[str, Any]:
    return {"sizes": ((10_000, 1), (40_000, 1)) if quick else ((10_000, 5), (100_000, 5), (1_000_000, 1))}
