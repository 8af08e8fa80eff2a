"""One query, asked until it is answered. Every try waits for a permit of the limiter (the circuit breaker, the places
in flight, the rate) and then for the authorization; retries included, since Intuit counts them too."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import aiohttp
import tenacity

from async_extractor.events import Events
from async_extractor.printable import printable
from async_extractor.qbo.auth.access_tokens import AccessTokens
from async_extractor.qbo.faults import (
    LONGEST_TID,
    AuthorizationFault,
    PageFault,
    QboFault,
    StoppedFault,
    ThrottledFault,
    TokenExpiredFault,
    TransientFault,
    classify,
)
from async_extractor.qbo.gunzip import ACCEPTED, MOST_HEADER_BYTES, MOST_PAGE_BYTES, arrived_whole, read_body
from async_extractor.qbo.limits import Limiter
from async_extractor.qbo.network import CONNECT_SECONDS, connection_fault
from async_extractor.qbo.query import MINOR_VERSION, ChangesSince, HttpRequest, Query
from async_extractor.qbo.split import ChangedRecords, SplitPage, split_changes, split_page

# A permit that has waited for a token longer than this is given up for a new one: the request would be late.
TOKEN_SECONDS = 0.05
# Fresh tokens for one query: a 401 also comes from a gateway that is unwell. A connection that is really
# revoked ends at the first of them, in the refresh.
MOST_REFRESHES = 6

T = TypeVar("T")


@dataclass
class Spent:
    """What answers have cost. Seconds are wall time; `retries` and `throttled` are part of `requests`."""

    requests: int = 0
    retries: int = 0
    throttled: int = 0
    bytes_read: int = 0
    wait_seconds: float = 0.0
    fetch_seconds: float = 0.0
    split_seconds: float = 0.0

    def take(self) -> Spent:
        """What was spent since the last `take`; the count begins again."""
        taken = Spent(**vars(self))
        self.__init__()  # type: ignore[misc]
        return taken

    def add(self, more: Spent) -> None:
        """What was spent elsewhere."""
        for name, value in vars(more).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass(frozen=True)
class Answer:
    """A page: its contents, the request that brought it (no token in it), and Intuit's transaction id."""

    page: SplitPage
    request_payload: Mapping[str, Any]
    tid: str


@dataclass(frozen=True)
class Patience:
    """How often a query is tried before it is given up, and how long the pauses between are, in seconds.

    `request_seconds` bounds one try: Intuit ends a request after 120 s (limits page), and that answer is waited for.
    `waits_out` says that tries in an outage don't count: it is the breaker that gives up then.
    """

    tries: int = 8
    page_fault_tries: int = 4
    first_pause: float = 0.5
    longest_pause: float = 30.0
    request_seconds: float = 150.0
    waits_out: bool = True

    def when_splitting(self) -> Patience:
        """For the halves of a page that failed for good: two tries tell whether a half is the good one."""
        return replace(self, page_fault_tries=min(2, self.page_fault_tries))


# While planning nothing is under way that a long wait could save: about 8 s, then say so.
PLANNING = Patience(tries=5, waits_out=False)


@dataclass
class _Tries:
    """The course of one query's tries."""

    patience: Patience
    sent: int = 0
    faults: int = 0
    page_faults: int = 0
    refusals: int = 0
    refused_token: str | None = None

    def used_up(self, _: tenacity.RetryCallState) -> bool:
        """Whether the patience is at its end."""
        return self.faults >= self.patience.tries or self.page_faults >= self.patience.page_fault_tries

    def wait(self, state: tenacity.RetryCallState) -> float:
        """The pause before the next try, in seconds."""
        if state.outcome is not None and isinstance(state.outcome.exception(), (ThrottledFault, TokenExpiredFault)):
            return 0.0  # the limiter pauses for all, and a fresh token needs no pause
        patience = self.patience
        return tenacity.wait_exponential_jitter(
            multiplier=patience.first_pause, max=patience.longest_pause, jitter=patience.first_pause
        )(state)


