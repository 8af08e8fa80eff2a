"""What a walk is made of: data that prints as the Python that makes it, so that a failing one can be kept as a test."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta, timezone
from typing import Any, Literal, TypeAlias

Name = Literal[
    "run",
    "reprocess",
    "retry-mode",
    "verify",
    "verify-deep",
    "repair",
    "resume",
    "retry",
    "retry-chunk",
    "quarantine-retry",
    "workers",
]
# These name their range themselves; the others take theirs from the ledger.
WITH_RANGE = frozenset(["run", "reprocess", "retry-mode", "verify", "verify-deep", "repair", "workers"])

How = Literal["kill", "terminate", "sigterm", "refuse", "lapse", "empty"]


def day(text: str) -> str:
    """The date that a walk means: one as it stands, `today`, or `ahead`, which is in a month."""
    days = {"today": 0, "ahead": 30}.get(text)
    return text if days is None else (datetime.now(timezone.utc) + timedelta(days=days)).date().isoformat()


class Printed:
    """A repr that leaves out what is as usual."""

    def __repr__(self) -> str:
        said = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]
            if getattr(self, field.name) != field.default
        )
        return f"{type(self).__name__}({', '.join(said)})"


@dataclass(frozen=True, repr=False)
class Change(Printed):
    """Something that happens to the books. `pick` seeds which of the living rows it happens to."""

    kind: str
    entity: str = "Invoice"
    count: int = 1
    pick: int = 0
    txn_date: str = ""
    ripple: bool = False


@dataclass(frozen=True, repr=False)
class Pass(Printed):
    """Time passes on QuickBooks' clock."""

    hours: float


@dataclass(frozen=True, repr=False)
class Cut(Printed):
    """What befalls a command at the step's request number `at`, so many milliseconds after its answer.

    `kill` is SIGKILL, `sigterm` SIGTERM, `terminate` ends its sessions in Postgres, `refuse` answers this one request
    with a 400, `lapse` this one with a company whose subscription has ended (exit 4). From there on `empty` gives pages
    without rows, whatever COUNT(*) says.
    """

    how: How
    at: int
    milliseconds: int = 0


@dataclass(frozen=True, repr=False)
class Command(Printed):
    """One command, what happens to the books at which of the step's requests, and who runs beside it from which on.

    `start` and `end` are dates as `day` takes them; of `retry-chunk` it is `start` that names the chunk. Requests are
    counted from the step's first one, whichever command it is that makes them.
    """

    name: Name
    entity: str = "invoices"
    start: str = "2025-01-01"
    end: str = "2025-12-31"
    field: str = "last_updated"
    chunk: str = "auto"
    concurrency: int = 2
    during: tuple[tuple[int, Change], ...] = ()
    cut: Cut | None = None
    beside: Command | None = None
    beside_at: int = 0

    @property
    def range(self) -> tuple[str, str, str, str]:
        return self.entity, self.start, self.end, self.field

    def alone(self) -> Command:
        return replace(self, during=(), beside=None, beside_at=0)


Step: TypeAlias = Change | Pass | Command


@dataclass(frozen=True, repr=False)
class Walk(Printed):
    """The books to begin with, how far QuickBooks' clock is from this machine's, and what happens."""

    steps: tuple[Step, ...] = ()
    seed: int = 0
    invoices: int = 60
    customers: int = 20
    items: int = 10
    clock_hours: float = 0

    def with_steps(self, steps: tuple[Step, ...]) -> Walk:
        return replace(self, steps=steps)

    def told(self) -> str:
        """The walk as Python, a step a line."""
        head = repr(self.with_steps(()))[:-1]
        lines: list[Any] = [f"        {step!r}," for step in self.steps]
        between = ", " if not head.endswith("(") else ""
        return "\n".join([f"{head}{between}steps=(", *lines, "    ))"])
