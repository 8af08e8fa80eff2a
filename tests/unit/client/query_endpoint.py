"""A query endpoint with a script of answers, and a `QueryClient` before it on the real limiter."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
from aioresponses import CallbackResult, aioresponses

from async_extractor.entities import ENTITIES
from async_extractor.events import Event, Events
from async_extractor.qbo.client import Patience, QueryClient, Spent
from async_extractor.qbo.faults import QboFault
from async_extractor.qbo.limits import LocalLimiter
from async_extractor.qbo.query import Query
from tests.unit.virtual_time import Clock

API = "http://simulator:8080"
QUERY = re.compile(r"^http://simulator:8080/v3/company/4620816365/query\b")
INVOICES = ENTITIES["invoices"]
ASKED = Query(INVOICES, ("TxnDate >= '2024-01-01'",))
PAGE = b'{"QueryResponse":{"Invoice":[{"Id":"1","TotalAmt":639.00}],"maxResults":1}}'
PAGE_CANT_BE_SERVED = '{"Fault":{"Error":[{"Message":"An application error has occurred","code":"10000"}]}}'
TOKEN = "eyJhbGciOiJkaXIi.access-token-number-%04d"
GOOD: dict[str, Any] = {"body": PAGE, "headers": {"intuit_tid": "1-good"}}


class Tokens:
    """AccessTokens that need no endpoint: a number that each refusal moves on.

    The first answer takes `seconds`; `troubles` are raised before any token is given.
    """

    def __init__(self) -> None:
        self.number = 1
        self.seconds = 0.0
        self.refused: list[str] = []
        self.troubles: list[QboFault] = []
        self.refresh_troubles: list[QboFault] = []

    async def current(self, refused: str | None = None) -> str:
        await asyncio.sleep(self.seconds)
        self.seconds = 0.0
        if self.troubles:
            raise self.troubles.pop(0)
        if refused == TOKEN % self.number:
            if self.refresh_troubles:
                raise self.refresh_troubles.pop(0)
            self.refused.append(refused)
            self.number += 1
        return TOKEN % self.number


class World:
    """A client and all that it stands on."""

    def __init__(self, session: aiohttp.ClientSession, clock: Clock, api: aioresponses) -> None:
        self.told: list[Event] = []
        self.clock = clock
        self.requests: list[dict[str, Any]] = []
        self.down_until = 0.0
        self._script: list[dict[str, Any]] = []
        api.get(QUERY, callback=self._answer, repeat=True)
        api.post(QUERY, callback=self._answer, repeat=True)
        self.tokens = Tokens()
        events = Events([self.told.append])
        self.limiter = LocalLimiter(events)
        self.stop = asyncio.Event()
        self.spent = Spent()
        self.client = QueryClient(
            session,
            API,
            "4620816365",
            self.tokens,  # type: ignore[arg-type]
            self.limiter,
            events,
            Patience(tries=5, page_fault_tries=3, first_pause=0.01, longest_pause=0.1),
            self.stop,
        )

    @property
    def worth_reading(self) -> list[Event]:
        """What was told, but for what only a debugger reads."""
        return [event for event in self.told if event.level != "debug"]

    def answer(self, *answers: dict[str, Any]) -> None:
        """What the query endpoint answers, one after the other; `after` so many seconds, or by an exception."""
        self._script += answers

    async def _answer(self, _url: object, **request: Any) -> CallbackResult:
        self.requests.append({**request, "at": self.clock.now})
        if self.clock.now < self.down_until:
            return CallbackResult(status=503)
        assert self._script, "asked more often than the test has answers"
        answer = dict(self._script.pop(0))
        await asyncio.sleep(answer.pop("after", 0))
        if "exception" in answer:
            raise answer["exception"]
        return CallbackResult(**answer)

    async def fetch(self, query: Query = ASKED) -> Any:
        return await self.client.fetch(query, self.spent)
