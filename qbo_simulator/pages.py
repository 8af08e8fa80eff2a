"""Pages of records as they are served: put together from the rows, and kept for the next who asks when that is wanted.

All of a page but its time is the same each time, until a row is edited. A simulator that shares its processors with
what is measured keeps its pages (`--keep-pages`), so that they are made once and not while the clock runs.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from dataclasses import dataclass
from typing import Literal

from qbo_simulator.company.deflate import deflated, gzipped, stored
from qbo_simulator.company.invoices import Invoices
from qbo_simulator.company.table import Table
from qbo_simulator.envelopes import Answer
from qbo_simulator.query.properties import RESPONSE_KEYS

_Compress = Literal["not", "by pieces", "as a whole"]


@dataclass(frozen=True)
class _Opened:
    """A page up to its time. `deflated` is None where whoever sends it has to compress it, if it is to be."""

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
        self, entity: str, table: Table, start: int, slots: list[int], *, edits: int, stamp: bytes, compressed: bool,
        total: int | None = None,
    ) -> Answer:  # fmt: skip
        """The rows of these slots as an answer of QuickBooks' time `stamp`; `total` where the page is to say it.

        `edits` is the company's count of them: another one than at the last call means that no kept page holds.
        `compressed`: with its gzip form, where the page is kept or can be put together from pieces.
        """
        if not slots:
            return Answer(200, b'{"QueryResponse":{},"time":"%b"}' % stamp)
        if self._room:
            opened = self._kept_or_new(entity, table, start, slots, total, edits, compressed)
        else:
            opened = _open(entity, table, start, slots, total, "by pieces" if compressed else "not")
        end = b'"time":"%b"}' % stamp
        answer = Answer(200, opened.plain + end)
        if opened.deflated is not None:
            checksum = zlib.crc32(end, opened.checksum)
            answer.gzip = gzipped((opened.deflated, stored(end)), checksum, len(answer.body))
        return answer

    def _kept_or_new(
        self, entity: str, table: Table, start: int, slots: list[int], total: int | None, edits: int, compressed: bool
    ) -> _Opened:
        if edits != self._edits:
            self._kept.clear()
            self._held_bytes, self._edits = 0, edits
        key = (entity, start, total, compressed, *slots)
        opened = self._kept.pop(key, None)
        if opened is None:
            # Compressed as a whole, as a server in earnest does it: there is time for that once.
            opened = _open(entity, table, start, slots, total, "as a whole" if compressed else "not")
            self._held_bytes += _size(opened)
        self._kept[key] = opened
        while self._held_bytes > self._room:
            _, oldest = self._kept.popitem(last=False)
            self._held_bytes -= _size(oldest)
        return opened


def _size(opened: _Opened) -> int:
    return len(opened.plain) + len(opened.deflated or b"")


def _open(entity: str, table: Table, start: int, slots: list[int], total: int | None, compress: _Compress) -> _Opened:
    opening = b'{"QueryResponse":{"%b":[' % RESPONSE_KEYS.get(entity, entity).encode()
    closing = b'],"startPosition":%d,"maxResults":%d' % (start, len(slots))
    closing += b"}," if total is None else b',"totalCount":%d},' % total
    plain = b"".join((opening, b",".join([table.payload(slot) for slot in slots]), closing))
    packed = None
    if compress == "as a whole":
        packed = deflated(plain)
    elif compress == "by pieces" and isinstance(table, Invoices):
        packed = b"".join(_pieces(opening, table, slots, closing))
    return _Opened(plain, 0 if packed is None else zlib.crc32(plain), packed)


def _pieces(opening: bytes, table: Invoices, slots: list[int], closing: bytes) -> list[bytes]:
    """As deflate pieces: what is an invoice's own uncompressed, its body as it was compressed before."""
    pieces = []
    before = opening
    for slot in slots:
        raw = table.raw.get(slot)
        if raw is not None:
            before += raw + b","
            continue
        body = table.body(slot)
        head, tail = table.around(slot, body)
        pieces.append(stored(before + head))
        pieces.append(body.middle_deflated)
        before = tail + b","
    pieces.append(stored(before[:-1] + closing))
    return pieces
