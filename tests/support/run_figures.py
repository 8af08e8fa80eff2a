"""Figures of a run that never was, for tests of what a report says about them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

from async_extractor.checks import Validation
from async_extractor.report import RunFigures
from async_extractor.windows import UTC

START = datetime(2024, 1, 1, tzinfo=UTC)

SOURCE_OK = Validation(
    "source_count", "ok", "QuickBooks and raw both have 90 records in the range", {"source": 90, "raw": 90}
)
VOLUME_OK = Validation(
    "volume",
    "ok",
    "90 rows from 2024-01-01 to 2024-03-30, without gaps, empty days or outliers",
    {"rows": 90, "first_day": "2024-01-01", "last_day": "2024-03-30", "odd_days": [], "gaps": []},
)
MISSING = Validation(
    "source_count",
    "error",
    "QuickBooks has 90 records in the range, raw 80: 10 are missing",
    {"source": 90, "raw": 80},
    "qbo-backfill verify invoices --fecha-inicio 2024-01-01 --fecha-fin 2024-03-30 --repair",
)


def chunk(number: int, status: str = "done", **more: Any) -> dict[str, Any]:
    """A chunk of a month's rows."""
    start = START + timedelta(days=30 * number)
    zeros = ("retries", "rows_updated", "rows_unchanged", "rows_quarantined")
    return {
        "chunk_id": number + 1,
        "kind": "window",
        "window_start": start,
        "window_end": start + timedelta(days=30),
        "status": status,
        "expected_rows": 30,
        "error": None,
        "attempts": 1,
        "pages": 1,
        "requests": 1,
        "rows_read": 30,
        "rows_inserted": 30,
        "bytes_read": 30_000,
        "seconds": 1.5,
        **dict.fromkeys(zeros, 0),
        **more,
    }


def figures(
    status: str = "done",
    checks: tuple[Validation, ...] = (SOURCE_OK, VOLUME_OK),
    *,
    chunks: list[dict[str, Any]] | None = None,
    events: tuple[dict[str, Any], ...] = (),
    **run: Any,
) -> RunFigures:
    """A run of three chunks; `run` are fields of its row in ops.runs."""
    chunks = [chunk(number) for number in range(3)] if chunks is None else chunks
    done = sum(c["status"] == "done" for c in chunks)
    left = [c for c in chunks if c["status"] != "done"]
    read = sum(c["rows_read"] for c in chunks)
    finished = None if status == "running" else datetime(2026, 11, 24, 10, 0, 9, tzinfo=UTC)
    return RunFigures(
        run={
            "run_id": 7,
            "entity": "invoices",
            "filter_field": "last_updated",
            "mode": "resume",
            "range_start": START,
            "range_end": START + timedelta(days=90),
            "chunk": "P30D",
            "concurrency": 5,
            "status": status,
            "as_of": datetime(2026, 11, 24, 9, 59, 58, tzinfo=UTC),
            "source_count": 90,
            "requests_sent": 1,
            "requests_retried": 0,
            "requests_throttled": 0,
            "error": None,
            "settings": {"python": "3.11"},
            "started_at": datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC),
            "finished_at": finished,
            "realm_id": "4620816365000007770",
            **run,
        },
        counts={"planned": len(chunks), "done": done, "failed": sum(c["status"] == "failed" for c in chunks)},
        totals={
            "read": read,
            "inserted": read,
            "updated": 0,
            "unchanged": 0,
            "quarantined": 0,
            "pages": len(chunks),
            "bytes": 90_000,
            "requests": len(chunks),
            "retries": 0,
            "throttled": 0,
        },
        chunks=chunks,
        all_checks=checks,
        days=[(date(2024, 1, 1) + timedelta(days=number), 1 + number % 3) for number in range(90)],
        events=events,
        seconds_by_part={
            "wait": 0.5,
            "fetch": 2.0,
            "split": 0.1,
            "copy": 0.3,
            "merge": 0.6,
            "overlapped": 1.2,
            "attempts": 4.5,
        },
        resume_at=left[0] if left else None,
        environment="simulator",
        month_requests=1234,
    )
