"""The reprocessing proof: reading a range again leaves the same rows, held by one figure over all that they say."""

from __future__ import annotations

import json
from typing import Any

from async_extractor.checks.result import Validation
from async_extractor.entities import Entity
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import Window


async def hash_of(
    connection: Connection, entity: Entity, raw_schema: str, window: Window, filter_field: str
) -> dict[str, Any]:
    """`rows_before` and `hash_before`: the rows of a window, and the sum of their hashes. For a run's settings."""
    row = await connection.fetchrow(
        statement("hash_of_window", table=entity.table, raw_schema=raw_schema), window.start, window.end, filter_field
    )
    return {"rows_before": row["rows"], "hash_before": row["hash"]}


async def proof(
    connection: Connection, run_id: int, entity: Entity, raw_schema: str, window: Window, filter_field: str
) -> Validation | None:
    """The rows of the window now against those before the run; None for a run that did not reprocess."""
    run = await connection.fetchrow(statement("select_run"), run_id)
    before = json.loads(run["settings"])
    if "hash_before" not in before:
        return None
    now = await hash_of(connection, entity, raw_schema, window, filter_field)
    found = {
        "rows_before": before["rows_before"],
        "rows_after": now["rows_before"],
        "hash_before": before["hash_before"],
        "hash_after": now["hash_before"],
    }
    if (found["rows_before"], found["hash_before"]) == (found["rows_after"], found["hash_after"]):
        return Validation(
            "reprocess",
            "ok",
            f"reading the range again left the same {found['rows_after']:,} rows with the same hash",
            found,
        )
    return Validation(
        "reprocess",
        "notice",
        f"reading the range again changed it, from {found['rows_before']:,} rows to {found['rows_after']:,} or in what "
        "they say: they were edited at QuickBooks, or changed here by another hand, since they were first read",
        found,
    )
