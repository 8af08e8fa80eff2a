"""`python -m tests.side_by_side [pytest options]`: the two halves of the tests at once, since most of them wait.

Each half is a pytest of its own, with servers, ports and folders of its own. What the second prints comes after the
first has ended. Exit 0 when both passed.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
FIRST = ("architecture", "unit", "simulator", "integration")
SECOND = ("acceptance", "chaos", "compose")
# What pytest ends with when the options leave a half without a test.
NOTHING_SELECTED = 5


def _start(folders: Sequence[str], options: Sequence[str], output: int | None) -> subprocess.Popen[bytes]:
    paths = [str((HERE / folder).relative_to(HERE.parent)) for folder in folders]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *paths], cwd=HERE.parent, stdout=output, stderr=output
    )


def main(options: Sequence[str]) -> int:
    with tempfile.TemporaryFile() as kept:
        halves = [_start(FIRST, options, None), _start(SECOND, options, kept.fileno())]
        try:
            codes = [half.wait() for half in halves]
        except KeyboardInterrupt:
            # The terminal has told both; they take down what they have started.
            codes = [half.wait() for half in halves] + [130]
        kept.seek(0)
        sys.stdout.write(kept.read().decode(errors="replace"))
    ran = [code for code in codes if code != NOTHING_SELECTED]
    return next((code for code in ran if code), 0) if ran else NOTHING_SELECTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
