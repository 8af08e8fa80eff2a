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
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from async_extractor.entities import Entity
from async_extractor.events import Events
from async_extractor.qbo.client import Answer, Patience, QueryClient, Spent
from async_extractor.qbo.faults import PageFault, QueryRefusedFault, TransientFault
from async_extractor.qbo.page_size import PageSize
from async_extractor.qbo.pages import Record, Unreadable
from async_extractor.qbo.query import CREATED, LAST_UPDATED, MOST_ROWS, DateField, Query
from async_extractor.windows import SECOND, UTC, iso

# Passes over rows of one instant before the chunk is given up: they are being edited faster than read.
MOST_PASSES = 20
# Before any QuickBooks Online company; only for halving a range that has no start of its own.
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Poisoned:
    """A record that Intuit can't serve: its Id where it could be found out, and Intuit's fault."""

    id: str | None
    reason: str
    tid: str


@dataclass(frozen=True)
class Page:
    """New records of one answer. `number` counts from 1 within the chunk; `size` is the MAXRESULTS asked for."""

    number: int
    size: int
    records: list[Record]
    unreadable: list[Unreadable]
    poisoned: list[Poisoned]
    request_payload: dict[str, Any]
    tid: str
    server_time: datetime | None


@dataclass(frozen=True)
class Span:
    """What is left to read: `[start, end)` of a field, without an end for "until now", under extra conditions."""

    field: DateField
    start: datetime
    end: datetime | None
    conditions: tuple[str, ...] = ()

    def query(self, entity: Entity) -> Query:
        bounds = [self.field.at_least(self.start)]
        if self.end is not None:
            bounds.append(self.field.before(self.end))
        return Query(entity, (*bounds, *self.conditions), order=self.field)

    def halves(self) -> tuple[Span, Span] | None:
        """The span cut in two, or None when it is one instant."""
        if self.end is None:
            raise ValueError("a span without an end has no half")
        units = (self.end - self.start) // self.field.granularity
        if units <= 1:
            return None
        middle = self.start + self.field.granularity * (units // 2)
        return self.until(middle), Span(self.field, middle, self.end, self.conditions)

    def until(self, end: datetime) -> Span:
        return Span(self.field, self.start, end, self.conditions)

    def __str__(self) -> str:
        end = iso(self.end) if self.end else "now"
        return f"{self.field.path} from {iso(self.start)} to {end}"


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
        self._client = client
        self._entity = entity
        self._events = events
        self._size = size or PageSize(page_size)
        self._number = 0
        self._unreadable: set[bytes] = set()
        self.spent = Spent()

    def pages(
        self, field: DateField, start: datetime, end: datetime | None, created_before: datetime | None = None
    ) -> AsyncIterator[Page]:
        """The window's pages, each record once (again only in a newer version).

        `end` None reads until nothing is left, however much is edited meanwhile: edits move rows to
        the end, which is still ahead. `created_before` leaves out records that are younger.
        """
        extra = () if created_before is None else (CREATED.before(created_before),)
        return self._walk(Span(field, start, end, extra))

    async def count(self, query: Query) -> int:
        """COUNT(*) of a query's rows now."""
        answer = await self._fetch(Query(query.entity, query.conditions, what="COUNT(*)"))
        if answer.page.total_count is None:
            raise TransientFault("QuickBooks answered COUNT(*) without a totalCount", tid=answer.tid)
        return answer.page.total_count

    async def _fetch(self, query: Query, patience: Patience | None = None) -> Answer:
        answer = await self._client.fetch(query, self.spent, patience)
        if query.what == "*":
            self._size.saw(len(answer.page.records), sum(len(record.raw) for record in answer.page.records))
        return answer

    async def _walk(self, span: Span, patience: Patience | None = None) -> AsyncIterator[Page]:
        """Page by page along the field, each anchored at the last value of the one before."""
        at_anchor: dict[str, int] = {}
        while True:
            query = self._sized(span.query(self._entity))
            try:
                answer = await self._fetch(query, patience)
            except PageFault as fault:
                # To QuickBooks' own present: what is edited while the halves are read comes after it.
                ended = span if span.end else self._ended(span, await self._fetch(self._counting(span)))
                async for page_ in self._halve(ended, fault):
                    yield page_
                if span.end is not None:
                    return
                span, at_anchor = self._after(ended), {}
                continue
            page = answer.page
            fresh = [r for r in page.records if at_anchor.get(r.id) != r.sync_token]
            if page.rows < query.max_results:
                yield self._page(answer, query, fresh)
                return
            # What has no Id has no place in the order either; it never is the anchor.
            values = [_value(record, span.field) for record in page.records]
            if not values or None in values or not _in_order(values) or not await self._begins_with(values, span):
                self._events.emit(
                    "order_ignored",
                    "extract",
                    f"ORDERBY {span.field.path} was not honoured; reading windows that fit one page",
                    level="warning",
                )
                ended = self._ended(span, answer)
                async for page_ in self._fit(ended):
                    yield page_
                if span.end is not None:
                    return
                span, at_anchor = self._after(ended), {}
                continue
            yield self._page(answer, query, fresh)
            first, last = values[0], values[-1]
            assert first is not None
            assert last is not None
            if first == last:
                # Full of one value: no anchor gets past it.
                if span.field.granularity == SECOND and page.server_time and page.server_time < last + SECOND:
                    # The present second: rows may still come to it.
                    await asyncio.sleep(1.0)
                    continue
                async for page_ in self._instant(
                    Span(span.field, last, last + span.field.granularity, span.conditions)
                ):
                    yield page_
                span = Span(span.field, last + span.field.granularity, span.end, span.conditions)
                at_anchor = {}
                if span.end is not None and span.start >= span.end:
                    return
                continue
            span = Span(span.field, last, span.end, span.conditions)
            at_anchor = {r.id: r.sync_token for r, value in zip(page.records, values, strict=True) if value == last}

    async def _begins_with(self, values: list[datetime | None], span: Span) -> bool:
        """Whether a page full of one value has no row before it; without the order it looks the same."""
        first = values[0]
        assert first is not None
        return (
            first != values[-1] or first <= span.start or await self.count(span.until(first).query(self._entity)) == 0
        )

    async def _fit(self, span: Span) -> AsyncIterator[Page]:
        """Halves until each piece is answered with fewer rows than asked for, which is then all of it."""
        query = self._sized(span.query(self._entity))
        try:
            answer = await self._fetch(query)
        except PageFault as fault:
            async for page in self._halve(span, fault):
                yield page
            return
        if answer.page.rows < query.max_results:
            yield self._page(answer, query, answer.page.records)
            return
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
            async for page in self._one_by_one(span, fault):
                yield page
            return
        self._events.emit("page_split", "extract", f"halving {span}: {fault}", level="warning", intuit_tid=fault.tid)
        # Where not even a count is to be had it is no record that is broken but QuickBooks; that fault ends
        # the chunk. An empty half needs no page.
        rows = await self.count(span.query(self._entity))
        in_first = await self.count(halves[0].query(self._entity)) if rows else 0
        for half, some in zip(halves, (in_first > 0, rows > in_first), strict=True):
            if some:
                async for page in self._walk(half, self._client.patience.when_splitting()):
                    yield page

    async def _instant(self, span: Span) -> AsyncIterator[Page]:
        """More rows of one instant than fit a page."""
        if span.field != CREATED:
            conditions = span.query(self._entity).conditions
            async for page in self._walk(Span(CREATED, BEGINNING, self._latest_creation(span), conditions)):
                yield page
            return
        seen: dict[str, int] = {}
        at_first: int | None = None
        for _ in range(MOST_PASSES):
            expected = await self.count(span.query(self._entity))
            at_first = expected if at_first is None else at_first
            in_this_pass: set[str] = set()
            nameless = 0
            try:
                async for answer, query in self._positions(span):
                    in_this_pass.update(r.id for r in answer.page.records)
                    nameless += len(answer.page.unreadable)
                    fresh = [r for r in answer.page.records if seen.get(r.id) != r.sync_token]
                    seen.update((r.id, r.sync_token) for r in fresh)
                    yield self._page(answer, query, fresh)
            except PageFault as fault:
                async for page in self._one_by_one(span, fault):
                    yield page
                return
            # Whole: a pass that read all there was when it began, or, where equal rows come in another
            # order each time, passes that together read all there was at first.
            if len(in_this_pass) + nameless == expected or len(seen) + nameless == at_first:
                return
        raise TransientFault(
            f"{span}: the rows of this second change faster than they can be read ({MOST_PASSES} passes)"
        )

    async def _positions(self, span: Span, what: Literal["*", "Id"] = "*") -> AsyncIterator[tuple[Answer, Query]]:
        position = 1
        while True:
            query = replace(self._sized(span.query(self._entity), position), what=what)
            answer = await self._fetch(query)
            yield answer, query
            if answer.page.rows < query.max_results:
                return
            position += answer.page.rows

    async def _one_by_one(self, span: Span, fault: PageFault) -> AsyncIterator[Page]:
        """The rows of one instant: by Id where QuickBooks tells the Ids, else by position."""
        base = span.query(self._entity)
        total = await self.count(base)
        ids = await self._ids(span)
        if total and len(ids) == total:
            async for page in self._by_id(span, ids):
                yield page
            return
        seen: set[str] = set()
        for _ in range(MOST_PASSES):
            served: set[str] = set()
            nameless = 0
            broken: list[tuple[PageFault, Query]] = []
            for position in range(1, total + 1):
                query = Query(base.entity, base.conditions, base.order, position, 1)
                try:
                    answer = await self._fetch(query, self._client.patience.when_splitting())
                except PageFault as single:
                    broken.append((single, query))
                    continue
                served.update(r.id for r in answer.page.records)
                nameless += len(answer.page.unreadable)
                yield self._page(answer, query, answer.page.records)
            seen |= served
            # What wasn't seen is asked for by Id: where equal rows come in another order each time, a sound
            # one may be missed because a broken one stood in its place.
            missing = total - len(seen) - nameless
            names = await self._ids_by_count(base, seen, missing) if missing > 0 else []
            if names:
                async for page in self._by_id(span, names, self._client.patience.when_splitting()):
                    yield page
                return
            if len(served) + nameless + len(broken) == total:
                for single_fault, query in broken:
                    yield self._poisoned(None, single_fault, query, span)
                return
            total = await self.count(base)
        raise TransientFault(f"{span}: its rows change faster than they can be read singly", tid=fault.tid)

    async def _ids_by_count(self, base: Query, served: set[str], missing: int) -> list[str]:
        """The Ids of rows that no page can show, found by halving COUNT(*) over Ids; none where they can't be.

        QuickBooks was seen to compare Ids as numbers; where it refuses to, the Ids stay unknown.
        """
        found: list[str] = []
        known = sorted(int(i) for i in served if i.isdecimal())

        async def search(low: int, high: int, rows: int) -> None:
            inside = sum(low <= i < high for i in known)
            if rows <= inside:
                return
            if high - low == 1:
                found.append(str(low))
                return
            middle = (low + high) // 2
            below = await self.count(base.where(f"Id >= '{low}'", f"Id < '{middle}'"))
            await search(low, middle, below)
            await search(middle, high, rows - below)

        try:
            highest = 2**20
            while await self.count(base.where(f"Id >= '{highest}'")) and highest < 2**62:
                highest *= 2**8
            await search(0, highest, missing + len(served))
        except (PageFault, QueryRefusedFault):
            found = []
        return found if len(found) == missing else []

    async def _by_id(self, span: Span, ids: list[str], patience: Patience | None = None) -> AsyncIterator[Page]:
        """The records of these Ids, halving the list where Intuit can't serve it, or where it is more than a page."""
        query = self._sized(Query(self._entity, (f"Id IN ({', '.join(_quoted(i) for i in ids)})",)))
        answer = None
        try:
            if len(ids) <= query.max_results:
                answer = await self._fetch(query, patience)
        except PageFault as again:
            if len(ids) == 1:
                yield self._poisoned(ids[0], again, query, span)
                return
        if answer is not None:
            yield self._page(answer, query, answer.page.records)
            return
        middle = len(ids) // 2
        for half in (ids[:middle], ids[middle:]):
            async for page in self._by_id(span, half, patience):
                yield page

    async def _ids(self, span: Span) -> list[str]:
        """The Ids of a span's rows, where QuickBooks gives them without the records; else none."""
        try:
            found = {r.id: None async for answer, _ in self._positions(span, "Id") for r in answer.page.records}
        except (PageFault, QueryRefusedFault):
            return []
        return list(found)

    def _poisoned(self, record_id: str | None, fault: PageFault, query: Query, span: Span) -> Page:
        self._number += 1
        return Page(
            number=self._number,
            size=query.max_results,
            records=[],
            unreadable=[],
            poisoned=[Poisoned(record_id, f"{fault}, in {span}", fault.tid)],
            request_payload=self._client.payload(query),
            tid=fault.tid,
            server_time=None,
        )

    def _counting(self, span: Span) -> Query:
        return Query(self._entity, span.query(self._entity).conditions, what="COUNT(*)")

    def _sized(self, query: Query, position: int = 1) -> Query:
        return Query(query.entity, query.conditions, query.order, position, self._size.rows, query.what)

    def _page(self, answer: Answer, query: Query, records: list[Record]) -> Page:
        self._number += 1
        new = [bad for bad in answer.page.unreadable if bad.raw not in self._unreadable]
        self._unreadable.update(bad.raw for bad in new)
        return Page(
            number=self._number,
            size=query.max_results,
            records=records,
            unreadable=new,
            poisoned=[],
            request_payload=dict(answer.request_payload),
            tid=answer.tid,
            server_time=answer.page.server_time,
        )

    def _ended(self, span: Span, answer: Answer) -> Span:
        """The span with an end, QuickBooks' present, to be halved."""
        if span.end is not None:
            return span
        now = (answer.page.server_time or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
        return span.until(max(now + SECOND, span.start + SECOND))

    @staticmethod
    def _after(ended: Span) -> Span:
        """What may have changed since a span without an end was given one; a little of it again."""
        assert ended.end is not None
        return Span(ended.field, max(ended.start, ended.end - 3 * SECOND), None, ended.conditions)

    def _latest_creation(self, span: Span) -> datetime | None:
        """No record was created after it was last updated; a TxnDate says nothing of the kind."""
        return span.end if span.field == LAST_UPDATED else None


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _value(record: Record, field: DateField) -> datetime | None:
    if field == LAST_UPDATED:
        return record.last_updated
    if field == CREATED:
        return record.created
    if record.txn_date is None:
        return None
    return datetime(record.txn_date.year, record.txn_date.month, record.txn_date.day, tzinfo=UTC)


def _in_order(values: list[datetime | None]) -> bool:
    return all(a is not None and b is not None and a <= b for a, b in zip(values, values[1:], strict=False))
