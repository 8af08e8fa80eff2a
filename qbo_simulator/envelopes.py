"""The bodies QuickBooks answers with: JSON with capitals from the service, JSON without from the gateway, XML, HTML.

Which one comes does not follow from what was asked for; clients met each of them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import msgspec

JSON = "application/json;charset=UTF-8"
PLAIN_JSON = "application/json"  # of errors
XML = "application/xml;charset=UTF-8"
HTML = "text/html"
_PROLOGUE = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>'
_NAMESPACE = "http://schema.intuit.com/finance/v3"


@dataclass
class Answer:
    """A whole answer. `gzip` is the body compressed already, where pages have it."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    gzip: bytes | None = None


def service_fault(
    status: int, code: str, message: str, detail: str | None, fault_type: str, stamp: str, *, as_xml: bool = False,
    element: str | None = None,
) -> Answer:  # fmt: skip
    """The service's own: `Fault` and `Error` with capitals, `time` Pacific."""
    if as_xml:
        return xml_fault(status, code, message, detail, fault_type, stamp, element)
    error = {"Message": message} | ({} if detail is None else {"Detail": detail}) | {"code": code}
    error |= {} if element is None else {"element": element}
    body = {"Fault": {"Error": [error], "type": fault_type}, "time": stamp}
    return Answer(status, msgspec.json.encode(body), JSON if status == 200 else PLAIN_JSON)


def invalid_id(supplied: str) -> Answer:
    """400, code 2030: what should be an Id is no number. The only one of the service's bodies without `time`."""
    error = {"Message": "Invalid ID", "Detail": f"Id should be a valid number. Supplied value:{supplied}"}
    body = {"Fault": {"Error": [error | {"code": "2030", "element": "Id"}], "type": "ValidationFault"}}
    return Answer(400, msgspec.json.encode(body), PLAIN_JSON)


def gateway_fault(status: int, code: str, name: str, detail: str | None, fault_type: str) -> Answer:
    """The gateway's: everything in lower case, `time` a number of milliseconds since 1970."""
    message = f"message={name}; errorCode={code.zfill(6)}; statusCode={status}"
    body: dict[str, Any] = {
        "warnings": None,
        "intuitObject": None,
        "fault": {
            "error": [{"message": message, "detail": detail, "code": code, "element": None}],
            "type": fault_type,
        },
        "report": None,
        "queryResponse": None,
        "batchItemResponse": [],
        "attachableResponse": [],
        "syncErrorResponse": None,
        "requestId": None,
        "time": int(time.time() * 1000),
        "status": None,
        "cdcresponse": [],
    }
    return Answer(status, msgspec.json.encode(body), PLAIN_JSON)


def xml_fault(
    status: int, code: str, message: str, detail: str | None, fault_type: str, stamp: str, element: str | None = None
) -> Answer:
    about = "" if element is None else f" element={quoteattr(element)}"
    told = "" if detail is None else f"<Detail>{escape(detail)}</Detail>"
    body = (
        _PROLOGUE + f"<IntuitResponse time={quoteattr(stamp)} xmlns={quoteattr(_NAMESPACE)}>"
        f"<Fault type={quoteattr(fault_type)}><Error code={quoteattr(code)}{about}>"
        f"<Message>{escape(message)}</Message>{told}</Error></Fault></IntuitResponse>"
    )
    return Answer(status, body.encode(), "application/xml" if status == 400 else XML)


def throttled(stamp: str, *, as_xml: bool, retry_after: int | None) -> Answer:
    """429, code 3001. The XML form was captured; the JSON form is the gateway's, as it came with other codes."""
    detail = "The request limit was reached.  Try again later"
    if as_xml:
        message = "message=ThrottleExceeded; errorCode=003001; statusCode=429"
        answer = xml_fault(429, "3001", message, detail, "SERVICE", stamp)
    else:
        answer = gateway_fault(429, "3001", "ThrottleExceeded", detail, "SERVICE")
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


def unauthorized(detail: str) -> Answer:
    """401. The real one's Detail holds the expired token, and so does this."""
    answer = gateway_fault(401, "3200", "AuthenticationFailed", detail, "AUTHENTICATION")
    answer.headers["WWW-Authenticate"] = 'Bearer realm="Intuit", error="invalid_token"'
    return answer


def forbidden() -> Answer:
    """403: the realm, the environment or the scope is not this token's."""
    return gateway_fault(403, "3100", "ApplicationAuthorizationFailed", None, "SERVICE")


def html(status: int, title: str, server: str) -> Answer:
    body = (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n"
        f"<hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    )
    return Answer(status, body.encode(), HTML)


def xml_document(answer: dict[str, Any], stamp: str) -> bytes:
    """A JSON answer's content as the XML a client gets that did not ask for JSON."""
    parts = [
        _PROLOGUE,
        f"<IntuitResponse xmlns={quoteattr(_NAMESPACE)} time={quoteattr(stamp)}>",
    ]
    for name, value in answer.items():
        if name != "time":
            _element(name, value, parts)
    parts.append("</IntuitResponse>")
    return "".join(parts).encode(errors="replace")


_ATTRIBUTES = frozenset(
    ["domain", "sparse", "status", "startPosition", "maxResults", "totalCount", "type", "name", "bId"]
)


def _element(tag: str, value: Any, parts: list[str]) -> None:
    if isinstance(value, list):
        for member in value:
            _element(tag, member, parts)
        return
    if not isinstance(value, dict):
        text = str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
        parts.append(f"<{tag}>{escape(text)}</{tag}>")
        return
    attributes = "".join(
        f" {key}={quoteattr(str(inner).lower() if isinstance(inner, bool) else str(inner))}"
        for key, inner in value.items()
        if key in _ATTRIBUTES and not isinstance(inner, (dict, list))
    )
    parts.append(f"<{tag}{attributes}>")
    for key, inner in value.items():
        if key == "value":
            parts.append(escape(str(inner)))
        elif key not in _ATTRIBUTES or isinstance(inner, (dict, list)):
            _element(key, inner, parts)
    parts.append(f"</{tag}>")
