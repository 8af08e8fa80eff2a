"""What a process shares with the company's other processes: the budget, and what is known of an outage.

This is where QuickBooks' limits and Postgres meet.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg

from async_extractor.errors import ConfigurationError, IncompleteError
from async_extractor.events import Events
from async_extractor.qbo.breaker import CircuitBreaker
from async_extractor.qbo.limits import (
    IN_FLIGHT,
    PER_MINUTE,
    PER_SECOND,
    PIPELINES,
    Gate,
    LocalGate,
    OpenGate,
    TwoGates,
    part_of,
)
from async_extractor.warehouse.connection import Address, told
from async_extractor.warehouse.limits import SharedGate
from async_extractor.warehouse.outage import SharedOutage
from async_extractor.warehouse.session import WarehouseLost
from async_extractor.warehouse.shared_connection import CompanyConnection


@dataclass(frozen=True)
class Limits:
    """The gate and the breaker that every request passes."""

    gate: Gate
    breaker: CircuitBreaker


@contextlib.asynccontextmanager
async def shared_limits(address: Address, realm_id: str, events: Events, *, workers: int = 1) -> AsyncIterator[Limits]:
    """The limits of a company, for all its processes that use this Postgres.

    Where it refuses to be used for that, an event says so, and the process takes a part of the quota that is safe with
    `workers` processes in each of the three pipelines; ConfigurationError when there is none. A Postgres that is away
    is waited for: the company's other processes may be using it. IncompleteError when that takes too long.
    """
    company = CompanyConnection(address, realm_id)

    def paused_by_another() -> None:
        events.emit(
            "throttled",
            "extract",
            "another process of the company was answered 429: the company pauses, and this process, too",
            level="warning",
        )

    gate = SharedGate(company, PER_MINUTE, PER_SECOND, IN_FLIGHT, paused_by_another)
    breaker = CircuitBreaker(events, SharedOutage(company))
    try:
        await gate.open()
        await breaker.learn()
    except WarehouseLost as error:
        await company.close()
        raise IncompleteError(f"{error}; run the same again to resume") from None
    except asyncpg.PostgresError as error:
        await company.close()
        yield Limits(_unshared(told(error), workers, events), CircuitBreaker(events))
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


def _unshared(why: str, workers: int, events: Events) -> LocalGate:
    most = PER_SECOND // PIPELINES
    if workers > most:
        raise ConfigurationError(
            f"workers: the company's budget can't be shared ({why}), and {workers} workers in each of {PIPELINES} "
            f"pipelines can't keep Intuit's limits without it: give the role its rights with "
            f"`qbo-backfill warehouse migrate`, or run with at most {most} workers"
        )
    parts = PIPELINES * workers
    events.emit(
        "budget_not_shared",
        "plan",
        f"the company's budget can't be shared ({why}); this process takes one part in {parts} of it",
        level="warning",
    )
    return part_of(parts)
