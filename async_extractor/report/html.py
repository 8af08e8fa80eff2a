"""A report as one HTML file: no network, no script; light and dark, on a phone, on paper and read aloud."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from importlib.resources import files

from async_extractor.report.charts import bar_chart, share_bar
from async_extractor.report.document import Block, Chart, Command, Figures, Paragraph, Report, Section, Table

# A word beside the colour, for those who don't see it.
MARKS = {"good": "✓", "note": "i", "look": "!", "bad": "✕"}


def as_html(report: Report) -> str:
    """The whole file's text."""
    style = (files("async_extractor.report") / "report.css").read_text(encoding="utf-8")
    contents = "".join(f'<li><a href="#{section.name}">{escape(section.title)}</a></li>' for section in report.sections)
    sections = "".join("".join(_section(section)) for section in report.sections)
    to_do = "".join(_block(block) for block in report.what_to_do)
    return (
        f'<!doctype html>\n<html lang="{report.lang}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<title>{escape(report.title)}: {escape(report.verdict)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        f'<header class="{report.tone}">\n<p class="run">{escape(report.title)}</p>\n'
        f'<h1><span class="sign" aria-hidden="true">{MARKS[report.tone]}</span> {escape(report.verdict)}</h1>\n'
        f'<p class="why">{escape(report.why)}</p>\n{to_do}\n</header>\n'
        f'<nav aria-label="{escape(report.contents)}"><ul>{contents}</ul></nav>\n'
        f"<main>\n{sections}</main>\n<footer><p>{escape(report.made)}</p></footer>\n</body>\n</html>\n"
    )


def _section(section: Section) -> Iterator[str]:
    yield f'<section id="{section.name}" aria-labelledby="{section.name}-h">\n'
    yield f'<h2 id="{section.name}-h">{escape(section.title)}</h2>\n'
    for block in section.blocks:
        yield _block(block)
    yield "</section>\n"


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return f"<p>{escape(block.text)}</p>\n"
    if isinstance(block, Command):
        return f'<pre tabindex="0"><code>{escape(block.text)}</code></pre>\n'
    if isinstance(block, Figures):
        items = "".join(
            f"<div><dt>{escape(label)}</dt><dd>{escape(value)}"
            + (f"<small>{escape(note)}</small>" if note else "")
            + "</dd></div>"
            for label, value, note in block.items
        )
        return f'<dl class="figures">{items}</dl>\n'
    if isinstance(block, Chart):
        return _chart(block)
    return _table(block)


def _chart(chart: Chart) -> str:
    drawing = share_bar(chart) if len(chart.bars) == 1 and not chart.bars[0].label else bar_chart(chart)
    legend = "".join(
        f'<li><span class="key s{number}" aria-hidden="true"></span>{escape(name)}</li>'
        for number, name in enumerate(chart.series)
    )
    keys = f'<ul class="legend">{legend}</ul>' if len(chart.series) > 1 else ""
    return (
        f"<figure><figcaption><strong>{escape(chart.title)}</strong> {escape(chart.told)}</figcaption>\n"
        f'<div class="wide">{drawing}</div>{keys}</figure>\n'
    )


def _table(table: Table) -> str:
    head = "".join(
        f'<th scope="col"{_number(at, table)}>{escape(column)}</th>' for at, column in enumerate(table.columns)
    )
    body = []
    for row_number, row in enumerate(table.rows):
        tone = f' class="{table.tones[row_number]}"' if table.tones else ""
        cells = "".join(
            f'<th scope="row"{_number(at, table)}>{_cell(cell)}</th>'
            if at == 0
            else f'<td{_number(at, table)} data-label="{escape(table.columns[at])}">{_cell(cell)}</td>'
            for at, cell in enumerate(row)
        )
        body.append(f"<tr{tone}>{cells}</tr>\n")
    caption = escape(table.caption)
    text = (
        f'<div class="scroll" role="region" aria-label="{caption}" tabindex="0"><table><caption>{caption}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{''.join(body)}</tbody></table></div>\n"
    )
    return f"<details><summary>{caption} ({len(table.rows):,})</summary>{text}</details>\n" if table.folded else text


def _number(at: int, table: Table) -> str:
    return ' class="number"' if at in table.numbers else ""


def _cell(text: str) -> str:
    return f"<code>{escape(text)}</code>" if text.startswith(("qbo-backfill ", "QBF-")) else escape(text)
