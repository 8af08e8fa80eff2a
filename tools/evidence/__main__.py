"""`python -m tools.evidence`: remakes evidence/. About fifteen minutes; ends and removes all that it started."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from pathlib import Path

from async_extractor.errors import BackfillError
from local_postgres.embedded import EmbeddedPostgres
from tools.demo.mage_server import MageError
from tools.demo.stack import Stack, StackError
from tools.demo.story import DemoError
from tools.evidence import hardships, showcase
from tools.evidence.gallery import EvidenceError, Gallery

CHECKOUT = Path(__file__).parents[2]
PARTS = ("showcase", "hardships")


def main() -> int:
    """Exit 0 when all of it was made, 1 when something isn't as it should be; it says what in one line."""
    parser = argparse.ArgumentParser(prog="python -m tools.evidence", description=__doc__)
    parser.add_argument("--only", choices=PARTS, help="one part of it")
    only = parser.parse_args().only
    folder = CHECKOUT / ".state" / "evidence"
    stack = Stack(folder / "stack")
    server = EmbeddedPostgres(folder / "hardships" / "postgres")
    gallery = Gallery(paths={str(folder): "STATE", str(CHECKOUT): ".", str(Path.home()): "~"})
    began = time.monotonic()

    def say(step: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {step}", flush=True)

    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        _remove(stack, server)
        if only in (None, "hardships"):
            (folder / "hardships").mkdir(parents=True)
            hardships.go_through(folder / "hardships", server.up(), gallery, say)
        if only in (None, "showcase"):
            showcase.show(stack, gallery, say)
    except (BackfillError, MageError, StackError, DemoError, EvidenceError) as error:
        print(f"The evidence wasn't made: {error}", file=sys.stderr)
        return 1
    finally:
        _remove(stack, server)
    say("done: evidence/README.md says what to see in each")
    return 0


def _remove(stack: Stack, server: EmbeddedPostgres) -> None:
    stack.down()
    server.destroy()
    shutil.rmtree(server.state_dir.parent, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
