"""A company's token endpoint and store. Time is virtual, so an hour's token grows old at once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import aiohttp
import pytest
from aioresponses import aioresponses

from async_extractor.events import Event, Events
from async_extractor.qbo.auth.access_tokens import AccessTokens
from async_extractor.qbo.auth.token_endpoint import Client
from tests.unit.oauth.intuit import SECRET, URL, Intuit, Store
from tests.unit.virtual_time import Clock, VirtualTimePolicy


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def endpoint() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


@pytest.fixture
async def intuit(store: Store, endpoint: aioresponses) -> Intuit:
    return Intuit(store, endpoint)


@pytest.fixture
async def process(clock: Clock, store: Store, told: list[Event]) -> AsyncIterator[Callable[[], AccessTokens]]:
    """Makes what a process has: its own AccessTokens on the common store."""
    async with aiohttp.ClientSession() as session:
        yield lambda: AccessTokens(session, URL, Client("client-id", SECRET), store, Events([told.append]))
