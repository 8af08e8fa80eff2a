"""The result of a check: how grave it is, the figures behind it, and what to do. Its words are in `messages`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

import asyncpg

from async_extractor.checks.messages import sentence
from async_extractor.codes import code_of
from async_extractor.events import Level
from async_extractor.warehouse.failures import told

Severity = Literal["ok", "notice", "warning", "error"]

_ORDER: tuple[Severity, ...] = ("ok", "notice", "warning", "error")

# Figures are kept for programs; beyond so many Ids a count says it better.
MOST_NAMED = 100


@dataclass(frozen=True)
class CheckResult:
    """One check's result. `ok`; `notice`: worth knowing; `warning`: look at it; `error`: rows are missing or wrong,
    or the check could not be made.

    `figures` is what was found, `advice` what to do, as a command where there is one. `says` are the keys of its
    sentence's parts in `checks.messages`, `NAME.SEVERITY` unless the check names others.
    """

    name: str
    severity: Severity
    figures: Mapping[str, Any] = field(default_factory=dict)
    advice: str = ""
    says: tuple[str, ...] = ()
    written: str = ""

    @classmethod
    def not_made(cls, name: str, error: Exception) -> CheckResult:
        """A check that raised: nothing is known, and that is an error of its own."""
        reason = told(error) if isinstance(error, asyncpg.PostgresError) else f"{type(error).__name__}: {error}"
        return cls(name, "error", {"reason": " ".join(reason.split())[:300]}, says=("not_made",))

    @classmethod
    def load(cls, row: Mapping[str, Any]) -> CheckResult:
        """A row of ops.validations. Of those that an older version wrote, the words are as they were written."""
        found = json.loads(row["found"])
        says = tuple(found.pop("says", ()))
        return cls(row["name"], row["severity"], found, row["advice"], says, "" if says else row["message"])

    @property
    def message(self) -> str:
        """What was found, in an English sentence."""
        return self.words("en")

    def words(self, lang: str) -> str:
        """What was found, in a sentence."""
        return self.written or sentence(self.parts, self.figures, lang)

    @property
    def parts(self) -> tuple[str, ...]:
        return self.says or (f"{self.name}.{self.severity}",)

    @property
    def stored(self) -> bytes:
        """The figures as ops.validations keeps them, with the keys of the sentence."""
        return json.dumps({**self.figures, "says": self.parts}, default=_as_text).encode()

    @property
    def level(self) -> Level:
        """How loudly an event should say it."""
        return self.severity if self.severity in ("warning", "error") else "info"

    @property
    def code(self) -> str:
        """`QBF-E517` and the like; docs/validations.md explains each."""
        return code_of(self.name)

    @property
    def sentence(self) -> str:
        """The check and its result on one line, with what to do."""
        advice = f"; what to do: {self.advice}" if self.advice else ""
        return f"{self.name}: {self.message}{advice}"

    def fields(self) -> dict[str, Any]:
        """What an event about it carries besides the sentence."""
        return {"check": self.name, "check_code": self.code, "severity": self.severity}

    def as_dict(self) -> dict[str, Any]:
        """The object that commands print with `--json`."""
        return {
            "name": self.name,
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "advice": self.advice,
        }


def worst(checks: Iterable[CheckResult]) -> Severity:
    """The gravest severity among them; `ok` when there are none."""
    return max((check.severity for check in checks), key=_ORDER.index, default="ok")


def latest(checks: Iterable[CheckResult]) -> list[CheckResult]:
    """The last word of each check, in the order in which the checks first spoke: a repair is checked again."""
    return list({check.name: check for check in checks}.values())


def why_not_done(checks: Iterable[CheckResult]) -> str | None:
    """One line on the checks that keep a run from being done: those that found an error, or that none was made."""
    made = latest(checks)
    if not made:
        return "the checks after the run were not made; run the same again"
    wrong = [check for check in made if check.severity == "error"]
    return "; ".join(check.sentence for check in wrong) or None


def _as_text(value: object) -> str:
    return value.isoformat() if isinstance(value, (date, datetime)) else str(value)
