"""Whatever comes compressed is either what was sent, whole, or worth another try."""

from __future__ import annotations

import contextlib
import gzip
import tracemalloc

import aiohttp
import pytest
from aioresponses import aioresponses
from hypothesis import given
from hypothesis import strategies as st

from async_extractor.qbo.faults import PageFault, TransientFault
from async_extractor.qbo.gunzip import arrived_whole, decoded, read_body

BODY = b'{"QueryResponse":{"totalCount":7}}' * 50
PACKED = gzip.compress(BODY)


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " x-gzip "])
def test_a_gzip_body_is_what_was_compressed(encoding: str) -> None:
    assert decoded(PACKED, encoding) == BODY


def test_a_body_in_several_gzip_members_is_all_of_them() -> None:
    assert decoded(gzip.compress(b"one ") + gzip.compress(b"two"), "gzip") == b"one two"


@pytest.mark.parametrize("encoding", [None, "", "identity", "Identity"])
def test_a_body_that_is_not_compressed_stays_as_it_is(encoding: str | None) -> None:
    assert decoded(BODY, encoding) == BODY


@pytest.mark.parametrize("encoding", ["gzip", "br"])
def test_an_empty_body_is_empty_whatever_is_said_of_it(encoding: str) -> None:
    """Such as of a 204 or a 502 of a gateway."""
    assert decoded(b"", encoding) == b""


@pytest.mark.parametrize("encoding", ["br", "deflate", "gzip, gzip", "zstd"])
def test_an_encoding_that_was_not_asked_for_is_named(encoding: str) -> None:
    with pytest.raises(TransientFault, match=encoding):
        decoded(BODY, encoding)


@given(st.integers(1, len(PACKED) - 1))
def test_a_cut_off_body_is_never_taken_for_a_whole_one(length: int) -> None:
    with pytest.raises(TransientFault, match="not a whole gzip file"):
        decoded(PACKED[:length], "gzip")


@given(st.integers(10, len(PACKED) - 1), st.integers(1, 255))
def test_a_body_with_a_wrong_byte_is_never_taken_for_another(at: int, change: int) -> None:
    """The last bits of the compressed bytes say nothing: with others it is the same body."""
    damaged = bytearray(PACKED)
    damaged[at] ^= change
    taken = b""
    with contextlib.suppress(TransientFault):
        taken = decoded(bytes(damaged), "gzip")
    assert taken in (b"", BODY)


def test_what_is_no_gzip_at_all_is_refused() -> None:
    with pytest.raises(TransientFault, match="not a whole gzip file"):
        decoded(b"<html>502 Bad Gateway</html>", "gzip")


@pytest.mark.parametrize("members", [1, 3])
def test_bound(members: int) -> None:
    """A body that decompresses to more than it may be is a page fault, and takes no memory beyond the bound."""
    one = gzip.compress(bytes(60_000_000 // members))
    assert len(decoded(one * members, "gzip", 60_000_000)) == 60_000_000
    tracemalloc.start()
    with pytest.raises(PageFault, match="more than 1,000,000 bytes"):
        decoded(one * members, "gzip", 1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("sent", [BODY, PACKED], ids=["plain", "packed"])
async def test_reading_in_pieces(sent: bytes) -> None:
    """A body is read piece by piece and no further than its bound."""
    headers = {"Content-Encoding": "gzip"} if sent is PACKED else {}
    with aioresponses() as api:
        api.get("http://here/", body=sent, headers=headers, repeat=True)
        async with aiohttp.ClientSession() as session:
            async with session.get("http://here/") as response:
                assert await read_body(response, len(BODY)) == BODY
            async with session.get("http://here/") as response:
                with pytest.raises(PageFault):
                    await read_body(response, len(BODY) - 1)


@pytest.mark.parametrize(
    ("headers", "whole"),
    [
        ({"Content-Length": "7"}, True),
        ({"Transfer-Encoding": "Chunked"}, True),
        ({"Content-Encoding": "gzip"}, True),
        ({"Connection": "close"}, False),
    ],
)
def test_arrived_whole(headers: dict[str, str], whole: bool) -> None:
    """Where a body ends by its length, its last chunk or its trailer, it was cut off by nobody."""
    assert arrived_whole(headers) == whole
