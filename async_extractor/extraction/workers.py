"""The workers: each claims a chunk, reads its window page by page, and loads the pages, until none is left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from async_extractor.entities import Entity
from async_extractor.errors import IncompleteError
from async_extractor.events import Events
from async_extractor.extraction.sharing import Share, Shares
from async_extractor.extraction.timing import WorkerTime
from async_extractor.qbo.client import QueryClient, Spent, request_json, unless_stopped
from async_extractor.qbo.faults import AuthorizationFault, QboFault, StoppedFault, UnavailableFault
from async_extractor.qbo.paging.date_range import value_of
from async_extractor.qbo.paging.reader import Begun, WindowReader
from async_extractor.qbo.paging.size import PageSize
from async_extractor.qbo.paging.source import Page
from async_extractor.qbo.query import DATE_FIELDS, LAST_UPDATED
from async_extractor.warehouse.ledger import Chunk
from async_extractor.warehouse.loader import LostChunk, WorkerSession
from async_extractor.warehouse.raw_table import PageToLoad, Refused, rows_of
from async_extractor.warehouse.session import NoConnectionLeft
from async_extractor.windows import SECOND, UTC, Window, iso, whole_second_up

# Chunks that fail one after the other, none done between, before the run is ended: it isn't the chunks then.
MOST_FAILURES_IN_A_ROW = 10
# A page that is being loaded when the run is told to stop is waited for so long: somebody may have locked the table.
LOADING_SECONDS = 1.0


@dataclass(frozen=True)
class _Work:
    """A chunk to read: by whom, its part in the sharing of windows, and its first page where that has come already."""

    chunk: Chunk
    reader: WindowReader
    share: Share | None = None
    begun: Begun | None = None


class Extraction:
    """Runs `concurrency` workers over the chunks of one run."""

    def __init__(
        self,
        client: QueryClient,
        entity: Entity,
        filter_field: str,
        new_session: Callable[[], WorkerSession],
        events: Events,
        stop: asyncio.Event,
        spent: Spent | None = None,
    ) -> None:
        """`spent` takes what was asked for no chunk: pages of parts that were not taken over in the end."""
        self._client = client
        self._entity = entity
        self._filter_field = filter_field
        self._new_session = new_session
        self._events = events
        self._stop = stop
        self._spent = spent or Spent()
        self._page_size = PageSize()
        self._shares = Shares(1)
        self._held: set[int] = set()
        self._failures_in_a_row = 0
        self._retired: list[NoConnectionLeft] = []

    async def run(self, run_id: int, concurrency: int) -> None:
        """Returns when no chunk of the run is left that can be begun, or after `stop` was set.

        Raises what ends the run: QboFault for authorization or a lasting outage, or what the warehouse raises.
        """
        self._shares = Shares(concurrency)
        workers = [asyncio.ensure_future(self._work(run_id)) for _ in range(concurrency)]
        try:
            done, _ = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
            for worker in done:
                worker.result()
            if len(self._retired) == concurrency:
                raise self._retired[-1]
        except asyncio.CancelledError:
            for worker in workers:
                worker.cancel()
            raise
        except BaseException:
            self._stop.set()
            raise
        finally:
            # The others load the page that they have and release their chunk, rather than being cut off in it. What
            # they raise is what the first one raised.
            await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, run_id: int) -> None:
        session = self._new_session()
        try:
            while not self._stop.is_set():
                work = await self._claim(session, run_id) or await self._take_over(session, run_id)
                if work is not None:
                    await self._do(session, work)
                elif not await unless_stopped(self._stop, session.wait_for_others(run_id, sorted(self._held))):
                    return
        except StoppedFault:
            return
        except NoConnectionLeft as error:
            # Those who have a connection do its work, too; when nobody has one the run ends.
            self._retired.append(error)
            self._events.emit("worker_retired", "load", f"a worker less: {error}", level="warning")
        finally:
            await session.close()

    async def _claim(self, session: WorkerSession, run_id: int) -> _Work | None:
        with self._shares.claiming():
            chunk, reader = await session.claim(run_id), self._reader()
            if chunk is None:
                return None
            if chunk.attempt > 1:
                chunk = replace(chunk, expected_rows=await self._counted_anew(reader, chunk))
            return _Work(chunk, reader, self._shares.begin(chunk))

    async def _counted_anew(self, reader: WindowReader, chunk: Chunk) -> int | None:
        """How many rows a window has that was begun before: what the ledger expects may be by places of several times.

        None where it was not counted, or can't be now: whoever reads it meets the fault.
        """
        if chunk.window_end is None or chunk.expected_rows is None:
            return None
        window = Window(chunk.window_start, chunk.window_end)
        try:
            return await reader.count(DATE_FIELDS[self._filter_field], window)
        except QboFault:
            return None

    async def _take_over(self, session: WorkerSession, run_id: int) -> _Work | None:
        """The far part of a window that another worker of this process reads; None when there is none to be had."""
        part = await self._shares.far_part(self._page_size.rows)
        if part is None:
            return None
        reader, began = self._reader(), time.monotonic()
        try:
            begun = await reader.from_row(DATE_FIELDS[self._filter_field], part.window, part.first)
            if begun is not None:
                async with self._shares.cutting:
                    row = part.first + begun.before
                    holder = self._shares.holder(begun.start, row)
                    if holder is not None and holder.chunk is not None:
                        chunk = await session.take_over(
                            holder.chunk, begun.start, row - holder.first, run_id, time.monotonic() - began
                        )
                        if chunk is not None:
                            self._shares.take(part, holder, chunk, row)
                            return _Work(chunk, reader, part, begun)
        except (StoppedFault, AuthorizationFault, UnavailableFault):
            raise
        except QboFault:
            pass  # whoever holds the window meets it, too
        finally:
            if part.chunk is None:
                self._shares.give_back(part)
                self._spent.add(reader.spent.take())
        return None

    def _reader(self) -> WindowReader:
        return WindowReader(self._client, self._entity, self._events, size=self._page_size)

    async def _do(self, session: WorkerSession, work: _Work) -> None:
        chunk = work.chunk
        self._held.add(chunk.chunk_id)
        worker_time = WorkerTime(work.reader.spent)
        self._events.emit("chunk_started", "extract", f"{chunk} begun", chunk_id=chunk.chunk_id, attempt=chunk.attempt)
        try:
            await self._attempt(session, work, worker_time)
        except LostChunk:
            self._events.emit(
                "chunk_lost",
                "extract",
                f"{chunk} is another worker's now",
                level="warning",
                chunk_id=chunk.chunk_id,
            )
            session.drop()
            await session.close()
        finally:
            self._held.discard(chunk.chunk_id)
            if work.share is not None:
                self._shares.end(work.share)

    async def _attempt(self, session: WorkerSession, work: _Work, worker_time: WorkerTime) -> None:
        """Reads the chunk and says in the ledger how that ended; `LostChunk` when it is another worker's by then."""
        chunk = work.chunk
        try:
            finished = await self._read(session, work, worker_time)
        except StoppedFault:
            await session.finish("released", worker_time.take())
            self._tell_released(chunk)
        except (AuthorizationFault, UnavailableFault):
            await session.finish("released", worker_time.take())
            raise
        except QboFault as fault:
            await session.finish("failed", worker_time.take(), error=str(fault), tid=fault.tid)
            self._events.emit(
                "chunk_failed",
                "extract",
                f"{chunk} failed: {fault}; to read it again: qbo-backfill retry {self._entity.name} "
                f"--chunk {iso(chunk.window_start)} --filter-field {self._filter_field}",
                level="error",
                chunk_id=chunk.chunk_id,
                intuit_tid=fault.tid,
            )
            self._failures_in_a_row += 1
            if self._failures_in_a_row >= MOST_FAILURES_IN_A_ROW:
                raise IncompleteError(
                    f"{self._failures_in_a_row} chunks failed one after the other, the last with: {fault}"
                ) from None
        else:
            self._failures_in_a_row = 0
            if not finished:
                self._tell_released(chunk)

    def _tell_released(self, chunk: Chunk) -> None:
        self._events.emit("chunk_released", "extract", f"{chunk} released, to be resumed", chunk_id=chunk.chunk_id)

    async def _read(self, session: WorkerSession, work: _Work, worker_time: WorkerTime) -> bool:
        """The chunk's pages into raw. True when it is done, False when it was released on the way."""
        chunk, rows = work.chunk, 0
        last_seen = chunk.window_start
        async with _one_ahead(self._pages(work), worker_time) as pages:
            async for page in pages:
                if chunk.window_end is None:
                    last_seen = max(last_seen, _now(page))
                window_end = chunk.window_end or whole_second_up(last_seen) + SECOND
                loading = session.load(_to_load(page, chunk.window_start, window_end), worker_time.take())
                loaded = await unless_stopped(self._stop, loading, grace=LOADING_SECONDS)
                rows += loaded.read
                self._events.emit(
                    "page_loaded",
                    "load",
                    f"{chunk}: page {page.number}, {loaded.read} rows, {loaded.inserted} inserted, "
                    f"{loaded.updated} updated",
                    level="debug",
                    chunk_id=chunk.chunk_id,
                    page=page.number,
                    read=loaded.read,
                    inserted=loaded.inserted,
                    updated=loaded.updated,
                    unchanged=loaded.unchanged,
                    quarantined=loaded.quarantined,
                )
                if self._stop.is_set():
                    await session.finish("released", worker_time.take())
                    return False
        caught_up_to = None if chunk.window_end else whole_second_up(last_seen) + SECOND
        await session.finish("done", worker_time.take(), window_end=caught_up_to)
        self._events.emit(
            "chunk_done",
            "load",
            f"{chunk} done, {rows} rows",
            chunk_id=chunk.chunk_id,
            kind=chunk.kind,
            read=rows,
        )
        return True

    def _pages(self, work: _Work) -> AsyncIterator[Page]:
        chunk, reader = work.chunk, work.reader
        if work.share is not None:
            return self._shared_pages(work, work.share)
        if chunk.kind == "window":
            return reader.pages(DATE_FIELDS[self._filter_field], chunk.window_start, chunk.window_end, expected=None)
        # Records that were in the range when the run began existed before the range's end. By TxnDate all that
        # were edited are read: a record's TxnDate of before the edit isn't known, and new ones may be dated back.
        # Where there is no CreateTime to ask by, younger ones come along; what isn't in the range is the next run's.
        by_creation = self._filter_field != "txn_date" and self._entity.has_create_time
        before = chunk.range_end if by_creation else None
        return reader.pages(LAST_UPDATED, chunk.window_start, None, created_before=before, expected=None)

    async def _shared_pages(self, work: _Work, share: Share) -> AsyncIterator[Page]:
        """The pages of a window whose far end may go to another worker at any moment, without what is the other's."""
        chunk, field = work.chunk, DATE_FIELDS[self._filter_field]
        start, end = chunk.window_start, chunk.window_end
        before = work.begun.before if work.begun else 0
        pages = work.reader.pages(
            field,
            start,
            end,
            begun=work.begun,
            until=lambda: self._shares.until(share),
            expected=before + share.until_row - share.first,
        )
        async for page in pages:
            if not work.reader.order_honoured:
                self._shares.order_is_ignored()
            values = [value_of(record, field) or start for record in page.records]
            share.read += sum(value >= start for value in values) + len(page.unreadable)
            until = await self._shares.until(share)
            ours = [r for r, value in zip(page.records, values, strict=True) if start <= value < until]
            yield page if len(ours) == len(page.records) else replace(page, records=ours)


