"""Reading a window page by page so that no row is lost, whatever is edited meanwhile.

`STARTPOSITION` over a changing result loses rows: an edited row leaves the window, the rest slide back
one, and the next page begins one row too late, with the COUNT still right. So:

* **Anchor.** Pages are ordered by a date field, and each begins at the last value seen (`>=`), without
  the records already read at that value. A row that leaves the window moves nobody else.
* **Trust, checked.** Whether the order was honoured is looked at in each full page. Where it was not,
  the window is halved until each piece fits one page: an answer of fewer rows than asked for is whole,
  in whatever order.
* **One value.** A page full of one value can't be passed by an anchor. Rows of one second (or one
  TxnDate) are read by CreateTime, which no edit changes; and if that is one second too, by position,
  again and again until one pass read exactly as many as COUNT(*) said before it: rows can only leave
  the past, so then none was missed.
* **Poison.** A page that Intuit can't serve (10000, 4002, 504) is halved in the same way, down to the
  record, which is reported with its fault; everything else arrives.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from async_extractor.entities import Entity
from async_extractor.events import Events
from async_extractor.qbo.client import Answer, Patience, QueryClient, Spent
from async_extractor.qbo.faults import PageFault, TransientFault
from async_extractor.qbo.paging.date_range import Span, value_of
from async_extractor.qbo.paging.poison import MOST_PASSES, PoisonSearch
from async_extractor.qbo.paging.size import PageSize
from async_extractor.qbo.paging.source import Page, PageSource
from async_extractor.qbo.query import CREATED, LAST_UPDATED, MOST_ROWS, TXN_DATE, DateField, Query
from async_extractor.qbo.split import Record, Unreadable
from async_extractor.windows import SECOND, UTC, Window

# Before any QuickBooks Online company; only for halving a range that has no start of its own.
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
# Rows may come to a second of QuickBooks' clock for so long: its servers need not agree on what time it is.
SETTLES = 2 * SECOND
# Records that can't be served, none served between, before it is QuickBooks that is taken for broken: each costs about
# a hundred requests.
MOST_UNSERVED = 20
# Seconds that the present second of QuickBooks' clock is waited for to end; its servers' clocks differ by less.
LONGEST_PRESENT = 60


@dataclass(frozen=True)
class Begun:
    """The first page of a part of a window that begins at `start`. `before` of its rows lie before that."""

    start: datetime
    before: int
    answer: Answer
    query: Query


class WindowReader:
    """Reads one window once. `spent` counts what it costs, failures included.

    `size` may be shared by several readers, so that what one has learnt of the records' weight serves all.
    """

    def __init__(
        self,
        client: QueryClient,
        entity: Entity,
        events: Events,
        page_size: int = MOST_ROWS,
        *,
        size: PageSize | None = None,
    ) -> None:
        self._events = events
        self._counting: dict[Span, asyncio.Future[int]] = {}
        self.order_honoured = True
        self._field = LAST_UPDATED
        self._expected: float = 0
        self._source = PageSource(client, entity, size or PageSize(page_size))
        self._poison = PoisonSearch(self._source)

    @property
    def spent(self) -> Spent:
        return self._source.spent

    async def count(self, field: DateField, window: Window) -> int:
        """The window's rows by COUNT(*)."""
        return await self._source.count(Span(field, window.start, window.end).query(self._source.entity))

    async def from_row(self, field: DateField, window: Window, rows: int) -> Begun | None:
        """The page after so many rows of a window in the order of its date, and where a part that begins with it can
        begin: after the first value, since others of that may lie before the page.

        None where the page is not what an order that is honoured gives, or leads no further than that beginning.
        """
        span = Span(field, window.start, window.end)
        query = self._source.sized(span.query(self._source.entity), rows + 1)
        answer = await self._source.fetch(query)
        values = [value for record in answer.page.records if (value := value_of(record, field)) is not None]
        if not values or len(values) < answer.page.rows or values != sorted(values):
            return None
        first = values[0].astimezone(UTC).replace(microsecond=0)
        if first < window.start or values[-1] >= window.end:
            return None
        start = first + field.granularity
        before = sum(value < start for value in values)
        # A full page is followed by one from its last value, which would be the same.
        stuck = values[-1] == start and len(values) == query.max_results
        return None if values[-1] < start or stuck else Begun(start, before, answer, query)

    async def pages(
        self,
        field: DateField,
        start: datetime,
        end: datetime | None,
        created_before: datetime | None = None,
        *,
        begun: Begun | None = None,
        until: Callable[[], Awaitable[datetime]] | None = None,
        expected: int | None = 0,
    ) -> AsyncIterator[Page]:
        """The window's pages, at least one. Each version of a record comes once: again only what was edited meanwhile.

        `end` None reads until nothing is left, however much is edited meanwhile: edits move rows to
        the end, which is still ahead. `created_before` leaves out records that are younger. `begun` is a first page
        that was asked for already. `until` says before each page where the window ends by now, never later than before.
        `expected` is how many rows were counted up to `end`, wherever the window ends by now: while fewer have come, no
        page of fewer than asked for is the last before COUNT(*) has said so. None where nobody has counted: a window is
        then counted first, and one without an end together with its first page, which is likely to be empty.
        """
        extra = () if created_before is None else (CREATED.before(created_before),)
        span, number, unserved = Span(field, start, end, extra), 0, 0
        self._expected = math.inf if expected is None else expected
        if expected is None:
            self._counting[span] = asyncio.ensure_future(self._source.count(span.query(self._source.entity)))
        try:
            if expected is None and end is not None:
                self._expected = await self._counting[span]
            async for page in self._walk(span, begun=begun, until=until):
                if number and not (page.records or page.unreadable or page.poisoned):
                    continue  # it ends something, or all of it was handed on before
                unserved = unserved + len(page.poisoned) if not page.records else 0
                if unserved > MOST_UNSERVED:
                    raise TransientFault(
                        f"{span}: QuickBooks serves none of {unserved} records one after the other, with: "
                        f"{page.poisoned[-1].reason}",
                        tid=page.tid,
                    )
                number += 1
                yield replace(_dated(page) if field == TXN_DATE else page, number=number)
        finally:
            for counting in self._counting.values():
                counting.cancel()
            await asyncio.gather(*self._counting.values(), return_exceptions=True)

    async def _walk(
        self,
        span: Span,
        patience: Patience | None = None,
        *,
        begun: Begun | None = None,
        until: Callable[[], Awaitable[datetime]] | None = None,
    ) -> AsyncIterator[Page]:
        """Page by page along the field, each anchored at the last value of the one before.

        All ask up to the end that was counted: a page that ends where another reader has begun would be one of fewer
        rows than asked for, and nobody could say of how many.
        """
        waited, counted_end = 0, span.end
        while True:
            span = span.until(await until()) if until else span
            if span.end is not None and span.start >= span.end:
                return
            counted = replace(span, end=counted_end)
            query = begun.query if begun else self._source.sized(counted.query(self._source.entity))
            try:
                answer = begun.answer if begun else await self._source.fetch(query, patience)
            except PageFault as fault:
                part, pages = await self._servable(span, fault)
            else:
                (*others, (answer, query)), begun = await self._confirmed(counted, query, answer, patience), None
                for other in others:
                    yield self._source.page(*other)
                page = answer.page
                if page.rows < query.max_results:
                    yield self._source.page(answer, query)
                    self._source.passed(page.records)
                    return
                values = _values_of(counted, answer)
                if not await self._is_ordered(values, len(page.records), span):
                    part = _past(span, page.server_time)
                    pages = self._unordered(part) if part else None
                else:
                    yield self._source.page(answer, query)
                    if values[0] < values[-1] or _is_beyond(page.records[-1], span.field, span.end):
                        span, waited = span.since(values[-1]), 0
                        self._source.passed(r for r, v in zip(page.records, values, strict=True) if v < span.start)
                        continue
                    # Full of one value: no anchor gets past it.
                    instant = span.at(values[-1])
                    part = instant if _is_past(instant, page.server_time) else None
                    pages = self._instant(instant)
            if part is None or pages is None:
                waited = await _present_second(span, waited)
                continue
            brought = False
            async for page_ in pages:
                brought = True
                yield page_
            left = span.beyond(part)
            if left is None:
                return
            # What is there is still to come: the present is followed for so long and no longer.
            span, waited = left, 0 if brought else await _present_second(span, waited)

    async def _servable(self, span: Span, fault: PageFault) -> tuple[Span | None, AsyncIterator[Page] | None]:
        """The part of a span that is to be halved since it isn't served as a page, and its pages.

        None while all of it is QuickBooks' present. Of a span without an end that COUNT(*) calls empty, all of it.
        """
        if span.end is None:
            counted = await self._source.counted(span.query(self._source.entity))
            part = _past(span, counted.server_time) if counted.rows else span
        else:
            part = span
        return part, self._halve(part, fault) if part and part.end else _no_pages()

    async def _confirmed(
        self, span: Span, query: Query, answer: Answer, patience: Patience | None
    ) -> list[tuple[Answer, Query]]:
        """The answer with what was asked, and where it would be the span's last what came when it was asked again,
        until as many rows have come as were expected, or as COUNT(*) knew before the last, or none is there.

        COUNT(*) after a page proves nothing: what left the span since makes up for a row that was left out. Nothing
        comes to a span's past, so that all that it counts has come with the first page, or comes with the next.
        Raises TransientFault when QuickBooks goes on counting rows that it doesn't send.
        """
        tries, answers = (patience or self._source.client.patience).page_fault_tries, [(answer, query)]
        while answer.page.rows < query.max_results:
            page = answer.page
            # A first page that was asked for by its place may go on beyond the span.
            beyond = sum(_is_beyond(record, span.field, span.end) for record in page.records)
            if page.rows and self._source.sent_with(page) - beyond >= self._expected:
                break
            # What is asked along with a page may be older than it, which says nothing where rows have come.
            if page.rows == 0 and span in self._counting and await self._counting.pop(span) == 0:
                break
            # Edits bring rows to a span without an end while it is counted, but none to its past.
            past = span if page.rows == 0 else _past(span, page.server_time)
            rows = await self._source.count(past.query(self._source.entity)) if past else 0
            if past is None or not rows:
                break
            if (sent := _inside(answers, past)) < rows:
                if len(answers) == tries:
                    raise TransientFault(
                        f"{past}: QuickBooks counts {rows:,} rows and has sent {sent:,}", status=200, tid=answer.tid
                    )
                await asyncio.sleep(self._source.client.patience.first_pause * 2 ** (len(answers) - 1))
            query = self._source.sized(span.query(self._source.entity))
            answer = await self._source.fetch(query, patience)
            answers.append((answer, query))
            if _inside(answers, past) >= rows:
                break
        return answers

    async def _is_ordered(self, values: Sequence[datetime], records: int, span: Span) -> bool:
        """Whether so many records are in the order of these values; not where some have none."""
        if not values or len(values) < records or values != sorted(values):
            return False
        # A page full of one value looks ordered also where the order was ignored; then there are rows before it.
        first = values[0]
        if first == values[-1] and first > span.start:
            return not await self._source.count(span.until(first).query(self._source.entity))
        return True

    async def _unordered(self, span: Span) -> AsyncIterator[Page]:
        self.order_honoured = False
        self._events.emit(
            "order_ignored",
            "extract",
            f"ORDERBY {span.field.path} was not honoured; reading windows that fit one page",
            level="warning",
        )
        async for page in self._fit(span):
            yield page

    async def _fit(self, span: Span) -> AsyncIterator[Page]:
        """Halves until each piece is answered with fewer rows than asked for, which is then all of it."""
        query = self._source.sized(span.query(self._source.entity))
        try:
            answer = await self._source.fetch(query)
        except PageFault as fault:
            async for page in self._halve(span, fault):
                yield page
            return
        *others, (answer, query) = await self._confirmed(span, query, answer, None)
        for other in others:
            yield self._source.page(*other)
        if answer.page.rows < query.max_results:
            yield self._source.page(answer, query)
            self._source.passed(answer.page.records)
            return
        _values_of(span, answer)
        halves = span.halves()
        if halves is None:
            async for page in self._instant(span):
                yield page
            return
        for half in halves:
            async for page in self._fit(half):
                yield page

    async def _halve(self, span: Span, fault: PageFault) -> AsyncIterator[Page]:
        """A span that can't be served as a page, in halves; record by record when it is one instant."""
        halves = span.halves()
        if halves is None:
            async for page in self._poison.pages(span, fault):
                yield page
            return
        self._events.emit("page_split", "extract", f"halving {span}: {fault}", level="warning", intuit_tid=fault.tid)
        # Where not even a count is to be had it is no record that is broken but QuickBooks; that fault ends
        # the chunk. An empty half needs no page.
        rows = await self._source.count(span.query(self._source.entity))
        in_first = await self._source.count(halves[0].query(self._source.entity)) if rows else 0
        for half, some in zip(halves, (in_first > 0, rows > in_first), strict=True):
            if some:
                async for page in self._walk(half, self._source.client.patience.when_splitting()):
                    yield page

    async def _instant(self, span: Span) -> AsyncIterator[Page]:
        """More rows of one instant than fit a page."""
        if span.field != CREATED:
            conditions = span.query(self._source.entity).conditions
            async for page in self._walk(Span(CREATED, BEGINNING, _latest_creation(span), conditions)):
                yield page
            return
        seen: set[str] = set()
        at_first: int | None = None
        for _ in range(MOST_PASSES):
            expected = await self._source.count(span.query(self._source.entity))
            at_first = expected if at_first is None else at_first
            in_this_pass: set[str] = set()
            nameless = 0
            try:
                async for answer, query in self._source.positions(span):
                    in_this_pass.update(r.id for r in answer.page.records)
                    nameless += len(answer.page.unreadable)
                    yield self._source.page(answer, query)
            except PageFault as fault:
                async for page in self._poison.pages(span, fault):
                    yield page
                return
            seen |= in_this_pass
            # Whole: a pass that read all there was when it began, or, where equal rows come in another
            # order each time, passes that together read all there was at first.
            if len(in_this_pass) + nameless == expected or len(seen) + nameless == at_first:
                return
        raise TransientFault(
            f"{span}: the rows of this second change faster than they can be read ({MOST_PASSES} passes)"
        )


