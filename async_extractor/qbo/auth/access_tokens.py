"""The access token, from the refresh token, once for all workers and processes of a company.

Intuit rotates the refresh token (about daily), kills the old value, and takes a second exchange of it
for an attack. So: one refresh at a time over all processes, under the store's exclusive lock; inside
it the tokens are read again, since another process may have just refreshed; the old one is written once
more, since a disk that is full must be met before Intuit rotates it; the new refresh token is stored
durably before the new access token is used.

What is left is a process that is killed between sending the old value and storing the new one: Intuit has
rotated it then, and nobody has the new one. That span is the endpoint's answer and a few milliseconds of
ours, about once a day; each refresh tells it in its event.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

import aiohttp
import msgspec
import tenacity

from async_extractor.errors import ConfigurationError
from async_extractor.events import Events
from async_extractor.qbo.auth.token_endpoint import REAUTHORISE, Client, TokenAnswer, TokenEndpoint
from async_extractor.qbo.faults import AuthorizationFault, TransientFault

REFRESH_TOKEN = "QBO_REFRESH_TOKEN"  # noqa: S105 - the names of secrets, not their values
ACCESS_TOKEN = "QBO_ACCESS_TOKEN"  # noqa: S105
CLIENT_ID = "QBO_CLIENT_ID"
CLIENT_SECRET = "QBO_CLIENT_SECRET"  # noqa: S105

# Refreshed this long before it ends, or at a quarter of its life where that is shorter.
EARLY_SECONDS = 300.0
TOKEN_TRIES = 3
# So long a rotated refresh token is tried to be stored: without it the company must be reauthorised.
STORING_SECONDS = 300.0
# An exchange takes a second or so; after this it is told that another process's is waited for.
WAITING_SECONDS = 5.0

Value = TypeVar("Value")


class HeldSecrets(Protocol):
    """Secrets while the exclusive lock is held. All calls block."""

    def get(self, name: str) -> str | None: ...
    def check_writable(self, name: str) -> None: ...
    def put(self, values: dict[str, str]) -> None: ...


class TokenStore(Protocol):
    """Where the tokens live; `exclusive` admits one holder over all processes. Entering blocks."""

    def get(self, name: str) -> str | None: ...
    def exclusive(self) -> AbstractContextManager[HeldSecrets]: ...


class StoredTokens(msgspec.Struct, kw_only=True):
    """QBO_ACCESS_TOKEN's JSON. Moments in seconds since 1970, None where Intuit has not said.

    `refresh` tells which refresh token it belongs to (a hash, not the token), `refresh_since` since when that has been
    the company's; `refresh_ends_at` is its end unless it is used before, `consent_ends_at` that of the consent.
    `refused_at`: when Intuit refused that refresh token for good.
    """

    token: str
    expires_at: float
    early: float
    refresh: str
    refreshed_at: float | None = None
    refresh_since: float | None = None
    refresh_ends_at: float | None = None
    consent_ends_at: float | None = None
    refused_at: float | None = None

    @classmethod
    def refused(cls, refresh_token: str, before: StoredTokens | None) -> StoredTokens:
        """What is to be stored when Intuit has refused the refresh token; `before` is what was stored until then."""
        mark, now = mark_of(refresh_token), time.time()
        if before is not None and before.refresh == mark:
            return msgspec.structs.replace(before, token="", refused_at=now)
        return cls(token="", expires_at=now, early=0.0, refresh=mark, refused_at=now)

    @classmethod
    def of(cls, answer: TokenAnswer, refresh_token: str, before: StoredTokens | None) -> StoredTokens:
        """What is to be stored of an answer; `before` is what was stored until then."""
        now, mark = time.time(), mark_of(refresh_token)
        same = before if before is not None and before.refresh == mark else None
        consent = same or before
        return cls(
            token=answer.access_token or "",
            expires_at=now + answer.expires_in,
            early=min(EARLY_SECONDS, answer.expires_in / 4),
            refresh=mark,
            refreshed_at=now,
            refresh_since=same.refresh_since if same else now,
            refresh_ends_at=_from(now, answer.refresh_expires_in, same.refresh_ends_at if same else None),
            consent_ends_at=_from(now, answer.consent_expires_in, consent.consent_ends_at if consent else None),
        )

    @classmethod
    def read(cls, text: str | None) -> StoredTokens | None:
        """What is stored; None when that is nothing, or nothing that can be read."""
        try:
            return msgspec.json.decode(text, type=cls) if text else None
        except msgspec.DecodeError:
            return None

    def json(self) -> str:
        return msgspec.json.encode(self).decode()

    def usable(self) -> bool:
        return bool(self.token) and time.time() < self.expires_at - self.early

    def __repr__(self) -> str:
        return "StoredTokens(...)"


def _from(now: float, seconds: float | None, otherwise: float | None) -> float | None:
    return otherwise if seconds is None else now + seconds


class AccessTokens:
    """Gives a valid access token; refreshes when it must. Safe with many workers and many processes."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        token_url: str,
        client: Client,
        store: TokenStore,
        events: Events,
    ) -> None:
        self._endpoint = TokenEndpoint(session, token_url)
        self._client = client
        self._store = store
        self._events = events
        self._lock = asyncio.Lock()
        self._current: StoredTokens | None = None
        self._exchanging: asyncio.Future[StoredTokens] | None = None
        self._holding = False
        # The refresh token that was refused, by its mark: Intuit takes a second exchange of it for an attack.
        self._refused: tuple[str, AuthorizationFault] | None = None

    async def close(self) -> None:
        """Waits for an exchange under way, whose caller may be gone: its answer must be stored.

        One that still waits for another process's is given up.
        """
        if self._exchanging is not None and not self._exchanging.done():
            if not self._holding:
                self._exchanging.cancel()
            await asyncio.wait([self._exchanging])

    async def current(self, refused: str | None = None) -> str:
        """A token that is valid for some time yet, and another than the one that Intuit `refused` with 401.

        AuthorizationFault or TransientFault when there is none.
        """
        if token := self._at_hand(refused):
            return token
        async with self._lock:
            await self.close()
            if token := self._at_hand(refused):
                return token
            # A cancelled task must not leave between Intuit's answer and its storing.
            self._exchanging = asyncio.ensure_future(self._exchange(refused))
            # Where the caller is gone nobody else asks how it ended, and asyncio would tell that as a traceback.
            self._exchanging.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
            self._current = await asyncio.shield(self._exchanging)
            return self._current.token

    def _at_hand(self, refused: str | None) -> str | None:
        current = self._current
        return current.token if current is not None and current.usable() and current.token != refused else None

    async def _exchange(self, refused: str | None) -> StoredTokens:
        self._holding = False
        async with _hold(self._store, self._tell_waiting) as held:
            self._holding = True
            refresh = await held.get(REFRESH_TOKEN)
            if not refresh:
                raise AuthorizationFault(f"{REFRESH_TOKEN} is not in Mage Secrets; {REAUTHORISE}")
            stored = StoredTokens.read(await held.get(ACCESS_TOKEN))
            if stored and stored.refresh == mark_of(refresh) and stored.usable() and stored.token != refused:
                return stored
            if self._refused is not None and self._refused[0] == mark_of(refresh):
                raise self._refused[1]
            client = await self._client_now(held)
            await held.check_writable(REFRESH_TOKEN)
            asked = time.perf_counter()
            try:
                answer = await self._ask(refresh, client)
            except AuthorizationFault as fault:
                if fault.code == "invalid_grant":
                    self._refused = (mark_of(refresh), fault)
                    with contextlib.suppress(ConfigurationError):  # the refusal is what the caller must hear
                        await held.put({ACCESS_TOKEN: StoredTokens.refused(refresh, stored).json()})
                raise
            answered = time.perf_counter()
            renewed = answer.refresh_token or refresh
            fresh = StoredTokens.of(answer, renewed, stored)
            values = {ACCESS_TOKEN: fresh.json()}
            if renewed != refresh:
                values[REFRESH_TOKEN] = renewed
            not_stored: ConfigurationError | None = None
            try:
                await held.put(values)
            except ConfigurationError as error:
                not_stored = error
            kept = time.perf_counter()
        if not_stored is not None:
            await self._store_later(refresh, values, not_stored)
        if answer.access_token is None:
            raise TransientFault("Intuit's token endpoint gave no access token", tid=answer.tid)
        self._events.emit(
            "token_refreshed",
            "auth",
            "access token refreshed" + (", the refresh token was rotated and stored" if renewed != refresh else ""),
            seconds_valid=round(answer.expires_in),
            rotated=renewed != refresh,
            exchange_ms=round((answered - asked) * 1000, 1),
            stored_ms=round((kept - answered) * 1000, 1),
        )
        return fresh

    def _tell_waiting(self) -> None:
        waits = f"waiting for another process, which has refreshed the access token for {WAITING_SECONDS:.0f} s"
        self._events.emit("token_waits", "auth", waits, level="warning")

    async def _store_later(self, refresh: str, values: dict[str, str], error: ConfigurationError) -> None:
        """The store failed while it was held: as soon as it is back, unless somebody stored another token meanwhile."""

        def store() -> None:
            with self._store.exclusive() as held:
                if held.get(REFRESH_TOKEN) == refresh:
                    held.put(values)

        async def store_again() -> None:
            thread = _Thread()
            try:
                await thread.do(store)
            finally:
                thread.end()

        def tell(why: BaseException | None) -> None:
            self._events.emit("token_not_stored", "auth", f"storing the new tokens again: {why}", level="warning")

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(ConfigurationError),
            stop=tenacity.stop_after_delay(STORING_SECONDS),
            wait=tenacity.wait_exponential(multiplier=0.4, max=5.0),
            before_sleep=lambda state: tell(state.outcome.exception() if state.outcome else None),
            reraise=True,
        )
        tell(error)
        await asyncio.sleep(0.2)
        try:
            await retrying(store_again)
        except ConfigurationError as last:
            raise AuthorizationFault(f"the new refresh token could not be stored ({last}): {REAUTHORISE}") from None

    async def _client_now(self, held: _Held) -> Client:
        """The app's credentials as they are stored now: they may have been rotated since this run began."""
        client_id = await held.get(CLIENT_ID)
        secret = await held.get(CLIENT_SECRET)
        return Client((client_id or self._client.id).strip(), (secret or self._client.secret).strip())

    async def _ask(self, refresh: str, client: Client) -> TokenAnswer:
        def tell(state: tenacity.RetryCallState) -> None:
            why = str(state.outcome.exception()) if state.outcome else ""
            self._events.emit("token_retry", "auth", why, level="warning", attempt=state.attempt_number)

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TransientFault),
            stop=tenacity.stop_after_attempt(TOKEN_TRIES),
            wait=tenacity.wait_exponential(),
            before_sleep=tell,
            reraise=True,
        )
        return await retrying(self._endpoint.refresh, refresh, client)


