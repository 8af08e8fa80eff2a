"""Results of a verification's checks: which records differ from QuickBooks, which windows and seals are wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import date
from typing import Any

from async_extractor.checks import suggested_commands
from async_extractor.checks.after_run import keys_result
from async_extractor.checks.comparison import KINDS, WRONG, Compared, Finding
from async_extractor.checks.day_checksums import BrokenSeal
from async_extractor.checks.result import MOST_NAMED, CheckResult, Severity


def days_of(findings: Iterable[Finding]) -> list[date]:
    """The UTC days that the findings are of, in order."""
    return sorted({finding.moment.date() for finding in findings if finding.moment is not None})


def source_rows(
    compared: Compared,
    at_source: int,
    in_raw: int,
    *,
    unexplained: int,
    whole: bool,
    repair: str,
    harmless: Collection[str] = (),
) -> CheckResult:
    """QuickBooks against raw: one check, whose figures name the Ids of each kind.

    `unexplained` records are counted by QuickBooks, and neither raw nor any finding has them. `whole`: every record
    was compared; otherwise counts and seals said where to look. `harmless` kinds are told and keep nobody from being
    done.
    """
    by_kind: dict[str, list[Finding]] = {kind: compared.of(kind) for kind in KINDS}
    differing: list[str] = [kind for kind, of_kind in by_kind.items() if of_kind]
    wrong = [
        finding for kind in differing for finding in by_kind[kind] if finding.kind in WRONG and kind not in harmless
    ]
    days = days_of(wrong)
    found: dict[str, Any] = {
        "source": at_source,
        "raw": in_raw,
        "compared": compared.rows,
        "whole": whole,
        "unexplained": unexplained,
        "days": [str(day) for day in days[:MOST_NAMED]],
        "different_days": len(days),
        **{kind: len(of_kind) for kind, of_kind in by_kind.items()},
        "ids": {kind: [finding.id for finding in by_kind[kind][:MOST_NAMED]] for kind in differing},
    }
    if unexplained:
        differing.append("unexplained")
    severity: Severity = "warning" if by_kind["quarantined"] else "notice" if differing else "ok"
    if wrong or unexplained:
        severity = "error"
    says = ("whole" if whole else "counted", *(differing or ["equal"]), *(["days"] if days else []))
    advice = repair if wrong or unexplained else suggested_commands.quarantine() if by_kind["quarantined"] else ""
    return CheckResult("source_rows", severity, found, advice, tuple(f"source_rows.{part}" for part in says))


def windows(misplaced: Sequence[tuple[str, str]], repair: str) -> CheckResult:
    """Whether each row's window in raw is one that it can have been read in: Ids with their reasons."""
    if not misplaced:
        return CheckResult("windows", "ok")
    reasons = Counter(reason for _, reason in misplaced)
    found = {
        "misplaced": len(misplaced),
        "reasons": dict(reasons),
        "ids": [record_id for record_id, _ in misplaced[:MOST_NAMED]],
    }
    says = ("windows.error", *(f"windows.{reason}" for reason in reasons))
    return CheckResult("windows", "error", found, repair, says)


def seals(broken: Sequence[BrokenSeal], *, sealed: bool) -> CheckResult:
    """What the seals say. A broken one is a reason to look, and no fault by itself."""
    found = {
        "broken": len(broken),
        "broken_days": [str(seal.day) for seal in broken[:MOST_NAMED]],
        "days": [
            {"created_day": str(seal.day), "rows_sealed": seal.rows_sealed, "rows_now": seal.rows_now}
            for seal in broken[:MOST_NAMED]
        ],
    }
    if not sealed and not broken:
        return CheckResult("seals", "notice", found, says=("seals.none",))
    return CheckResult("seals", "notice" if broken else "ok", found)


def table_keys(found: dict[str, Any]) -> CheckResult:
    """Ids of the whole table: not empty, there once, and the payload's own."""
    return keys_result(found, "keys.table")
