"""`python -m tests.side_by_side [pytest options]`: the tests in four parts at once, since most of them wait.

Each part is a pytest of its own, with servers, ports and folders of its own. What the first prints is seen as it comes,
what the others print after it has ended. Exit 0 when all passed.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent
# What pytest ends with when the options leave a part without a test.
NOTHING_SELECTED = 5


def parts() -> list[list[str]]:
    """The paths of each part; integration is the longest, and dealt out file by file."""
    files = sorted((HERE / "integration").glob("test_*.py"))
    folders = [HERE / name for name in ("architecture", "unit", "simulator", "acceptance")]
    found = [folders, files[::2], files[1::2], [HERE / "chaos", HERE / "compose"]]
    return [[str(path.relative_to(HERE.parent)) for path in part] for part in found]


def _start(paths: Sequence[str], options: Sequence[str], output: int | None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *paths], cwd=HERE.parent, stdout=output, stderr=output
    )


def main(options: Sequence[str]) -> int:
    with contextlib.ExitStack() as stack:
        first, *others = parts()
        kept = [stack.enter_context(tempfile.TemporaryFile()) for _ in others]
        started = [_start(first, options, None)]
        started += [_start(paths, options, file.fileno()) for paths, file in zip(others, kept, strict=True)]
        try:
            codes = [part.wait() for part in started]
        except KeyboardInterrupt:
            # The terminal has told all of them; they take down what they have started.
            codes = [part.wait() for part in started] + [130]
        for file in kept:
            file.seek(0)
            sys.stdout.write(file.read().decode(errors="replace"))
    ran = [code for code in codes if code != NOTHING_SELECTED]
    return next((code for code in ran if code), 0) if ran else NOTHING_SELECTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
