"""What processes cost: wall, processor seconds and peak memory, from the kernel's own account (Linux)."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


class BenchError(Exception):
    """A part of the bench could not be measured; one line says why."""


@dataclass(frozen=True)
class Ran:
    """A command that ended well. Processor seconds are user and system time, its children's among them;
    `peak_mb` is the largest resident size of the first process, in MB of 10^6 bytes."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    stdout: str
    stderr: str


def run_measured(
    command: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    limit_seconds: float = 900,
    may_fail: bool = False,
) -> Ran:
    """Runs a command to its end. BenchError when it fails or doesn't end in time."""
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        began = time.perf_counter()
        process = subprocess.Popen(
            command,
            env=None if env is None else dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
        peak = 0
        try:
            while True:
                peak = max(peak, _peak_kb(process.pid))
                pid, status, usage = os.wait4(process.pid, os.WNOHANG)
                if pid:
                    break
                if time.perf_counter() - began > limit_seconds:
                    raise BenchError(f"{command[0]} did not end within {limit_seconds:.0f} s")
                time.sleep(0.02 if time.perf_counter() - began > 2 else 0.002)
        except BaseException:
            process.kill()
            process.wait()
            raise
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        stdout.seek(0)
        stderr.seek(0)
        ran = Ran(seconds, usage.ru_utime + usage.ru_stime, peak * 1024 / 1e6, stdout.read(), stderr.read())
    if process.returncode != 0 and not may_fail:
        last = (ran.stderr.strip() or ran.stdout.strip() or "no word from it").splitlines()[-1]
        raise BenchError(f"{' '.join(command[:4])} ... ended with {process.returncode}: {last}")
    return ran


def cpu_seconds(pid: int) -> float:
    """Processor seconds of a process, of its living children, and of those that it has waited for.

    0 for one that is gone.
    """
    total = sum(_times(pid, and_waited_for=True))
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and _parent(int(entry.name)) == pid:
            total += sum(_times(int(entry.name), and_waited_for=False))
    return total / _TICKS


def _peak_kb(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)


def _fields(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _parent(pid: int) -> int:
    fields = _fields(pid)
    return int(fields[1]) if fields else 0


def _times(pid: int, *, and_waited_for: bool) -> list[int]:
    fields = _fields(pid)
    return [int(ticks) for ticks in fields[11 : 15 if and_waited_for else 13]]
