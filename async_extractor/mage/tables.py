"""What the blocks show on Mage's page: tables, each first with what a person asks first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd  # type: ignore[import-untyped]

from async_extractor.checks import CheckResult
from async_extractor.result import BackfillResult

# The report's table: first what a person asks first, its times in UTC.
_ROWS = ("rows_read", "rows_inserted", "rows_updated", "rows_unchanged", "rows_quarantined")
_COUNTS = (*_ROWS, "attempts", "pages", "requests", "retries")
_COLUMNS = ("what", "window_start", "window_end", *_ROWS, "seconds", "status", "report", "run", "mage_run")
_MORE_COLUMNS = ("attempts", "pages", "requests", "retries", "error")


def of_checks(checks: Sequence[CheckResult], run_id: int, lang: str = "en") -> pd.DataFrame:
    """A row a check, the gravest first, each with the run's number; `what_was_found` in that language."""
    return pd.DataFrame([_check_row(check, run_id, lang) for check in sorted(checks, key=_gravest_first)])


def _gravest_first(check: CheckResult) -> int:
    return ("error", "warning", "notice", "ok").index(check.severity)


def _check_row(check: CheckResult, run_id: int, lang: str) -> dict[str, Any]:
    return {
        "check": check.name,
        "result": check.severity,
        "what_was_found": check.words(lang),
        "what_to_do": check.advice,
        "code": check.code,
        "run": run_id,
    }


def of_run(result: BackfillResult, verdict_line: str, page: str, mage_run: int | None) -> pd.DataFrame:
    """The verdict and the totals, then a row a chunk."""
    columns = [*_COLUMNS, *_MORE_COLUMNS]
    chunks = [{**chunk, "what": chunk["kind"].replace("_", "-")} for chunk in result.chunk_table]
    total: dict[str, Any] = {name: sum(chunk[name] for chunk in chunks) for name in _COUNTS}
    total |= {
        "what": verdict_line,
        "window_start": result.window.start,
        "window_end": result.window.end,
        "seconds": result.seconds,
        "status": result.status,
        "report": page,
        "run": result.run_id,
        "mage_run": mage_run,
        "requests": result.requests["sent"],
        "error": result.error,
    }
    table = pd.DataFrame([total, *chunks], columns=columns)
    for name in ("window_start", "window_end"):
        table[name] = pd.to_datetime(table[name], utc=True)
    table["seconds"] = table["seconds"].astype(float).round(1)
    texts = dict.fromkeys(("what", "status", "report", "error"), "string")
    return table.astype({**dict.fromkeys(_COUNTS, "int64"), **dict.fromkeys(("run", "mage_run"), "Int64"), **texts})
