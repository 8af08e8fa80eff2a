"""Mage Secrets in a dictionary with a lock, which as many `AccessTokens` share as there would be processes, and
Intuit's token endpoint on aioresponses."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from aioresponses import CallbackResult, aioresponses

from async_extractor.errors import ConfigurationError
from async_extractor.qbo.auth.access_tokens import REFRESH_TOKEN, AccessTokens

URL = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"
SECRET = "client-secret-Zx81"
FIRST_REFRESH = "RT1-first-refresh-token-0001"
Process = Callable[[], AccessTokens]


class Store:
    """Secrets in memory behind an exclusive lock; `log` is what was done, in order."""

    def __init__(self) -> None:
        self.values = {REFRESH_TOKEN: FIRST_REFRESH}
        self.log: list[str] = []
        self.refuses_to_store = False
        self.is_full = False
        self.out_of_reach_for = 0
        self.waited_for = threading.Event()
        self.lock = threading.Lock()

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[Store]:
        assert threading.current_thread() is not threading.main_thread(), "a blocking call on the event loop"
        self.waited_for.set()
        with self.lock:
            self.log.append("locked")
            yield self
            self.log.append("unlocked")

    def check_writable(self, name: str) -> None:
        assert self.lock.locked()
        assert name in self.values
        if self.is_full:
            raise ConfigurationError("Mage's database can't be used: disk is full")

    def put(self, values: dict[str, str]) -> None:
        assert self.lock.locked()
        assert threading.current_thread() is not threading.main_thread(), "a blocking call on the event loop"
        if self.out_of_reach_for > 0:
            self.out_of_reach_for -= 1
            raise ConfigurationError("Mage's database can't be used")
        if self.refuses_to_store:
            raise OSError("disk full")
        self.values.update(values)
        self.log.append("stored " + ", ".join(sorted(values)))


class Intuit:
    """The token endpoint: exchanges the newest refresh token only, and rotates it each time when asked to."""

    def __init__(self, store: Store, endpoint: aioresponses) -> None:
        self.valid_refresh = FIRST_REFRESH
        self.rotates = False
        self.lifetime: object = 3600
        self.asked: list[dict[str, Any]] = []
        self.reached = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self._store = store
        endpoint.post(URL, callback=self._answer, repeat=True)

    async def _answer(self, _url: object, **request: Any) -> CallbackResult:
        self.asked.append(request)
        self._store.log.append("asked")
        number = len(self.asked)
        self.reached.set()
        await self.answers.wait()
        await asyncio.sleep(0.2)
        if request["data"]["refresh_token"] != self.valid_refresh:
            return CallbackResult(status=400, payload={"error": "invalid_grant"})
        if self.rotates:
            self.valid_refresh = f"RT1-rotated-refresh-token-{number:04}"
        return CallbackResult(
            headers={"intuit_tid": "1-tid"},
            payload={
                "token_type": "bearer",
                "expires_in": self.lifetime,
                "access_token": f"eyJhbGciOi.access-token-{number:04}",
                "refresh_token": self.valid_refresh,
                "x_refresh_token_expires_in": 8726400,
            },
        )
