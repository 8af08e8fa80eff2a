"""A report as one HTML file, and as Markdown: the templates filled in.

The page needs no network and no script; it is for light and dark, a phone, paper, and a screen reader.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from async_extractor.report.document import Bar, Chart, Report
from async_extractor.report.svg import bar_chart, share_bar

# A word beside the colour, for those who don't see it.
_SIGNS = {"good": "✓", "note": "i", "look": "!", "bad": "✕"}
# A chart in text: so many bars, each so wide at the most.
_MOST_BARS = 24
_WIDEST = 40


def as_html(report: Report) -> str:
    """The whole file's text."""
    css = (files("async_extractor.report") / "templates" / "report.css").read_text(encoding="utf-8")
    page = _environment(html=True).get_template("report.html.jinja")
    return page.render(report=report, sign=_SIGNS[report.tone], css=Markup(css), svg=_svg)  # noqa: S704 - our own file


def as_markdown(report: Report) -> str:
    """The whole text."""
    return _environment(html=False).get_template("report.md.jinja").render(report=report, text_bars=_text_bars) + "\n"


@cache
def _environment(*, html: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("async_extractor.report"),
        autoescape=html,  # noqa: S701 - Markdown has an escaping of its own
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {"md": _markdown, "cell": _cell}
    return environment


def _svg(chart: Chart) -> Markup:
    shares = len(chart.bars) == 1 and not chart.bars[0].label
    return Markup(share_bar(chart) if shares else bar_chart(chart))  # noqa: S704 - the drawing escapes its own words


def _text_bars(chart: Chart) -> Iterator[str]:
    """A chart as lines of text, neighbours together under the first one's label."""
    size = -(-len(chart.bars) // _MOST_BARS)
    groups = [chart.bars[start : start + size] for start in range(0, len(chart.bars), size)]
    bars = [
        Bar(group[0].label, [sum(sum(bar.parts) for bar in group)], "".join(bar.mark for bar in group))
        for group in groups
    ]
    most = max(bar.parts[0] for bar in bars) or 1
    width = max(len(bar.label) for bar in bars)
    for bar in bars:
        drawn = "#" * round(_WIDEST * bar.parts[0] / most)
        yield f"{bar.label:<{width}}  {drawn:<{_WIDEST}}  {bar.parts[0]:,.0f}{'  <' if bar.mark else ''}"


def _cell(text: str) -> str:
    return f"`{text}`" if text.startswith("qbo-backfill ") else _markdown(text).replace("|", "\\|")


def _markdown(text: str) -> str:
    """Text that Markdown can't take for its own: an error's words may hold anything."""
    for character in "\\`*_<>#[]":
        text = text.replace(character, "\\" + character)
    return " ".join(text.split())
