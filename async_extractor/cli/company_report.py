"""One report for the entities of a company that were run together, beside those of their runs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from async_extractor.cli.many import Outcome
from async_extractor.cli.reading import read
from async_extractor.errors import BackfillError, NotOfferedError
from async_extractor.mage.profiles import shown
from async_extractor.report import EntityEnd, compose_company, gather, reports_folder, write_pages
from async_extractor.spoken import say
from async_extractor.warehouse.connection import Connection


def company_report(profile: str, outcomes: Sequence[Outcome]) -> Path | None:
    """Writes it, and says where; None where it can't be written, which a line says.

    None for one entity alone, too, and for runs of several ranges: what is complete of each is no company's history.
    """
    requests = [outcome.job.request for outcome in outcomes]
    windows = {request.window for request in requests}
    if len(outcomes) < 2 or len(windows) > 1:
        return None
    (window,) = windows

    async def ends(connection: Connection, realm_id: str) -> tuple[str, list[EntityEnd]]:
        return realm_id, [await _end(connection, outcome) for outcome in outcomes]

    try:
        realm_id, found = read(ends, profile)
        report = compose_company(f"{shown(profile)}, {realm_id}", window, found, requests[0].lang)
        page, _ = write_pages(report, reports_folder(), f"company-{realm_id}")
    except (BackfillError, OSError, asyncio.TimeoutError) as error:
        told = f"the report of company {shown(profile)} could not be written ({error})"
        print(say(f"report   {told}"), file=sys.stderr, flush=True)
        return None
    return page


async def _end(connection: Connection, outcome: Outcome) -> EntityEnd:
    run_id = outcome.as_dict().get("run_id")
    if run_id is None:
        return EntityEnd(outcome.entity, None, outcome.why, not isinstance(outcome.error, NotOfferedError))
    return EntityEnd(outcome.entity, await gather(connection, run_id))
