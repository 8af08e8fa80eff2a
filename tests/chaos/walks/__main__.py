"""`python -m tests.chaos.walks --seeds 0-199 [--jobs 2] [--shrink]`: a line for each walk that fails, with its trace.

Exit 0 when none did, 1 otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from local_postgres.embedded import EmbeddedPostgres
from tests.chaos.walks.chance import walk
from tests.chaos.walks.shrink import shrunk
from tests.chaos.walks.walker import Ground, take
from tests.support.commands import new_mage


@contextlib.contextmanager
def ground() -> Iterator[Ground]:
    """A throwaway server and a Mage of their own."""
    with tempfile.TemporaryDirectory(prefix="walks-") as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres", throwaway=True)
        try:
            (Path(folder) / "mage").mkdir()
            with Ground.prepared(server.up(), new_mage(Path(folder) / "mage")) as prepared:
                yield prepared
        finally:
            server.destroy()


def seeds(text: str) -> list[int]:
    """`7`, `0-199` or `1,5,9`."""
    first, dash, last = text.partition("-")
    if dash:
        return list(range(int(first), int(last) + 1))
    return [int(one) for one in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.walks", description=__doc__)
    parser.add_argument("--seeds", type=seeds, default="0-199", help="7, 0-199 or 1,5,9")
    parser.add_argument("--jobs", type=int, default=1, help="so many at once, each with a server of its own")
    parser.add_argument("--shrink", action="store_true", help="also look for the shortest walk that fails likewise")
    parser.add_argument("--on", action="store_true", help="go on where something is broken, and tell all of it")
    parser.add_argument("--verbose", action="store_true", help="the trace of each walk, failing or not")
    options = parser.parse_args()
    if options.jobs > 1:
        return _side_by_side(options)
    failed: list[int] = []
    began, took = time.monotonic(), 0
    with ground() as place:
        began = time.monotonic()
        for seed in options.seeds:
            walked = asyncio.run(take(walk(seed), place, on=options.on))
            took += walked.steps
            if options.verbose:
                print(f"seed {seed}\n{walked.told()}", flush=True)
            if not walked.broken:
                continue
            failed.append(seed)
            for how in sorted({f"{one.how} by {one.by}" for one in walked.broken}) if options.on else ():
                print(f"seed {seed} has {how}", flush=True)
            print(f"seed {seed} FAILED: {walked.broken[0]}", flush=True)
            if options.shrink:
                walked = shrunk(walked, place)
            if options.shrink or not options.verbose:
                print(walked.told(), flush=True)
    minutes = (time.monotonic() - began) / 60
    print(
        f"{len(options.seeds)} walks, {took} steps, {len(failed)} failed ({','.join(map(str, failed))}); "
        f"{len(options.seeds) / minutes:.0f} walks a minute",
        flush=True,
    )
    return 1 if failed else 0


def _side_by_side(options: argparse.Namespace) -> int:
    """Every n-th seed in a process of its own."""
    more = [f"--{name}" for name in ("shrink", "on", "verbose") if getattr(options, name)]
    parts = [options.seeds[at :: options.jobs] for at in range(options.jobs)]
    processes = [
        subprocess.Popen([sys.executable, "-m", "tests.chaos.walks", "--seeds", ",".join(map(str, part)), *more])
        for part in parts
        if part
    ]
    return max(process.wait() for process in processes)


if __name__ == "__main__":
    sys.exit(main())
