"""The search for poison: of rows that Intuit can't serve as a page (10000, 4002, 504), everything sound arrives, and
what is left is reported with its fault.

Halving the window comes first, and is the reader's. Here are the rows of one instant, which no date tells apart: they
are asked for by Id where QuickBooks tells the Ids or can be made to by counting, else one by one by position.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from async_extractor.qbo.client import Patience
from async_extractor.qbo.faults import PageFault, QueryRefusedFault, TransientFault
from async_extractor.qbo.page_source import Page, PageSource
from async_extractor.qbo.query import Query
from async_extractor.qbo.span import Span

# Passes over rows of one instant before the chunk is given up: they are being edited faster than read.
MOST_PASSES = 20


class PoisonSearch:
    """Searches rows of one instant."""

    def __init__(self, source: PageSource) -> None:
        self._source = source

    async def pages(self, span: Span, fault: PageFault) -> AsyncIterator[Page]:
        """The rows of one instant: by Id where QuickBooks tells the Ids, else by position."""
        base = span.query(self._source.entity)
        total = await self._source.count(base)
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
                    answer = await self._source.fetch(query, self._source.client.patience.when_splitting())
                except PageFault as single:
                    broken.append((single, query))
                    continue
                served.update(r.id for r in answer.page.records)
                nameless += len(answer.page.unreadable)
                yield self._source.page(answer, query, answer.page.records)
            seen |= served
            # What wasn't seen is asked for by Id: where equal rows come in another order each time, a sound
            # one may be missed because a broken one stood in its place.
            missing = total - len(seen) - nameless
            names = await self._ids_by_count(base, seen, missing) if missing > 0 else []
            if names:
                async for page in self._by_id(span, names, self._source.client.patience.when_splitting()):
                    yield page
                return
            if len(served) + nameless + len(broken) == total:
                for single_fault, query in broken:
                    yield self._source.poisoned(None, single_fault, query, span)
                return
            total = await self._source.count(base)
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
            below = await self._source.count(base.where(f"Id >= '{low}'", f"Id < '{middle}'"))
            await search(low, middle, below)
            await search(middle, high, rows - below)

        try:
            highest = 2**20
            while await self._source.count(base.where(f"Id >= '{highest}'")) and highest < 2**62:
                highest *= 2**8
            await search(0, highest, missing + len(served))
        except (PageFault, QueryRefusedFault):
            found = []
        return found if len(found) == missing else []

    async def _by_id(self, span: Span, ids: list[str], patience: Patience | None = None) -> AsyncIterator[Page]:
        """The records of these Ids, halving the list where Intuit can't serve it, or where it is more than a page."""
        query = self._source.sized(Query(self._source.entity, (f"Id IN ({', '.join(_quoted(i) for i in ids)})",)))
        answer = None
        try:
            if len(ids) <= query.max_results:
                answer = await self._source.fetch(query, patience)
        except PageFault as again:
            if len(ids) == 1:
                yield self._source.poisoned(ids[0], again, query, span)
                return
        if answer is not None:
            yield self._source.page(answer, query, answer.page.records)
            return
        middle = len(ids) // 2
        for half in (ids[:middle], ids[middle:]):
            async for page in self._by_id(span, half, patience):
                yield page

    async def _ids(self, span: Span) -> list[str]:
        """The Ids of a span's rows, where QuickBooks gives them without the records; else none."""
        try:
            found = {r.id: None async for answer, _ in self._source.positions(span, "Id") for r in answer.page.records}
        except (PageFault, QueryRefusedFault):
            return []
        return list(found)


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
