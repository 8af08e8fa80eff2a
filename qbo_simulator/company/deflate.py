"""Gzip put together from pieces that were compressed before.

A piece that was compressed on its own and flushed to a byte boundary may stand anywhere in a deflate stream, so a page
of invoices is compressed by joining their bodies' pieces with their heads between them, uncompressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST = b"\x03\x00"  # an empty last block
_STORED = 65_535


def deflated(data: bytes) -> bytes:
    """`data` as whole deflate blocks that refer to nothing outside them."""
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    return compressor.compress(data) + compressor.flush(zlib.Z_FULL_FLUSH)


def stored(data: bytes) -> bytes:
    """`data` as uncompressed deflate blocks: 5 bytes more a block."""
    if len(data) <= _STORED:
        return b"\x00" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data
    return b"".join(stored(data[at : at + _STORED]) for at in range(0, len(data), _STORED))


def gzipped(pieces: Iterable[bytes], checksum: int, length: int) -> bytes:
    """A gzip file of deflate `pieces`; `checksum` (CRC-32) and `length` are of the bytes that they say together."""
    trailer = struct.pack("<II", checksum, length & 0xFFFFFFFF)
    return b"".join((_HEADER, *pieces, _LAST, trailer))