@contextlib.asynccontextmanager
async def _one_ahead(pages: AsyncIterator[Page], worker_time: WorkerTime) -> AsyncIterator[AsyncIterator[Page]]:
    """The same pages, the next one being fetched while one is loaded."""
    upcoming = asyncio.ensure_future(_next(pages))

    async def ahead() -> AsyncIterator[Page]:
        nonlocal upcoming
        while True:
            with worker_time.waiting():
                page = await upcoming
            if page is None:
                return
            upcoming = asyncio.ensure_future(_next(pages))
            yield page

    try:
        yield ahead()
    finally:
        upcoming.cancel()
        try:
            await asyncio.gather(upcoming, return_exceptions=True)
        finally:
            close = getattr(pages, "aclose", None)
            # Told to end once more meanwhile, the reader may still be at it; the event loop closes it then.
            if close is not None and upcoming.done():
                await close()


async def _next(pages: AsyncIterator[Page]) -> Page | None:
    return await anext(pages, None)


def _to_load(page: Page, window_start: datetime, window_end: datetime) -> PageToLoad:
    return PageToLoad(
        number=page.number,
        size=page.size,
        window_start=window_start,
        window_end=max(window_start, window_end),
        request_payload=request_json(page.request_payload),
        read_at=(page.server_time or datetime.now(UTC)).astimezone(UTC),
        rows=rows_of(page.records),
        refused=[
            *(Refused(bad.id, f"not a record that can be kept: {bad.reason}", bad.raw) for bad in page.unreadable),
            *(Refused(bad.id, bad.reason, bad.raw) for bad in page.poisoned),
        ],
        tid=page.tid,
    )


def _now(page: Page) -> datetime:
    """QuickBooks' clock at the page, else the newest change in it."""
    times = [page.server_time, *(record.last_updated for record in page.records)]
    known = [moment for moment in times if moment is not None]
    return max(known).astimezone(UTC) if known else datetime.min.replace(tzinfo=UTC)
