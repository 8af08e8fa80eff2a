"""Sharing windows among the workers of a process: an idle one takes the far end of the one with the most left to read.

So a plan needs no COUNT(*) for each worker, and all are busy to the end. A part is found by its place (STARTPOSITION)
in the order of the window's date, and the page that finds it is the first of its pages: taking over costs no request.
Parts are whole pages, so that no half page comes on top. What is read is bounded by dates alone, as ever; places only
say where to cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from async_extractor.warehouse.ledger import Chunk
from async_extractor.windows import Window

# How full the pages of a part are planned to be: a part's last page must not be full, or an empty one would follow it.
FILLED = 0.995


@dataclass(eq=False)
class Share:
    """The rows of a window from place `first` on, and the chunk in which they are read, once it is there.

    `until` is where that ends in the ledger, and `until_row` the place of it; both are the holder's while there is no
    chunk. `read`: how many of the rows have come.
    """

    window: Window
    first: int
    until: datetime
    until_row: int
    chunk: Chunk | None = None
    read: int = 0
    cuttable: bool = True


class Shares:
    """What each of the process's workers reads."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._open: list[Share] = []
        self._claiming = 0
        self._honoured = True
        self._changed = asyncio.Event()
        self.cutting = asyncio.Lock()
        """Held while a part goes over in the ledger, so that its place and its holder stay the same."""

    @contextlib.contextmanager
    def claiming(self) -> Iterator[None]:
        """Round a claim: whoever is idle meanwhile waits for what it brings."""
        self._claiming += 1
        try:
            yield
        finally:
            self._claiming -= 1
            self._tell()

    def begin(self, chunk: Chunk) -> Share | None:
        """The share of a chunk that was claimed; None where nobody knows how many rows it has."""
        if chunk.kind != "window" or chunk.window_end is None or chunk.expected_rows is None:
            return None
        rows = chunk.expected_rows
        share = Share(Window(chunk.window_start, chunk.window_end), 0, chunk.window_end, rows, chunk)
        self._open.append(share)
        self._tell()
        return share

    def end(self, share: Share) -> None:
        """Nobody reads it any more."""
        self._open.remove(share)
        self._tell()

    def order_is_ignored(self) -> None:
        """A place says nothing then."""
        self._honoured = False

    async def far_part(self, page: int) -> Share | None:
        """The far end of the largest share, for an idle worker; None when none is worth cutting.

        The holder reads up to there, and waits for `take` or `give_back` before it goes beyond.
        """
        while True:
            part = self._cut(max(1, int((page - 1) * FILLED))) if self._honoured else None
            if part is not None or not self._claiming:
                return part
            await self._change()

    def _cut(self, step: int) -> Share | None:
        """`step`: by how many rows a page goes on, since each begins with the last row of the one before."""
        largest = max((s for s in self._open if s.cuttable), key=lambda s: self._left(s, step), default=None)
        left = 0 if largest is None else self._left(largest, step)
        if largest is None or left < 1:
            return None
        everything = sum(max(0, self._left(share, step)) + 1 for share in self._open)
        pages = min(math.ceil(left / 2), math.ceil(everything / self._workers))
        first = largest.first + largest.read + step * (left + 1 - pages)
        part = Share(largest.window, first, largest.until, largest.until_row)
        self._open.append(part)
        return part

    def _left(self, share: Share, step: int) -> int:
        """Pages that nobody has asked for: the next one is on its way."""
        return math.ceil((self.end_row(share) - share.first - share.read) / step) - 1

    def end_row(self, share: Share) -> int:
        """The place up to which a share is to be read: less than its `until_row` while a part of it is about to go
        over. From what is there now, since edits move places while they are settled, and parts settle in any order."""
        of_window = [s for s in self._open if s.window == share.window]
        owner = share if share.chunk else next((s for s in of_window if s.chunk and _is_in(share.first, s)), share)
        parts = [s.first for s in of_window if not s.chunk and share.first < s.first < owner.until_row]
        return min(parts, default=owner.until_row)

    def holder(self, cut: datetime, row: int) -> Share | None:
        """Who has the chunk with this moment in it; None where that isn't whose this place is, since edits have moved
        it meanwhile."""
        for share in self._open:
            if share.chunk is not None and share.chunk.window_start < cut < share.until:
                return share if share.first < row and _is_in(row, share) else None
        return None

    def take(self, part: Share, holder: Share, chunk: Chunk, row: int) -> None:
        """The ledger has given the holder's rows from place `row` on to this part, as a chunk of its own."""
        part.first, part.chunk, part.until, part.until_row = row, chunk, holder.until, holder.until_row
        holder.until, holder.until_row = chunk.window_start, row
        self._tell()

    def give_back(self, part: Share) -> None:
        """The part could not be taken over: its rows are read by whoever is before it, and not asked for again."""
        before = [s for s in self._open if s.window == part.window and s.first < part.first]
        if before:
            max(before, key=lambda share: share.first).cuttable = False
        self.end(part)

    async def until(self, share: Share) -> datetime:
        """Up to where it is its holder's now; waits while that is being settled and nothing before it is left."""
        while share.first + share.read >= (end := self.end_row(share)) and end < share.until_row:
            await self._change()
        return share.until

    async def _change(self) -> None:
        await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _is_in(row: int, share: Share) -> bool:
    return share.first <= row < share.until_row
