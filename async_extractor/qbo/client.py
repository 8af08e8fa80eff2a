"""One query, asked until it is answered. Every try passes, in this order, the breaker, the places in
flight, the rate, and the authorization; retries included, since Intuit counts them too."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import aiohttp
import tenacity

from async_extractor.events import Events
from async_extractor.printable import printable
from async_extractor.qbo.auth.access_tokens import AccessTokens
from async_extractor.qbo.breaker import CircuitBreaker
from async_extractor.qbo.faults import (
    LONGEST_TID,
    AuthorizationFault,
    PageFault,
    QboFault,
    ThrottledFault,
    TokenExpiredFault,
    TransientFault,
    UnavailableFault,
    classify,
)
from async_extractor.qbo.gunzip import ACCEPTED, MOST_HEADER_BYTES, MOST_PAGE_BYTES, arrived_whole, read_body
from async_extractor.qbo.limits import THROTTLE_SECONDS, Gate
from async_extractor.qbo.network import CONNECT_SECONDS, connection_fault
from async_extractor.qbo.query import MINOR_VERSION, ChangesSince, HttpRequest, Query
from async_extractor.qbo.split import ChangedRecords, SplitPage, split_changes, split_page

# So long a token is used without looking whether it must be renewed; it is renewed minutes before its end.
TOKEN_KEEPS_SECONDS = 1.0
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
    throttles_in_a_row: int = 5
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
    refreshed: int = 0
    page_faults: int = 0
    faults: list[str] = field(default_factory=list)


class QueryClient:
    """Asks one company's query endpoint."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        api: str,
        realm_id: str,
        tokens: AccessTokens,
        gate: Gate,
        breaker: CircuitBreaker,
        events: Events,
        patience: Patience | None = None,
    ) -> None:
        self._session = session
        self._path = f"/v3/company/{realm_id}/"
        self._base = api + self._path
        self._tokens = tokens
        self._gate = gate
        self._breaker = breaker
        self._events = events
        self.patience = patience or Patience()

    async def authorise(self) -> None:
        """Makes sure of a valid access token before the first query; raises QboFault when there is none to be had."""
        await self._tokens.current()

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
        patience = patience or self.patience
        tries = _Tries(patience)
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(lambda error: self._may_retry(error, tries)),
            stop=tenacity.stop_never,  # `_may_retry` says when it is enough
            wait=tenacity.wait_exponential_jitter(
                multiplier=patience.first_pause,
                max=patience.longest_pause,
                jitter=patience.first_pause,
            ),
            before_sleep=lambda state: self._tell_retry(state, asked),
            sleep=self._sleep_between(tries, spent),
            reraise=True,
        )
        return await retrying(self._try_once, asked, split, spent, tries)

    def payload(self, query: Query) -> dict[str, Any]:
        """The request of a query as it is kept beside its records: how, where, what; never a token."""
        method = query.request().method
        return {
            "method": method,
            "path": f"{self._path}query",
            "minorversion": MINOR_VERSION,
            "query": query.text(),
        }

    def _may_retry(self, error: BaseException, tries: _Tries) -> bool:
        patience = tries.patience
        if isinstance(error, ThrottledFault):
            return True  # _after_throttle has already said when it is too much
        if isinstance(error, TokenExpiredFault):
            return True
        if isinstance(error, PageFault):
            tries.page_faults += 1
            tries.faults.append(str(error))
            return tries.page_faults < patience.page_fault_tries and len(tries.faults) < patience.tries
        if isinstance(error, TransientFault):
            if patience.waits_out and self._breaker.state != "closed":
                # An outage, and no fault of this query: it would be given up while others wait.
                return True
            tries.faults.append(str(error))
            return len(tries.faults) < patience.tries
        return False

    def _sleep_between(self, tries: _Tries, spent: Spent) -> Any:
        async def sleep(seconds: float) -> None:
            # A 429 has already paused the gate, and a refreshed token needs no pause.
            if tries.faults:
                spent.wait_seconds += seconds
                await asyncio.sleep(seconds)

        return sleep

    def _tell_retry(self, state: tenacity.RetryCallState, asked: Query | ChangesSince) -> None:
        error = state.outcome.exception() if state.outcome else None
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
        began = time.perf_counter()
        await self._breaker.admit()
        try:
            # Before the gate, since a refresh would make the request late for its turn.
            token = await self._tokens.current()
            token, status, headers, body = await self._in_turn(asked.request(), token, spent, tries, began)
            spent.bytes_read += len(body)
            fault = classify(status, headers, body)
            if fault is not None:
                raise fault
            began_splitting = time.perf_counter()
            try:
                result = split(body)
            except PageFault as page_fault:
                # A connection that broke, and is not known to have, says nothing of the page.
                kind = PageFault if arrived_whole(headers) else TransientFault
                tid = headers.get("intuit_tid", "")
                fault = kind(str(page_fault), status=status, tid=tid)
                if isinstance(fault, PageFault):
                    fault.body = page_fault.body
                raise fault from None
            finally:
                spent.split_seconds += time.perf_counter() - began_splitting
        except PageFault:
            # QuickBooks is there; it is this page that it can't serve.
            self._breaker.succeeded()
            raise
        except TransientFault as fault:
            self._breaker.failed(fault)
            raise
        except ThrottledFault as fault:
            self._breaker.succeeded()
            spent.throttled += 1
            await self._after_throttle(fault, tries)
            raise
        except TokenExpiredFault as fault:
            self._breaker.succeeded()
            if tries.refreshed == MOST_REFRESHES:
                raise AuthorizationFault(
                    f"QuickBooks refuses one fresh access token after the other ({fault})",
                    status=fault.status,
                    code=fault.code,
                    tid=fault.tid,
                ) from None
            await self._tokens.after_refusal(token)
            tries.refreshed += 1  # only what was refreshed: a token endpoint that is down is an outage, no refusal
            raise
        except QboFault:
            self._breaker.succeeded()
            raise
        except BaseException:
            self._breaker.abandoned()
            raise
        self._breaker.succeeded()
        return result, printable(headers.get("intuit_tid", ""), LONGEST_TID)

    async def _in_turn(
        self, request: HttpRequest, token: str, spent: Spent, tries: _Tries, began: float
    ) -> tuple[str, int, Mapping[str, str], bytes]:
        """Waits for a turn and sends. The token that was used, and the answer's status, headers and body."""
        waiting = time.monotonic()
        async with self._gate.turn() as turn:
            if time.monotonic() - waiting > TOKEN_KEEPS_SECONDS:
                token = await self._tokens.current()
            sent = time.perf_counter()
            spent.wait_seconds += sent - began
            spent.requests += 1
            spent.retries += 1 if tries.sent else 0
            tries.sent += 1
            try:
                status, headers, body = await self._send(request, token)
            finally:
                seconds = time.perf_counter() - sent
                spent.fetch_seconds += seconds
            turn.answered(status)
        self._events.emit(
            "answered",
            "extract",
            f"{status} in {seconds:.3f} s",
            level="debug",
            status=status,
            seconds=seconds,
            bytes=len(body),
        )
        return token, status, headers, body

    async def _send(self, request: HttpRequest, token: str) -> tuple[int, Mapping[str, str], bytes]:
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
                timeout=aiohttp.ClientTimeout(total=self.patience.request_seconds, sock_connect=CONNECT_SECONDS),
                auto_decompress=False,
                max_line_size=MOST_HEADER_BYTES,
                max_field_size=MOST_HEADER_BYTES,
            ) as response:
                return response.status, response.headers, await read_body(response, MOST_PAGE_BYTES)
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise connection_fault("QuickBooks", error) from None

    async def _after_throttle(self, fault: ThrottledFault, tries: _Tries) -> None:
        """Pauses the company; gives up when a 429 doesn't end, since that is no matter of pace."""
        seconds = fault.retry_after if fault.retry_after is not None else THROTTLE_SECONDS
        seconds += random.uniform(0, 0.05 * seconds + 0.1)  # noqa: S311 - jitter
        in_a_row = await self._gate.pause(seconds)
        if in_a_row > tries.patience.throttles_in_a_row:
            raise UnavailableFault(
                f"QuickBooks answered 429 to all that the company asked, over {in_a_row} pauses: "
                "not the pace but, most likely, the app's monthly allowance is used up (Intuit's CorePlus calls); "
                "it can be resumed when Intuit counts anew",
                status=fault.status,
                code=fault.code,
                tid=fault.tid,
            ) from None
        self._events.emit(
            "throttled",
            "extract",
            f"429: the company pauses for {seconds:.0f} s",
            level="warning",
            seconds=seconds,
            intuit_tid=fault.tid,
        )


def request_json(payload: Mapping[str, Any]) -> bytes:
    """A request payload as JSON, for the request_payload column."""
    return json.dumps(payload, separators=(",", ":")).encode()
