"""Recorded requests sent again, over the recorded rows: what the simulator answers, held against the answer.

Times, amounts of work and ids of requests are compared by their shape. Writes, reports and uploads are not sent.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from qbo_simulator import Control, Simulator, SimulatorConfig, run_in_thread
from qbo_simulator.changes import ControlError
from qbo_simulator.fidelity.coverage import records
from qbo_simulator.fidelity.recordings import Exchange
from qbo_simulator.query.properties import RESPONSE_KEYS

_PAGING = re.compile(r"\s+(?:STARTPOSITION|MAXRESULTS)\s+\d+", re.IGNORECASE)
_START = re.compile(r"\bSTARTPOSITION\s+(\d+)", re.IGNORECASE)
_ORDER = re.compile(r"\bORDER\s*BY\s+([\w.]+)", re.IGNORECASE)
_COUNT = re.compile(r"count\s*\(", re.IGNORECASE)
# Intuit's own headers; others are a proxy's or the connection's.
_HEADERS = ("intuit_tid", "qbo_version", "cache_control", "expires", "www_authenticate", "retry_after")
# Intuit added these over the years, so that an old recording lacks them.
_LATER_HEADERS = (
    "service_time", "x_spanid", "x_amzn_trace_id", "x_request_id", "x_intuit_upstream_locality_region",
    "x_envoy_upstream_service_time",
)  # fmt: skip


@dataclass
class Replay:
    """What came of one request: `skipped` says why it was not sent, else `differences` what differs, field by field."""

    exchange: Exchange
    skipped: str = ""
    differences: list[str] = field(default_factory=list)


def replay(found: Iterable[Exchange]) -> Iterator[Replay]:
    """Every request that is known, sent to a simulator of its own."""
    asked = [exchange for exchange in found if exchange.method]
    config = SimulatorConfig(
        invoices=0, customers=0, items=0, limits=False, switches={"cdc": {"older": "accepted"}, "answers": {}}
    )
    with run_in_thread(config) as simulator:
        client = _Client(simulator)
        for group in _walks(asked):
            planted = False
            for exchange in group:
                outcome = Replay(exchange, _why_not(exchange))
                if not outcome.skipped:
                    if not planted:
                        planted = True
                        outcome.skipped = client.plant(group)
                    if not outcome.skipped:
                        status, headers, body = client.send(exchange)
                        outcome.differences = list(_differences(exchange, status, headers, body))
                yield outcome


def _walks(asked: list[Exchange]) -> Iterator[list[Exchange]]:
    """Requests one by one, and the pages of one statement together."""
    walk: list[Exchange] = []
    core = ""
    for exchange in asked:
        statement = _statement(exchange)
        start = _START.search(statement)
        own = _PAGING.sub("", statement)
        if walk and start is not None and int(start.group(1)) > 1 and own == core:
            walk.append(exchange)
            continue
        if walk:
            yield walk
        walk, core = [exchange], own
    if walk:
        yield walk


def _statement(exchange: Exchange) -> str:
    if not exchange.target.startswith("query"):
        return ""
    return parse_qs(urlsplit(exchange.target).query).get("query", [exchange.body])[0]


def _why_not(exchange: Exchange) -> str:
    path = urlsplit(exchange.target).path
    if path.startswith("reports/"):
        return "a report"
    if exchange.method != "GET" and path != "query" and exchange.status == 200:
        return "a write, or a batch with writes"
    if path.startswith("upload") or exchange.method not in ("GET", "POST"):
        return "not an accounting request"
    return "" if path else "no address"


class _Client:
    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._control = Control(simulator.url)
        address = urlsplit(simulator.url)
        self._connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
        self._token = self._refreshed(simulator.config)

    def _refreshed(self, config: SimulatorConfig) -> str:
        client = base64.b64encode(f"{config.client_id}:{config.client_secret}".encode()).decode()
        headers = {"Authorization": f"Basic {client}", "Content-Type": "application/x-www-form-urlencoded"}
        form = f"grant_type=refresh_token&refresh_token={config.refresh_token}"
        self._connection.request("POST", "/oauth2/v1/tokens/bearer", form, headers)
        return str(json.loads(self._connection.getresponse().read())["access_token"])

    def plant(self, group: list[Exchange]) -> str:
        """Give the company the rows of these answers and no others; why that can't be."""
        rows: dict[str, dict[str, dict[str, Any]]] = {}
        for exchange in group:
            for key, record in records(exchange.document):
                entity = next((name for name, under in RESPONSE_KEYS.items() if under == key), key)
                rows.setdefault(entity, {})[str(record["Id"])] = record
        try:
            for entity, found in rows.items():
                planted = [{"payload": json.dumps(record, separators=(",", ":"))} for record in found.values()]
                self._control.ask("load", {"entity": entity, "replace": True, "records": planted})
        except ControlError as error:
            return f"can't be planted: {error}"
        return ""

    def send(self, exchange: Exchange) -> tuple[int, dict[str, str], bytes]:
        headers = {
            "Authorization": f"Bearer {'expired' if exchange.status == 401 else self._token}",
            "Accept": "application/xml" if exchange.answer.lstrip()[:1] == b"<" else "application/json",
            "Content-Type": "application/text",
        }
        realm = "1" if exchange.status == 403 else self._simulator.realm_id
        target = f"/v3/company/{realm}/{exchange.target}"
        body = exchange.body.encode() if exchange.method == "POST" else None
        self._connection.request(exchange.method, target, body, headers)
        response = self._connection.getresponse()
        return response.status, {key.lower(): value for key, value in response.getheaders()}, response.read()