async def _no_pages() -> AsyncIterator[Page]:
    none: tuple[Page, ...] = ()
    for page in none:
        yield page


async def _present_second(span: Span, waited: int) -> int:
    """Rows may still come to it: a second's pause. The seconds waited by then."""
    if waited == LONGEST_PRESENT:
        raise TransientFault(
            f"{span}: QuickBooks' clock is not past it after {waited} s, or is told in no answer", status=200
        )
    await asyncio.sleep(1.0)
    return waited + 1


def _values_of(span: Span, answer: Answer) -> list[datetime]:
    """A full page's values of the span's field.

    TransientFault where they take the reading no further, since the conditions weren't honoured: none is in the span,
    or none is beyond its first instant and some are before it.
    """
    values = [value for record in answer.page.records if (value := value_of(record, span.field)) is not None]
    if not values:
        return values
    outside = max(values) < span.start or (span.end is not None and min(values) >= span.end)
    if outside or min(values) < max(values) <= span.start:
        raise TransientFault(
            f"{span}: QuickBooks answers {len(values):,} records from elsewhere, {min(values)} to {max(values)}",
            status=200,
            tid=answer.tid,
        )
    return values


def _dated(page: Page) -> Page:
    """A page of a window of TxnDates: a record whose TxnDate can't be read is in it by no date that is known."""
    odd = [record for record in page.records if record.txn_date is None]
    if not odd:
        return page
    unreadable = [Unreadable(bytes(record.raw), "its TxnDate can't be read", record.id) for record in odd]
    records = [record for record in page.records if record.txn_date is not None]
    return replace(page, records=records, unreadable=[*page.unreadable, *unreadable])


