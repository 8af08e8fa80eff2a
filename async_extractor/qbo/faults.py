"""What can go wrong between us and Intuit, and what each means for the run. One cause each.

QboFault
├── TransientFault      retried with backoff: 5xx, HTML or cut-off bodies, resets, time-outs
│   └── PageFault       10000, 4002, 504, or a whole 200 that can't be decoded: retried; when it stays, the page is
│                       split down to the record
├── ThrottledFault      429: pauses the whole company, then retried
├── TokenExpiredFault   401: the access token is refreshed once and the request sent again
├── QueryRefusedFault   400: the query is wrong, so the chunk fails; sending it again can't help
├── AuthorizationFault  ends the run (exit 4): the connection, the credentials or the company is refused
└── UnavailableFault    ends the run (exit 3, resumable): an outage or a throttle that doesn't end
    └── StoppedFault    the run was told to stop while it waited

Bodies come in every shape: `Fault` and `fault`, XML, HTML, or nothing, under any status, 200 included.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from async_extractor.printable import printable

# Intuit's own are of 36 characters or so.
LONGEST_TID = 100


class QboFault(Exception):  # noqa: N818 - Fault is Intuit's own word for it
    """An answer, or its absence, that isn't the page asked for. `tid` is Intuit's transaction id for their support."""

    def __init__(self, message: str, *, status: int = 0, code: str = "", tid: str = "") -> None:
        super().__init__(printable(message, 1_000))
        self.status = status
        self.code = printable(code, 20)
        self.tid = printable(tid, LONGEST_TID)

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text} (intuit_tid {self.tid})" if self.tid else text


class TransientFault(QboFault):
    """Worth another try."""


class PageFault(TransientFault):
    """Intuit can't serve this page, or serves it as what can't be decoded: perhaps one record in it is broken.

    `body` is what came where that can't be decoded.
    """

    body: bytes | None = None


class ThrottledFault(QboFault):
    """429. `retry_after` is Intuit's own wish in seconds, None where it gave none."""

    retry_after: float | None = None


class TokenExpiredFault(QboFault):
    """401: the access token has expired or was revoked."""


class QueryRefusedFault(QboFault):
    """400: Intuit refuses the query itself."""


class AuthorizationFault(QboFault):
    """The connection, the credentials or the company is refused; somebody must act."""


class UnavailableFault(QboFault):
    """QuickBooks has been out of reach, or throttling, for too long."""


class StoppedFault(UnavailableFault):
    """The run was told to stop, and QuickBooks was asked no more."""


# The credentials that error bodies have been seen to repeat: Intuit's 401 quotes the access token.
_TOKEN_LIKE = re.compile(r"(?:eyJ|AB1|RT1)[\w.\-]{8,}|[\w\-]{40,}(?:\.[\w\-]+)*|Bearer\s+\S+", re.IGNORECASE)

# Intuit's error-codes page and captured bodies.
_PAGE_CODES = {"10000", "4002", "6002"}
_AUTHORIZATION_CODES = {"3100", "6190", "120"}
_EXPIRED_CODES = {"3200", "100"}
_THROTTLE_CODES = {"3001"}


# What QuickBooks says of an entity that a company doesn't have: Intuit's error-codes page ("a feature for which your
# product is not entitled", "feature not supported", "unsupported operation"), and the words of a refused FROM.
_NOT_OFFERED_CODES = {"5020", "5030", "500"}
_NOT_OFFERED_WORDS = re.compile(r"invalid context declaration|metadata not found for entity", re.IGNORECASE)


def says_not_offered(fault: QboFault) -> bool:
    """Whether an answer says that the company has no such entity, and not that the query is wrong."""
    if fault.status not in (400, 403):
        return False
    return fault.code in _NOT_OFFERED_CODES or (fault.code == "4001" and bool(_NOT_OFFERED_WORDS.search(str(fault))))


@dataclass(frozen=True)
class FaultText:
    """What an error body says: Intuit's code without leading zeros, and its words on one line, no token in them."""

    code: str
    text: str


