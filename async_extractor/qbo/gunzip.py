"""The bytes of an answer as they came over the network, and what they say.

aiohttp would decompress by zlib, piece by piece. isal takes a whole page of 3.4 MB in a fifth of that time, and
decompressing was the largest part of what a page cost the extractor.
"""

from __future__ import annotations

from isal import igzip
from isal.igzip_lib import IsalError

from async_extractor.qbo.faults import TransientFault

# What requests ask for; whatever else comes was not asked for.
ACCEPTED = "gzip"
# What igzip raises for bytes that are no whole gzip file: a wrong header or checksum, an early end, no deflate.
# (isal's stubs take its exception for a value.)
_NOT_WHOLE: tuple[type[Exception], ...] = (OSError, EOFError, IsalError)  # type: ignore[assignment]


def decoded(body: bytes, encoding: str | None) -> bytes:
    """The body, decompressed where its `Content-Encoding` says so; `TransientFault` when it isn't whole."""
    name = (encoding or "identity").strip().lower()
    if name == "identity" or not body:
        return body
    if name not in ("gzip", "x-gzip"):
        raise TransientFault(f"QuickBooks' answer is compressed in a way that was not asked for ({name[:20]!r})")
    try:
        unpacked: bytes = igzip.decompress(body)  # type: ignore[no-untyped-call]
    except _NOT_WHOLE as error:
        raise TransientFault(f"QuickBooks' answer is not a whole gzip file ({type(error).__name__})") from None
    return unpacked
