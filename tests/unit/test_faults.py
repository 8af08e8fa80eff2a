"""Every shape of answer that QuickBooks is known to give, and what it means for the run."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_extractor.qbo.faults import (
    AuthorizationFault,
    FaultText,
    PageFault,
    QboFault,
    QueryRefusedFault,
    ThrottledFault,
    TokenExpiredFault,
    TransientFault,
    classify,
    read_fault,
    redact,
)

TIME = "2026-11-24T02:30:00.123-08:00"
# Invented, in the shapes of Intuit's: an access token (JWE), an old access token, a refresh token.
JWE = "eyJlbmMiOiJBMTI4Q0JDLUhTMjU2IiwiYWxnIjoiZGlyIn0..x0nXqQ8R2tV5vW7yZ1aB3c.dE4fG-5hI6jK_7lM8nO9pQ0r.sT1uV2wX3yZ4"
OLD_ACCESS = "lvprdAbCdEfGhIjKlMnOpQrStUvWxYz0123456789abcdefGHIJKLmnop"
REFRESH = "AB11234567890abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"
TOKENS = [JWE, OLD_ACCESS, REFRESH, "RT1-85-H0-1772012345abcdefgh"]


def upper(code: str, message: str, detail: str | None = "", kind: str = "ValidationFault", **more: object) -> bytes:
    """The envelope of QuickBooks itself."""
    error = {"Message": message, "Detail": detail, "code": code, "element": "", **more}
    return json.dumps({"Fault": {"Error": [error], "type": kind}, "time": TIME}).encode()


def lower(code: str, message: str, detail: str | None = None, kind: str = "SERVICE") -> bytes:
    """The envelope of Intuit's gateway: lower case, and its time is a number."""
    error = {"message": message, "detail": detail, "code": code, "element": None}
    return json.dumps(
        {
            "warnings": None,
            "intuitObject": None,
            "fault": {"error": [error], "type": kind},
            "report": None,
            "queryResponse": None,
            "time": 1601391072830,
        }
    ).encode()


def xml(code: str, message: str, kind: str, detail: str = "") -> bytes:
    detail = f"<Detail>{detail}</Detail>" if detail else ""
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        f'<IntuitResponse time="{TIME}" xmlns="http://schema.intuit.com/finance/v3">\n'
        f'  <Fault type="{kind}">\n    <Error code="{code}">\n      <Message>{message}</Message>{detail}\n'
        "    </Error>\n  </Fault>\n</IntuitResponse>"
    ).encode()


NGINX = (
    b"<html>\r\n<head><title>503 Service Temporarily Unavailable</title></head>\r\n"
    b"<body><center><h1>503</h1></center></body></html>"
)
IIS = b'<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01//EN"><HTML><HEAD><TITLE>Service Unavailable</TITLE></HEAD></HTML>'
BACK_SOON = b"<!DOCTYPE html><html><head><title>QuickBooks is down, back soon</title></head></html>"

