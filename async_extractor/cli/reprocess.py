"""`qbo-backfill reprocess`: read a range again, with the proof that it left the same rows."""

from __future__ import annotations

from async_extractor.cli.options import (
    AS_JSON,
    CHUNK,
    CONCURRENCY,
    ENTITY,
    EVENTS,
    FECHA_FIN,
    FECHA_INICIO,
    FILTER_FIELD,
    LANG,
    NO_LIMITS,
    PROFILE,
)
from async_extractor.cli.resume import DRY_RUN
from async_extractor.cli.run import run_request
from async_extractor.request import BackfillRequest
from async_extractor.spoken import say


def reprocess(
    entity: str = ENTITY,
    fecha_inicio: str = FECHA_INICIO,
    fecha_fin: str = FECHA_FIN,
    chunk: str = CHUNK,
    concurrency: str = CONCURRENCY,
    filter_field: str = FILTER_FIELD,
    dry_run: bool = DRY_RUN,
    as_json: bool = AS_JSON,
    no_limits: bool = NO_LIMITS,
    profile: str = PROFILE,
    lang: str = LANG,
    events: str = EVENTS,
) -> int:
    """Read a range again, done or not. Safe to repeat: the check `reprocess` holds the rows' hash before against after.

    The same as `run --mode reprocess`.
    """
    request = BackfillRequest.parse(
        entity, fecha_inicio, fecha_fin, chunk, concurrency, filter_field, "reprocess", lang
    )
    if dry_run:
        print(say(f"Would read {request.entity.name} by {filter_field} in {request.window} again, whatever is done."))
        return 0
    if not as_json:
        told = f"Reading {request.entity.name} by {filter_field} in {request.window} again. Equal rows are not written."
        print(say(told))
    return run_request(request, as_json=as_json, limits=not no_limits, profile=profile, events=events)
