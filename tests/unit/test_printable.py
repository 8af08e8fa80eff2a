"""Text from outside hurts neither Postgres nor a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_extractor.printable import printable


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("Error parsing query", "Error parsing query"),
        ("café 中文 😀", "café 中文 😀"),
        ("two\r\nlines\tand a tab", "two lines and a tab"),
        ("a\x00b\x07c\x7fd\x85e", "a\ufffdb\ufffdc\ufffdd e"),
        ("\x1b[31mred\x1b[0m \x9b1mbold", "red bold"),
        ("\x1b]0;title\x07text\x1b]8;;http://evil.example\x1b\\link", "textlink"),
        ("\x1bPdevice\x1b\\rest\x1b(0 \x1bc", "rest "),
        ("half \ud83d, byte \udcff", "half \ufffd, byte \ufffd"),
        ("txt\u202etxet", "txt\ufffdtxet"),
        ("\ufeffbegins", "\ufffdbegins"),
        ("", ""),
    ],
)
def test_harmful(text: str, harmless: str) -> None:
    """Control characters, escape sequences and lone surrogates are made harmless, all else stays."""
    assert printable(text) == harmless


@pytest.mark.parametrize("text", ["x" * 11, "x" * 10**6, "\x1b[0m" * 10**6])
def test_length(text: str) -> None:
    """What is longer than wanted is cut, and the cut is seen."""
    assert len(printable(text, 10)) <= 10
    assert printable(text, 10).endswith("…")
    assert printable("x" * 10, 10) == "x" * 10


@given(st.text(st.characters()), st.integers(1, 50))
def test_anything(text: str, most: int) -> None:
    """Whatever comes: one line of UTF-8, bounded, and cleaning it again changes nothing."""
    clean = printable(text, most)
    assert len(clean) <= most
    assert clean.isprintable() or not text.isprintable()
    assert "\n" not in clean
    assert "\x1b" not in clean
    assert "\x00" not in clean
    clean.encode()
    assert printable(clean, most) == clean
