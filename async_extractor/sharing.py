"""What a process shares with the company's other processes: the budget, and what is known of an outage.

This is where QuickBooks' limits and Postgres meet.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from async_extractor.events import Events
from async_extractor.qbo.breaker import CircuitBreaker
from async_extractor.qbo.budget import (
    IN_FLIGHT,
    PER_MINUTE,
    PER_SECOND,
    PIPELINES,
    Gate,
    LocalGate,
    OpenGate,
    TwoGates,
)
from async_extractor.warehouse.budget import SharedGate
from async_extractor.warehouse.company import CompanyConnection
from async_extractor.warehouse.connection import Address, told
from async_extractor.warehouse.outage import SharedOutage


@dataclass(frozen=True)
class Limits:
    """The gate and the breaker that every request passes."""

    gate: Gate
    breaker: CircuitBreaker


@contextlib.asynccontextmanager
async def shared_limits(address: Address, realm_id: str, events: Events, *, workers: int = 1) -> AsyncIterator[Limits]:
    """The limits of a company, for all its processes that use this Postgres.

    Where it can't be used for that, an event says so, and the process takes a part of the quota that is safe with
    `workers` processes in each of the three pipelines.
    """
    company = CompanyConnection(address, realm_id)
    gate, outage = SharedGate(company, PER_MINUTE, PER_SECOND, IN_FLIGHT), SharedOutage(company)
    breaker = CircuitBreaker(events, outage)
    try:
        await gate.open()
        await breaker.learn()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncio.TimeoutError, OSError) as error:
        await company.close()
        parts = PIPELINES * workers
        events.emit(
            "budget_not_shared",
            "plan",
            f"the company's budget can't be shared ({told(error)}); this process takes one part in {parts} of it",
            level="warning",
        )
        yield Limits(LocalGate(share=1 / parts), CircuitBreaker(events))
        return
    try:
        yield Limits(TwoGates(LocalGate(spacing=1 / PER_SECOND), gate), breaker)
    finally:
        await breaker.close()
        await company.close()


@contextlib.asynccontextmanager
async def no_limits(events: Events) -> AsyncIterator[Limits]:
    """For a simulator that has none."""
    yield Limits(OpenGate(), CircuitBreaker(events))
