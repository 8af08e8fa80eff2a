"""Plans of 1,000, 10,000 and 100,000 chunks: written, and taken up by the next run."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from async_extractor.backfill import Backfill
from async_extractor.events import Event
from async_extractor.mage.secrets import MageSecrets
from async_extractor.request import BackfillRequest
from tools.bench.outcome import Goal, Part, Table
from tools.bench.stage import EVERYTHING, Stage, simulator

BEAT_SECONDS = 0.01


@dataclass(frozen=True)
class Planned:
    """A plan of so many chunks. `held_seconds`: how long the event loop was kept from anything else at most."""

    chunks: int
    write_seconds: float
    resume_seconds: float
    held_seconds: float


def measure(stage: Stage, *, sizes: Sequence[int]) -> Part:
    found = []
    with simulator(1_000) as source:
        for chunks in sizes:
            with stage.database() as database:
                planned = asyncio.run(_planned(chunks, stage.secrets(source, database)))
            print(f"{planned.chunks:,} chunks: {planned.write_seconds:.1f} s", flush=True)
            found.append(planned)
    part = Part(
        "planning",
        "Large plans",
        "What planning takes before the first page, and what the next run takes to take the plan up. *The loop held*: "
        "how long at most nothing else in the process had its turn.",
        figures={"plans": [asdict(planned) for planned in found]},
    )
    for less, more in zip(found, found[1:], strict=False):
        for name in ("write_seconds", "resume_seconds"):
            growth = (getattr(more, name) / more.chunks) / (getattr(less, name) / less.chunks)
            what = f"{more.chunks:,} chunks' {name.split('_')[0]} a chunk, of that at {less.chunks:,}"
            part.goals.append(Goal(what, growth, at_most=1.5))
    part.tables = [
        Table(
            "Each plan",
            ("chunks", "written in, s", "taken up in, s", "the loop held, s"),
            [(one.chunks, one.write_seconds, one.resume_seconds, one.held_seconds) for one in found],
        )
    ]
    return part


async def _planned(chunks: int, secrets: MageSecrets) -> Planned:
    first, last = (datetime.fromisoformat(day) for day in EVERYTHING)
    minutes = math.ceil((last - first).total_seconds() / 60 / chunks) + 1  # the last day is whole
    request = BackfillRequest.parse("invoices", *EVERYTHING, chunk=f"PT{minutes}M")
    held = 0.0

    async def beat() -> None:
        nonlocal held
        while True:
            before = time.monotonic()
            await asyncio.sleep(BEAT_SECONDS)
            held = max(held, time.monotonic() - before - BEAT_SECONDS)

    beating = asyncio.ensure_future(beat())
    took, planned = [], list[int]()

    def note(event: Event) -> None:
        if event.name == "planned":
            planned.append(event.fields["chunks"])

    for _ in range(2):
        async with Backfill(request, secrets, [note], limits=False) as backfill:
            began = time.monotonic()
            await backfill.plan()
            took.append(time.monotonic() - began)
    beating.cancel()
    return Planned(planned[0], took[0], took[1], held)


def options(quick: bool) -> dict[str, Any]:
    return {"sizes": (1_000, 10_000) if quick else (1_000, 10_000, 100_000)}
