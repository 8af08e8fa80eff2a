"""The access token, from the refresh token, once for all workers and processes of a company.

Intuit rotates the refresh token (about daily), kills the old value, and takes a second exchange of it
for an attack. So: one refresh at a time over all processes, under the store's exclusive lock; inside
it the tokens are read again, since another process may have just refreshed; the new refresh token is
stored durably before the new access token is used.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import aiohttp
import msgspec

from async_extractor.events import Events
from async_extractor.qbo.faults import AuthorizationFault, TransientFault, redact

REFRESH_TOKEN = "QBO_REFRESH_TOKEN"  # noqa: S105 - the names of secrets, not their values
ACCESS_TOKEN = "QBO_ACCESS_TOKEN"  # noqa: S105
CLIENT_ID = "QBO_CLIENT_ID"
CLIENT_SECRET = "QBO_CLIENT_SECRET"  # noqa: S105

# Refreshed this long before it ends, or at a quarter of its life where that is shorter.
EARLY_SECONDS = 300.0
TOKEN_TRIES = 3

REAUTHORISE = (
    "reauthorise the company: run `qbo-backfill auth login`, or store a new refresh token with "
    "`qbo-backfill secrets set QBO_REFRESH_TOKEN`"
)


class HeldSecrets(Protocol):
    """Secrets while the exclusive lock is held. Both calls block."""

    def get(self, name: str) -> str | None: ...
    def put(self, values: dict[str, str]) -> None: ...


class TokenStore(Protocol):
    """Where the tokens live; `exclusive` admits one holder over all processes. Entering blocks."""

    def get(self, name: str) -> str | None: ...
    def exclusive(self) -> AbstractContextManager[HeldSecrets]: ...


class _Stored(msgspec.Struct):
    """QBO_ACCESS_TOKEN's JSON. `refresh` tells which refresh token it belongs to (a hash, not the token)."""

    token: str
    expires_at: float
    early: float
    refresh: str

    def usable(self) -> bool:
        return time.time() < self.expires_at - self.early


class _Answer(msgspec.Struct):
    access_token: str
    expires_in: float
    refresh_token: str | None = None


@dataclass(frozen=True)
class Client:
    """The app's credentials at Intuit."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return "Client(...)"


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
        self._session = session
        self._url = token_url
        self._client = client
        self._store = store
        self._events = events
        self._lock = asyncio.Lock()
        self._current: _Stored | None = None

    async def current(self) -> str:
        """A token that is valid for some time yet; AuthorizationFault or TransientFault when there is none."""
        if self._current is not None and self._current.usable():
            return self._current.token
        return await self._renew(refused=None)

    async def after_refusal(self, refused: str) -> str:
        """Another token than the one that Intuit just refused with 401."""
        return await self._renew(refused)

    async def _renew(self, refused: str | None) -> str:
        async with self._lock:
            if self._current is not None and self._current.usable() and self._current.token != refused:
                return self._current.token
            # A cancelled task must not leave between Intuit's answer and its storing.
            self._current = await asyncio.shield(self._exchange(refused))
            return self._current.token

    async def _exchange(self, refused: str | None) -> _Stored:
        lock = self._store.exclusive()
        held = await asyncio.to_thread(lock.__enter__)
        try:
            refresh = await asyncio.to_thread(held.get, REFRESH_TOKEN)
            if not refresh:
                raise AuthorizationFault(f"{REFRESH_TOKEN} is not in Mage Secrets; {REAUTHORISE}")
            stored = _read(await asyncio.to_thread(held.get, ACCESS_TOKEN))
            if stored and stored.refresh == _mark(refresh) and stored.usable() and stored.token != refused:
                return stored
            answer = await self._ask(refresh, await self._client_now(held))
            renewed = answer.refresh_token or refresh
            fresh = _Stored(
                token=answer.access_token,
                expires_at=time.time() + answer.expires_in,
                early=min(EARLY_SECONDS, answer.expires_in / 4),
                refresh=_mark(renewed),
            )
            values = {ACCESS_TOKEN: msgspec.json.encode(fresh).decode()}
            if renewed != refresh:
                values[REFRESH_TOKEN] = renewed
            await asyncio.to_thread(held.put, values)
        finally:
            await asyncio.to_thread(lock.__exit__, None, None, None)
        self._events.emit(
            "token_refreshed",
            "auth",
            "access token refreshed" + (", the refresh token was rotated and stored" if renewed != refresh else ""),
            seconds_valid=round(answer.expires_in),
            rotated=renewed != refresh,
        )
        return fresh

    async def _client_now(self, held: HeldSecrets) -> Client:
        """The app's credentials as they are stored now: they may have been rotated since this run began."""
        client_id = await asyncio.to_thread(held.get, CLIENT_ID)
        secret = await asyncio.to_thread(held.get, CLIENT_SECRET)
        return Client((client_id or self._client.id).strip(), (secret or self._client.secret).strip())

    async def _ask(self, refresh: str, client: Client) -> _Answer:
        for attempt in range(1, TOKEN_TRIES + 1):
            try:
                return await self._ask_once(refresh, client)
            except TransientFault as fault:
                if attempt == TOKEN_TRIES:
                    raise
                self._events.emit("token_retry", "auth", str(fault), level="warning", attempt=attempt)
                await asyncio.sleep(0.5 * 2**attempt)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _ask_once(self, refresh: str, client: Client) -> _Answer:
        try:
            async with self._session.post(
                self._url,
                data={"grant_type": "refresh_token", "refresh_token": refresh},
                auth=aiohttp.BasicAuth(client.id, client.secret),
                headers={"Accept": "application/json"},
                allow_redirects=False,
            ) as response:
                body = await response.read()
                tid = response.headers.get("intuit_tid", "")
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise TransientFault(f"Intuit's token endpoint can't be reached ({type(error).__name__})") from None
        if response.status == 200:
            try:
                return msgspec.json.decode(body, type=_Answer)
            except msgspec.DecodeError:
                raise TransientFault("Intuit's token endpoint gave an answer without tokens", tid=tid) from None
        text = redact(body[:300].decode("utf-8", "replace"))
        if response.status >= 500 or response.status == 429:
            raise TransientFault(f"Intuit's token endpoint answered HTTP {response.status}", tid=tid)
        if "invalid_client" in text:
            raise AuthorizationFault(
                "Intuit refuses the app's credentials (invalid_client): check QBO_CLIENT_ID and QBO_CLIENT_SECRET "
                "against the app's Keys page at Intuit",
                tid=tid,
            )
        if "invalid_grant" in text:
            raise AuthorizationFault(
                f"Intuit refuses the refresh token (invalid_grant), it is old, revoked or another app's: {REAUTHORISE}",
                tid=tid,
            )
        raise AuthorizationFault(f"Intuit's token endpoint answered HTTP {response.status}; {REAUTHORISE}", tid=tid)


def _read(text: str | None) -> _Stored | None:
    try:
        return msgspec.json.decode(text, type=_Stored) if text else None
    except msgspec.DecodeError:
        return None


def _mark(refresh_token: str) -> str:
    return hashlib.sha256(refresh_token.encode()).hexdigest()[:16]
