"""A run's result in terminals of any width: no number is cut, many chunks are summed, the verdict is the last line."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from async_extractor.cli.result import print_result
from async_extractor.result import BackfillResult
from async_extractor.windows import UTC, Window

START = datetime(2023, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NUMBERS = ("7,612,345", "1,234,567")


def result(chunks: int, status: str = "done") -> BackfillResult:
    table: list[dict[str, Any]] = [
        {
            "kind": "window",
            "window_start": START + DAY * number,
            "window_end": START + DAY * (number + 1),
            "status": "failed" if number == 3 and status != "done" else "done",
            "pages": 1,
            "requests": 2,
            "rows_read": 7_612_345 if number == 0 else 0,
            "rows_inserted": 1_234_567 if number == 0 else 0,
            "rows_updated": 0,
            "rows_unchanged": 0,
            "rows_quarantined": 0,
            "seconds": 0.5,
        }
        for number in range(chunks)
    ]
    rows = {"read": 7_612_345, "inserted": 1_234_567, "updated": 0, "unchanged": 0, "quarantined": 0}
    done = {"planned": chunks, "done": chunks - (status != "done"), "failed": int(status != "done")}
    sent = {"sent": 2 * chunks, "retried": 0, "throttled": 0}
    return BackfillResult(9, "items", status, Window(START, START + DAY * chunks), done, rows, sent, 3.0, None, table)


def shown(result: BackfillResult, width: int, **more: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    print_result(result, console, **more)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 150])
@pytest.mark.parametrize("chunks", [1, 12, 1_097])
def test_no_number_is_cut_and_the_verdict_is_last(width: int, chunks: int) -> None:
    lines = shown(result(chunks), width)
    text = "\n".join(lines)
    assert "7,612,345" in text
    assert "…" not in text
    assert "..." not in text
    assert max(map(len, lines)) <= width
    last = " ".join(" ".join(lines).split())
    assert last.endswith("7,612,345 rows read, 1,234,567 written.")
    assert ("In a wider terminal" in last) is (width < 120)


def test_many_chunks_are_summed_by_how_they_stand_unless_they_are_asked_for() -> None:
    lines = shown(result(1_097, "incomplete"), 150)
    assert len(lines) < 20
    assert any("1,096 chunks" in line and "done" in line and "7,612,345" in line for line in lines)
    assert any("2023-01-04 - 2023-01-05: 1 chunk" in line and "failed" in line for line in lines)
    assert lines[-1].startswith("Not complete: 1,096 of 1,097 chunks")
    assert len(shown(result(1_097, "incomplete"), 150, chunks=True)) > 1_097


def test_without_a_check_nothing_is_said_to_have_passed() -> None:
    assert "passed" not in shown(result(2), 150)[-1]
