"""The result of a verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from async_extractor.checks import findings
from async_extractor.checks.comparison import WRONG, Compared
from async_extractor.checks.result import CheckResult
from async_extractor.windows import Window, iso


@dataclass(frozen=True)
class VerificationResult:
    """`status`: `equal`, `repaired` (equal after a repair), `different`. `found`: the differences before a repair."""

    run_id: int
    entity: str
    status: str
    window: Window
    found: Compared
    windows_read: Sequence[Window]
    marked_deleted: int
    checks: Sequence[CheckResult]
    requests: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """The object that `qbo-backfill verify --json` prints, with every Id that differs."""
        by_kind: dict[str, list[str]] = {}
        for finding in self.found.findings.values():
            by_kind.setdefault(finding.kind, []).append(finding.id)
        return {
            "run_id": self.run_id,
            "entity": self.entity,
            "status": self.status,
            "window": {"start": iso(self.window.start), "end": iso(self.window.end)},
            "differences": {kind: sorted(ids) for kind, ids in by_kind.items()},
            "days": [str(day) for day in findings.days_of(f for f in self.found.findings.values() if f.kind in WRONG)],
            "repaired": {
                "windows": [{"start": iso(w.start), "end": iso(w.end)} for w in self.windows_read],
                "marked_deleted": self.marked_deleted,
            },
            "checks": [check.as_dict() for check in self.checks],
            "requests": self.requests,
            "seconds": round(self.seconds, 3),
        }
