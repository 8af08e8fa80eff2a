"""Windows are read in virtual time."""

from __future__ import annotations

import pytest

from tests.unit.virtual_time import VirtualTimePolicy


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy
