"""From a failing walk to a short one that fails likewise."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

from tests.chaos.walks.script import Change, Command, Step, Walk
from tests.chaos.walks.walker import Ground, Walked, take


def shrunk(walked: Walked, ground: Ground, *, tries: int = 1, most: int = 150) -> Walked:
    """The shortest found; a part goes when the walk without it fails the same way, in one of `tries`."""
    # It ended at what was broken, so the steps after that have no part in it.
    best, taken = replace(walked, walk=walked.walk.with_steps(walked.walk.steps[: walked.steps])), 0
    progress = True
    while progress and taken < most:
        progress = False
        for shorter in _shorter(best.walk):
            taken += 1
            again = next((w for w in (_take(shorter, ground) for _ in range(tries)) if _alike(w, walked)), None)
            if again is not None:
                best, progress = again, True
                break
            if taken >= most:
                break
    return best


def _take(walk: Walk, ground: Ground) -> Walked:
    return asyncio.run(take(walk, ground))


def _alike(one: Walked, other: Walked) -> bool:
    return bool(one.kinds & other.kinds)


def _shorter(walk: Walk) -> Iterator[Walk]:
    """The walk without one of its parts, the largest first."""
    steps = walk.steps
    for at in range(len(steps)):
        yield walk.with_steps((*steps[:at], *steps[at + 1 :]))
    for at, step in enumerate(steps):
        for smaller in _smaller(step):
            yield walk.with_steps((*steps[:at], smaller, *steps[at + 1 :]))
    if walk.clock_hours:
        yield replace(walk, clock_hours=0)
    for name in ("invoices", "customers", "items"):
        if getattr(walk, name) > 10:
            yield replace(walk, **{name: getattr(walk, name) // 2})


def _smaller(step: Step) -> Iterator[Step]:
    if isinstance(step, Change):
        if step.count > 1:
            yield replace(step, count=1)
        if step.ripple:
            yield replace(step, ripple=False)
    if not isinstance(step, Command):
        return
    if step.beside is not None:
        yield replace(step, beside=None, beside_at=0)
    if step.cut is not None:
        yield replace(step, cut=None)
    for at in range(len(step.during)):
        yield replace(step, during=(*step.during[:at], *step.during[at + 1 :]))
    for at, (when, change) in enumerate(step.during):
        if change.count > 1:
            yield replace(step, during=(*step.during[:at], (when, replace(change, count=1)), *step.during[at + 1 :]))
    if step.chunk != "auto":
        yield replace(step, chunk="auto")
    if step.concurrency > 1:
        yield replace(step, concurrency=1)
    if step.name in ("reprocess", "workers"):
        yield replace(step, name="run")
