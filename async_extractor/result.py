"""The result of a run, read from the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from async_extractor.checks import CheckResult, latest, why_not_done
from async_extractor.warehouse.ledger import Ledger
from async_extractor.windows import Window, iso


@dataclass(frozen=True)
class BackfillResult:
    """A run's end. `status` is `done`, `incomplete` (chunks are left, or a check found an error) or `failed`.

    `chunks`: planned, done, failed. `rows`: read, inserted, updated, unchanged, quarantined.
    `requests`: sent, retried, throttled. `seconds` is wall time.
    """

    run_id: int
    entity: str
    status: str
    window: Window
    chunks: dict[str, int]
    rows: dict[str, int]
    requests: dict[str, int]
    seconds: float
    error: str | None = None
    chunk_table: list[dict[str, Any]] = field(default_factory=list)
    validations: Sequence[CheckResult] = ()

    def as_dict(self) -> dict[str, Any]:
        """The object that `qbo-backfill run --json` prints."""
        return {
            "run_id": self.run_id,
            "entity": self.entity,
            "status": self.status,
            "window": {"start": iso(self.window.start), "end": iso(self.window.end)},
            "chunks": self.chunks,
            "rows": self.rows,
            "requests": self.requests,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


async def close(ledger: Ledger, run_id: int) -> BackfillResult:
    """End a run that hasn't ended otherwise, and say what it came to.

    It is done when all of its chunks are and no check found an error; a run whose checks were not made isn't done.
    """
    run = await ledger.metrics(run_id)
    checks = [CheckResult.load(row) for row in await ledger.validations(run_id)]
    if run["finished_at"] is None and run["chunks_done"] == run["chunks_planned"]:
        why = why_not_done(checks)
        await ledger.finish_run(run_id, "incomplete" if why else "done", why)
        run = await ledger.metrics(run_id)
    return BackfillResult(
        run_id=run_id,
        entity=run["entity"],
        status=run["status"],
        window=Window(run["range_start"], run["range_end"]),
        chunks={name: run[f"chunks_{name}"] for name in ("planned", "done", "failed")},
        rows={name: run[f"rows_{name}"] for name in ("read", "inserted", "updated", "unchanged", "quarantined")},
        requests={"sent": run["requests"], "retried": run["retries"], "throttled": run["throttled"]},
        seconds=run["seconds"],
        error=run["error"],
        chunk_table=await ledger.chunk_table(run_id),
        validations=latest(checks),
    )
