"""A report as its readers' eyes go through it, in words of one language: what Markdown and HTML are made from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

# How a verdict or a row stands: it chooses colour and mark, and never stands alone without a word.
Tone = Literal["good", "note", "look", "bad"]


@dataclass(frozen=True)
class Table:
    """Columns of `numbers` are right-aligned; `tones` has one for each row, or none; `folded`: hidden at first."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    tones: Sequence[Tone] = ()
    folded: bool = False


@dataclass(frozen=True)
class Figures:
    """Big numbers with their labels, and a note each (or '')."""

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: its parts are in the order of the chart's series; `mark` says what is odd about it."""

    label: str
    parts: Sequence[float]
    mark: str = ""


@dataclass(frozen=True)
class Chart:
    """Stacked bars. `series` names the parts, `unit` what is counted; `told` says in a sentence what it shows."""

    name: str
    title: str
    told: str
    unit: str
    series: Sequence[str]
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Command:
    """A command to copy."""

    text: str


@dataclass(frozen=True)
class Paragraph:
    text: str


Block: TypeAlias = "Table | Figures | Chart | Command | Paragraph"


@dataclass(frozen=True)
class Section:
    """A part with a heading; `name` is its anchor."""

    name: str
    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Report:
    """The whole. The verdict comes first: a headline, a sentence, and what to do."""

    lang: str
    title: str
    tone: Tone
    verdict: str
    why: str
    what_to_do: Sequence[Block]
    sections: Sequence[Section] = field(default_factory=list)
    contents: str = ""
    made: str = ""
