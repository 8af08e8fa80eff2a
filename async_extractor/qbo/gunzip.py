"""An answer's body: read up to a bound, and decompressed up to a bound.

aiohttp would decompress by zlib, piece by piece and without a bound. isal takes a whole page of 3.4 MB in a fifth of
that time, and decompressing was the largest part of what a page cost the extractor.
"""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp
from isal.igzip_lib import DECOMP_GZIP, IgzipDecompressor, IsalError

from async_extractor.qbo.faults import PageFault, TransientFault

# What requests ask for; whatever else comes was not asked for.
ACCEPTED = "gzip"
# Bytes of a page, as they come and decompressed. 1,000 invoices of 750 lines are 170 MB.
MOST_PAGE_BYTES = 256 * 2**20
# Bytes of a header: Python's other HTTP clients take as much, and proxies and single sign-on add long ones.
MOST_HEADER_BYTES = 65_536


async def read_body(response: aiohttp.ClientResponse, most: int) -> bytes:
    """The body of a response that was asked for without `auto_decompress`, decompressed.

    Raises PageFault when it is more than `most` bytes, `TransientFault` when it isn't whole, and what aiohttp raises
    when the connection breaks or the request's time is up.
    """
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > most:
            raise _too_large(most)
        pieces.append(piece)
    return decoded(b"".join(pieces), response.headers.get("Content-Encoding"), most)


def arrived_whole(headers: Mapping[str, str]) -> bool:
    """Whether the end of a body that was read without an error is known to be its end, and not a broken connection."""
    return (
        "Content-Length" in headers
        or "chunked" in headers.get("Transfer-Encoding", "").lower()
        or "gzip" in headers.get("Content-Encoding", "").lower()
    )


def decoded(body: bytes, encoding: str | None, most: int = MOST_PAGE_BYTES) -> bytes:
    """The body, decompressed where its `Content-Encoding` says so. Raises as `read_body` does."""
    name = (encoding or "identity").strip().lower()
    if name == "identity" or not body:
        return body
    if name not in ("gzip", "x-gzip"):
        raise TransientFault(f"QuickBooks' answer is compressed in a way that was not asked for ({name[:20]!r})")
    try:
        return _gunzip(body, most)
    # What igzip raises for bytes that are no whole gzip file: a wrong header or checksum, an early end, no deflate.
    except (OSError, EOFError, IsalError) as error:  # type: ignore[misc]  # isal's stubs take its exception for a value
        raise TransientFault(f"QuickBooks' answer is not a whole gzip file ({type(error).__name__})") from None


def _gunzip(body: bytes, most: int) -> bytes:
    pieces, size, rest = [], 0, body
    # A gzip file ends in its length. Memory of that size at once takes 0.6 of the time of memory that grows; where
    # there is more, as in several members, the next piece takes what is left.
    told = int.from_bytes(body[-4:], "little")
    while rest:
        one = IgzipDecompressor(flag=DECOMP_GZIP)
        while not one.eof:
            # One byte more than is taken, so that a member of just so many bytes is seen to end.
            pieces.append(one.decompress(rest, min(told, most - size) + 1))
            size += len(pieces[-1])
            if size > most:
                raise _too_large(most)
            if not one.eof and one.needs_input:
                raise EOFError
            rest, told = b"", most
        rest = one.unused_data
    return b"".join(pieces)


def _too_large(most: int) -> PageFault:
    return PageFault(f"an answer of more than {most:,} bytes, which is not read to its end")
