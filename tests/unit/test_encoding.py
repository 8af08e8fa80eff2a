"""Whatever comes compressed is either what was sent, whole, or worth another try."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_extractor.qbo.faults import TransientFault
from async_extractor.qbo.gunzip import decoded

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
    damaged = bytearray(PACKED)
    damaged[at] ^= change
    with pytest.raises(TransientFault, match="not a whole gzip file"):
        decoded(bytes(damaged), "gzip")


def test_what_is_no_gzip_at_all_is_refused() -> None:
    with pytest.raises(TransientFault, match="BadGzipFile"):
        decoded(b"<html>502 Bad Gateway</html>", "gzip")
