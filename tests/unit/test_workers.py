"""How workers end: chunks lost while they are given up, and workers that Postgres has no connection for."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from async_extractor.entities import ENTITIES
from async_extractor.events import Events
from async_extractor.extraction.workers import Extraction
from async_extractor.qbo.faults import AuthorizationFault, QboFault, QueryRefusedFault, StoppedFault, UnavailableFault
from async_extractor.warehouse.ledger import Chunk
from async_extractor.warehouse.loader import LostChunk
from async_extractor.warehouse.session import NoConnectionLeft
from async_extractor.windows import UTC
from tests.support.backfilling import Recorder

MONTH = datetime(2025, 1, 1, tzinfo=UTC)


def chunk(number: int) -> Chunk:
    return Chunk(number, 1, 1, "window", MONTH, MONTH.replace(month=2), MONTH, MONTH.replace(month=2), None)


class Ledger:
    """Chunks to claim, and what sessions did with them."""

    def __init__(self, chunks: int) -> None:
        self.chunks = [chunk(number) for number in range(chunks)]
        self.ended: list[tuple[int, str]] = []
        self.lost: set[int] = set()
        self.full = 0

    def session(self) -> Any:
        return LedgerSession(self)


class LedgerSession:
    """A WorkerSession without a database."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._chunk: Chunk | None = None
        self.closed = False

    async def claim(self, _: int) -> Chunk | None:
        if self._ledger.full:
            self._ledger.full -= 1
            raise NoConnectionLeft("Postgres 53300: sorry, too many clients already, for 90 s")
        await asyncio.sleep(0)
        self._chunk = self._ledger.chunks.pop(0) if self._ledger.chunks else None
        return self._chunk

    async def wait_for_others(self, *_: object) -> bool:
        return False

    async def finish(self, outcome: str, *_: object, **__: object) -> None:
        assert self._chunk is not None
        if self._chunk.chunk_id in self._ledger.lost:
            raise LostChunk
        self._ledger.ended.append((self._chunk.chunk_id, outcome))
        self._chunk = None

    def drop(self) -> None:
        self._chunk = None

    async def close(self) -> None:
        self.closed = True


class Reading(Extraction):
    """Each chunk's reading ends with a fault, or well."""

    fault: QboFault | None = None

    async def _read(self, session: Any, *_: object) -> bool:
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        await session.finish("done")
        return True


def extraction(ledger: Ledger, told: Recorder, fault: QboFault | None = None) -> Reading:
    stop = asyncio.Event()
    made = Reading(None, ENTITIES["items"], "last_updated", ledger.session, Events([told]), stop)  # type: ignore[arg-type]
    made.fault = fault
    return made


async def test_a_chunk_that_is_lost_while_it_fails_is_lost_and_the_others_go_on() -> None:
    ledger, told = Ledger(3), Recorder()
    ledger.lost = {1}
    await extraction(ledger, told, QueryRefusedFault("HTTP 400")).run(1, 1)
    assert ledger.ended == [(0, "failed"), (2, "failed")]
    assert [event.fields["chunk_id"] for event in told.named("chunk_lost")] == [1]


async def test_a_chunk_that_is_lost_while_it_is_released_does_not_hide_what_ends_the_run() -> None:
    ledger, told = Ledger(2), Recorder()
    ledger.lost = {0}
    with pytest.raises(AuthorizationFault):
        await extraction(ledger, told, AuthorizationFault("revoked")).run(1, 1)
    assert ledger.ended == [(1, "released")]


@pytest.mark.parametrize("fault", [AuthorizationFault("revoked"), UnavailableFault("an outage")])
async def test_what_ends_the_run_releases_the_chunks_of_all(fault: QboFault) -> None:
    ledger, told = Ledger(4), Recorder()
    with pytest.raises(type(fault)):
        await extraction(ledger, told, fault).run(1, 3)
    assert {outcome for _, outcome in ledger.ended} == {"released"}


async def test_a_stop_releases_the_chunk_and_ends_without_an_error() -> None:
    ledger, told = Ledger(1), Recorder()
    await extraction(ledger, told, StoppedFault("told to stop")).run(1, 1)
    assert ledger.ended == [(0, "released")]
    assert len(told.named("chunk_released")) == 1


async def test_workers_without_a_connection_retire_and_the_others_do_their_work() -> None:
    ledger, told = Ledger(6), Recorder()
    ledger.full = 3
    await extraction(ledger, told).run(1, 4)
    assert sorted(ledger.ended) == [(number, "done") for number in range(6)]
    assert len(told.named("worker_retired")) == 3


async def test_the_run_ends_when_no_worker_has_a_connection() -> None:
    ledger, told = Ledger(6), Recorder()
    ledger.full = 4
    with pytest.raises(NoConnectionLeft, match="53300"):
        await extraction(ledger, told).run(1, 4)
    assert ledger.ended == []
