"""The parts of a report, in words of one language: what its templates are filled with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

# How a verdict or a row stands: it chooses colour and mark, and never stands alone without a word.
Tone = Literal["good", "note", "look", "bad"]


@dataclass(frozen=True)
class Table:
    """Columns of `numbers` are right-aligned; `tones` has one for each row, or none; `folded`: hidden at first.

    `links` has an address for each row's first cell, '' for none; or nothing at all.
    """

    kind: ClassVar = "table"

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[int] = frozenset()
    tones: Sequence[Tone] = ()
    folded: bool = False
    links: Sequence[str] = ()


@dataclass(frozen=True)
class Figures:
    """Big numbers with their labels, and a note each (or '')."""

    kind: ClassVar = "figures"

    items: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Bar:
    """One bar of a chart: its parts are in the order of the chart's series; `mark` says what is odd about it."""

    label: str
    parts: Sequence[float]
    mark: str = ""


@dataclass(frozen=True)
class Chart:
    """Stacked bars, or one bar without a label for shares. `told` says in words what it shows and what a bar is."""

    kind: ClassVar = "chart"

    name: str
    title: str
    told: str
    series: Sequence[str]
    bars: Sequence[Bar]


@dataclass(frozen=True)
class Command:
    """A command to copy."""

    kind: ClassVar = "command"

    text: str


@dataclass(frozen=True)
class Paragraph:
    """A sentence or two."""

    kind: ClassVar = "paragraph"

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
    """The whole. The first screen is the verdict, what it is of (`facts`), the counts, and what to do."""

    lang: str
    title: str
    tone: Tone
    verdict: str
    why: str
    facts: Sequence[tuple[str, str]]
    counts: str
    what_to_do: Sequence[Block]
    sections: Sequence[Section]
    contents: str
    made: str
