"""What the server saw and answered, for tests and people to ask afterwards."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

import msgspec

from qbo_simulator.limits import Gate

_REMEMBERED = 200_000


class Entry(msgspec.Struct, omit_defaults=True):
    """One request. `arrived` is seconds since 1970 by the server's clock; `statement` the query, never a token."""

    arrived: float
    kind: str
    method: str
    path: str
    tid: str
    status: int = 0
    milliseconds: float = 0
    bytes: int = 0
    rows: int = 0
    statement: str = ""
    refused_by: str | None = None
    fault: str | None = None


class Ledger:
    """Counts of everything since the start or the last reset, and the last 200,000 requests themselves."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.gate = Gate()
        self.entries: deque[Entry] = deque(maxlen=_REMEMBERED)
        self.requests: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.faults: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self.edits: Counter[str] = Counter()
        self.rows: Counter[str] = Counter()
        self.bytes = 0

    def close(self, entry: Entry) -> None:
        """The request was answered, or its connection ended (status 0)."""
        self.entries.append(entry)
        self.requests[entry.kind] += 1
        self.statuses[entry.status] += 1
        self.bytes += entry.bytes
        if entry.fault:
            self.faults[entry.fault] += 1

    def summary(self, *, log: bool = False) -> dict[str, Any]:
        gate = self.gate
        found: dict[str, Any] = {
            "requests": dict(self.requests),
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "rows": dict(self.rows),
            "bytes": self.bytes,
            "metered_calls": gate.metered,
            "violations": dict(gate.violations),
            "violations_total": sum(gate.violations.values()),
            "worst_60_seconds": gate.seen_minute.worst,
            "worst_second": gate.seen_second.worst,
            "in_flight": gate.in_flight,
            "worst_in_flight": gate.worst_in_flight,
            "refreshes": self.tokens["refreshed"],
            "tokens": dict(self.tokens),
            "faults": dict(self.faults),
            "edits": dict(self.edits),
        }
        if log:
            found["log"] = [msgspec.to_builtins(entry) for entry in self.entries]
        return found
