"""`qbo-backfill` as people call it, with what it printed and its exit code kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tools.evidence.gallery import EvidenceError

CHECKOUT = Path(__file__).parents[2]
_COMMAND = (sys.executable, "-c", "from async_extractor.cli import main; main()")


@dataclass
class Transcript:
    """Commands in the environment of one Mage, one after the other, and what they printed."""

    environ: Mapping[str, str]
    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """A sentence between two commands."""
        self.lines += ["", *(f"# {line}" for line in text.splitlines())]

    def show(self, text: str) -> None:
        """Output of something else, as it is."""
        self.lines += ["", text.rstrip("\n")]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that is not waited for; `ended` writes down what it printed."""
        self.lines += ["", f"$ qbo-backfill {' '.join(arguments)}"]
        others = {
            name: value for name, value in os.environ.items() if not name.startswith(("MAGE_", "QBO_", "POSTGRES_"))
        }
        return subprocess.Popen(
            [*_COMMAND, *arguments],
            env={**others, "COLUMNS": "170", "PYTHONPATH": str(CHECKOUT), **self.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ended(self, process: subprocess.Popen[str]) -> int:
        """Waits for a command; its exit code."""
        printed, _ = process.communicate()
        self.lines.append(printed.rstrip("\n"))
        self.lines.append(f"[exit {process.returncode}]")
        return process.returncode

    def run(self, *arguments: str, code: int = 0) -> None:
        """A command to its end. EvidenceError when it ends with another exit code."""
        ended = self.ended(self.start(*arguments))
        if ended != code:
            raise EvidenceError(f"`qbo-backfill {' '.join(arguments)}` ended with {ended}: {self.lines[-2][-500:]}")

    def text(self) -> str:
        return "\n".join(self.lines).strip("\n") + "\n"