TABLE = [
    # 400: the query.
    (400, upper("4000", "Error parsing query", "QueryParserError: Encountered ..."), QueryRefusedFault, "4000"),
    (400, upper("4001", "Invalid query", "QueryValidationError: value 0 is too small"), QueryRefusedFault, "4001"),
    (400, upper("2010", "Request has invalid or unsupported property"), QueryRefusedFault, "2010"),
    (400, upper("2030", "Invalid ID"), QueryRefusedFault, "2030"),
    (400, upper("610", "Object Not Found"), QueryRefusedFault, "610"),
    (400, upper("0500", "Unsupported Operation"), QueryRefusedFault, "500"),
    (400, b"", QueryRefusedFault, ""),
    (404, b"<html><title>Not Found</title></html>", QueryRefusedFault, ""),
    (405, b"", QueryRefusedFault, ""),
    (413, b"", QueryRefusedFault, ""),
    # 400 that says one stored record is broken.
    (400, upper("4002", "Error processing query", kind="Service"), PageFault, "4002"),
    # The company or the user is refused.
    (400, upper("6190", "Invalid Company Status", "Subscription period has ended"), AuthorizationFault, "6190"),
    (200, upper("6190", "Invalid Company Status"), AuthorizationFault, "6190"),
    (401, upper("120", "AuthorizationFailure", kind="AuthorizationFault"), AuthorizationFault, "120"),
    (401, upper("000120", "AuthorizationFailure", kind="AuthorizationFault"), AuthorizationFault, "120"),
    (403, lower("3100", "message=ApplicationAuthorizationFailed; errorCode=003100"), AuthorizationFault, "3100"),
    (403, b"", AuthorizationFault, ""),
    (403, b"<html><title>Forbidden</title></html>", AuthorizationFault, ""),
    # The token.
    (401, lower("3200", "message=AuthenticationFailed", "Token expired", "AUTHENTICATION"), TokenExpiredFault, "3200"),
    (401, lower("003200", "message=AuthenticationFailed", None, "AUTHENTICATION"), TokenExpiredFault, "3200"),
    (401, xml("100", "General Authentication Error", "AuthenticationFault"), TokenExpiredFault, "100"),
    (401, b"", TokenExpiredFault, ""),
    (403, lower("3200", "message=AuthenticationFailed"), TokenExpiredFault, "3200"),
    (200, lower("3200", "message=AuthenticationFailed"), TokenExpiredFault, "3200"),
    # The throttle, in every shape it has come in.
    (429, xml("3001", "message=ThrottleExceeded; errorCode=003001; statusCode=429", "SERVICE"), ThrottledFault, "3001"),
    (429, lower("3001", "message=ThrottleExceeded; errorCode=003001; statusCode=429"), ThrottledFault, "3001"),
    (429, lower("003001", "message=ThrottleExceeded"), ThrottledFault, "3001"),
    (429, upper("3001", "ThrottleExceeded", kind="SERVICE"), ThrottledFault, "3001"),
    (429, b"", ThrottledFault, ""),
    (429, b"<html><title>Too Many Requests</title></html>", ThrottledFault, ""),
    (403, xml("3001", "message=ThrottleExceeded; errorCode=003001", "SERVICE"), ThrottledFault, "3001"),
    (403, b"message=ThrottleExceeded; errorCode=003001; statusCode=403", ThrottledFault, ""),
    (200, lower("3001", "message=ThrottleExceeded"), ThrottledFault, "3001"),
    (503, xml("3001", "message=ThrottleExceeded; errorCode=003001", "SERVICE"), ThrottledFault, "3001"),
    # A page that Intuit can't serve.
    (500, upper("10000", "An application error has occurred", kind="SystemFault"), PageFault, "10000"),
    (500, xml("10000", "An application error has occurred", "SystemFault", "System Failure"), PageFault, "10000"),
    (200, upper("10000", "An application error has occurred", kind="SystemFault"), PageFault, "10000"),
    (504, xml("6002", "GatewayTimeout", "SERVICE"), PageFault, "6002"),
    (504, b"", PageFault, ""),
    (504, b"<html><title>504 Gateway Time-out</title></html>", PageFault, ""),
    # Servers that are down.
    (500, lower("3100", "message=InternalServerError; errorCode=003100; statusCode=500"), TransientFault, "3100"),
    (500, upper("120", "AuthorizationFailure", kind="AuthorizatonFault"), TransientFault, "120"),
    (500, b"", TransientFault, ""),
    (500, b'{"Fault":{"Error":[{"Message":"An app', TransientFault, ""),
    (502, NGINX, TransientFault, ""),
    (502, b"", TransientFault, ""),
    (503, NGINX, TransientFault, ""),
    (503, IIS, TransientFault, ""),
    (503, b"", TransientFault, ""),
    (599, b"", TransientFault, ""),
    (408, b"", TransientFault, ""),
    # 200 with something else than a page.
    (200, BACK_SOON, TransientFault, ""),
    (200, b"", TransientFault, ""),
    (200, b"null", TransientFault, ""),
    (200, b"{}", TransientFault, ""),
    (200, b'{"time":"2026-11-24T02:30:00.123-08:00"}', TransientFault, ""),
    (200, b'{"warnings":null,"queryResponse":null}', TransientFault, ""),
    (200, upper("4001", "Invalid query"), QueryRefusedFault, "4001"),
    (200, upper("5010", "Stale Object Error"), TransientFault, "5010"),
    (204, b"", TransientFault, ""),
    # A page under another status, and somebody else's login page.
    (500, b'{"QueryResponse":{},"time":"2026-11-24T02:30:00.123-08:00"}', TransientFault, ""),
    (301, b"", TransientFault, ""),
    (302, b"<html><title>Sign in</title></html>", TransientFault, ""),
]


@pytest.mark.parametrize(
    ("status", "body", "kind", "code"),
    TABLE,
    ids=[f"{status}-{code or number}" for number, (status, _, _, code) in enumerate(TABLE)],
)
def test_an_answer_is_the_fault_that_it_is(status: int, body: bytes, kind: type[QboFault], code: str) -> None:
    fault = classify(status, {"intuit_tid": "1-65a-3f"}, body)
    assert type(fault) is kind
    assert fault is not None
    assert (fault.status, fault.code, fault.tid) == (status, code, "1-65a-3f")
    assert str(fault).endswith("(intuit_tid 1-65a-3f)")
    assert f"HTTP {status}" in str(fault)
    assert "\n" not in str(fault)


