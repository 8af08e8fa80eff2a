"""The search for poison: of rows that Intuit can't serve as a page (10000, 4002, 504), everything sound arrives, and
what is left is reported with its fault.

Halving the window comes first, and is the reader's. Here are the rows of one instant, which no date tells apart: they
are asked for by Id where QuickBooks tells the Ids or can be made to by counting, else one by one by position. Where
positions are all there is, and rows of one instant come in another order each time, a sound row can stand behind a
poisoned one in pass after pass. So what no pass showed is reported, too, as many records as COUNT(*) has more:
a chunk is never called whole with a record missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace

from async_extractor.qbo.client import Patience
from async_extractor.qbo.faults import PageFault, QueryRefusedFault, TransientFault
from async_extractor.qbo.paging.date_range import Span
from async_extractor.qbo.paging.source import Page, PageSource
from async_extractor.qbo.query import Query, has_id
from async_extractor.qbo.split import SplitPage

# Passes over rows of one instant before the chunk is given up: they are being edited faster than read.
MOST_PASSES = 20
# Passes that show no row that was not seen before, after which no more is expected. In a random order each pass misses
# a row with a chance of 1/e, so that one that can be served stays unseen in five with less than 1 %.
QUIET_PASSES = 5
# How often a place where no row could be had is asked again, before it is taken for the place of one record.
CONFIRMATIONS = 3


@dataclass
class _Seen:
    """What the places of an instant's rows have shown: Ids, in all passes and in this one; in this one also how many
    records without an Id, and the places where no record could be had."""

    ids: set[str] = field(default_factory=set)
    in_this_pass: set[str] = field(default_factory=set)
    nameless: int = 0
    broken: dict[int, PageFault] = field(default_factory=dict)

    def begin_pass(self) -> None:
        self.in_this_pass, self.nameless, self.broken = set(), 0, {}

    def shows(self, position: int, page: SplitPage) -> None:
        self.broken.pop(position, None)
        self.in_this_pass.update(record.id for record in page.records)
        self.in_this_pass.update(bad.id for bad in page.unreadable if bad.id is not None)
        self.ids |= self.in_this_pass
        self.nameless += sum(bad.id is None for bad in page.unreadable)

    def missing(self, total: int) -> int:
        return total - len(self.ids) - self.nameless

    def one_each(self, total: int) -> bool:
        """Whether each place of this pass may have been another row's."""
        return len(self.in_this_pass) + self.nameless + len(self.broken) == total


class PoisonSearch:
    """Searches rows of one instant."""

    def __init__(self, source: PageSource) -> None:
        self._source = source

    async def pages(self, span: Span, fault: PageFault) -> AsyncIterator[Page]:
        """The rows of one instant: by Id where QuickBooks tells the Ids, else by position."""
        ids = await self._ids(span)
        found = self._by_id(span, ids) if ids else self._by_position(span, fault)
        async for page in found:
            yield page

    async def _by_position(self, span: Span, fault: PageFault) -> AsyncIterator[Page]:
        base = span.query(self._source.entity)
        total, quiet, seen = -1, 0, _Seen()
        for _ in range(MOST_PASSES):
            rows = await self._source.count(base)
            if rows != total:
                # The books have changed: what was seen may have left since.
                total, quiet, seen = rows, 0, _Seen()
            known = len(seen.ids)
            seen.begin_pass()
            async for page in self._places(base, range(1, total + 1), seen):
                yield page
            if seen.missing(total) <= 0 and not seen.broken:
                return
            # What wasn't seen is asked for by Id: where equal rows come in another order each time, a sound
            # one may be missed because a broken one stood in its place.
            names = await self._ids_by_count(base, seen.ids, seen.missing(total)) if seen.missing(total) > 0 else []
            if names:
                async for page in self._by_id(span, names, self._source.client.patience.when_splitting()):
                    yield page
                return
            if seen.one_each(total):
                suspects, another_row = dict(seen.broken), False
                async for page in self._places(base, [*suspects] * CONFIRMATIONS, seen):
                    another_row = True
                    yield page
                if not another_row:
                    for position, single in suspects.items():
                        place = _place(base, position)
                        yield self._source.poisoned(None, single, place, f"{span}; QuickBooks doesn't tell its Id")
                    return
            quiet = quiet + 1 if len(seen.ids) == known else 0
            if quiet >= QUIET_PASSES and seen.missing(total) > 0:
                where = f"{span}; one of its {total} records, and no pass over them showed which"
                for _ in range(seen.missing(total)):
                    yield self._source.poisoned(None, fault, base, where)
                return
        raise TransientFault(f"{span}: its rows change faster than they can be read singly", tid=fault.tid)

    async def _places(self, base: Query, positions: Iterable[int], seen: _Seen) -> AsyncIterator[Page]:
        for position in positions:
            query = _place(base, position)
            try:
                answer = await self._source.fetch(query, self._source.client.patience.when_splitting())
            except PageFault as fault:
                seen.broken[position] = fault
                continue
            seen.shows(position, answer.page)
            yield self._source.page(answer, query)

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
        query = self._source.sized(Query(self._source.entity, (has_id(ids),)))
        answer = None
        try:
            if len(ids) <= query.max_results:
                answer = await self._source.fetch(query, patience)
        except PageFault as again:
            if len(ids) == 1:
                yield self._source.poisoned(ids[0], again, query, str(span))
                return
        if answer is not None:
            if answer.page.rows < len(ids):
                # Some were deleted meanwhile; what is counted and not sent was not.
                rows = await self._source.count(Query(self._source.entity, (has_id(ids),)))
                if rows > answer.page.rows:
                    raise TransientFault(
                        f"{span}: of {rows} records asked for by Id QuickBooks sends {answer.page.rows}",
                        status=200,
                        tid=answer.tid,
                    )
            yield self._source.page(answer, query)
            return
        middle = len(ids) // 2
        for half in (ids[:middle], ids[middle:]):
            async for page in self._by_id(span, half, patience):
                yield page

    async def _ids(self, span: Span) -> list[str]:
        """The Ids of a span's rows, where QuickBooks gives them without the records; else none."""
        found: dict[str, None] = {}
        quiet = 0
        try:
            while quiet < QUIET_PASSES:
                total, before = await self._source.count(span.query(self._source.entity)), len(found)
                async for answer, _ in self._source.positions(span, "Id"):
                    found.update((record.id, None) for record in answer.page.records)
                if len(found) == total:
                    return list(found)
                quiet = quiet + 1 if len(found) == before else 0
        except (PageFault, QueryRefusedFault):
            pass
        return []


def _place(base: Query, position: int) -> Query:
    return replace(base, start_position=position, max_results=1)
