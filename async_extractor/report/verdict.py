"""The first thing that a report says: whether the data is complete, why, and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from async_extractor.checks import Validation
from async_extractor.report.document import Block, Command, Paragraph, Tone
from async_extractor.report.figures import RunFigures
from async_extractor.report.sentences import check_name
from async_extractor.report.texts import Texts


def verdict(figures: RunFigures, texts: Texts) -> tuple[Tone, str, str, list[Block]]:
    """How it stands, a headline, a sentence, and what to do."""
    run, counts = figures.run, figures.counts
    if run["status"] in ("planning", "running") and run["finished_at"] is None:
        why = texts("running_why", done=texts.number(counts["done"]), chunks=texts.number(counts["planned"]))
        return "note", texts("running"), why, [Paragraph(texts("resume_with")), Command("qbo-backfill resume")]
    if run["status"] == "failed":
        return "bad", texts("failed"), texts("failed_why"), _ended(figures, texts)
    if run["status"] == "incomplete":
        why = texts(
            "incomplete_why",
            left=texts.number(counts["planned"] - counts["done"]),
            chunks=texts.number(counts["planned"]),
        )
        return "bad", texts("incomplete"), why, _ended(figures, texts)
    return _of_checks(figures, texts)


def _ended(figures: RunFigures, texts: Texts) -> list[Block]:
    blocks: list[Block] = []
    if figures.run["error"]:
        blocks.append(Paragraph(texts("reason", error=figures.run["error"])))
    return [*blocks, Paragraph(texts("resume_with")), Command(f"qbo-backfill resume {figures.run['run_id']}")]


def _of_checks(figures: RunFigures, texts: Texts) -> tuple[Tone, str, str, list[Block]]:
    verifying = figures.run["mode"] == "verify"
    wrong = [check for check in figures.checks if check.severity == "error"]
    look = [check for check in figures.checks if check.severity == "warning"]
    chunks = texts.number(figures.counts["planned"])
    if wrong:
        names = ", ".join(check_name(check.name, texts.lang) for check in wrong)
        key = "different" if verifying else "wrong"
        return "bad", texts(key), texts(f"{key}_why", checks=names), _commands("repair_with", wrong, texts)
    if look:
        why = texts("verified_why") if verifying else texts("look_why", chunks=chunks, number=len(look))
        return "look", texts("verified_look" if verifying else "look"), why, _commands("look_with", look, texts)
    nothing: list[Block] = [Paragraph(texts("nothing_to_do"))]
    if verifying:
        key = "repaired" if any(check.name == "repair" for check in figures.checks) else "verified"
        return "good", texts(key), texts(f"{key}_why"), nothing
    return "good", texts("complete"), texts("complete_why", chunks=chunks), nothing


def _commands(key: str, checks: Sequence[Validation], texts: Texts) -> list[Block]:
    commands = list(dict.fromkeys(check.advice for check in checks if check.advice))
    return [Paragraph(texts(key)), *(Command(command) for command in commands)] if commands else []
