"""`python -m tools.demo`: a simulated company's history through a real Mage into Postgres, and proof that it arrived.

`make demo` calls it. `--keep` leaves everything up, `--down` ends and removes what was left up.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
import time
from pathlib import Path

from rich.console import Console

from async_extractor.errors import BackfillError
from local_postgres.embedded import EmbeddedPostgres
from tools.demo.mage_server import OWNER_EMAIL, MageError
from tools.demo.stack import Stack, StackError
from tools.demo.story import DemoError, tell

STATE = Path(__file__).parents[2] / ".state"


def main() -> int:
    """Exit 0 when all is as it should be, 1 when something isn't; it says what in one line."""
    parser = argparse.ArgumentParser(prog="python -m tools.demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave everything up, and say where it is")
    parser.add_argument("--down", action="store_true", help="end and remove what an earlier demo left up")
    options = parser.parse_args()
    stack = Stack(STATE / "demo")
    if options.down:
        return _take_down(stack)
    console = Console(width=None if sys.stdout.isatty() else 160)
    if stack.folder.exists():
        console.print("Removing what an earlier demo left up ...")
        stack.down()
    began = time.monotonic()
    keep = False
    # What is up is taken down then, too.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(128 + signal.SIGTERM))
    try:
        console.rule("setting up")
        stack.up(lambda step: console.print(f"{time.monotonic() - began:5.1f} s  {step}"))
        asyncio.run(tell(stack, console))
        keep = options.keep
    except (BackfillError, MageError, StackError, DemoError) as error:
        console.print(f"The demo failed: {error}", style="bold red", markup=False)
        keep = options.keep
        return 1
    except KeyboardInterrupt:
        console.print("Stopped.")
        return 130
    finally:
        if keep:
            _say_where(stack, console)
        else:
            stack.down()
        console.print(f"{time.monotonic() - began:.0f} s in all.")
    return 0


def _take_down(stack: Stack) -> int:
    try:
        stack.down()
        EmbeddedPostgres(STATE / "postgres").destroy()
    except (BackfillError, StackError) as error:
        print(f"The demo isn't down: {error}", file=sys.stderr)
        return 1
    return 0


def _say_where(stack: Stack, console: Console) -> None:
    warehouse = stack.warehouse
    console.rule("left up; `make clean` or `python -m tools.demo --down` ends it")
    environment = f"MAGE_DATA_DIR={stack.mage_data} MAGE_REPO_PATH={stack.project}"
    for line in (
        f"Mage       {stack.mage.address}   login {OWNER_EMAIL} / {stack.mage.password}",
        f"Postgres   {warehouse.url(show_password=True)}",
        f"Simulator  {stack.simulator_url}",
        f"Reports    {stack.reports}",
        "For qbo-backfill to read the same secrets:",
        f"export {environment} MAGE_DATABASE_CONNECTION_URL='{stack.mage.database_url}'",
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
