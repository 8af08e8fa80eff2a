"""A client before a scripted query endpoint, in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aioresponses import aioresponses

from tests.unit.client.query_endpoint import World
from tests.unit.virtual_time import Clock, VirtualTimePolicy


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


@pytest.fixture
async def world(clock: Clock) -> AsyncIterator[World]:
    with aioresponses() as api:
        async with aiohttp.ClientSession() as session:
            yield World(session, clock, api)
