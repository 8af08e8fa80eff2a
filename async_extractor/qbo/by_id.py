"""Records by their Ids, whatever their dates: what QuickBooks has of them now.

An Id is absent only where COUNT(*) says so too: a record that can't be read is not a deleted one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any, TypeGuard

from async_extractor.entities import Entity
from async_extractor.events import Events
from async_extractor.qbo.client import PLANNING, QueryClient, Spent
from async_extractor.qbo.counting import count
from async_extractor.qbo.faults import PageFault, TransientFault
from async_extractor.qbo.paging.reader import BEGINNING, WindowReader
from async_extractor.qbo.query import LAST_UPDATED, Query, has_id
from async_extractor.windows import Window

# Ids in one request; longer statements travel in a POST body.
IDS_A_REQUEST = 200


def can_be_asked_for(record_id: str | None) -> TypeGuard[str]:
    """Whether QuickBooks can be asked for the record by its Id: it has one, of digits."""
    return record_id is not None and record_id.isascii() and record_id.isdigit()


class ById:
    """Asks for records of one entity by their Ids. Raises as the client does; `spent` takes what that costs."""

    def __init__(
        self, client: QueryClient, entity: Entity, events: Events, spent: Spent, query_of: Callable[[Window], Query]
    ) -> None:
        """`query_of`: the query for a window's records."""
        self._client = client
        self._entity = entity
        self._events = events
        self._spent = spent
        self._query_of = query_of

    async def all_there(self, ids: Sequence[str]) -> bool:
        """Whether QuickBooks has all of these Ids, where one request can tell; False where it can't."""
        query = Query(self._entity, (has_id(ids[:IDS_A_REQUEST]),))
        return len(ids) <= IDS_A_REQUEST and await self._count(query) == len(ids)

    async def count(self, ids: Sequence[str], window: Window) -> int:
        """How many of these Ids QuickBooks has in a window."""
        query, parts = self._query_of(window), range(0, len(ids), IDS_A_REQUEST)
        conditions = [(*query.conditions, has_id(ids[start : start + IDS_A_REQUEST])) for start in parts]
        return sum([await self._count(replace(query, conditions=these)) for these in conditions])

    async def inside(self, ids: Sequence[str], window: Window) -> list[str]:
        """Which of these Ids QuickBooks has in a window, by counts: halved until all of them are, or none."""
        there = await self.count(ids, window)
        if there in (0, len(ids)):
            return list(ids) if there else []
        if there > len(ids):
            raise TransientFault(f"QuickBooks counts {there:,} records of {len(ids):,} Ids: no count can be relied on")
        middle = len(ids) // 2
        return [*await self.inside(ids[:middle], window), *await self.inside(ids[middle:], window)]

    async def records(self, ids: Iterable[str]) -> tuple[dict[str, Any], set[str]]:
        """The records that there are, and the Ids of those that QuickBooks has and can't serve, or nobody can read.

        A page that it can't serve is halved.
        """
        ids = list(ids)
        records, unserved = await self._by_reading_all({i for i in ids if not can_be_asked_for(i)})
        ids = list(filter(can_be_asked_for, ids))
        waiting = [ids[start : start + IDS_A_REQUEST] for start in range(0, len(ids), IDS_A_REQUEST)]
        while waiting:
            some = waiting.pop()
            query = Query(self._entity, (has_id(some),))
            try:
                page = (await self._client.fetch(query, self._spent)).page
            except PageFault:
                page = None
            found = {} if page is None else {record.id: record for record in page.records}
            records.update(found)
            absent = [i for i in some if i not in found]
            if not absent or (await count(self._client, query, self._spent)).rows == len(found):
                continue
            if len(some) == 1:
                unserved.update(some)
            else:
                middle = (len(absent) + 1) // 2
                waiting += [part for part in (absent[:middle], absent[middle:]) if part]
        return records, unserved

    async def _by_reading_all(self, ids: AbstractSet[str]) -> tuple[dict[str, Any], set[str]]:
        """The records with these Ids, which can't be asked for by them.

        And the Ids of those that nobody can read, which may be any where one of these has none that can be told.
        """
        records: dict[str, Any] = {}
        unread = set[str | None]()
        if ids:
            reader = WindowReader(self._client, self._entity, self._events)
            try:
                async for page in reader.pages(LAST_UPDATED, BEGINNING, None):
                    records.update((record.id, record) for record in page.records if record.id in ids)
                    unread.update(bad.id for bad in page.unreadable)
                    unread.update(bad.id for bad in page.poisoned)
            finally:
                self._spent.add(reader.spent.take())
        absent = ids - records.keys()
        return records, {i for i in absent if None in unread or i in unread}

    async def _count(self, query: Query) -> int:
        return (await count(self._client, query, self._spent, PLANNING)).rows
