"""Programs that outlive the one that started them: each leads a process group, and ends as a whole."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE_S = 30


def stop_process_group(group: int, with_signal: signal.Signals = signal.SIGTERM) -> None:
    """Signal a process group and wait until it is gone; what stays is killed."""
    for number in (with_signal, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, number)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(group, os.WNOHANG)
            if not list(_members(group)):
                return
            time.sleep(0.1)


def stop_own_process_group(group: int, about: Path) -> None:
    """The same, if a process of the group names this path in its command: pids are used again."""
    if any(str(about).encode() in command for command in _members(group)):
        stop_process_group(group)


def _members(group: int) -> Iterator[bytes]:
    """The commands of the group's processes; one that ended and isn't reaped yet doesn't count."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            state, _parent, its_group = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:3]
            if int(its_group) == group and state not in "ZX":
                yield (entry / "cmdline").read_bytes()
