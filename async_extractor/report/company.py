"""One report for a company: a table of its entities first, then what stands behind each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata

from async_extractor.report.compose import brief, typed_range
from async_extractor.report.document import Block, Paragraph, Report, Section, Table, Tone
from async_extractor.report.figures import RunFigures
from async_extractor.report.texts import Texts, exact
from async_extractor.report.verdict import Verdict, verdict
from async_extractor.windows import UTC, Window

# Tones, the gravest first.
GRAVEST: Sequence[Tone] = ("bad", "look", "note", "good")
_COUNTS = ("rows_read", "rows_inserted", "rows_updated", "rows_unchanged", "rows_quarantined", "requests")


@dataclass(frozen=True)
class EntityEnd:
    """How an entity ended: its run's figures, or why there is no run. `offered`: whether the company has it at all."""

    entity: str
    figures: RunFigures | None = None
    why: str = ""
    offered: bool = True


def compose_company(
    company: str, window: Window, ends: Sequence[EntityEnd], lang: str, now: datetime | None = None
) -> Report:
    """The report of what was run together for a company, in `en` or `es`; its verdict is the gravest of them."""
    texts = Texts(lang)
    now = now or datetime.now(UTC)
    verdicts = [_verdict(end, texts) for end in ends]
    offered = [said.tone for end, said in zip(ends, verdicts, strict=True) if end.offered]
    tone: Tone = min(offered, key=GRAVEST.index, default="note")
    whole = sum(one in ("good", "look") for one in offered)
    key = "company_complete" if whole == len(offered) else "company_incomplete"
    commands: dict[Block, None] = {}
    for said in verdicts:
        if said.tone in ("bad", "look"):
            commands |= dict.fromkeys(said.what_to_do)
    return Report(
        lang=texts.lang,
        title=texts("company_title"),
        tone=tone,
        verdict=texts(key),
        why=texts("company_why", whole=whole, entities=len(offered), absent=len(ends) - len(offered)),
        facts=[
            (texts("company"), company),
            (texts("range"), typed_range(window, texts)),
            (texts("date"), f"{now:%Y-%m-%d %H:%M} UTC"),
        ],
        counts="",
        what_to_do=list(commands) or [Paragraph(texts("nothing_to_do"))],
        sections=[
            Section("entities", texts("entities"), [_table(ends, verdicts, texts)]),
            *(
                Section(f"entity-{number}", texts.title(end.entity), list(_of_entity(end, texts)))
                for number, end in enumerate(ends, 1)
            ),
        ],
        contents=texts("contents"),
        made=texts("made", version=metadata.version("async-extractor"), moment=exact(now)),
    )


def _verdict(end: EntityEnd, texts: Texts) -> Verdict:
    if end.figures is not None:
        return verdict(end.figures, texts)
    if not end.offered:
        return Verdict("note", texts("not_offered"), end.why, [])
    what_to_do: list[Block] = [Paragraph(f"{texts.word(end.entity)}: {end.why}")]
    return Verdict("bad", texts("failed"), end.why, what_to_do)


def _table(ends: Sequence[EntityEnd], verdicts: Sequence[Verdict], texts: Texts) -> Table:
    heads = ("rows_read", "inserted", "updated", "unchanged", "quarantined", "requests")
    lines = [
        (
            texts.word(end.entity),
            said.headline,
            str(end.figures.run["run_id"]) if end.figures else "-",
            *(texts.number(end.figures.run[name]) if end.figures else "-" for name in _COUNTS),
            texts.duration(end.figures.run["seconds"]) if end.figures else "-",
        )
        for end, said in zip(ends, verdicts, strict=True)
    ]
    known = [end.figures.run for end in ends if end.figures]
    sums = (texts.number(sum(run[name] for run in known)) for name in _COUNTS)
    return Table(
        texts("entities_caption"),
        [texts("entity"), texts("result"), texts("run_number"), *(texts.title(name) for name in heads),
         texts.title("duration")],
        [*lines, (texts("all_entities"), "", "", *sums, "")],
        numbers=frozenset(range(2, 10)),
        tones=[*(said.tone for said in verdicts), "note"],
    )  # fmt: skip


def _of_entity(end: EntityEnd, texts: Texts) -> Iterator[Block]:
    said = _verdict(end, texts)
    yield Paragraph(f"{said.headline}. {said.why}")
    yield from said.what_to_do
    if end.figures is not None:
        yield from brief(end.figures, texts)