@pytest.mark.parametrize(
    "body",
    [
        b'{"QueryResponse":{},"time":"2026-11-24T02:30:00.123-08:00"}',
        b'{"QueryResponse":{"totalCount":41},"time":"2026-11-24T02:30:00.123-08:00"}',
        b' \n{ "time":"2026-11-24T02:30:00.123-08:00", "QueryResponse" : {"Invoice":[{"Id":"1"}]} }',
        # Records that speak of faults are no fault.
        b'{"QueryResponse":{"Item":[{"Id":"1","Name":"Fault"}],"startPosition":1,"maxResults":1}}',
        b'{"QueryResponse":{"Item":[{"Name":"fault","Description":"\\"Fault\\": 3001 ThrottleExceeded","Id":"1"}]}}',
    ],
)
def test_a_page_is_no_fault_whatever_its_records_say(body: bytes) -> None:
    assert classify(200, {}, body) is None


def test_a_fault_beside_an_empty_page_is_a_fault() -> None:
    body = upper("10000", "An application error has occurred").replace(b'{"Fault"', b'{"QueryResponse":{},"Fault"')
    assert type(classify(200, {}, body)) is PageFault


def test_a_page_fault_can_be_retried_and_a_refused_query_cant() -> None:
    assert issubclass(PageFault, TransientFault)
    for ends in (QueryRefusedFault, AuthorizationFault, ThrottledFault, TokenExpiredFault):
        assert not issubclass(ends, TransientFault)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("60", 60.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("3600", 3600.0),
        ("3601", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_retry_after_is_taken_when_it_is_a_sane_number_of_seconds(header: str | None, seconds: float | None) -> None:
    fault = classify(429, {} if header is None else {"Retry-After": header}, b"")
    assert isinstance(fault, ThrottledFault)
    assert fault.retry_after == seconds


def test_an_answer_without_a_transaction_id_says_none() -> None:
    fault = classify(503, {}, b"")
    assert fault is not None
    assert fault.tid == ""
    assert str(fault) == "QuickBooks answered HTTP 503"


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (upper("4000", "Error parsing query", "at line 1"), "4000", "Error parsing query; at line 1"),
        (upper("4000", "Error  parsing\n query", None), "4000", "Error parsing query"),
        (lower("003200", "AuthenticationFailed", None), "3200", "AuthenticationFailed"),
        (xml("003001", "ThrottleExceeded", "SERVICE", "60 s"), "3001", "ThrottleExceeded; 60 s"),
        (NGINX, "", "503 Service Temporarily Unavailable"),
        (b"", "", ""),
        (b"plain words", "", "plain words"),
        (b"\xff\xfe broken", "", "�� broken"),
        (b'{"Fault":{"Error":[]}}', "", ""),
        (b'{"Fault":{"Error":null}}', "", ""),
        (b'{"Fault":null}', "", ""),
        (b'{"Fault":"none"}', "", ""),
        (b'{"Fault":{"Error":["text"]}}', "", ""),
        (b'{"Fault":{"Error":[{"code":4000}]}}', "4000", ""),
        (b'{"Fault":{"Error":[{"code":"10000","Message":"An applic', "10000", "a cut-off JSON body"),
        (b"[1, 2]", "", "[1, 2]"),
    ],
)
def test_the_words_of_a_fault_are_found_in_every_shape(body: bytes, code: str, text: str) -> None:
    assert read_fault(body) == FaultText(code, text)


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500, 504])
def test_no_token_that_an_answer_repeats_reaches_a_message(token: str, status: int) -> None:
    detail = f"Token expired: {token}"
    for body in (
        lower("3200", "message=AuthenticationFailed; errorCode=003200; statusCode=401", detail),
        upper("3200", f"Authorization: Bearer {token}", detail),
        xml("100", f"token={token}", "AuthenticationFault", detail),
        f"<html><title>{token}</title></html>".encode(),
        detail.encode(),
        f"{'x ' * 150}{token}".encode(),
        lower("3200", "x" * 20 + " " * 40 + "y " * 120, detail),
    ):
        fault = classify(status, {}, body)
        assert fault is not None
        said = str(fault) + repr(fault)
        for length in (len(token), 30, 20):
            assert token[:length] not in said
            assert token[-length:] not in said


