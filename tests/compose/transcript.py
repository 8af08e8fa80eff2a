"""`make test-compose | python -m tests.compose.transcript`: what the tests printed, for evidence/compose/stack.txt.

Each test's name on a line of its own, and below it what it printed. Left out is what tells of this machine only,
pytest's version, folders and plug-ins, and the colours.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator

COLOUR = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
OF_THIS_MACHINE = re.compile(
    r"(Installing|platform|cachedir|hypothesis profile|rootdir|configfile|plugins|timeout|asyncio|collecting)\b"
)
BEGUN = re.compile(r"tests/compose/\w+\.py::(\w+(?:\[[^\]]*\])?) ?")
ENDED = re.compile(r"(PASSED|FAILED|ERROR|SKIPPED)\b.*$")


def told(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        text = COLOUR.sub("", line).rstrip()
        if OF_THIS_MACHINE.match(text):
            continue
        if begun := BEGUN.match(text):
            yield ""
            yield begun[1]
            text = text[begun.end() :]
        ended = ENDED.search(text)
        if ended:
            text = text[: ended.start()].rstrip()
        if text:
            yield text
        if ended:
            yield ended[0].lower()


def main() -> None:
    commit = subprocess.run(["git", "log", "-1", "--format=%h %s"], capture_output=True, text=True, check=True).stdout
    print(f"commit {commit.strip()}")
    for line in told(sys.stdin):
        print(line, flush=True)


if __name__ == "__main__":
    main()
