"""Where a window's pages come from: rows asked for, counted, and handed on as pages."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

from async_extractor.entities import Entity
from async_extractor.qbo.client import Answer, Patience, QueryClient, Spent
from async_extractor.qbo.counting import Counted, count
from async_extractor.qbo.faults import PageFault, TransientFault
from async_extractor.qbo.paging.date_range import Span
from async_extractor.qbo.paging.size import PageSize
from async_extractor.qbo.query import Query
from async_extractor.qbo.split import Record, SplitPage, Unreadable

# So many full answers without a new row, one after the other, are no chance.
MOST_FRUITLESS = 10


@dataclass(frozen=True)
class Poisoned:
    """A record that Intuit can't serve: its Id where it could be found out, and Intuit's fault.

    `raw` is what came for it where that can't be decoded.
    """

    id: str | None
    reason: str
    tid: str
    raw: bytes | None = None


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


class PageSource:
    """Asks on behalf of one window, and hands each version of a record on once. `spent` counts what asking costs,
    failures included.

    Which records may be answered again only the reader knows: it says `passed` of those that can't be, so that what is
    remembered is a page or so, not a window.
    """

    def __init__(self, client: QueryClient, entity: Entity, size: PageSize) -> None:
        self.client = client
        self.entity = entity
        self.spent = Spent()
        self._size = size
        self._handed_on: dict[str, tuple[int, datetime | None]] = {}
        self._unreadable: set[bytes] = set()
        self._sent = 0

    async def count(self, query: Query) -> int:
        """COUNT(*) of a query's rows now."""
        return (await self.counted(query)).rows

    async def counted(self, query: Query) -> Counted:
        """The same, with QuickBooks' clock."""
        return await count(self.client, query, self.spent)

    async def fetch(self, query: Query, patience: Patience | None = None) -> Answer:
        """The answer to a query; raises as `QueryClient.fetch` does."""
        answer = await self.client.fetch(query, self.spent, patience)
        if query.what == "*":
            self._size.saw(len(answer.page.records), sum(len(record.raw) for record in answer.page.records))
        return answer

    async def positions(self, span: Span, what: Literal["*", "Id"] = "*") -> AsyncIterator[tuple[Answer, Query]]:
        """All rows of a span by STARTPOSITION, until an answer isn't full.

        TransientFault where one full answer after the other brings nothing new: QuickBooks doesn't honour the position.
        """
        position, fruitless = 1, 0
        seen: set[str | bytes] = set()
        while True:
            query = replace(self.sized(span.query(self.entity), position), what=what)
            answer = await self.fetch(query)
            yield answer, query
            if answer.page.rows < query.max_results:
                return
            before = len(seen)
            seen.update(r.id for r in answer.page.records)
            seen.update(bad.raw for bad in answer.page.unreadable)
            # One may be so by chance, where rows of one second come in another order each time.
            fruitless = fruitless + 1 if len(seen) == before else 0
            if fruitless == MOST_FRUITLESS:
                raise TransientFault(
                    f"{span}: position {position} is answered with rows that came before", status=200, tid=answer.tid
                )
            position += answer.page.rows

    def sized(self, query: Query, position: int = 1) -> Query:
        """The query for as many rows as a page should have now."""
        return Query(query.entity, query.conditions, query.order, position, self._size.rows, query.what)

    def page(self, answer: Answer, query: Query) -> Page:
        """A page of what in the answer was not handed on before, without a number yet."""
        self._sent = self.sent_with(answer.page)
        new, unreadable = self._new_on(answer.page)
        self._handed_on.update((record.id, record.version) for record in new)
        self._unreadable.update(bad.raw for bad in unreadable)
        return Page(
            number=0,
            size=query.max_results,
            records=new,
            unreadable=unreadable,
            poisoned=[],
            request_payload=dict(answer.request_payload),
            tid=answer.tid,
            server_time=answer.page.server_time,
        )

    def sent_with(self, page: SplitPage) -> int:
        """How many records QuickBooks has sent or refused to, those that are new on this page included; another version
        of one is none more."""
        records, unreadable = self._new_on(page)
        return self._sent + sum(record.id not in self._handed_on for record in records) + len(unreadable)

    def _new_on(self, page: SplitPage) -> tuple[list[Record], list[Unreadable]]:
        return (
            [record for record in page.records if self._handed_on.get(record.id) != record.version],
            [bad for bad in page.unreadable if bad.raw not in self._unreadable],
        )

    def passed(self, records: Iterable[Record]) -> None:
        """These won't be answered again in the version that they have."""
        for record in records:
            self._handed_on.pop(record.id, None)

    def poisoned(self, record_id: str | None, fault: PageFault, query: Query, where: str) -> Page:
        """A page of a record that can't be served: its Id or None, the query that met it, and where it is."""
        self._sent += 1
        return Page(
            number=0,
            size=query.max_results,
            records=[],
            unreadable=[],
            poisoned=[Poisoned(record_id, f"{fault}, in {where}", fault.tid, _record_in(fault.body, self.entity))],
            request_payload=self.client.payload(query),
            tid=fault.tid,
            server_time=None,
        )


def _record_in(body: bytes | None, entity: Entity) -> bytes | None:
    """The bytes of the one record of an answer that can't be decoded, without what differs from answer to answer."""
    if body is None:
        return None
    start = body.find(b"[", body.find(f'"{entity.response_name}"'.encode()))
    end = body.rfind(b"]")
    return body[start + 1 : end].strip() if 0 <= start < end else body
