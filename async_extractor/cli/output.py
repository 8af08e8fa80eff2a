"""stdout, stderr and files that may be full or closed: what can't be written is dropped, and told at the end.

A log on a full disk, or a reader that has gone away, ends no run.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from async_extractor.paths import from_home


class Output(io.FileIO):
    """A file whose writing never fails; `lost` is why something couldn't be written."""

    lost: OSError | None = None

    def write(self, data: Any, /) -> int:
        """What is given, or nothing of it and no error."""
        try:
            return super().write(data)
        except OSError as error:
            self.lost = self.lost or error
            return len(data)


# Each with its name, as a person would know it.
_opened: dict[str, Output] = {}


def text_file(name: str, target: str | int, encoding: str = "utf-8") -> io.TextIOWrapper:
    """A stream of lines that appends to `target`, a path or a descriptor. Raises OSError when it can't be opened."""
    raw = Output(target if isinstance(target, int) else from_home(target), "a", closefd=not isinstance(target, int))
    _opened[name] = raw
    # What the encoding lacks, as where LANG is C, is spelt out.
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=True)


def guard() -> None:
    """From here on stdout and stderr never raise; one that was closed (`>&-`, `<&-`) is as /dev/null."""
    sys.stdin = sys.stdin or Path(os.devnull).open(encoding="utf-8")  # noqa: SIM115 - for as long as the process lives
    sys.stdout, sys.stderr = (
        text_file(name, stream.fileno(), stream.encoding) if stream else text_file(name, os.devnull)
        for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr))
    )


def not_written() -> list[str]:
    """A line for each that is incomplete. Who closes a pipe has read what was wanted: that is none."""
    sys.stdout.flush()
    return [
        f"{name} can't be written ({one.lost.strerror}): it is incomplete"
        for name, one in _opened.items()
        if one.lost is not None and not isinstance(one.lost, BrokenPipeError) and name != "stderr"
    ]
