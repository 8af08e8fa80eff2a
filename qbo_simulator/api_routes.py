"""The accounting API over HTTP: the gateway every request passes, and the routes behind it."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
import uuid
import zlib
from collections.abc import Callable

from aiohttp import web

from qbo_simulator.behaviour import Fault, FaultKind, RequestKind
from qbo_simulator.envelopes import Answer, forbidden, html, unauthorized
from qbo_simulator.faults import ON_A_PAGE, ON_THE_WAY, answer_for, gzip_bomb, on_a_page, retimed, throttle_answer
from qbo_simulator.fuzz import fuzzed
from qbo_simulator.ledger import Entry
from qbo_simulator.service import Service, items_in, readable_entity, request_kind

log = logging.getLogger("qbo_simulator")

_VERSION = "2073.223"
_INSIDE = "https://c50.sandbox.qbo.intuit.com/qbo50"  # where the real one says it looked
_REGION = "us-west-2"


def new_tid() -> str:
    """The id that support asks for, on every answer."""
    return f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"


class Api:
    """Routes below `/v3/company/{realm}`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        base = "/v3/company/{realm}"
        return [
            web.get(f"{base}/query", self.query),
            web.post(f"{base}/query", self.query),
            web.post(f"{base}/batch", self.batch),
            web.get(f"{base}/cdc", self.changes),
            web.get(f"{base}/companyinfo/{{id}}", self.company_info),
            web.get(f"{base}/{{entity}}/{{id}}", self.read),
            web.post(f"{base}/{{entity}}", self.write),
            web.route("*", f"{base}/{{path:.*}}", self.unsupported),
            web.route("*", "/v3/{path:.*}", self.unsupported),
        ]

    async def query(self, request: web.Request) -> web.StreamResponse:
        statement = await _statement(request)
        compressed = _takes_gzip(request)
        include = request.query.get("include", "")
        answer = lambda xml: self._service.query(  # noqa: E731
            statement, as_xml=xml, compressed=compressed, include=include
        )
        return await self._through(request, request_kind(statement), answer, statement)

    async def batch(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        weight = items_in(body) if self._service.how.limits.batch_counts == "each-item" else 1
        answer = lambda xml, strike=False: self._service.batch(body, strike=strike, as_xml=xml)  # noqa: E731
        return await self._through(request, "batch", answer, weight=weight)

    async def changes(self, request: web.Request) -> web.StreamResponse:
        entities, since = request.query.get("entities", ""), request.query.get("changedSince", "")
        answer = lambda xml: self._service.changes(entities, since, as_xml=xml)  # noqa: E731
        return await self._through(request, "cdc", answer, f"{entities} since {since}")

    async def company_info(self, request: web.Request) -> web.StreamResponse:
        return await self._through(request, "companyinfo", lambda xml: self._service.company_info(as_xml=xml))

    async def read(self, request: web.Request) -> web.StreamResponse:
        entity = readable_entity(request.match_info["entity"])
        if entity is None:
            return await self.unsupported(request)
        identifier = request.match_info["id"]
        return await self._through(request, "read", lambda xml: self._service.read(entity, identifier, as_xml=xml))

    async def write(self, request: web.Request) -> web.StreamResponse:
        entity = readable_entity(request.match_info["entity"])
        if entity is None:
            return await self.unsupported(request)
        try:
            body = json.loads(await request.read())
        except ValueError:
            body = None
        # A record with an Id is an update, without one a new record; QuickBooks names neither.
        operation = request.query.get("operation", "update")
        return await self._through(
            request, "write", lambda xml: self._service.write(entity, operation, body, as_xml=xml)
        )

    async def unsupported(self, request: web.Request) -> web.StreamResponse:
        def refuse(xml: bool) -> Answer:
            lost = f"Could not find resource for relative : {request.path} of full path: {_INSIDE}{request.path}"
            detail = f"Operation {lost} is not supported."
            return self._service.fault(400, "500", "Unsupported Operation", detail, "ValidationFault", as_xml=xml)

        return await self._through(request, "read", refuse)

    async def _through(
        self,
        request: web.Request,
        kind: RequestKind,
        answer: Callable[..., Answer],
        statement: str = "",
        weight: int = 1,
    ) -> web.StreamResponse:
        """The gateway: limits, then the fault of the day, then the token and the realm, then the service."""
        service = self._service
        began = time.perf_counter()
        entry = Entry(service.clock.now(), kind, request.method, request.path, new_tid(), statement=statement)
        gate = service.ledger.gate
        refusal = gate.arrive(service.how.limits, time.monotonic(), batch=kind == "batch", weight=weight)
        try:
            fault: Fault | None = None
            if refusal is not None:
                entry.refused_by = refusal
                service.turn += 1
                found = throttle_answer(service.how, service.clock.envelope_time(), service.turn)
            else:
                fault = service.faults.strike(kind, f"{request.path_qs} {statement}")
                entry.fault = None if fault is None else fault.kind
                found = self._judged(request, answer, None if fault is None else fault.kind)
                if found.status == 200:
                    found = retimed(found, service.how.answers.time, service.clock)
                    found = found if fault is None else on_a_page(found, fault)
                if fault is not None and fault.kind == "fuzz":
                    found = fuzzed(found, service.chance)
                if found.status == 200 and kind != "write":
                    gate.metered += 1  # writes are free
            entry.status, entry.rows = found.status, found.rows
            if refusal is None:
                await self._wait(found, began)
            return await self._send(request, found, fault, entry, began)
        finally:
            if refusal is None:
                gate.leave()
            entry.milliseconds = round((time.perf_counter() - began) * 1000, 2)
            service.ledger.close(entry)
            log_entry(entry)

    def _judged(self, request: web.Request, answer: Callable[..., Answer], fault: FaultKind | None) -> Answer:
        service = self._service
        longest = service.how.answers.url_characters
        if longest is not None and len(request.raw_path) > longest:
            return html(414, "414 Request-URI Too Large", "nginx")
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if fault is not None and fault not in ON_THE_WAY and fault not in ON_A_PAGE:
            service.turn += 1
            return answer_for(fault, service.how, service.clock.envelope_time(), service.turn, token)
        if scheme.lower() != "bearer" or not service.consent.is_live(token):
            return unauthorized(f"Token expired: {token}" if token else "Missing access token")
        if request.match_info.get("realm") != service.config.realm_id:
            return forbidden()
        as_xml = _wants_xml(request, service.how.answers.without_accept)
        return answer(as_xml, strike=True) if fault == "batch-item" else answer(as_xml)

    async def _wait(self, answer: Answer, began: float) -> None:
        """What the server takes to find and write the rows."""
        latency = self._service.how.latency
        low, high = latency.base_ms
        if not (high or latency.row_ms or latency.line_ms):
            return
        milliseconds = self._service.chance.uniform(low, high) + latency.row_ms * answer.rows
        if latency.line_ms:
            milliseconds += latency.line_ms * answer.body.count(b'"LineNum"')
        await asyncio.sleep(max(0.0, milliseconds / 1000 - (time.perf_counter() - began)))

    async def _send(
        self, request: web.Request, answer: Answer, fault: Fault | None, entry: Entry, began: float
    ) -> web.StreamResponse:
        kind = None if fault is None else fault.kind
        if kind == "reset":
            entry.status = 0
            return abort(request)
        total = int((time.perf_counter() - began) * 1000)
        headers = answer.headers | {
            "intuit_tid": entry.tid,
            "x-request-id": entry.tid,
            "Content-Type": answer.content_type,
            "Server": "istio-envoy",
            "Strict-Transport-Security": "max-age=31536000",
        }
        if answer.status != 401:  # the gateway's, which goes no further
            headers |= {"x-spanid": str(uuid.uuid4()), "x-amzn-trace-id": f"Root={entry.tid}"}
        if answer.status == 200:
            headers |= {
                "QBO-Version": _VERSION,
                "Service-Time": f"total={total}, db={total * 2 // 3}",
                "Expires": "0",
                "Cache-Control": "max-age=0, no-cache, no-store, must-revalidate, private",
                "x-envoy-upstream-service-time": str(total),
                "x-intuit-upstream-locality-region": _REGION,
            }
        more = self._service.how.answers.header_bytes
        if more:
            headers["Content-Security-Policy"] = "x" * more
        body = answer.body
        if fault is not None and kind == "gzip-bomb" and answer.status == 200 and _takes_gzip(request):
            body = gzip_bomb(body, fault.megabytes)
            headers["Content-Encoding"] = "gzip"
        elif _takes_gzip(request) and len(body) > 256 and "Content-Encoding" not in headers:
            # Level 1: the pages that are large come compressed already.
            body = answer.gzip if answer.gzip is not None else _gzip(body)
            headers["Content-Encoding"] = "gzip"
        entry.bytes = len(body)
        seconds = self._service.how.latency.body_seconds
        if fault is not None and kind == "slow-body":
            seconds = fault.body_seconds
        if kind == "endless-body" and answer.status == 200:
            return await _without_end(request, headers)
        if kind == "truncated-gzip":
            body = body[: len(body) * 3 // 4]  # a proper end of the answer, but not of what it holds
        if kind == "truncated" or (seconds and answer.status == 200):
            return await _in_parts(request, answer.status, headers, body, seconds, whole=kind != "truncated")
        response = web.Response(status=answer.status, body=body, headers=headers)
        if answer.status == 200:
            response.enable_chunked_encoding()
        return response


async def _statement(request: web.Request) -> str:
    """The statement of the `query` parameter, of a POST without a body too, or of the body, as text or as a form."""
    if request.method == "GET":
        return request.query.get("query", "")
    if not request.can_read_body and "query" in request.query:
        return request.query["query"]
    if request.content_type == "application/x-www-form-urlencoded":
        form = await request.post()
        return str(form.get("query", ""))
    if request.content_type == "application/json":
        return ""
    return (await request.read()).decode("utf-8", "replace")


def _takes_gzip(request: web.Request) -> bool:
    return "gzip" in request.headers.get("Accept-Encoding", "").lower()


def _wants_xml(request: web.Request, without_accept: str) -> bool:
    accept = request.headers.get("Accept", "")
    if "json" in accept:
        return False
    return "xml" in accept or without_accept == "xml"


def _gzip(body: bytes) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    return compressor.compress(body) + compressor.flush()


async def _in_parts(
    request: web.Request, status: int, headers: dict[str, str], body: bytes, seconds: float, *, whole: bool
) -> web.StreamResponse:
    """The body in twenty parts over `seconds`; when not `whole`, the connection ends before the last of them."""
    response = web.StreamResponse(status=status, headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    step = max(len(body) // 20, 1)
    upto = len(body) if whole else len(body) * 3 // 4
    try:
        for at in range(0, upto, step):
            await response.write(body[at : min(at + step, upto)])
            await asyncio.sleep(seconds / 20)
        if not whole:
            return abort(request)
        await response.write_eof()
    except ConnectionError:
        log.debug("the client left before the answer's end")
    return response


async def _without_end(request: web.Request, headers: dict[str, str]) -> web.StreamResponse:
    """A body that begins as a page does and goes on with a space a second, until the client leaves."""
    headers.pop("Content-Encoding", None)
    response = web.StreamResponse(status=200, headers=headers)
    response.enable_chunked_encoding()
    await response.prepare(request)
    try:
        await response.write(b'{"QueryResponse":{')
        while request.transport is not None:
            await response.write(b" ")
            await asyncio.sleep(1)
    except ConnectionError:
        log.debug("the client left before the answer's end")
    return response


def abort(request: web.Request) -> web.Response:
    """End the connection at once, whatever was sent of an answer. What is returned can't reach the client any more."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def log_entry(entry: Entry) -> None:
    about = entry.refused_by or entry.fault or ""
    log.info(
        "%s %-11s %6d rows %9d bytes %8.1f ms %s%s",
        entry.status or "---",
        entry.kind,
        entry.rows,
        entry.bytes,
        entry.milliseconds,
        f"[{about}] " if about else "",
        " ".join(entry.statement.split())[:200],
        extra={"entry": entry},
    )
