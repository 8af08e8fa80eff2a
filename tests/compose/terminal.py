"""A person at a terminal: what is shown, with what is typed when a command asks."""

from __future__ import annotations

import os
import pty
import subprocess
import time
from pathlib import Path

PATIENCE_S = 120


def answer(command: list[str], prompt: str, typed: str, cwd: Path, environ: dict[str, str]) -> tuple[int, str]:
    """The command's exit code and all that its terminal showed. AssertionError when it doesn't ask.

    `prompt` must be the whole of it: its last character is written once the echo is off.
    """
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, cwd=cwd, env=environ, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        deadline = time.monotonic() + PATIENCE_S
        shown = ""
        asked = False
        while part := _read(ours):
            shown += part
            assert time.monotonic() < deadline, shown
            if prompt in shown and not asked:
                asked = True
                os.write(ours, f"{typed}\n".encode())
        os.close(ours)
        code = process.wait(PATIENCE_S)
    assert asked, f"{' '.join(command)} didn't ask: {shown}"
    return code, shown


def _read(terminal: int) -> str:
    """What the terminal shows next; empty when its process has ended."""
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:  # EIO, as Linux says it
        return ""
