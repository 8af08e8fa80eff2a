"""Paths as people type them."""

from __future__ import annotations

from pathlib import Path


def from_home(path: str | Path) -> Path:
    """The path with `~` or `~user` replaced; as a shell does, one of a user that isn't there is left as it is typed."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)
