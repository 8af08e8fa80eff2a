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
    """The rows of a window, and the sums of their hashes: of all, of those without a digest, of the versions alone.

    For a run's settings.
    """
    row = await connection.fetchrow(
        statement("hash_of_window", table=entity.table, raw_schema=raw_schema), window.start, window.end, filter_field
    )
    return {f"{name}_before": row[name] for name in ("rows", "hash", "undigested", "versions")}


async def proof(
    connection: Connection, run_id: int, entity: Entity, raw_schema: str, window: Window, filter_field: str
) -> CheckResult:
    """The rows of the window now against those before a run that reprocessed it.

    Names in references change without a version, because QuickBooks fills them in when it answers: a notice, where the
    merge overwrote nothing else under its version, and no other hand changed a row. Anything else that the same
    versions say otherwise is a warning.
    """
    run = await connection.fetchrow(statement("select_run"), run_id)
    before = json.loads(run["settings"])
    now = await hash_of(connection, entity, raw_schema, window, filter_field)
    equal = {name for name, value in now.items() if before.get(name) == value}
    found = {
        "rows_before": before["rows_before"],
        "rows_after": now["rows_before"],
        "hash_before": before["hash_before"],
        "hash_after": now["hash_before"],
    }
    if "hash_before" in equal:
        return CheckResult("reprocess", "ok", found)
    if "versions_before" not in equal:
        return CheckResult("reprocess", "notice", found)
    if "undigested_before" in equal and not before.get("altered"):
        return CheckResult("reprocess", "notice", found, says=("reprocess.renamed",))
    return CheckResult("reprocess", "warning", found)
