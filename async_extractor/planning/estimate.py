"""What a backfill costs at Intuit, where every query is metered: requests, minutes, a part of the month's allowance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from async_extractor.planning.chunking import Piece
from async_extractor.qbo.limits import PER_MINUTE
from async_extractor.qbo.query import MOST_ROWS

# Calls a month in Intuit's smallest tier, Builder (Intuit's limits page: CorePlus calls, which queries are).
MONTHLY_ALLOWANCE = 500_000
# Change data capture, for deletions, and COUNT(*) of the range, to hold raw against.
CHECKING = 2


@dataclass(frozen=True)
class Estimate:
    """Requests: `counted` were sent to plan, `reading` are for the pages, `after` catch up and check.

    Reading is what the rows need at the least where their number is known, one request for each other window;
    records that weigh more than common ones come in smaller pages, and so in more. `rows` are those of the pieces that
    no plan has had before, `planned_before` the chunks that an earlier one left. `spent_this_month` is what
    the company's requests of this month come to so far, those that counted among them.
    """

    counted: int
    reading: int
    after: int
    rows: int | None
    chunks: int
    planned_before: int
    spent_this_month: int

    @property
    def status(self) -> str:
        return "priced"

    @property
    def requests(self) -> int:
        return self.counted + self.reading + self.after

    @property
    def minutes(self) -> float:
        """How long the quota alone makes it take."""
        return self.requests / PER_MINUTE

    @property
    def share(self) -> float:
        """The part of the monthly allowance, 0 to 1."""
        return self.requests / MONTHLY_ALLOWANCE

    def __str__(self) -> str:
        return (
            f"about {self.requests:,} requests ({self.counted:,} of them spent on counting), "
            f"{self.minutes:.1f} minutes at Intuit's quota, {self.share:.2%} of a month's {MONTHLY_ALLOWANCE:,} calls; "
            f"{self.spent_this_month:,} spent this month"
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "counted": self.counted,
            "reading": self.reading,
            "after": self.after,
            "rows": self.rows,
            "chunks": self.chunks,
            "planned_before": self.planned_before,
            "minutes": round(self.minutes, 2),
            "monthly_allowance": MONTHLY_ALLOWANCE,
            "share_of_allowance": round(self.share, 6),
            "spent_this_month": self.spent_this_month,
        }


def reading(pieces: Sequence[Piece], rows: int | None) -> int:
    """Requests for the pages of the pieces, of which QuickBooks counted `rows` in all (None: unknown).

    A piece is read until a page isn't full, so that it takes one request more than its full pages, and two where that
    one is empty: COUNT(*) has to say that it is.
    """
    counted = sum(pages_of(piece.rows) for piece in pieces if piece.rows is not None)
    uncounted = [piece for piece in pieces if piece.rows is None]
    if not uncounted:
        return counted
    left = max(0, (rows or 0) - sum(piece.rows or 0 for piece in pieces))
    return counted + 2 * len(uncounted) + left // MOST_ROWS


def pages_of(rows: int) -> int:
    """Requests for a window of so many rows; what is known to be empty is never asked."""
    return 0 if rows == 0 else math.floor(rows / MOST_ROWS) + (1 if rows % MOST_ROWS else 2)