def classify(status: int, headers: Mapping[str, str], body: bytes) -> QboFault | None:
    """The fault that an answer of the query endpoint is, or None for a page."""
    tid = headers.get("intuit_tid", "")
    head = body[:2000].removeprefix(codecs.BOM_UTF8).lstrip()
    if (
        status == 200
        and head[:1] == b"{"
        and (b'"QueryResponse"' in head[:400] or b'"CDCResponse"' in head[:400])
        and not re.search(rb'"[Ff]ault"\s*:', head[:400])  # as a key: a customer may be named Fault
    ):
        return None
    told = read_fault(body)
    what = f"HTTP {status}" + (f", code {told.code}" if told.code else "") + (f": {told.text}" if told.text else "")
    code = told.code

    def fault(kind: type[QboFault], text: str = what) -> QboFault:
        return kind(f"QuickBooks answered {text}", status=status, code=code, tid=tid)

    if status == 429 or code in _THROTTLE_CODES or "ThrottleExceeded" in told.text:
        throttled = ThrottledFault(f"QuickBooks answered {what}", status=status, code=code, tid=tid)
        throttled.retry_after = _seconds(headers.get("Retry-After"))
        return throttled
    if status == 401 and code == "120":
        return fault(AuthorizationFault)
    if status == 401 or (code in _EXPIRED_CODES and status in (200, 400, 403)):
        return fault(TokenExpiredFault)
    if code in _PAGE_CODES or status == 504:
        return fault(PageFault)
    if status >= 500:
        # 3100 and 120 under a 5xx have been seen to pass by themselves.
        return fault(TransientFault)
    if status == 403 or code in _AUTHORIZATION_CODES:
        return fault(AuthorizationFault)
    if status >= 400 and status != 408:
        return fault(QueryRefusedFault)
    if 300 <= status < 400:
        return fault(TransientFault, f"HTTP {status}, a redirect, which is not followed")
    if told.code:
        return fault(QueryRefusedFault if code.startswith(("4", "2")) else TransientFault)
    return fault(TransientFault, f"HTTP {status} with a body that is not a page")


def read_fault(body: bytes) -> FaultText:
    """Intuit's code and words from a body in JSON (either case), XML, HTML, or nothing."""
    text = body[:20_000].decode("utf-8-sig", "replace")
    stripped = text.lstrip()
    if stripped.startswith("{"):
        return _from_json(stripped)
    if stripped.startswith("<"):
        code = re.search(r'<Error[^>]*\bcode="(\d+)"', stripped)
        words = [re.search(rf"<{tag}>(.*?)</{tag}>", stripped, re.DOTALL) for tag in ("Message", "Detail", "title")]
        return FaultText(_short_code(code[1]) if code else "", _clean("; ".join(match[1] for match in words if match)))
    return FaultText("", _clean(stripped[:200]))


def _from_json(text: str) -> FaultText:
    try:
        low = _lower_keys(json.loads(text))
    except (ValueError, RecursionError):
        match = re.search(r'"code"\s*:\s*"(\d+)"', text)
        return FaultText(_short_code(match[1]) if match else "", "a cut-off JSON body")
    fault = low.get("fault") or {}
    errors = fault.get("error") if isinstance(fault, dict) else None
    error = errors[0] if isinstance(errors, list) and errors and isinstance(errors[0], dict) else {}
    words = [str(error[key]) for key in ("message", "detail") if error.get(key)]
    return FaultText(_short_code(str(error.get("code") or "")), _clean("; ".join(words)))


def _lower_keys(value: object) -> dict[str, object]:
    def lower(inner: object) -> object:
        if isinstance(inner, dict):
            return {str(key).lower(): lower(item) for key, item in inner.items()}
        if isinstance(inner, list):
            return [lower(item) for item in inner]
        return inner

    lowered = lower(value)
    return lowered if isinstance(lowered, dict) else {}


def _short_code(code: str) -> str:
    return printable(code.lstrip("0"), 20)


def _clean(text: str) -> str:
    without_tags = re.sub(r"<[^>]*>", " ", text)
    # Redacted when escape sequences inside a token are gone, and cut only then.
    return printable(redact(printable(" ".join(without_tags.split()), 20_000)))


def redact(text: str) -> str:
    """The text with whatever looks like a token taken out."""
    return _TOKEN_LIKE.sub("[redacted]", text)


def _seconds(value: str | None) -> float | None:
    try:
        seconds = float(value) if value is not None else None
    except ValueError:
        return None
    return seconds if seconds is not None and 0 <= seconds <= 3600 else None
