"""What a part of the bench found: figures, goals that are met or missed, tables and charts, as files."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "evidence" / "bench"


@dataclass(frozen=True)
class Goal:
    """A figure and what it is to be at least or at most."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def met(self) -> bool:
        return (self.at_least is None or self.value >= self.at_least) and (
            self.at_most is None or self.value <= self.at_most
        )

    def line(self) -> str:
        bounds = [f"at least {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"at most {self.at_most:g}"] if self.at_most is not None else []
        return f"{'met   ' if self.met else 'MISSED'} {self.name}: {self.value:.3g} ({', '.join(bounds)})"


@dataclass
class Table:
    """Rows under headings; numbers are printed with three significant figures, or whole."""

    title: str
    headings: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f"**{self.title}**", "", f"| {' | '.join(self.headings)} |", f"|{'---|' * len(self.headings)}"]
        lines += [f"| {' | '.join(map(_cell, row))} |" for row in self.rows]
        return "\n".join(lines)


@dataclass
class Part:
    """One part's outcome. `about` says what was compared and how; `figures` are the raw ones, for JSON."""

    name: str
    title: str
    about: str
    figures: dict[str, Any] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: dict[str, str] = field(default_factory=dict)

    def write(self, folder: Path = FOLDER) -> None:
        """`<name>.json`, `<name>.md` and its charts, and the index of all that are there."""
        folder.mkdir(parents=True, exist_ok=True)
        whole = {
            "part": self.name,
            "title": self.title,
            "measured_at": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            "machine": machine(),
            "goals": [{**asdict(goal), "met": goal.met} for goal in self.goals],
            "figures": self.figures,
        }
        (folder / f"{self.name}.json").write_text(json.dumps(whole, indent=1, default=str) + "\n")
        for name, svg in self.charts.items():
            (folder / f"{name}.svg").write_text(svg)
        pieces = [
            f"# {self.title}",
            self.about,
            f"*`python -m tools.bench {self.name}`; {whole['measured_at']}; {whole['machine']}.*",
        ]
        if self.goals:
            pieces.append("```\n" + "\n".join(goal.line() for goal in self.goals) + "\n```")
        pieces += [table.markdown() for table in self.tables]
        pieces += [f"![{name}]({name}.svg)" for name in self.charts]
        (folder / f"{self.name}.md").write_text("\n\n".join(pieces) + "\n")
        write_index(folder)


def write_index(folder: Path) -> None:
    """README.md of all parts that have been measured, each with its goals."""
    about = (
        "`make bench` writes these files, `python -m tools.bench PART` one of them; budget, outage, tokens and "
        "companies only so. "
        "Each speed that counts is a ratio of two things run in turn in one go."
    )
    pieces = ["# Measurements", about]
    for path in sorted(folder.glob("*.json")):
        part = json.loads(path.read_text())
        if not isinstance(part, dict) or "goals" not in part:
            continue  # another bench's own file
        goals = [
            Goal(**{name: goal[name] for name in ("name", "value", "at_least", "at_most")}) for goal in part["goals"]
        ]
        pieces.append(f"## [{part['title']}]({part['part']}.md)")
        pieces.append(f"`python -m tools.bench {part['part']}`; {part['measured_at']}; {part['machine']}")
        if goals:
            pieces.append("```\n" + "\n".join(goal.line() for goal in goals) + "\n```")
    (folder / "README.md").write_text("\n\n".join(pieces) + "\n")


def machine() -> str:
    """What it ran on; the load says whether anything else did."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}, load {load:.1f}"


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def medians(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median of each key over rows with equal keys."""
    return {key: median([row[key] for row in rows]) for key in rows[0]}


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
