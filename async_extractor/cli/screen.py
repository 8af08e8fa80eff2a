"""Where tables are printed: as wide as the terminal, or wide enough for a file or a pipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from rich.console import Console
from rich.table import Table

from async_extractor.spoken import say

# Wide enough for a table of chunks; a log has no edge to break it at.
PIPE_WIDTH = 150


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
    """A column of a table. `gives_way`: how soon it is left out of a narrow terminal; 0 is never."""

    name: str
    gives_way: int = 0
    number: bool = False


def print_fitted(
    console: Console, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]], total: Sequence[str] = ()
) -> None:
    """A table whose numbers are never cut: columns give way, those that stay fold, and a line names the missing.

    Its headings are put into the language that is spoken.
    """
    columns = [replace(column, name=say(column.name)) for column in columns]
    rows, total = [_numbers(columns, row) for row in rows], _numbers(columns, total)
    lines = [*rows, *([total] if total else [])]
    widths = [
        max(len(text) for text in (column.name, *(line[i] for line in lines))) for i, column in enumerate(columns)
    ]
    kept = list(range(len(columns)))
    while sum(widths[i] + 3 for i in kept) + 1 > console.width:
        soonest = max(kept, key=lambda i: columns[i].gives_way)
        if columns[soonest].gives_way == 0:
            break
        kept.remove(soonest)
    table = Table(title=say(title), title_justify="left")
    for i in kept:
        if columns[i].number:
            table.add_column(columns[i].name, justify="right", no_wrap=True, min_width=widths[i])
        else:
            table.add_column(columns[i].name, overflow="fold")
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
