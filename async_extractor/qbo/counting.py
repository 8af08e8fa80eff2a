"""QuickBooks' own `COUNT(*)`: how many rows a query has now, without reading them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from async_extractor.qbo.client import Patience, QueryClient, Spent
from async_extractor.qbo.faults import PageFault, TransientFault
from async_extractor.qbo.query import Query

# Far above any company's records of one entity; planning makes a window of every 25,000.
MOST_ROWS_BELIEVED = 100_000_000


@dataclass(frozen=True)
class Counted:
    """How many rows there were, and QuickBooks' clock at the answer (None where it gave none)."""

    rows: int
    server_time: datetime | None


async def count(client: QueryClient, query: Query, spent: Spent, patience: Patience | None = None) -> Counted:
    """The query's rows, whatever page of them it asks for. Raises as `QueryClient.fetch` does."""
    answer = await client.fetch(Query(query.entity, query.conditions, what="COUNT(*)"), spent, patience)
    rows = answer.page.total_count
    if rows is None:  # the client has refused such an answer, and asked again
        raise PageFault("QuickBooks answered COUNT(*) without a totalCount", status=200, tid=answer.tid)
    if rows > MOST_ROWS_BELIEVED:
        raise TransientFault(f"QuickBooks counts {rows:,} rows, which no company has", status=200, tid=answer.tid)
    return Counted(rows, answer.page.server_time)
