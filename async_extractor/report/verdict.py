"""The first thing that a report says: whether the data is complete, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from async_extractor.checks import CheckResult
from async_extractor.checks.messages import check_name
from async_extractor.profile_option import with_profile
from async_extractor.report.document import Block, Command, Paragraph, Tone
from async_extractor.report.figures import RunFigures
from async_extractor.report.texts import Texts


class Verdict(NamedTuple):
    """How a run stands, a headline, a sentence, and what to do."""

    tone: Tone
    headline: str
    why: str
    what_to_do: list[Block]


def verdict(figures: RunFigures, texts: Texts) -> Verdict:
    """The run's."""
    run = figures.run
    chunks, done = run["chunks_planned"], run["chunks_done"]
    if run["status"] in ("planning", "running") and run["finished_at"] is None:
        why = texts("running_why", done=done, chunks=chunks)
        what_to_do: list[Block] = [Paragraph(texts("resume_with")), _resume(figures, "")]
        return Verdict("note", texts("running"), why, what_to_do)
    if run["status"] == "failed":
        return Verdict("bad", texts("failed"), texts("failed_why"), _ended(figures, texts))
    if run["status"] == "incomplete" and done < chunks:
        why = texts("incomplete_why", left=chunks - done, chunks=chunks)
        return Verdict("bad", texts("incomplete"), why, _ended(figures, texts))
    if run["status"] == "incomplete" and all(check.severity != "error" for check in figures.checks):
        return Verdict("bad", texts("incomplete"), texts("owed_why"), _ended(figures, texts))
    return _of_checks(figures, texts)


def _ended(figures: RunFigures, texts: Texts) -> list[Block]:
    blocks: list[Block] = []
    if figures.run["error"]:
        blocks.append(Paragraph(texts("reason", error=figures.run["error"])))
    return [*blocks, Paragraph(texts("resume_with")), _resume(figures, f" {figures.run['run_id']}")]


def _resume(figures: RunFigures, number: str) -> Command:
    return Command(with_profile(f"qbo-backfill resume{number}", figures.profile))


def _of_checks(figures: RunFigures, texts: Texts) -> Verdict:
    run, verifying = figures.run, figures.run["mode"] == "verify"
    wrong = [check for check in figures.checks if check.severity == "error"]
    look = [check for check in figures.checks if check.severity == "warning"]
    if wrong or not figures.checks:
        names = ", ".join(check_name(check.name, texts.lang) for check in wrong) or texts("no_checks")
        key = "different" if verifying else "wrong"
        why = texts(f"{key}_why", checks=names)
        return Verdict("bad", texts(key), why, _commands("repair_with", wrong, texts))
    key = _good(figures)
    counted = figures.check("source_count")
    values = {"chunks": run["chunks_planned"], "rows": counted.figures.get("raw", 0) if counted is not None else 0}
    if look:
        headline = texts("verified_look" if verifying else "look")
        why = texts(f"{key}_why", **values) + " " + texts("look_why", checks=len(look))
        return Verdict("look", headline, why, _commands("look_with", look, texts))
    return Verdict("good", texts(key), texts(f"{key}_why", **values), [Paragraph(texts("nothing_to_do"))])


def _good(figures: RunFigures) -> str:
    run = figures.run
    if run["mode"] == "verify":
        return "repaired" if figures.check("repair") is not None else "verified"
    new = run["rows_inserted"] + run["rows_updated"] + run["rows_quarantined"]
    return "complete" if new or run["mode"] == "reprocess" else "nothing_new"


def _commands(key: str, checks: Sequence[CheckResult], texts: Texts) -> list[Block]:
    commands = list(dict.fromkeys(check.advice for check in checks if check.advice))
    return [Paragraph(texts(key)), *(Command(command) for command in commands)] if commands else []
