"""Paths as people type them, and files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def from_home(path: str | Path) -> Path:
    """The path with `~` or `~user` replaced; as a shell does, one of a user that isn't there is left as it is typed."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def write_whole(path: Path, text: str) -> None:
    """The text into a file, whole or not at all: somebody may be reading the one of before. Raises OSError.

    What a link points to is written; so is what is no file, such as a device or a pipe, which can't be replaced.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        target.write_text(text, encoding="utf-8")
        return
    unfinished = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
