"""Pages of records as they are served: put together from the rows, and kept for the next who asks when that is wanted.

All of a page but its time is the same each time, until a row is edited. A simulator that shares its processors with
what is measured keeps its pages (`--keep-pages`), so that they are made once and not while the clock runs.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass

from qbo_simulator.company.deflate import gzipped, stored
from qbo_simulator.company.invoices import Invoices
from qbo_simulator.company.table import Table
from qbo_simulator.envelopes import Answer


@dataclass(frozen=True)
class _Opened:
    """A page up to its time. `deflated` is None where the answer is to be compressed as a whole."""

    plain: bytes
    checksum: int
    deflated: bytes | None


class Pages:
    """Makes pages; keeps the last ones, up to `keep_bytes` of them, while the company stays as it is."""

    def __init__(self, keep_bytes: int = 0) -> None:
        self._room = keep_bytes
        self._kept: OrderedDict[tuple[object, ...], _Opened] = OrderedDict()
        self._held_bytes = 0
        self._edits = -1

    def page(
        self, entity: str, table: Table, start: int, slots: list[int], *, edits: int, stamp: bytes, compressed: bool
    ) -> Answer:
        """The rows of these slots as an answer of QuickBooks' time `stamp`.

        `edits` is the company's count of them: another one than at the last call means that no kept page holds.
        `compressed`: with its gzip form, where that is put together from pieces.
        """
        if not slots:
            return Answer(200, b'{"QueryResponse":{},"time":"%b"}' % stamp)
        as_pieces = compressed and isinstance(table, Invoices)
        if self._room:
            opened = self._kept_or_new(entity, table, start, slots, edits, as_pieces)
        else:
            opened = _open(entity, table, start, slots, as_pieces)
        end = b'"time":"%b"}' % stamp
        answer = Answer(200, opened.plain + end)
        if opened.deflated is not None:
            checksum = zlib.crc32(end, opened.checksum)
            answer.gzip = gzipped((opened.deflated, stored(end)), checksum, len(answer.body))
        return answer

    def _kept_or_new(
        self, entity: str, table: Table, start: int, slots: list[int], edits: int, as_pieces: bool
    ) -> _Opened:
        if edits != self._edits:
            self._kept.clear()
            self._held_bytes, self._edits = 0, edits
        key = (entity, start, as_pieces, *slots)
        opened = self._kept.pop(key, None)
        if opened is None:
            opened = _open(entity, table, start, slots, as_pieces)
            self._held_bytes += _size(opened)
        self._kept[key] = opened
        while self._held_bytes > self._room:
            _, oldest = self._kept.popitem(last=False)
            self._held_bytes -= _size(oldest)
        return opened


def _size(opened: _Opened) -> int:
    return len(opened.plain) + len(opened.deflated or b"")


def _open(entity: str, table: Table, start: int, slots: list[int], as_pieces: bool) -> _Opened:
    opening = b'{"QueryResponse":{"%b":[' % entity.encode()
    closing = b'],"startPosition":%d,"maxResults":%d},' % (start, len(slots))
    plain = b"".join((opening, b",".join([table.payload(slot) for slot in slots]), closing))
    if not (as_pieces and isinstance(table, Invoices)):
        return _Opened(plain, 0, None)
    return _Opened(plain, zlib.crc32(plain), b"".join(_deflated(opening, table, slots, closing)))


def _deflated(opening: bytes, table: Invoices, slots: list[int], closing: bytes) -> list[bytes]:
    """As deflate pieces: what is an invoice's own uncompressed, its body as it was compressed before."""
    pieces = []
    before = opening
    for slot in slots:
        raw = table.raw.get(slot)
        if raw is not None:
            before += raw + b","
            continue
        body = table.body(slot)
        pieces.append(stored(before + body.opening + table.head(slot, body)))
        pieces.append(body.middle_deflated)
        before = table.tail(slot, body) + body.closing + b","
    pieces.append(stored(before[:-1] + closing))
    return pieces
