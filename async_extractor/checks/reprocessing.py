"""The reprocessing proof: reading a range again leaves the same rows, held by one figure over all that they say."""

from __future__ import annotations

import json
from typing import Any

from async_extractor.checks.result import CheckResult
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
) -> CheckResult:
    """The rows of the window now against those before a run that reprocessed it."""
    run = await connection.fetchrow(statement("select_run"), run_id)
    before = json.loads(run["settings"])
    now = await hash_of(connection, entity, raw_schema, window, filter_field)
    found = {
        "rows_before": before["rows_before"],
        "rows_after": now["rows_before"],
        "hash_before": before["hash_before"],
        "hash_after": now["hash_before"],
    }
    same = (found["rows_before"], found["hash_before"]) == (found["rows_after"], found["hash_after"])
    return CheckResult("reprocess", "ok" if same else "notice", found)
