"""The border for text that comes from outside: fault texts, transaction ids, Ids, reasons."""

from __future__ import annotations

import re

# Terminal escape sequences (ECMA-48): CSI ... final byte, strings such as OSC with their end, and ESC with one more.
_ESCAPES = re.compile(
    "\x1b\\[[0-?]*[ -/]*[@-~]?|\x9b[0-?]*[ -/]*[@-~]?"
    "|(?:\x1b[\\]P^_X]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c]*(?:\x07|\x1b\\\\|\x9c)?"
    "|\x1b[ -/]*[0-~]?"
)
# Control characters (C0, DEL, C1), halves of surrogate pairs, and what turns the direction of writing or ends a line.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")
_BLANKS = re.compile("[\t\n\r\x0b\x0c\x85\u2028\u2029]+")


def printable(text: str, most: int = 300) -> str:
    """Text from outside on one line, harmless to Postgres, a terminal and a log, and at most so many characters.

    Escape sequences go, line breaks and tabs become a blank, other control characters and lone surrogates U+FFFD.
    """
    # What is far too long needs no cleaning; escape sequences are taken out before the rest is counted.
    clean = _HARMFUL.sub("\ufffd", _BLANKS.sub(" ", _ESCAPES.sub("", text[: 20 * most])))
    return clean if len(clean) <= most and len(text) <= 20 * most else clean[: most - 1] + "…"
