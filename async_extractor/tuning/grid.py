"""Which `concurrency` and `chunk` suit a company, measured: one backfill for each pair, into a database of its own.

The scratch database stands on the warehouse's server and is dropped afterwards, so that neither raw nor the ledger of
the real one is touched.
"""

from __future__ import annotations

import contextlib
import math
import re
import secrets as randomness
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from typing import Any

import asyncpg

from async_extractor.backfill import Backfill
from async_extractor.errors import ConfigurationError, IncompleteError
from async_extractor.events import Event
from async_extractor.qbo.auth.access_tokens import HeldSecrets
from async_extractor.request import BackfillRequest
from async_extractor.settings import Secrets, warehouse_address
from async_extractor.warehouse.connection import connect
from async_extractor.warehouse.first_connection import connect_first
from async_extractor.warehouse.statements import statement

# A setting is as good as the best when it is so near to it: more workers or more chunks for less are no gain.
NEAR = 0.95


@dataclass(frozen=True)
class Cell:
    """What one pair gave. Seconds are of the extraction: from the first chunk begun to the last one done.

    Latencies are of single answers; `wait`, `fetch`, `split`, `copy`, `merge` are a chunk's mean seconds, what its
    worker stood still for or worked on; `other` is the rest of its time. `busy`: the share of the extraction for which
    a worker had a chunk.
    """

    concurrency: int
    chunk: str
    rows: int
    requests: int
    throttled: int
    chunks: int
    seconds: float
    p50: float
    p95: float
    wait: float
    fetch: float
    split: float
    copy: float
    merge: float
    other: float
    busy: float

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def requests_per_second(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {
            "rows_per_second": self.rows_per_second,
            "requests_per_second": self.requests_per_second,
        }


def recommended(cells: Sequence[Cell]) -> Cell:
    """Of those nearly as fast as the fastest, the one with the fewest workers, then the fewest requests."""
    best = max(cell.rows_per_second for cell in cells)
    near = [cell for cell in cells if cell.rows_per_second >= NEAR * best]
    return min(near, key=lambda cell: (cell.concurrency, cell.requests, -cell.rows_per_second))


async def measure(
    request: BackfillRequest,
    secrets: Secrets,
    pairs: Sequence[tuple[int, str]],
    *,
    limits: bool,
    most_requests: int,
    profile: str = "",
    told: Callable[[Cell], None],
) -> list[Cell]:
    """A cell for each pair (concurrency, chunk), in turn. Ends early, before a cell that is likely to pass
    `most_requests` in all: Intuit meters them.

    Raises ConfigurationError or IncompleteError as a backfill does.
    """
    cells: list[Cell] = []
    spent = 0
    for concurrency, chunk in pairs:
        if cells and spent + max(cell.requests for cell in cells) > most_requests:
            break
        async with _scratch(secrets) as elsewhere:
            parsed = BackfillRequest.of(
                **{**vars(request), "concurrency": concurrency, "chunk": chunk, "mode": "resume"}
            )
            cell = await _one(parsed, elsewhere, limits=limits, profile=profile)
        spent += cell.requests
        cells.append(cell)
        told(cell)
    return cells


async def _one(request: BackfillRequest, secrets: Secrets, *, limits: bool, profile: str) -> Cell:
    latencies: list[float] = []

    def listen(event: Event) -> None:
        if event.name == "answered" and event.fields["status"] == 200:
            latencies.append(event.fields["seconds"])

    async with Backfill(request, secrets, [listen], limits=limits, profile=profile) as backfill:
        run_id = await backfill.plan()
        await backfill.extract(run_id)
        connection = await connect(warehouse_address(secrets))
        try:
            row = await connection.fetchrow(statement("run_metrics"), run_id)
        finally:
            await connection.close()
    if not row["chunks_worked_on"]:
        raise IncompleteError("the range holds no rows, so there is nothing to measure; choose other dates")
    chunks = row["chunks_worked_on"]
    means = {name: row[f"{name}_seconds"] / chunks for name in ("wait", "fetch", "split", "copy", "merge")}
    return Cell(
        concurrency=request.concurrency,
        chunk=request.chunk,
        rows=row["rows_read"],
        requests=row["chunk_requests"],
        throttled=row["throttled"],
        chunks=chunks,
        seconds=row["extract_seconds"],
        p50=_quantile(latencies, 0.5),
        p95=_quantile(latencies, 0.95),
        other=max(0.0, row["worker_seconds"] / chunks - sum(means.values())),
        busy=row["busy"],
        **means,
    )


def _quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many are not above; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


class _Elsewhere:
    """The same secrets with another database."""

    def __init__(self, secrets: Secrets, database: str) -> None:
        self._secrets = secrets
        self._database = database

    def get(self, name: str) -> str | None:
        return self._database if name == "POSTGRES_DB" else self._secrets.get(name)

    def require(self, name: str) -> str:
        return self._database if name == "POSTGRES_DB" else self._secrets.require(name)

    def snapshot(self) -> _Elsewhere:
        return self

    def exclusive(self) -> AbstractContextManager[HeldSecrets]:
        return self._secrets.exclusive()


@contextlib.asynccontextmanager
async def _scratch(secrets: Secrets) -> AsyncIterator[Secrets]:
    """The secrets with an empty database beside the warehouse, dropped afterwards."""
    address = warehouse_address(secrets)
    name = f"qbo_backfill_bench_{randomness.token_hex(4)}"
    connection = await connect_first(address)
    try:
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        except asyncpg.InsufficientPrivilegeError:
            raise ConfigurationError(
                f"bench: measures in a database of its own, and {address.user} may not make one on {address.host}; "
                f"as the owner: ALTER ROLE {_quoted(address.user)} CREATEDB, or use another server for POSTGRES_HOST"
            ) from None
        try:
            yield _Elsewhere(secrets, name)
        finally:
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_]*", name) else '"' + name.replace('"', '""') + '"'