@given(st.sampled_from(TOKENS), st.text(max_size=20), st.text(max_size=20))
def test_a_token_is_redacted_whatever_stands_round_it(token: str, before: str, after: str) -> None:
    assert token not in redact(f"{before} {token} {after}")


def test_what_is_no_token_is_left_to_read() -> None:
    text = "QueryParserError: Encountered <IDENTIFIER> at line 1, column 45, errorCode=003200 1-65a1b2c3-4d5e6f7a8b9c"
    assert redact(text) == text


@given(st.integers(100, 599), st.binary(max_size=200))
def test_whatever_bytes_come_they_are_a_page_or_a_fault_in_one_line(status: int, body: bytes) -> None:
    for shape in (body, b'{"Fault":' + body, b"<Fault>" + body, b'{"QueryResponse"' + body):
        fault = classify(status, {}, shape)
        assert fault is None or "\n" not in str(fault)


@pytest.mark.parametrize(
    "body",
    [b'{"a":' + b"[" * 15_000, *(b'{"a":' + b"[" * depth + b"]" * depth + b"}" for depth in (450, 700, 7_000))],
    ids=["cut off", "450 deep", "700 deep", "7000 deep"],
)
def test_a_body_nested_without_end_is_a_fault_too(body: bytes) -> None:
    assert type(classify(500, {}, body)) is TransientFault


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (299, TransientFault),
        (300, TransientFault),
        (399, TransientFault),
        (400, QueryRefusedFault),
        (408, TransientFault),
        (499, QueryRefusedFault),
        (500, TransientFault),
        (599, TransientFault),
    ],
)
def test_each_class_of_status_begins_and_ends_where_http_says(status: int, kind: type[QboFault]) -> None:
    fault = classify(status, {}, b"")
    assert type(fault) is kind
    assert ("a redirect, which is not followed" in str(fault)) == (300 <= status < 400)
    assert fault.status == status


def test_a_fault_that_no_answer_brought_has_no_status() -> None:
    assert TransientFault("the connection failed").status == 0


def test_of_several_errors_the_first_is_told() -> None:
    first: object = {"Message": "first", "code": "4001"}
    for second in ({"Message": "second", "code": "4000"}, "no error at all", None):
        body = json.dumps({"Fault": {"Error": [first, second]}}).encode()
        assert read_fault(body) == FaultText("4001", "first")


@pytest.mark.parametrize(("body", "longest"), [(b"abcdef " * 500, 200), (upper("10000", "abcdef " * 500), 300)])
def test_long_words_of_a_fault_are_cut(body: bytes, longest: int) -> None:
    assert len(read_fault(body).text) == longest


@pytest.mark.parametrize("status", [200, 400, 401, 403])
@pytest.mark.parametrize("code", ["3200", "003200", "100"])
def test_an_expired_token_is_known_by_its_code_under_every_status_it_was_seen_with(status: int, code: str) -> None:
    assert isinstance(classify(status, {}, lower(code, "message=AuthenticationFailed")), TokenExpiredFault)


@pytest.mark.parametrize("harmful", ["\x00", "\x1b[2J", "\x9b31m", "\ud800", "\r\n", "\u202e", "\x1b]0;title\x07"])
def test_harmful_text(harmful: str) -> None:
    """Whatever an answer says or is called, a fault is one line that Postgres and a terminal can take."""
    words = upper("10000", f"An{harmful}error", f"{harmful}detail")
    for body in (words, xml("10000", "A", "B").replace(b"A", harmful.encode("utf-8", "surrogatepass"))):
        fault = classify(500, {"intuit_tid": f"1-65a{harmful}-3f"}, body)
        assert fault is not None
        assert str(fault).isprintable()
        assert fault.tid.isprintable()
        str(fault).encode()


def test_no_end() -> None:
    """Words, codes and transaction ids are bounded."""
    fault = QboFault("x" * 10**6, code="1" * 10**6, tid="y" * 10**6)
    assert (len(str(fault)) < 1_200, len(fault.code), len(fault.tid)) == (True, 20, 100)


def test_token_in_escape_sequences() -> None:
    """A token that is broken up by escape sequences is redacted all the same."""
    broken = REFRESH[:9] + "\x1b[0m" + REFRESH[9:]
    assert "[redacted]" in str(classify(500, {}, upper("10000", broken)))


def test_byte_order_mark() -> None:
    """A BOM before a page or a fault changes neither."""
    assert classify(200, {}, b'\xef\xbb\xbf{"QueryResponse":{}}') is None
    assert type(classify(200, {}, b"\xef\xbb\xbf" + upper("10000", "An error"))) is PageFault
