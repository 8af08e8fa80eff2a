"""Answers spoilt at random: what no recording has, and no reader may stumble over."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from qbo_simulator.envelopes import Answer

_STATUSES = (
    200, 201, 202, 203, 205, 206, 301, 302, 307, 400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 413, 414, 415, 418,
    421, 422, 425, 429, 431, 451, 500, 501, 502, 503, 504, 507, 520, 599,
)  # fmt: skip
_TYPES = (
    "text/html", "application/xml", "image/png", "", "application/json; charset=utf-16",
    "application/json;charset=no-such", "multipart/mixed", "text/plain; charset=\x80",
)  # fmt: skip
_HEADERS = (
    ("Retry-After", "-1"), ("Retry-After", "soon"), ("Retry-After", "1e9"), ("Retry-After", "999999999999999999999"),
    ("Retry-After", "Wed, 21 Oct 2065 07:28:00 GMT"), ("Retry-After", "0"), ("Content-Encoding", "gzip"),
    ("Content-Encoding", "br"), ("Content-Encoding", "deflate"), ("Content-Encoding", "nonsense"),
    ("Location", "http://192.0.2.1/"), ("Date", "yesterday"), ("Set-Cookie", "a=b; Domain=example.com"),
    ("X-Noise", "é\x7f" * 500),
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 10**30, 1e300, "", "x", "\x00", "\ud800", "😀" * 50, [], {}, [[]], [None], {"Id": None},
    {"value": {}}, "9" * 400, "2026-02-31T99:99:99Z", "0001-01-01T00:00:00+14:00",
)  # fmt: skip


def fuzzed(answer: Answer, chance: Random) -> Answer:
    """The answer with one to three things wrong with it."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        answer = chance.choice(_WAYS)(answer, chance)
    return answer


def _status(answer: Answer, chance: Random) -> Answer:
    return replace(answer, status=chance.choice(_STATUSES))


def _type(answer: Answer, chance: Random) -> Answer:
    return replace(answer, content_type=chance.choice(_TYPES))


def _header(answer: Answer, chance: Random) -> Answer:
    return replace(answer, headers=answer.headers | dict([chance.choice(_HEADERS)]))


def _bytes(answer: Answer, chance: Random) -> Answer:
    body = bytearray(answer.body or b" ")
    for _ in range(chance.randrange(1, 20)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return replace(answer, body=bytes(body), gzip=None)


def _cut(answer: Answer, chance: Random) -> Answer:
    return replace(answer, body=answer.body[: chance.randrange(len(answer.body) + 1)], gzip=None)


def _other(answer: Answer, chance: Random) -> Answer:
    """Another body altogether, or the same one otherwise written."""
    body = answer.body
    text = body.decode("utf-8", "replace")
    others: tuple[Callable[[], bytes], ...] = (
        lambda: b"",
        lambda: chance.randbytes(chance.randrange(2_000)),
        lambda: body + body,
        lambda: b"\n\n" + body + b"\x00",
        lambda: text.encode("utf-16"),
        lambda: text.encode("latin-1", "replace"),
        lambda: b"[" * 100_000,
        lambda: b"[" + body + b"]",
        lambda: json.dumps(text).encode(),
        lambda: json.dumps(chance.choice(_VALUES)).encode(),
    )
    return replace(answer, body=chance.choice(others)(), gzip=None)


def _shape(answer: Answer, chance: Random) -> Answer:
    """JSON still, with a value of another kind, a key that is missing, or one that is new or called otherwise."""
    try:
        document = json.loads(answer.body)
    except (ValueError, RecursionError):
        return answer
    node = document
    while isinstance(node, (dict, list)) and node:
        key = chance.choice(list(node) if isinstance(node, dict) else range(len(node)))
        inner = node[key]
        if isinstance(inner, (dict, list)) and inner and chance.random() < 0.8:
            node = inner
            continue
        luck = chance.random()
        if luck < 0.5:
            node[key] = chance.choice(_VALUES)
        elif luck < 0.75:
            del node[key]
        elif isinstance(node, dict):
            node[f"{key}{chance.choice(['', 's', ' '])}".swapcase()] = node.pop(key)
        else:
            node.append(inner)
        break
    return replace(answer, body=json.dumps(document).encode(), gzip=None)


_WAYS = (_status, _type, _header, _bytes, _cut, _other, _shape, _shape, _shape)
