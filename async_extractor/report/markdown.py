"""A report as Markdown: for a terminal, a ticket, or a repository."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from async_extractor.report.document import Bar, Block, Chart, Command, Figures, Paragraph, Report, Table

MARKS = {"good": "OK", "note": "NOTE", "look": "LOOK", "bad": "WRONG"}
# A chart in text: so many bars, each so wide at the most.
MOST_BARS = 24
WIDEST = 40


def as_markdown(report: Report) -> str:
    """The whole text."""
    lines = [f"# {_plain(report.verdict)}", "", f"**{_plain(report.title)}.** {_plain(report.why)}", ""]
    for block in report.what_to_do:
        lines += _block(block)
    for section in report.sections:
        lines += [f"## {_plain(section.title)}", ""]
        for block in section.blocks:
            lines += _block(block)
    return "\n".join([*lines, f"_{_plain(report.made)}_", ""])


def _block(block: Block) -> Iterator[str]:
    if isinstance(block, Paragraph):
        yield from (_plain(block.text), "")
    elif isinstance(block, Command):
        yield from ("```", block.text, "```", "")
    elif isinstance(block, Figures):
        for label, value, note in block.items:
            yield f"- {_plain(label)}: **{_plain(value)}**" + (f" ({_plain(note)})" if note else "")
        yield ""
    elif isinstance(block, Chart):
        yield from _chart(block)
    else:
        yield from _table(block)


def _chart(chart: Chart) -> Iterator[str]:
    yield from (f"**{_plain(chart.title)}.** {_plain(chart.told)}", "")
    if len(chart.bars) < 2:
        return
    bars = _joined(chart.bars)
    most = max(sum(bar.parts) for bar in bars) or 1
    label_width = max(len(bar.label) for bar in bars)
    yield "```"
    for bar in bars:
        total = sum(bar.parts)
        drawn = "#" * round(WIDEST * total / most)
        yield f"{bar.label:<{label_width}}  {drawn:<{WIDEST}}  {total:,.0f}{'  <' if bar.mark else ''}"
    yield from ("```", "")


def _joined(bars: Sequence[Bar]) -> list[Bar]:
    """So few that they can be read as lines: neighbours together, under the first one's label."""
    size = -(-len(bars) // MOST_BARS)
    groups = [bars[start : start + size] for start in range(0, len(bars), size)]
    return [
        Bar(group[0].label, [sum(bar.parts[at] for bar in group) for at in range(len(group[0].parts))],
            next((bar.mark for bar in group if bar.mark), ""))
        for group in groups
    ]  # fmt: skip


def _table(table: Table) -> Iterator[str]:
    yield from (f"**{_plain(table.caption)}**", "")
    yield "| " + " | ".join(_cell(column) for column in table.columns) + " |"
    yield "|" + "|".join("---:" if at in table.numbers else "---" for at in range(len(table.columns))) + "|"
    for row in table.rows:
        yield "| " + " | ".join(_cell(cell) for cell in row) + " |"
    yield ""


def _cell(text: str) -> str:
    return f"`{text}`" if text.startswith("qbo-backfill ") else _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """Text that Markdown can't take for its own: an error's words may hold anything."""
    for character in "\\`*_<>#[]":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
