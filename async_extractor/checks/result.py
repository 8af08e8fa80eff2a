"""What a check came to: a severity, a sentence, the figures behind it, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from async_extractor.codes import code_of
from async_extractor.events import Level

Severity = Literal["ok", "notice", "warning", "error"]

_ORDER: tuple[Severity, ...] = ("ok", "notice", "warning", "error")

# Figures are kept for programs; beyond so many Ids a count says it better.
MOST_NAMED = 100


@dataclass(frozen=True)
class Validation:
    """One check's result. `ok`; `notice`: worth knowing; `warning`: look at it; `error`: rows are missing or wrong.

    `found` holds the figures, `advice` what to do, as a command where there is one.
    """

    name: str
    severity: Severity
    message: str
    found: dict[str, Any] = field(default_factory=dict)
    advice: str = ""

    @property
    def level(self) -> Level:
        """How loudly an event should say it."""
        return self.severity if self.severity in ("warning", "error") else "info"

    @property
    def code(self) -> str:
        """`QBF-E517` and the like; docs/validations.md explains each."""
        return code_of(self.name, "validate")

    @property
    def sentence(self) -> str:
        """The check and its result on one line, with what to do."""
        advice = f"; what to do: {self.advice}" if self.advice else ""
        return f"{self.name}: {self.message}{advice}"

    def fields(self) -> dict[str, Any]:
        """What an event about it carries besides the sentence."""
        return {"check": self.name, "check_code": self.code, "severity": self.severity}


def worst(validations: Iterable[Validation]) -> Severity:
    """The gravest severity among them; `ok` when there are none."""
    return max((check.severity for check in validations), key=_ORDER.index, default="ok")


def latest(validations: Iterable[Validation]) -> list[Validation]:
    """The last word of each check, in the order in which the checks first spoke: a repair is checked again."""
    by_name: dict[str, Validation] = {}
    for check in validations:
        by_name[check.name] = check
    return list(by_name.values())


def named(ids: Iterable[str], most: int = 5) -> str:
    """Ids for a sentence: `12, 40, 41 and 7 more`."""
    all_ids = list(ids)
    shown = ", ".join(all_ids[:most])
    return shown if len(all_ids) <= most else f"{shown} and {len(all_ids) - most:,} more"
