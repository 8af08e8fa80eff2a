"""`qbo-backfill plan`: what a backfill would cost, before it costs it. Nothing is loaded and no run is begun."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

import typer

from async_extractor.backfill import Backfill
from async_extractor.cli.many import Job, Turn, each, tell
from async_extractor.cli.options import (
    CHUNK,
    CONCURRENCY,
    ENTITY,
    FECHA_FIN,
    FECHA_INICIO,
    FILTER_FIELD,
    INCLUDE,
    MODE,
    PROFILES,
)
from async_extractor.cli.progress import name_of
from async_extractor.entity_names import entities_named
from async_extractor.events import Event
from async_extractor.mage.profiles import profiles_named
from async_extractor.mage.secrets import MageSecrets
from async_extractor.planning.estimate import Estimate
from async_extractor.request import BackfillRequest
from async_extractor.spoken import say

AS_JSON = typer.Option(False, "--json", help="One JSON object on stdout")


def plan(
    entity: str = ENTITY,
    fecha_inicio: str = FECHA_INICIO,
    fecha_fin: str = FECHA_FIN,
    chunk: str = CHUNK,
    concurrency: str = CONCURRENCY,
    filter_field: str = FILTER_FIELD,
    mode: str = MODE,
    profile: str = PROFILES,
    include: str = INCLUDE,
    as_json: bool = AS_JSON,
) -> int:
    """What it would cost in requests, minutes at the quota and share of the month's calls; loads nothing.

    QuickBooks is asked COUNT(*), at least once, unless all of the range is done.
    """
    requests = [
        BackfillRequest.parse(one, fecha_inicio, fecha_fin, chunk, concurrency, filter_field, mode, include=include)
        for one in entities_named(entity)
    ]
    profiles = profiles_named(profile)
    jobs = [Job(one, request) for one in profiles for request in requests]
    if len(jobs) > 1:
        return _plan_many(jobs, as_json=as_json)
    request = requests[0]
    cost = asyncio.run(_preview(jobs[0]))
    if as_json:
        print(json.dumps({"entity": entity, "window": str(request.window), **cost.as_dict()}))
    else:
        chunks = "1 chunk" if cost.chunks == 1 else f"{cost.chunks:,} chunks"
        print(say(f"{entity} in {request.window}: {_rows(cost)}, {chunks}; {cost}."))
    return 0


def _rows(cost: Estimate) -> str:
    if cost.rows is None:
        return "left by an earlier plan" if cost.chunks else "all of it is done"
    beside = " beside what an earlier plan left" if cost.planned_before else ""
    return f"{cost.rows:,} rows at QuickBooks{beside}"


def _plan_many(jobs: Sequence[Job], *, as_json: bool) -> int:
    """A price for each entity of each company, and for all of them together."""

    async def price(job: Job, _turn: Turn) -> Estimate:
        return await _preview(job)

    outcomes = asyncio.run(each(jobs, price, good=("priced",)))
    if as_json:
        return tell(outcomes, "", as_json=True)
    several = len({job.profile for job in jobs}) > 1
    for outcome in outcomes:
        name = name_of(outcome.job.profile, outcome.entity, several_companies=several)
        print(f"{name}: {say(str(outcome.result or outcome.error))}")
    priced = [(outcome.job.profile, outcome.result) for outcome in outcomes if isinstance(outcome.result, Estimate)]
    # Companies run side by side, each on a quota of its own.
    longest = max((sum(cost.minutes for one, cost in priced if one == job.profile) for job in jobs), default=0.0)
    total = sum(cost.requests for _, cost in priced)
    print(say(f"together: about {total:,} requests, {longest:.1f} minutes at Intuit's quota"))
    return max(outcome.exit_code for outcome in outcomes)


async def _preview(job: Job) -> Estimate:
    secrets = MageSecrets.locate(profile=job.profile)
    async with Backfill(job.request, secrets, [_warnings], profile=job.profile) as backfill:
        return await backfill.preview()


def _warnings(event: Event) -> None:
    if event.level in ("warning", "error"):
        print(f"{say(event.phase):8} {say(event.message)}", file=sys.stderr, flush=True)
