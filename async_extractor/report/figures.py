"""All that a report says, gathered from ops and raw in one place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from async_extractor.checks import CheckResult, latest, worst
from async_extractor.entities import ENTITIES
from async_extractor.errors import RequestError
from async_extractor.settings import profile_of
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import Window


@dataclass(frozen=True)
class RunFigures:
    """One run: its row of ops.run_metrics and those of its chunks in ops.chunk_metrics.

    `control_totals`: the range's rows by month, for transactions with amounts. `all_checks` are those before a repair,
    too.
    """

    run: Mapping[str, Any]
    chunks: Sequence[Mapping[str, Any]]
    all_checks: Sequence[CheckResult]
    days: Sequence[tuple[date, int]]
    events: Sequence[Mapping[str, Any]]
    control_totals: Sequence[Mapping[str, Any]]
    month_requests: int

    @property
    def checks(self) -> list[CheckResult]:
        """The last word of each check."""
        return latest(self.all_checks)

    @property
    def severity(self) -> str:
        """The gravest of the checks."""
        return worst(self.checks)

    @property
    def window(self) -> Window:
        """The range that was asked for."""
        return Window(self.run["range_start"], self.run["range_end"])

    @property
    def profile(self) -> str:
        """Whose company it is: '' where it has no name of its own."""
        return profile_of(self.run["raw_schema"] or "")

    @property
    def resume_at(self) -> Mapping[str, Any] | None:
        """The earliest chunk that is not done."""
        return next((chunk for chunk in self.chunks if not chunk["done"]), None)

    def check(self, name: str) -> CheckResult | None:
        """The last word of one check; None when there is none."""
        return next((check for check in self.checks if check.name == name), None)


async def gather(connection: Connection, run_id: int) -> RunFigures:
    """A run's figures; RequestError when there is no such run."""
    run = await connection.fetchrow(statement("run_metrics"), run_id)
    if run is None:
        raise RequestError(f"RUN: there is no run {run_id}; `qbo-backfill status` lists them")

    async def rows(name: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(statement(name), run_id)]

    return RunFigures(
        run={**dict(run), "settings": json.loads(run["settings"])},
        chunks=await rows("run_chunk_table"),
        all_checks=[CheckResult.load(row) for row in await rows("validations_of")],
        days=[(day["day"], day["rows"]) for day in await rows("daily_volume_of")],
        events=await rows("events_of"),
        control_totals=await _control_totals(connection, run),
        month_requests=await connection.fetchval(statement("requests_in_runs_month"), run_id),
    )


async def _control_totals(connection: Connection, run: Mapping[str, Any]) -> list[dict[str, Any]]:
    entity = ENTITIES[run["entity"]]
    if not entity.has_txn_date or "TotalAmt" not in entity.shows.split() or run["raw_schema"] is None:
        return []
    totals = statement("control_totals", table=entity.table, raw_schema=run["raw_schema"])
    rows = await connection.fetch(totals, run["range_start"], run["range_end"], run["filter_field"])
    return [dict(row) for row in rows]
