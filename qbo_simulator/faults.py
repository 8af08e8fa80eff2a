"""Which request is hit by which fault: rules and a seed, so that a storm can be had again."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from random import Random

import msgspec

from qbo_simulator.behaviour import Behaviour, Fault, FaultKind, RequestKind
from qbo_simulator.company import Company
from qbo_simulator.company.deflate import deflated, gzipped
from qbo_simulator.envelopes import Answer, forbidden, html, service_fault, throttled, unauthorized, xml_fault
from qbo_simulator.times import UTC, Clock

# These happen to an answer on its way; all others take its place.
ON_THE_WAY = frozenset(
    ["reset", "truncated", "truncated-gzip", "slow-body", "batch-item", "gzip-bomb", "endless-body", "fuzz"]
)
# And these to the page in it.
ON_A_PAGE = frozenset(["empty-page", "short-page", "zero-count", "other-key", "bom"])
_TIME = re.compile(rb',"time":"([^"]*)"\}$')


class FaultPlan:
    """Decides request by request, in the order of their arrival."""

    def __init__(self, rules: tuple[Fault, ...], seed: int) -> None:
        self._rules = rules
        self._seen = [0] * len(rules)
        self._hit = [0] * len(rules)
        self._since = time.monotonic()
        self._chance = Random(f"{seed}/faults")

    def strike(self, kind: RequestKind, about: str = "") -> Fault | None:
        """The fault this request meets; the first rule that hits decides. `about` is its address and statement."""
        struck: Fault | None = None
        for at, rule in enumerate(self._rules):
            if kind not in rule.requests if rule.requests else kind == "token":
                continue
            if rule.containing.lower() not in about.lower():
                continue
            self._seen[at] += 1
            # A draw for every rule and request, so that one rule's luck does not depend on another's.
            lucky = self._chance.random() < rule.rate
            if struck is not None or not lucky or self._seen[at] <= rule.after:
                continue
            if rule.times is not None and self._hit[at] >= rule.times:
                continue
            if rule.seconds is not None and time.monotonic() > self._since + rule.seconds:
                continue
            self._hit[at] += 1
            struck = rule
        return struck


def answer_for(fault: FaultKind, how: Behaviour, stamp: str, turn: int, token: str) -> Answer:
    """The answer that takes a request's place."""
    failed = "An application error has occurred while processing your request"
    if fault == "throttle":
        return throttle_answer(how, stamp, turn)
    if fault == "unavailable":
        return _UNAVAILABLE[turn % 2]()
    makers: dict[str, Callable[[], Answer]] = {
        "unauthorized": lambda: unauthorized(f"Token expired: {token}"),
        "unauthorized-xml": lambda: xml_fault(
            401, "100", "General Authentication Error", "AuthenticationFailed", "AuthenticationFault", stamp
        ),
        "forbidden": forbidden,
        # Captured with its type misspelt.
        "user-rights-lost": lambda: service_fault(
            500, "120", "Authorization Failure", "Authorization Failure", "AuthorizatonFault", stamp
        ),
        "company-status": lambda: service_fault(
            400,
            "6190",
            "Invalid Company Status",
            "Subscription period has ended or canceled or there was a billing problem",
            "ValidationFault",
            stamp,
        ),
        "internal-error": lambda: service_fault(
            500, "3100", "message=InternalServerError; errorCode=003100; statusCode=500", None, "SERVICE", stamp
        ),
        "system-fault": lambda: service_fault(500, "10000", failed, _NULL_POINTER, "SystemFault", stamp),
        "fault-in-200": lambda: service_fault(200, "10000", failed, _NULL_POINTER, "SystemFault", stamp),
        "gateway-timeout": lambda: xml_fault(
            504, "6002", "message=GatewayTimeout; errorCode=006002; statusCode=504", None, "SERVICE", stamp
        ),
        "bad-gateway": lambda: html(502, "502 Bad Gateway", "nginx"),
        "empty-503": lambda: Answer(503, b"", "text/plain"),
        "html-in-200": lambda: html(200, "We'll be back soon", "QuickBooks"),
    }
    return makers[fault]()


