"""Cutting a range into chunks. `auto` asks QuickBooks how many rows there are, since every request is metered:
ten years by the day are 3,650 requests for an entity, most of them for nothing. Workers of one process share a chunk
(extraction/sharing.py), so that a plan needs no chunk for each of them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from async_extractor.qbo.query import MOST_ROWS
from async_extractor.windows import Step, Window, cut, cut_evenly

Count = Callable[[Window], Awaitable[int]]

# Rows for each worker in a chunk that is not cut further: about 25 pages, a few seconds' work to lose by a kill.
ROW_TARGET = 25_000
# What COUNT(*) may add to the requests that the rows need at the least. Each chunk also ends in a page
# that isn't full, so with 7 % here, 1,000,000 even rows take about 1,110 requests, 20,000 in three
# days of ten years at most 27.
COUNT_SHARE = 0.15
# So many chunks for each of those who can't share one keep all of them busy until the end.
CHUNKS_EACH = 4


@dataclass(frozen=True)
class Piece:
    """A window to be a chunk. `rows` is QuickBooks' COUNT(*) of it, None where it wasn't asked."""

    window: Window
    rows: int | None


async def cut_into_pieces(
    gaps: Sequence[Window],
    step: Step | None,
    count: Count,
    alone: int,
    granularity: timedelta,
    target: int = ROW_TARGET,
) -> tuple[list[Piece], int]:
    """The gaps in pieces, and COUNT(*) over all of them. At least one COUNT for each gap.

    Pieces are of about `target` rows, or smaller, so that `alone` who can't help each other have work to the end.
    """
    totals = await asyncio.gather(*(count(gap) for gap in gaps))
    pieces: list[Piece] = []
    for gap, total in zip(gaps, totals, strict=True):
        if step is None:
            pieces += await _by_count(gap, total, count, alone, granularity, target)
        else:
            windows = cut(gap, step)
            known = total if len(windows) == 1 else 0 if total == 0 else None
            pieces += [Piece(window, known) for window in windows]
    return pieces, sum(totals)


async def _by_count(
    window: Window, total: int, count: Count, alone: int, granularity: timedelta, target: int
) -> list[Piece]:
    pages = math.ceil(total / MOST_ROWS)
    allowance = int(pages * COUNT_SHARE)
    parts = max(math.ceil(total / target), CHUNKS_EACH * alone)
    pieces = await _divide(Piece(window, total), min(parts, 1 + allowance), count, granularity)
    allowance -= len(pieces) - 1
    while allowance > 0:
        largest = max(pieces, key=lambda piece: piece.rows or 0)
        if (largest.rows or 0) <= 2 * target:
            break
        halves = await _divide(largest, 2, count, granularity)
        if len(halves) == 1:
            break
        at = pieces.index(largest)
        pieces[at : at + 1] = halves
        allowance -= 1
    return _joined(pieces)


async def _divide(piece: Piece, parts: int, count: Count, granularity: timedelta) -> list[Piece]:
    """The piece in equal parts; the last one's rows are what the others leave, unless that is nothing."""
    windows = cut_evenly(piece.window, parts, granularity)
    rows = await asyncio.gather(*(count(window) for window in windows[:-1]))
    left = (piece.rows or 0) - sum(rows)
    if left == 0 and len(windows) > 1:
        # What is taken for empty is never read, so it has to be counted itself: a row that was dated
        # back into another part after the whole was counted would hide one here.
        left = await count(windows[-1])
    # Below zero the books changed between the two counts, and the last part's rows are not known.
    return [Piece(w, r) for w, r in zip(windows, [*rows, left if left >= 0 else None], strict=True)]


def _joined(pieces: list[Piece]) -> list[Piece]:
    """Empty neighbours as one piece: what is known to be empty is never asked."""
    joined: list[Piece] = []
    for piece in pieces:
        before = joined[-1] if joined else None
        if before is not None and before.rows == 0 and piece.rows == 0:
            joined[-1] = Piece(Window(before.window.start, piece.window.end), 0)
        else:
            joined.append(piece)
    return joined
