"""`python -m tools.bench [--quick] [PART ...]`: measures, prints which goals are met, writes evidence/bench/.

Without a part, all but those that take long: `budget`, `outage`, `tokens` and `companies`.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tools.bench.outcome import FOLDER, Part
from tools.bench.processes import BenchError
from tools.bench.stage import stage

PARTS = ("floor", "scale", "concurrency", "even", "tuning", "planning", "peers", "start")
LONG_PARTS = ("budget", "outage", "tokens", "companies")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 when all goals are met, 1 when one is missed, 2 when something could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}: all of them; or {', '.join(LONG_PARTS)}"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds: minutes, and rougher figures")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where the files go (evidence/bench)")
    parser.add_argument("--rounds", type=int, metavar="N", help="so many rounds instead of the part's own number")
    options = parser.parse_args(arguments)
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: at least one is measured")
    unknown = [name for name in options.parts if name not in PARTS + LONG_PARTS]
    if unknown:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(PARTS + LONG_PARTS)}")
    code = 0
    with stage() as on:
        for name in options.parts or PARTS:
            module = importlib.import_module(f"tools.bench.{name}")
            began = time.monotonic()
            try:
                sizes = module.options(options.quick)
                if options.rounds is not None and "rounds" in sizes:
                    sizes["rounds"] = options.rounds
                part: Part = module.measure(on, **sizes)
            except BenchError as error:
                print(f"{name}: could not be measured: {error}", file=sys.stderr, flush=True)
                code = 2
                continue
            part.write(options.out)
            print(f"\n{part.title} ({time.monotonic() - began:.0f} s)")
            for goal in part.goals:
                print(f"  {goal.line()}", flush=True)
                code = code or (0 if goal.met else 1)
    print(f"\nwritten to {options.out}")
    return code


if __name__ == "__main__":
    sys.exit(main())