class QueryClient:
    """Asks one company's query endpoint."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api: str,
        realm_id: str,
        tokens: AccessTokens,
        limiter: Limiter,
        events: Events,
        patience: Patience | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Once `stop` is set nothing is asked any more: whoever waits for an answer gets StoppedFault."""
        self._session = session
        self._path = f"/v3/company/{realm_id}/"
        self._base = api + self._path
        self._tokens = tokens
        self._limiter = limiter
        self._events = events
        self.patience = patience or Patience()
        self._stop = stop or asyncio.Event()
        self.include = ""
        """Intuit's `include` parameter for records of entities that take it; a run says it."""

    async def authorise(self) -> None:
        """Makes sure of a valid access token before the first query; raises QboFault when there is none to be had."""
        await unless_stopped(self._stop, self._tokens.current())

    async def fetch(self, query: Query, spent: Spent, patience: Patience | None = None) -> Answer:
        """The answer to a query. Adds to `spent` also when it fails. `patience` takes the place of the client's own.

        Raises QboFault: the last one when tries are used up, at once what no retry can help.
        """
        counting = query.what == "COUNT(*)"
        page, tid = await self._ask(
            query, lambda body: split_page(query.entity, body, counting=counting), spent, patience
        )
        return Answer(page, self.payload(query), tid)

    async def changes(self, asked: ChangesSince, spent: Spent) -> ChangedRecords:
        """What changed since a moment, by change data capture. Raises as `fetch` does."""
        changed, _ = await self._ask(asked, lambda body: split_changes(asked.entity, body), spent, None)
        return changed

    async def _ask(
        self, asked: Query | ChangesSince, split: Callable[[bytes], T], spent: Spent, patience: Patience | None
    ) -> tuple[T, str]:
        tries = _Tries(patience or self.patience)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type((TransientFault, ThrottledFault, TokenExpiredFault)),
            stop=tries.used_up,
            wait=tries.wait,
            before_sleep=lambda state: self._tell_retry(state, asked, spent),
            reraise=True,
        )
        return await unless_stopped(self._stop, retrying(self._try_once, asked, split, spent, tries))

    def payload(self, query: Query) -> dict[str, Any]:
        """The request of a query as it is kept beside its records: how, where, what; never a token."""
        payload = {
            "method": query.request().method,
            "path": f"{self._path}query",
            "minorversion": MINOR_VERSION,
            "query": query.text(),
        }
        return {**payload, **self._included(query)}

    def _included(self, asked: Query | ChangesSince) -> dict[str, str]:
        """The parameter `include`, where records are asked for and the entity takes it."""
        takes_it = isinstance(asked, Query) and asked.what == "*" and asked.entity.custom_fields
        return {"include": self.include} if self.include and takes_it else {}

    def _tell_retry(self, state: tenacity.RetryCallState, asked: Query | ChangesSince, spent: Spent) -> None:
        error = state.outcome.exception() if state.outcome else None
        spent.wait_seconds += state.upcoming_sleep
        self._events.emit(
            "retry",
            "extract",
            f"trying again ({state.attempt_number}): {error}",
            level="warning",
            attempt=state.attempt_number,
            query=asked.text(),
            intuit_tid=getattr(error, "tid", ""),
        )

    async def _try_once(
        self, asked: Query | ChangesSince, split: Callable[[bytes], T], spent: Spent, tries: _Tries
    ) -> tuple[T, str]:
        try:
            request = asked.request()
            request = replace(request, parameters={**request.parameters, **self._included(asked)})
            headers, body = await self._in_turn(request, spent, tries)
            began_splitting = time.perf_counter()
            try:
                result = split(body)
            except PageFault as page_fault:
                # A connection that broke, and is not known to have, says nothing of the page.
                kind = PageFault if arrived_whole(headers) else TransientFault
                tid = headers.get("intuit_tid", "")
                fault = kind(str(page_fault), status=200, tid=tid)
                if isinstance(fault, PageFault):
                    fault.body = page_fault.body
                raise fault from None
            finally:
                spent.split_seconds += time.perf_counter() - began_splitting
        except TransientFault as fault:
            # In an outage no query is given up for it, while others wait: the limiter says when it is enough.
            if self._limiter.state == "closed" or not tries.patience.waits_out:
                tries.faults += 1
                tries.page_faults += isinstance(fault, PageFault)
            raise
        except ThrottledFault:
            spent.throttled += 1
            raise
        except TokenExpiredFault as fault:
            if tries.refusals == MOST_REFRESHES:
                raise AuthorizationFault(
                    f"QuickBooks refuses one fresh access token after the other ({fault})",
                    status=fault.status,
                    code=fault.code,
                    tid=fault.tid,
                ) from None
            tries.refusals += 1
            raise
        return result, printable(headers.get("intuit_tid", ""), LONGEST_TID)

    async def _in_turn(self, request: HttpRequest, spent: Spent, tries: _Tries) -> tuple[Mapping[str, str], bytes]:
        """Waits for a permit and sends: the answer's headers and body. Raises QboFault for what is no page."""
        began = time.perf_counter()
        while True:
            async with self._limiter.permit() as permit:
                try:
                    asked_for_token = time.monotonic()
                    token = await self._tokens.current(tries.refused_token)
                    if time.monotonic() - asked_for_token > TOKEN_SECONDS:
                        permit.unused()
                        continue
                    sent = time.perf_counter()
                    spent.wait_seconds += sent - began
                    spent.requests += 1
                    spent.retries += 1 if tries.sent else 0
                    tries.sent += 1
                    try:
                        status, headers, body = await self._send(request, token, tries.patience)
                    finally:
                        seconds = time.perf_counter() - sent
                        spent.fetch_seconds += seconds
                    self._tell_answer(status, seconds, len(body))
                    spent.bytes_read += len(body)
                    fault = classify(status, headers, body)
                    if isinstance(fault, TokenExpiredFault):
                        tries.refused_token = token
                    if fault is not None:
                        raise fault
                except QboFault as fault:
                    permit.answered(fault)
                    raise
                permit.answered(None)
                return headers, body

    def _tell_answer(self, status: int, seconds: float, size: int) -> None:
        self._events.emit(
            "answered",
            "extract",
            f"{status} in {seconds:.3f} s",
            level="debug",
            status=status,
            seconds=seconds,
            bytes=size,
        )

    async def _send(self, request: HttpRequest, token: str, patience: Patience) -> tuple[int, Mapping[str, str], bytes]:
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Accept-Encoding": ACCEPTED}
        if request.body is not None:
            headers["Content-Type"] = "application/text"
        try:
            async with self._session.request(
                request.method,
                self._base + request.resource,
                params={"minorversion": str(MINOR_VERSION), **request.parameters},
                headers=headers,
                data=None if request.body is None else request.body.encode(),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=patience.request_seconds, sock_connect=CONNECT_SECONDS),
                auto_decompress=False,
                max_line_size=MOST_HEADER_BYTES,
                max_field_size=MOST_HEADER_BYTES,
            ) as response:
                return response.status, response.headers, await read_body(response, MOST_PAGE_BYTES)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise connection_fault("QuickBooks", error) from None


async def unless_stopped(stop: asyncio.Event, work: Awaitable[T], grace: float = 0.0) -> T:
    """What the work comes to; StoppedFault when it has not ended `grace` seconds after the stop, and is cancelled."""
    ended, stopped = asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
        if grace and not ended.done():
            await asyncio.wait((ended,), timeout=grace)
        if not ended.done():
            raise StoppedFault("told to stop while it waited")
        return ended.result()
    finally:
        ended.cancel()
        stopped.cancel()
        await asyncio.gather(ended, stopped, return_exceptions=True)


def request_json(payload: Mapping[str, Any]) -> bytes:
    """A request payload as JSON, for the request_payload column."""
    return json.dumps(payload, separators=(",", ":")).encode()
