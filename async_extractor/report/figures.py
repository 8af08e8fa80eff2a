"""All that a report says, gathered from ops in one place."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from async_extractor.checks import Validation, latest, worst
from async_extractor.errors import RequestError
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import UTC, Window


@dataclass(frozen=True)
class RunFigures:
    """One run. `checks` are the last words of each check, `all_checks` those before a repair, too."""

    run: dict[str, Any]
    counts: dict[str, int]
    totals: dict[str, int]
    chunks: Sequence[dict[str, Any]]
    all_checks: Sequence[Validation]
    days: Sequence[tuple[date, int]]
    events: Sequence[dict[str, Any]]
    seconds_by_part: dict[str, float]
    resume_at: dict[str, Any] | None
    environment: str
    month_requests: int

    @property
    def checks(self) -> list[Validation]:
        return latest(self.all_checks)

    @property
    def severity(self) -> str:
        return worst(self.checks)

    @property
    def window(self) -> Window:
        return Window(self.run["range_start"], self.run["range_end"])

    @property
    def seconds(self) -> float:
        """Wall time of the run so far."""
        end: datetime = self.run["finished_at"] or datetime.now(UTC)
        return float((end - self.run["started_at"]).total_seconds())

    @property
    def requests(self) -> dict[str, int]:
        return {
            "sent": self.run["requests_sent"] + self.totals["requests"],
            "retried": self.run["requests_retried"] + self.totals["retries"],
            "throttled": self.run["requests_throttled"] + self.totals["throttled"],
        }


async def gather(connection: Connection, run_id: int) -> RunFigures:
    """A run's figures; RequestError when there is no such run."""
    run = await connection.fetchrow(statement("select_run"), run_id)
    if run is None:
        raise RequestError(f"RUN: there is no run {run_id}; `qbo-backfill status` lists them")

    async def rows(name: str) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch(statement(name), run_id)]

    async def row(name: str) -> dict[str, Any]:
        return dict(await connection.fetchrow(statement(name), run_id))

    left = await rows("first_chunk_left")
    company = await connection.fetchval(statement("environment_of"), run["realm_id"])
    return RunFigures(
        run={**dict(run), "settings": json.loads(run["settings"])},
        counts=await row("run_chunk_counts"),
        totals=await row("run_totals"),
        chunks=await rows("run_chunk_table"),
        all_checks=[
            Validation(c["name"], c["severity"], c["message"], json.loads(c["found"]), c["advice"])
            for c in await rows("validations_of")
        ],
        days=[(d["day"], d["rows"]) for d in await rows("daily_volume_of")],
        events=await rows("events_of"),
        seconds_by_part={name: float(value) for name, value in (await row("time_split")).items()},
        resume_at=left[0] if left else None,
        environment=company or "",
        month_requests=await connection.fetchval(statement("requests_in_runs_month"), run_id),
    )
