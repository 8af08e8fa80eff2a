"""Figures of a run that never was, for tests of what a report says about them."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from async_extractor.checks import CheckResult
from async_extractor.report import RunFigures
from async_extractor.windows import UTC

START = datetime(2024, 1, 1, tzinfo=UTC)

SOURCE_OK = CheckResult("source_count", "ok", {"source": 90, "raw": 90, "quarantined": 0})
VOLUME_OK = CheckResult(
    "volume",
    "ok",
    {"rows": 90, "first_day": "2024-01-01", "last_day": "2024-03-30", "odd_days": [], "gaps": []},
)
MISSING = CheckResult(
    "source_count",
    "error",
    {"source": 90, "raw": 80, "missing": 10, "quarantined": 0},
    "qbo-backfill verify invoices --fecha-inicio 2024-01-01 --fecha-fin 2024-03-30 --repair",
)
CONTROL = {
    "month": "2024-01",
    "currency": "USD",
    "rows": 30,
    "total": Decimal("12345678.90"),
    "balance": Decimal("345.50"),
    "first_date": "2024-01-01",
    "last_date": "2024-01-31",
}


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
        "done": status in ("done", "superseded"),
        **dict.fromkeys(zeros, 0),
        **more,
    }


def figures(
    status: str = "done",
    checks: tuple[CheckResult, ...] = (SOURCE_OK, VOLUME_OK),
    *,
    chunks: list[dict[str, Any]] | None = None,
    events: tuple[dict[str, Any], ...] = (),
    **run: Any,
) -> RunFigures:
    """A run of three chunks; `run` are fields of its row in ops.runs."""
    chunks = [chunk(number) for number in range(3)] if chunks is None else chunks
    read = sum(c["rows_read"] for c in chunks)
    finished = None if status == "running" else datetime(2026, 11, 24, 10, 0, 9, tzinfo=UTC)
    zeros = ("rows_updated", "rows_unchanged", "rows_quarantined", "retries", "throttled")
    return RunFigures(
        run={
            "run_id": 7,
            "realm_id": "4620816365000007770",
            "raw_schema": "raw",
            "environment": "simulator",
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
            "error": None,
            "settings": {"python": "3.11", "qbo-backfill": "0.1.0"},
            "started_at": datetime(2026, 11, 24, 10, 0, 0, tzinfo=UTC),
            "finished_at": finished,
            "seconds": 9.0,
            "chunks_planned": len(chunks),
            "chunks_done": sum(c["done"] for c in chunks),
            "chunks_failed": sum(c["status"] == "failed" for c in chunks),
            "pages": len(chunks),
            "requests": len(chunks) + 1,
            "chunk_requests": len(chunks),
            "rows_read": read,
            "rows_inserted": read,
            "bytes_read": 90_000,
            "wait_seconds": 0.5,
            "fetch_seconds": 2.0,
            "split_seconds": 0.1,
            "copy_seconds": 0.3,
            "merge_seconds": 0.6,
            "overlapped_seconds": 1.2,
            "worker_seconds": 4.5,
            **dict.fromkeys(zeros, 0),
            **run,
        },
        chunks=chunks,
        all_checks=checks,
        days=[(date(2024, 1, 1) + timedelta(days=number), 1 + number % 3) for number in range(90)],
        events=events,
        control_totals=[CONTROL, {**CONTROL, "month": "2024-02", "last_date": "2024-02-29"}],
        month_requests=1234,
    )
