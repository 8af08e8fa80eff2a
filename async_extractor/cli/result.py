"""A run's result on the screen: chunks and totals in a table, the verdict last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from async_extractor.cli.screen import Column, moment, print_fitted
from async_extractor.profile_option import with_profile
from async_extractor.result import BackfillResult
from async_extractor.spoken import say

# More chunks than a screen has lines are summed by how they stand.
MOST_LISTED = 20

COLUMNS = (
    Column("chunk (UTC)", folds=36),
    Column("status", 2),
    Column("pages", 9, number=True),
    Column("requests", 7, number=True),
    Column("read", number=True),
    Column("inserted", 3, number=True),
    Column("updated", 4, number=True),
    Column("unchanged", 5, number=True),
    Column("quarantined", 6, number=True),
    Column("seconds", 8, number=True),
)
SUMMED = ("pages", "requests", "rows_read", "rows_inserted", "rows_updated", "rows_unchanged", "rows_quarantined")


def print_result(result: BackfillResult, console: Console, *, chunks: bool = False) -> None:
    """The run in a table, each chunk where there are few or `chunks` asks for them, and in one line."""
    title = f"Run {result.run_id}: {result.entity}, {result.status}"
    listed = chunks or len(result.chunk_table) <= MOST_LISTED
    rows = [_row(_window([row]), row["status"], [row]) for row in result.chunk_table] if listed else _by_status(result)
    total = (
        say("total"),
        f"{result.chunks['done']}/{result.chunks['planned']}",
        f"{sum(row['pages'] for row in result.chunk_table):,}",
        f"{result.requests['sent']:,}",
        *(f"{result.rows[n]:,}" for n in ("read", "inserted", "updated", "unchanged", "quarantined")),
        f"{result.seconds:.1f}",
    )
    print_fitted(console, title, COLUMNS, rows, total)
    if not listed:
        console.print(say("`--chunks` lists each chunk."), markup=False, highlight=False)
    console.print(say(verdict(result)), markup=False, highlight=False)


def verdict(result: BackfillResult) -> str:
    """How the run ended, in a line."""
    done, planned = result.chunks["done"], result.chunks["planned"]
    read = f"{result.rows['read']:,} rows read, {result.rows['inserted'] + result.rows['updated']:,} written"
    counted = f"{done:,} of {planned:,} {'chunk' if planned == 1 else 'chunks'}"
    if result.status != "done":
        return f"Not complete: {counted}, {read}."
    wrong = [check.name for check in result.validations if check.severity == "warning"]
    if wrong:
        report = with_profile(f"qbo-backfill report {result.run_id}")
        return f"Complete, with something to look at ({', '.join(wrong)}): {report}"
    # Without a check nothing is known to have passed one.
    return f"Complete: {counted}, {read}{', every check passed' if result.validations else ''}."


def _by_status(result: BackfillResult) -> list[tuple[str, ...]]:
    by_status: dict[str, list[dict[str, Any]]] = {}
    for row in result.chunk_table:
        by_status.setdefault(row["status"], []).append(row)
    return [
        _row(f"{_window(rows)}: {len(rows):,} {'chunk' if len(rows) == 1 else 'chunks'}", status, rows)
        for status, rows in by_status.items()
    ]


def _row(name: str, status: str, rows: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    counts = (f"{sum(row[one] for row in rows):,}" for one in SUMMED)
    return (say(name), say(status), *counts, f"{sum(row['seconds'] for row in rows):.1f}")


def _window(rows: Sequence[dict[str, Any]]) -> str:
    windows = [row for row in rows if row["kind"] != "catch_up"] or rows
    start = min(row["window_start"] for row in windows)
    # An open end is later than any other.
    end = None if any(row["window_end"] is None for row in windows) else max(row["window_end"] for row in windows)
    alone = len(rows) == 1 and rows[0]["kind"] == "catch_up"
    return f"{moment(start)} - {moment(end)}{' (catch-up)' if alone else ''}"