_NULL_POINTER = "System Failure Error: java.lang.NullPointerException"
_UNAVAILABLE = (
    lambda: html(503, "503 Service Temporarily Unavailable", "nginx"),
    lambda: html(503, "Service Unavailable", "Microsoft-HTTPAPI/2.0"),
)


def on_a_page(answer: Answer, fault: Fault) -> Answer:
    """The page with its fault, where it has one of those and is a page of rows."""
    body = answer.body
    if fault.kind == "bom":
        return replace(answer, body=b"\xef\xbb\xbf" + body, gzip=None)
    if fault.kind == "zero-count":
        return replace(answer, body=re.sub(rb'"totalCount":\d+', b'"totalCount":0', body), gzip=None)
    if fault.kind not in ON_A_PAGE or not answer.rows:
        return answer
    if fault.kind == "other-key":
        changed = re.sub(rb'^(\{"QueryResponse":\{"\w+)"', rb'\1Txn"', body, count=1)
        return replace(answer, body=changed, gzip=None)
    if fault.kind == "short-page":
        return replace(answer, body=_without_last_row(body), rows=answer.rows - 1, gzip=None)
    time_of = _TIME.search(body)
    ending = b"}" if time_of is None else time_of.group()
    return replace(answer, body=b'{"QueryResponse":{}' + ending, rows=0, gzip=None)


def _without_last_row(body: bytes) -> bytes:
    answer = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    page = msgspec.json.decode(answer["QueryResponse"], type=dict[str, msgspec.Raw])
    entity = next(iter(page))
    rows = msgspec.json.decode(page[entity], type=list[msgspec.Raw])[:-1]
    page |= {entity: msgspec.Raw(msgspec.json.encode(rows)), "maxResults": msgspec.Raw(str(len(rows)))}
    return msgspec.json.encode(answer | {"QueryResponse": page})


def retimed(answer: Answer, kind: str, clock: Clock) -> Answer:
    """The answer with its `time` written in another way than QuickBooks'."""
    if kind == "seen":
        return answer
    found = _TIME.search(answer.body)
    if found is None:
        return answer
    said = found.group(1).decode()
    now = datetime.fromtimestamp(clock.now(), UTC)
    written = {
        "whole": f'"{said[:19]}{said[-6:]}"',
        "utc": f'"{now.isoformat(timespec="milliseconds")[:-6]}Z"',
        "naive": f'"{said[:-6]}"',
        "milliseconds": str(int(now.timestamp() * 1000)),
        "nonsense": '"a moment ago"',
    }
    ending = f',"time":{written[kind]}}}' if kind in written else "}"
    return replace(answer, body=answer.body[: found.start()] + ending.encode(), gzip=None)


def gzip_bomb(body: bytes, megabytes: int) -> bytes:
    """A gzip file of a thousandth of its contents' size: spaces, then the body."""
    block = b" " * 1_000_000
    checksum = 0
    for _ in range(megabytes):
        checksum = zlib.crc32(block, checksum)
    pieces = [deflated(block)] * megabytes + [deflated(body)]
    return gzipped(pieces, zlib.crc32(body, checksum), megabytes * len(block) + len(body))


def throttle_answer(how: Behaviour, stamp: str, turn: int) -> Answer:
    limits = how.limits
    as_xml = limits.body == "xml" or (limits.body == "mixed" and turn % 2 == 0)
    return throttled(
        stamp,
        as_xml=as_xml,
        retry_after=limits.retry_after_seconds if limits.retry_after == "present" else None,
    )


def poisoned_slots(how: Behaviour, company: Company, seed: int) -> dict[str, frozenset[int]]:
    """By entity, the rows that break their page."""
    found: dict[str, set[int]] = {}
    for entity, count in how.poison.count.items():
        if entity in company.tables:
            table = company.tables[entity]
            found.setdefault(entity, set()).update(company.pick(table, count, Random(f"{seed}/poison/{entity}")))
    for entity, identifiers in how.poison.ids.items():
        if entity in company.tables:
            slots = (company.tables[entity].slot_of_id(identifier) for identifier in identifiers)
            found.setdefault(entity, set()).update(slot for slot in slots if slot is not None)
    return {entity: frozenset(slots) for entity, slots in found.items()}
