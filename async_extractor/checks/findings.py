"""What a verification found, in sentences: for people, for ops.validations, and for the exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from async_extractor.checks.comparison import KINDS, WRONG, Compared, Finding
from async_extractor.checks.result import MOST_NAMED, Severity, Validation, named

# How each kind stands in a sentence, after a number.
_WORDS = {
    "missing": "missing in raw",
    "outdated": "older in raw than they were when it was read",
    "altered": "altered in raw",
    "surplus": "in raw that QuickBooks doesn't have",
    "misplaced": "with a window in raw that they can't have been read in",
    "quarantined": "in quarantine",
    "unread": "created or edited at QuickBooks since the range was read",
    "moved": "edited at QuickBooks since, and out of the range by that",
}


def days_of(findings: Iterable[Finding]) -> list[date]:
    """The UTC days that the findings are of, in order."""
    return sorted({finding.moment.date() for finding in findings if finding.moment is not None})


def source_rows(
    compared: Compared, at_source: int, in_raw: int, *, unexplained: int, whole: bool, repair: str
) -> Validation:
    """QuickBooks against raw: one check, whose figures name the Ids of each kind.

    `unexplained` records are counted by QuickBooks, and neither raw nor any finding has them. `whole`: every record
    was compared; otherwise counts and seals said where to look.
    """
    by_kind = {kind: compared.of(kind) for kind in KINDS}
    findings = [finding for kind in KINDS for finding in by_kind[kind]]
    found: dict[str, Any] = {
        "source": at_source,
        "raw": in_raw,
        "compared": compared.rows,
        "whole": whole,
        "unexplained": unexplained,
        "days": [str(day) for day in days_of(f for f in findings if f.kind in WRONG)][:MOST_NAMED],
        **{kind: len(of_kind) for kind, of_kind in by_kind.items()},
        "ids": {kind: [f.id for f in of_kind[:MOST_NAMED]] for kind, of_kind in by_kind.items() if of_kind},
    }
    how = (
        f"every one of QuickBooks' {compared.rows:,} records of the range was compared with raw"
        if whole
        else f"QuickBooks counts {at_source:,} records in the range, raw {in_raw:,}"
    )
    told = [
        f"{len(of_kind):,} {_WORDS[kind]} ({named(f.id for f in of_kind)})"
        for kind, of_kind in by_kind.items()
        if of_kind
    ]
    if unexplained:
        told.append(f"{unexplained:,} that QuickBooks counts and doesn't give, or gives without an Id")
    wrong = [finding for finding in findings if finding.kind in WRONG]
    severity: Severity = (
        "error" if wrong or unexplained else "warning" if by_kind["quarantined"] else "notice" if told else "ok"
    )
    if wrong:
        days = days_of(wrong)
        told.append(f"on {len(days):,} {'day' if len(days) == 1 else 'days'}: {named(map(str, days))}")
    if not told:
        rest = "and no difference was found" if whole else "and no seal is broken"
        return Validation("source_rows", "ok", f"{how}, {rest}", found)
    advised = repair if wrong else "qbo-backfill quarantine list" if by_kind["quarantined"] else ""
    return Validation("source_rows", severity, f"{how}: " + "; ".join(told), found, advised)


def windows(misplaced: Sequence[tuple[str, str]], repair: str) -> Validation:
    """Whether each row's window in raw is one that it can have been read in: Ids with their reasons."""
    if not misplaced:
        return Validation(
            "windows", "ok", "every row's window is a chunk of the ledger and holds its LastUpdatedTime, in UTC"
        )
    reasons = Counter(reason for _, reason in misplaced)
    sentence = "; ".join(
        f"{number:,} rows: {reason} ({named(i for i, r in misplaced if r == reason)})"
        for reason, number in reasons.items()
    )
    found = {"reasons": dict(reasons), "ids": [i for i, _ in misplaced[:MOST_NAMED]]}
    return Validation("windows", "error", sentence, found, repair)


def seals(broken: Sequence[Any], *, sealed: bool) -> Validation:
    """What the seals say. A broken one is a reason to look, and no fault by itself."""
    found = {
        "days": [
            {"created_day": str(seal.day), "rows_sealed": seal.rows_sealed, "rows_now": seal.rows_now}
            for seal in broken[:MOST_NAMED]
        ]
    }
    if not sealed:
        return Validation("seals", "notice", "raw has no seals yet: no run has come to its end", found)
    if broken:
        days = named(f"{seal.day} ({seal.rows_sealed:,} rows then, {seal.rows_now:,} now)" for seal in broken)
        return Validation(
            "seals",
            "notice",
            f"records created on {len(broken):,} days aren't as the last run left them: {days}",
            found,
        )
    return Validation("seals", "ok", "every day is as the last run left it", found)


def table_keys(found: dict[str, Any]) -> Validation:
    """Ids of the whole table: not empty, there once, and the payload's own."""
    if any(found[name] for name in ("twice", "empty", "unlike_payload")):
        return Validation("keys", "error", "some Ids are empty, stand twice or differ from their payload's Id", found)
    return Validation("keys", "ok", f"{found['rows']:,} rows: every id is there once and is its payload's Id", found)
