"""`qbo-backfill bench`: which concurrency and chunk suit this company, measured against it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

import typer
from rich.console import Console

from async_extractor.cli.options import ENTITY, FECHA_FIN, FECHA_INICIO, FILTER_FIELD, NO_LIMITS, PROFILE
from async_extractor.cli.screen import Column, print_fitted, screen
from async_extractor.errors import ConfigurationError, RequestError
from async_extractor.mage.secrets import MageSecrets
from async_extractor.report.svg import lines
from async_extractor.request import BackfillRequest
from async_extractor.spoken import say
from async_extractor.tuning.grid import Cell, measure, recommended

CONCURRENCIES = typer.Option("1,2,4,8", "--concurrency", help="Chunks fetched at once, one number for each column")
CHUNKS = typer.Option("auto", "--chunk", help="How to cut the range, one for each row: auto,P1M,week")
MOST_REQUESTS = typer.Option(
    500, "--most-requests", min=1, help="Begin no further pair when it would likely pass this many: Intuit meters them"
)
OUT = typer.Option("", "--out", help="Also write bench.json and bench.svg into this folder")
AS_JSON = typer.Option(False, "--json", help="The last line of stdout is one JSON object")
PARTS = ("wait", "fetch", "split", "copy", "merge", "other")
COLUMNS = (
    Column("concurrency"),
    Column("chunk"),
    Column("rows/s", number=True),
    Column("requests/s", 1, number=True),
    Column("p50 ms", 3, number=True),
    Column("p95 ms", 2, number=True),
    Column("requests", 5, number=True),
    Column("429", 4, number=True),
    Column("chunks", 7, number=True),
    Column("busy", 6, number=True),
    *(Column(name, 8, number=True) for name in PARTS),
)


def bench(
    entity: str = ENTITY,
    fecha_inicio: str = FECHA_INICIO,
    fecha_fin: str = FECHA_FIN,
    concurrency: str = CONCURRENCIES,
    chunk: str = CHUNKS,
    filter_field: str = FILTER_FIELD,
    most_requests: int = MOST_REQUESTS,
    out: str = OUT,
    as_json: bool = AS_JSON,
    no_limits: bool = NO_LIMITS,
    profile: str = PROFILE,
) -> int:
    """Measure a grid of concurrency and chunk, and recommend a setting.

    Each pair is a whole backfill of the dates into a database of its own, which is dropped afterwards; the real one is
    not touched. Run no other backfill of the company meanwhile. Exit 0: measured; 2: bad parameters; 4: configuration.
    """
    pairs = _pairs(concurrency, chunk)
    request = BackfillRequest.parse(
        entity, fecha_inicio, fecha_fin, chunk=pairs[0][1], concurrency=pairs[0][0], filter_field=filter_field
    )
    for workers, cut in pairs:
        BackfillRequest.parse(entity, fecha_inicio, fecha_fin, cut, workers, filter_field)
    if out and Path(out).exists() and not Path(out).is_dir():
        raise RequestError(f"--out: {out} is not a folder")
    secrets = MageSecrets.locate(profile=profile)
    progress = Console(stderr=True)
    cells = asyncio.run(
        measure(
            request,
            secrets,
            pairs,
            limits=not no_limits,
            most_requests=most_requests,
            profile=profile,
            told=lambda cell: progress.print(say(_line(cell)), highlight=False, markup=False),
        )
    )
    best = recommended(cells)
    advice = f"--concurrency {best.concurrency} --chunk {best.chunk}"
    left_out = len(pairs) - len(cells)
    if out:
        _write(Path(out), cells, advice)
    if as_json:
        found = {"recommended": {"concurrency": best.concurrency, "chunk": best.chunk}, "left_out": left_out}
        print(json.dumps({**found, "cells": [cell.as_dict() for cell in cells]}), flush=True)
        return 0
    console = screen()
    show(cells, console)
    if left_out:
        console.print(say(f"{left_out} pairs were not begun: --most-requests {most_requests}"), highlight=False)
    console.print(say(f"recommended: {advice} ({best.rows_per_second:,.0f} rows/s)"), highlight=False)
    return 0


def _pairs(concurrency: str, chunk: str) -> list[tuple[int, str]]:
    workers = [part.strip() for part in concurrency.split(",") if part.strip()]
    chunks = [part.strip() for part in chunk.split(",") if part.strip()]
    if not workers or not all(part.isdecimal() for part in workers):
        raise RequestError(f"concurrency: {concurrency!r} is not a list of whole numbers such as 1,2,4,8")
    if not chunks:
        raise RequestError("chunk: name at least one, such as auto or P1M")
    return [(int(number), cut) for cut in dict.fromkeys(chunks) for number in dict.fromkeys(workers)]


def _line(cell: Cell) -> str:
    return (
        f"concurrency {cell.concurrency}, chunk {cell.chunk}: {cell.rows_per_second:,.0f} rows/s, "
        f"{cell.requests_per_second:.1f} requests/s"
    )


def show(cells: Sequence[Cell], console: Console) -> None:
    """A row for each pair."""
    rows = [
        (
            str(cell.concurrency),
            cell.chunk,
            f"{cell.rows_per_second:,.0f}",
            f"{cell.requests_per_second:.1f}",
            f"{1000 * cell.p50:.0f}",
            f"{1000 * cell.p95:.0f}",
            str(cell.requests),
            str(cell.throttled),
            str(cell.chunks),
            f"{cell.busy:.0%}",
            *(f"{getattr(cell, name):.2f}" for name in PARTS),
        )
        for cell in cells
    ]
    print_fitted(console, "Seconds from wait to other are a chunk's, on average", COLUMNS, rows)


def _write(folder: Path, cells: Sequence[Cell], advice: str) -> None:
    series: dict[str, list[tuple[float, float]]] = {}
    for cell in cells:
        series.setdefault(f"chunk {cell.chunk}", []).append((cell.concurrency, cell.rows_per_second))
    plot = lines(say(f"Recommended: {advice}"), say("concurrency"), say("rows a second"), series)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "bench.svg").write_text(plot)
        (folder / "bench.json").write_text(json.dumps([cell.as_dict() for cell in cells], indent=1) + "\n")
    except OSError as error:
        raise ConfigurationError(f"--out: can't write to {folder}: {error.strerror or error}") from None
