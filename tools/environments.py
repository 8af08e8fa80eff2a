"""Other people's programs, each at a pinned version in a virtual environment of its own, made once and kept."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

_TIMEOUT_S = 900


class InstallError(Exception):
    """It can't be installed here: one line."""


def python_of(requirements: Path, kept_in: Path) -> Path:
    """The interpreter of the environment with what that file asks for, made unless it is there."""
    name, wanted = requirements.stem, requirements.read_text()
    folder = kept_in / f"{name}-py{sys.version_info.major}{sys.version_info.minor}"
    installed, python = folder / "installed.txt", folder / "bin" / "python"
    if installed.exists() and installed.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {' '.join(wanted.split())} ...", flush=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements)],
    ):
        try:
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise InstallError(f"{name} can't be installed here: not done after {_TIMEOUT_S} s") from None
        except subprocess.CalledProcessError as error:
            said = error.stderr.strip().splitlines() or ["no reason given"]
            reason = ([line for line in said if line.startswith("ERROR")] or said)[-1]
            raise InstallError(f"{name} can't be installed here: {reason}") from None
    installed.write_text(wanted)
    return python
