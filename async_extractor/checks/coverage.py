"""Whether the ledger tells the truth: done chunks that nobody read, holes between chunks, chunks that overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import SETTLING, UTC, Window, gaps


@dataclass(frozen=True)
class HollowChunk:
    """A chunk that is marked done and was never read."""

    chunk_id: int
    window: Window


@dataclass(frozen=True)
class Coverage:
    """The ledger over a range.

    `holes` were planned by nobody; `open` counts chunks that are not done, and whose part in the range no others have
    read.
    """

    hollow: Sequence[HollowChunk]
    holes: Sequence[Window]
    open: int
    overlaps: Sequence[Window]


async def coverage(
    connection: Connection,
    realm_id: str,
    entity: str,
    filter_field: str,
    window: Window,
    as_of: datetime | None = None,
) -> Coverage:
    """The ledger over a range, as far as it can be covered by now: to the newest run's beginning, or to `as_of`."""
    series = (realm_id, entity, filter_field, window.start, window.end)
    hollow = [
        HollowChunk(row["chunk_id"], Window(row["window_start"], row["window_end"]))
        for row in await connection.fetch(statement("hollow_chunks"), *series)
    ]
    rows = await connection.fetch(statement("ledger_windows"), *series)
    windows = [Window(row["window_start"], row["window_end"]) for row in rows]
    newest = (await connection.fetchrow(statement("read_until"), realm_id, entity, filter_field, None))["covered"]
    end = window.end
    if filter_field != "txn_date":
        # A run's windows end some minutes before its own beginning; later moments are the next run's. Where
        # only repairs have read, up to theirs.
        read = newest - SETTLING if newest else max((w.end for w in windows), default=datetime.now(UTC) - SETTLING)
        end = min(end, read, *([as_of - SETTLING] if as_of else []))
    if window.start >= end:
        return Coverage(hollow, [], 0, _overlaps(windows))
    due = Window(window.start, end)
    # What reaches into the range, and was planned for another one, is nothing to wait for where others have read it.
    unread = gaps(due, (w for w, row in zip(windows, rows, strict=True) if row["status"] == "done"))
    opened = [w for w, row in zip(windows, rows, strict=True) if row["status"] != "done"]
    open_chunks = sum(any(w.start < gap.end and gap.start < w.end for gap in unread) for w in opened)
    return Coverage(hollow, gaps(due, windows), open_chunks, _overlaps(windows))


def _overlaps(windows: Sequence[Window]) -> list[Window]:
    """Where a window begins before the one before it ends; harmless, since the merge counts each row once."""
    found: list[Window] = []
    end: datetime | None = None
    for window in sorted(windows):
        if end is not None and window.start < end:
            found.append(Window(window.start, min(end, window.end)))
        end = window.end if end is None else max(end, window.end)
    return found
