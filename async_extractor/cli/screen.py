"""Where tables are printed: as wide as the terminal, or wide enough for a file or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from rich.console import Console
from rich.table import Table

from async_extractor.spoken import say

# Wide enough for a table of chunks; a log has no edge to break it at.
PIPE_WIDTH = 150
# Of a column that folds: below it a table is read worse than lines.
NARROWEST = 16


def screen() -> Console:
    """stdout for tables."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def moment(value: datetime | None) -> str:
    """A UTC time as short as it can be: the day alone at midnight; `now` for an open end."""
    if value is None:
        return say("now")
    return f"{value:%Y-%m-%d}" if (value.hour, value.minute, value.second) == (0, 0, 0) else f"{value:%Y-%m-%d %H:%M}"


@dataclass(frozen=True)
class Column:
    """A column of a table. `gives_way`: how soon it is left out of a narrow terminal; 0 is never.

    `folds`: the width that its text is content with, beyond which it folds at blanks; 0: it never folds, since somebody
    may have to type it again.
    """

    name: str
    gives_way: int = 0
    number: bool = False
    folds: int = 0


def print_fitted(
    console: Console, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], total: Sequence[str] = ()
) -> None:
    """A table whose names and numbers are never cut: columns give way, and a line names the missing.

    Where not even those fit that never give way, each row is a few lines. Title and headings are put into the language
    that is spoken.
    """
    columns = [replace(column, name=say(column.name)) for column in columns]
    rows, total = [_numbers(columns, row) for row in rows], _numbers(columns, total)
    lines = [*rows, *([total] if total else [])]
    widths = [max(len(text) for text in texts) for texts in zip((one.name for one in columns), *lines, strict=True)]
    widths = [min(width, one.folds or width) for width, one in zip(widths, columns, strict=True)]
    kept = list(range(len(columns)))
    while sum(widths[i] + 3 for i in kept) + 1 > console.width and any(columns[i].gives_way for i in kept):
        kept.remove(max(kept, key=lambda i: columns[i].gives_way))
    # Whole on one line, however long: it may be a path.
    console.print(say(title), style="italic", markup=False, highlight=False, soft_wrap=True)
    if sum((min(widths[i], NARROWEST) if columns[i].folds else widths[i]) + 3 for i in kept) + 1 > console.width:
        for line in lines:
            told = (f"{one.name}: {cell}" for one, cell in zip(columns, line, strict=True) if cell)
            console.print("\n".join(told), end="\n\n", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table()
    for i in kept:
        one, whole = columns[i], not columns[i].folds
        justify: Literal["left", "right"] = "right" if one.number else "left"
        table.add_column(
            one.name, justify=justify, no_wrap=whole, min_width=widths[i] if whole else None, overflow="fold"
        )
    for row in rows:
        table.add_row(*(row[i] for i in kept))
    if total:
        table.add_section()
        table.add_row(*(total[i] for i in kept))
    console.print(table, markup=False, highlight=False)
    if missing := [column.name for i, column in enumerate(columns) if i not in kept]:
        console.print(say(f"In a wider terminal, too: {', '.join(missing)}."), markup=False, highlight=False)


def _numbers(columns: Sequence[Column], row: Sequence[str]) -> list[str]:
    return [say(cell) if column.number else cell for column, cell in zip(columns, row, strict=bool(row))]
