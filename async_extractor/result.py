"""What a run came to, as programs get it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from async_extractor.checks import Validation
from async_extractor.windows import Window, iso


@dataclass(frozen=True)
class BackfillResult:
    """A run's end. `status` is `done`, `incomplete` (chunks are left; resumable) or `failed`.

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
    validations: list[Validation] = field(default_factory=list)

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
