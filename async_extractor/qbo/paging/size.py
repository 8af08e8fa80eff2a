"""How many records to ask for at once, so that a page's bytes stay bounded.

Intuit's cap is 1,000 records, whatever they weigh: 3.4 MB of common invoices, but 170 MB of invoices with 750 lines,
and each worker holds two pages. So the size follows what records have weighed lately.
"""

from __future__ import annotations

from async_extractor.qbo.query import MOST_ROWS

# Bytes that a page is to have at most, uncompressed; 1,000 invoices of 25 lines.
PAGE_BYTES = 6_000_000


class PageSize:
    """The MAXRESULTS to ask for. Shared by a run's workers, so that one heavy page is enough to warn all."""

    def __init__(self, most: int = MOST_ROWS, page_bytes: int = PAGE_BYTES) -> None:
        self._most = most
        self._page_bytes = page_bytes
        self._bytes_a_row = 0.0

    @property
    def rows(self) -> int:
        """From 1 to the cap."""
        if self._bytes_a_row * self._most <= self._page_bytes:
            return self._most
        return max(1, int(self._page_bytes / self._bytes_a_row))

    def saw(self, rows: int, size: int) -> None:
        """A page of so many rows had so many bytes. Heavier records count at once, lighter ones by degrees."""
        if rows == 0:
            return
        weight = size / rows
        self._bytes_a_row = weight if weight > self._bytes_a_row else (self._bytes_a_row + weight) / 2