class _Thread:
    """A thread that does calls one after the other. It is a daemon: one that waits keeps no process from ending."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._work, name="token-store", daemon=True).start()

    def submit(self, call: Callable[[], Value]) -> Future[Value]:
        done: Future[Value] = Future()
        self._calls.put((done, call))
        return done

    async def do(self, call: Callable[[], Value]) -> Value:
        return await asyncio.wrap_future(self.submit(call))

    def end(self) -> None:
        """After the calls that it has."""
        self._calls.put(None)

    def _work(self) -> None:
        while (item := self._calls.get()) is not None:
            done, call = item
            if done.set_running_or_notify_cancel():
                try:
                    done.set_result(call())
                except BaseException as error:  # whoever waits for it raises it
                    done.set_exception(error)


class _Held:
    """HeldSecrets whose calls run in the holder's own thread."""

    def __init__(self, held: HeldSecrets, thread: _Thread) -> None:
        self._held = held
        self._thread = thread

    async def get(self, name: str) -> str | None:
        return await self._thread.do(lambda: self._held.get(name))

    async def check_writable(self, name: str) -> None:
        await self._thread.do(lambda: self._held.check_writable(name))

    async def put(self, values: dict[str, str]) -> None:
        await self._thread.do(lambda: self._held.put(values))


@contextlib.asynccontextmanager
async def _hold(store: TokenStore, tell_waiting: Callable[[], None]) -> AsyncIterator[_Held]:
    """The store's lock, waited for in a thread of its own.

    In the loop's pool those who wait could take every thread, and the holder would find none for its next call,
    nor for looking up Intuit's name.
    """
    thread, lock = _Thread(), contextlib.ExitStack()
    entering = asyncio.wrap_future(thread.submit(lambda: lock.enter_context(store.exclusive())))
    patience = threading.Timer(WAITING_SECONDS, asyncio.get_running_loop().call_soon_threadsafe, [tell_waiting])
    patience.daemon = True
    patience.start()
    entering.add_done_callback(lambda _: patience.cancel())
    try:
        yield _Held(await entering, thread)
    finally:
        # Behind the entering, when that was given up: a lock that nobody waits for any more is let go, too.
        released = thread.submit(lock.close)
        thread.end()
        if entering.done() and not entering.cancelled():
            await asyncio.wrap_future(released)


def mark_of(refresh_token: str) -> str:
    """A short hash that tells refresh tokens apart and gives none away."""
    return hashlib.sha256(refresh_token.encode()).hexdigest()[:16]
