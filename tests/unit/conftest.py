"""What unit tests share: no deadline for hypothesis on a busy machine, and a clock that needs no waiting."""

from __future__ import annotations

import functools
import inspect
import time
from unittest.mock import Mock

import aiohttp
import aioresponses.core
import pytest
from hypothesis import settings

from tests.unit.virtual_time import Clock, VirtualTimePolicy

settings.register_profile("unit", deadline=None, print_blob=True)
settings.load_profile("unit")

# An argument that aiohttp's answers need since 3.14, and that aioresponses 0.7.9 doesn't give.
if "stream_writer" in inspect.signature(aiohttp.ClientResponse.__init__).parameters:
    writer = Mock(output_size=0)
    aioresponses.core.ClientResponse = functools.partial(aiohttp.ClientResponse, stream_writer=writer)  # type: ignore[misc]


@pytest.fixture
def virtual_policy() -> VirtualTimePolicy:
    """The policy to return from a module's own `event_loop_policy`, so that its tests run in virtual time."""
    return VirtualTimePolicy()


@pytest.fixture
def clock(event_loop_policy: VirtualTimePolicy, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of a test in virtual time; `time.monotonic` and `time.time` tell it, too."""
    clock = event_loop_policy.clock
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    monkeypatch.setattr(time, "time", clock.wall)
    return clock