def _past(span: Span, now: datetime | None) -> Span | None:
    """The part of a span that gets no new rows any more, to be halved: all of it where it has an end, else what is
    before QuickBooks' present. None where that is nothing yet."""
    if span.end is not None:
        return span
    if now is None:
        return None
    end = now.astimezone(UTC).replace(microsecond=0) - SETTLES
    return span.until(end) if span.start < end else None


def _inside(answers: Sequence[tuple[Answer, Query]], span: Span) -> int:
    """How many records of these answers lie in a span, or say nowhere that they don't."""
    start = span.start.replace(microsecond=0)
    records = [record for answer, _ in answers for record in answer.page.records]
    ids = {
        record.id
        for record in records
        if (value_of(record, span.field) or start) >= start and not _is_beyond(record, span.field, span.end)
    }
    return len(ids) + len({bad.raw for answer, _ in answers for bad in answer.page.unreadable})


def _is_beyond(record: Record, field: DateField, end: datetime | None) -> bool:
    value = value_of(record, field)
    return value is not None and end is not None and value >= end


def _is_past(instant: Span, now: datetime | None) -> bool:
    """Whether QuickBooks' clock is beyond this second; a day of TxnDate gets rows at any time."""
    return instant.field.granularity != SECOND or (now is not None and instant.end is not None and now >= instant.end)


def _latest_creation(span: Span) -> datetime | None:
    """No record was created after it was last updated; a TxnDate says nothing of the kind."""
    return span.end if span.field == LAST_UPDATED else None
