"""Where tables are printed: as wide as the terminal, or wide enough for a file or a pipe."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console

# Wide enough for a table of chunks; a log has no edge to break it at.
PIPE_WIDTH = 150


def screen() -> Console:
    """stdout for tables."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def moment(value: datetime | None) -> str:
    """A UTC time as short as it can be: the day alone at midnight; `now` for an open end."""
    if value is None:
        return "now"
    return f"{value:%Y-%m-%d}" if (value.hour, value.minute, value.second) == (0, 0, 0) else f"{value:%Y-%m-%d %H:%M}"