def _differences(exchange: Exchange, status: int, headers: dict[str, str], body: bytes) -> Iterator[str]:
    if status != exchange.status:
        yield f"status: {exchange.status} there, {status} here"
    yield from _header_differences(exchange.headers or {}, headers)
    there, here = exchange.document, Exchange("", "", "", "", status, None, body).document
    if _COUNT.search(_statement(exchange)):
        there, here = _shape(there), _shape(here)
    ordered = _ORDER.search(_statement(exchange))
    yield from _fields(there, here, "", ordered.group(1).lower() if ordered else "")


def _header_differences(there: dict[str, str], here: dict[str, str]) -> Iterator[str]:
    """Which of Intuit's headers are there, and the content type. Recordings without a tid were trimmed."""
    there = {name.replace("-", "_"): value for name, value in there.items()}
    here = {name.replace("-", "_"): value for name, value in here.items()}
    if "intuit_tid" in there:
        for name in (*_HEADERS, *_LATER_HEADERS):
            if name in there and name not in here:
                yield f"header {name}: there, not here"
            elif name in here and name not in there and name not in _LATER_HEADERS:
                yield f"header {name}: here, not there"
    kinds = [found.get("content_type", "").lower().replace(" ", "") for found in (there, here)]
    if kinds[0] and kinds[0] != kinds[1]:
        yield f"content-type: {kinds[0]} there, {kinds[1]} here"


def _fields(there: Any, here: Any, path: str, order: str) -> Iterator[str]:
    """What differs, by its path. `order` is the property the statement orders by."""
    name = path or "the answer"
    if isinstance(there, dict) and isinstance(here, dict):
        for key in there:
            below = f"{path}.{key}" if path else key
            if key not in here:
                yield f"{below}: there, not here"
            elif key == "time":
                if _time_shape(there[key]) != _time_shape(here[key]):
                    yield f"{below}: {there[key]} there, {here[key]} here"
            else:
                yield from _fields(there[key], here[key], below, order)
        yield from (f"{path}.{key}: here, not there" for key in here if key not in there)
        common = [key for key in there if key in here]
        if common != [key for key in here if key in there]:
            yield f"{name}: its keys stand in another order"
    elif isinstance(there, list) and isinstance(here, list):
        yield from _members(there, here, path, order)
    elif _plain(there) != _plain(here):
        yield f"{name}: {json.dumps(there)[:160]} there, {json.dumps(here)[:160]} here"


def _members(there: list[Any], here: list[Any], path: str, order: str) -> Iterator[str]:
    ids = [[row.get("Id") for row in rows if isinstance(row, dict)] for rows in (there, here)]
    if ids[0] and None not in ids[0] and set(ids[0]) == set(ids[1]):
        if [_order_of(row, order) for row in there] != [_order_of(row, order) for row in here]:
            yield f"{path}: the rows stand in another order"
        by_id = {row["Id"]: row for row in here}
        here = [by_id[row["Id"]] for row in there]  # rows of one name or one second come in any order
    if len(there) != len(here):
        yield f"{path}: {len(there)} there, {len(here)} here"
    for at, (one, other) in enumerate(zip(there, here, strict=False)):
        yield from _fields(one, other, f"{path}[{at}]", order)


def _order_of(row: dict[str, Any], order: str) -> Any:
    """What rows are ordered by; when nothing is said, names by their names and transactions by their times."""
    found: Any = row
    for step in order.split(".") if order else ():
        found = {key.lower(): value for key, value in found.items()}.get(step) if isinstance(found, dict) else None
    if order:
        return found
    by_name = row.get("Name") or row.get("FullyQualifiedName") or row.get("DisplayName")
    return by_name or row.get("MetaData", {}).get("LastUpdatedTime")


def _plain(value: Any) -> Any:
    """A text without what no two companies share: realms, tokens, Intuit's hosts."""
    if not isinstance(value, str):
        return value
    value = re.sub(r"https://[^/ ]+/qbo\d+", "HOST", value)
    value = re.sub(r"/v3/company/[^/ ]+/", "/v3/company/REALM/", value)
    return re.sub(r"(Token expired: ).*", r"\1TOKEN", value)


def _time_shape(value: Any) -> str:
    """Digits alike; the fraction of a second may be missing, as it is when there is none."""
    if isinstance(value, str):
        return re.sub(r"\d", "9", re.sub(r"\.\d{3}(?=[+-])", "", value)).replace("+", "-")
    return type(value).__name__


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: inner if key == "time" else _shape(inner) for key, inner in value.items()}
    return 0 if isinstance(value, int) else value
