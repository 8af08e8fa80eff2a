"""`qbo-backfill plan`: what a backfill would cost, before it costs it. Nothing is loaded and no run is begun."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence

import typer

from async_extractor.backfill import Backfill
from async_extractor.cli.many import each, tell
from async_extractor.cli.options import (
    CHUNK,
    CONCURRENCY,
    ENTITY,
    FECHA_FIN,
    FECHA_INICIO,
    FILTER_FIELD,
    INCLUDE,
    MODE,
    PROFILE,
)
from async_extractor.entity_names import entities_named
from async_extractor.events import Event
from async_extractor.mage.secrets import MageSecrets
from async_extractor.planning.estimate import Cost
from async_extractor.request import BackfillRequest

AS_JSON = typer.Option(False, "--json", help="One JSON object on stdout")


def plan(
    entity: str = ENTITY,
    fecha_inicio: str = FECHA_INICIO,
    fecha_fin: str = FECHA_FIN,
    chunk: str = CHUNK,
    concurrency: str = CONCURRENCY,
    filter_field: str = FILTER_FIELD,
    mode: str = MODE,
    profile: str = PROFILE,
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
    secrets = MageSecrets.locate(profile=profile)
    if len(requests) > 1:
        return _plan_many(requests, secrets, profile, as_json=as_json)
    request = requests[0]
    cost = asyncio.run(_preview(request, secrets, profile))
    if as_json:
        print(json.dumps({"entity": entity, "window": str(request.window), **cost.as_dict()}))
    else:
        rows = "all of it is done" if cost.rows is None else f"{cost.rows:,} rows at QuickBooks"
        chunks = "1 chunk" if cost.chunks == 1 else f"{cost.chunks:,} chunks"
        print(f"{entity} in {request.window}: {rows}, {chunks}; {cost}.")
    return 0


def _plan_many(requests: Sequence[BackfillRequest], secrets: MageSecrets, profile: str, *, as_json: bool) -> int:
    """A price for each entity, and for all of them together."""
    outcomes = asyncio.run(each(requests, lambda request: _preview(request, secrets, profile), good=("priced",)))
    priced = [outcome.result for outcome in outcomes if isinstance(outcome.result, Cost)]
    if not as_json:
        for outcome in outcomes:
            print(f"{outcome.entity}: {outcome.result or outcome.error}")
        total, minutes = sum(cost.requests for cost in priced), sum(cost.minutes for cost in priced)
        print(f"together: about {total:,} requests, {minutes:.1f} minutes at Intuit's quota")
        return max(outcome.exit_code for outcome in outcomes)
    return tell(outcomes, "", as_json=True)


async def _preview(request: BackfillRequest, secrets: MageSecrets, profile: str) -> Cost:
    async with Backfill(request, secrets, [_warnings], profile=profile) as backfill:
        return await backfill.preview()


def _warnings(event: Event) -> None:
    if event.level in ("warning", "error"):
        print(f"{event.phase:8} {event.message}", file=sys.stderr, flush=True)
