"""A QuickBooks that answers every request with a failure whose text repeats the request's credentials."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

ACCESS_TOKEN = "eyJlbmMiOiJBMTI4Q0JDIn0..canary-access.token-in-an-answer-Jd93kfMs02mXq"
# The year in a query's dates chooses the answer. After each that counts as an outage comes one that ends it: asked in
# this order, none meets an open breaker, which would hold its run up for minutes.
FAILURES = {
    "2001": (500, "text/xml", '<Fault type="SystemFault"><Error code="10000"><Detail>%s</Detail></Error></Fault>'),
    "2002": (
        401,
        "application/json",
        '{"Fault":{"Error":[{"Message":"Failed","Detail":"Expired: %s","code":"3200"}]}}',
    ),
    "2003": (502, "text/html", "<html><title>Bad gateway: %s</title></html>"),
    "2004": (403, "application/json", '{"fault":{"error":[{"message":"Failed","detail":"%s","code":"3100"}]}}'),
    "2005": (200, "text/plain", "not a page at all: %s"),
    "2006": (400, "application/json", '{"Fault":{"Error":[{"Message":"Error parsing","Detail":"%s","code":"4000"}]}}'),
    "2007": (302, "text/plain", "%s"),
    "2008": (418, "application/json", '"%s"'),
}


class EchoingIntuit:
    """`token_failure` is how the token endpoint answers: `none`, `invalid_grant`, `invalid_client` or `broken`."""

    def __init__(self) -> None:
        self.token_failure = "none"
        self.url = ""
        self.seen: list[str] = []

    async def _token(self, request: web.Request) -> web.Response:
        echoed = f"{await request.text()} {request.headers.get('Authorization')}"
        self.seen.append(echoed)
        if self.token_failure == "none":
            return web.json_response({"access_token": ACCESS_TOKEN, "expires_in": 3600, "token_type": "bearer"})
        if self.token_failure == "broken":
            return web.Response(status=503, text=f"<html>{echoed}</html>", content_type="text/html")
        status = 401 if self.token_failure == "invalid_client" else 400
        return web.json_response({"error": self.token_failure, "error_description": echoed}, status=status)

    async def _query(self, request: web.Request) -> web.Response:
        echoed = str(request.headers.get("Authorization"))
        self.seen.append(echoed)
        year = re.search(r"'(200\d)-", request.query.get("query", "") or await request.text())
        status, kind, text = FAILURES[year[1] if year else "2006"]
        headers = {"Location": f"{self.url}/elsewhere?token={echoed}"} if status == 302 else {}
        body = text % json.dumps(echoed)[1:-1]
        return web.Response(status=status, body=body.encode(), content_type=kind, headers=headers)


@contextmanager
def echoing_intuit() -> Iterator[EchoingIntuit]:
    """Serving, in a thread and loop of its own, on loopback."""
    echo = EchoingIntuit()
    app = web.Application()
    app.router.add_post("/oauth2/v1/tokens/bearer", echo._token)
    app.router.add_route("*", "/{rest:.*}", echo._query)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app, access_log=None)
    started = threading.Event()

    async def start() -> None:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        echo.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    def serve() -> None:
        loop.run_until_complete(start())
        loop.call_soon(started.set)
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())

    thread = threading.Thread(target=serve, name="echoing-intuit", daemon=True)
    thread.start()
    assert started.wait(30)
    try:
        yield echo
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
