"""A QuickBooks company in memory that answers `Query` objects as the query endpoint is documented to.

It stands where the `QueryClient` does. It reads the query's text, and refuses what isn't QuickBooks'
language; its answers are JSON that the real `split_page` takes apart. Its clock goes on with each request and
with the loop's, and `between` may edit the books before each request.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from async_extractor.entities import ENTITIES, Entity
from async_extractor.qbo.client import Answer, Patience, Spent
from async_extractor.qbo.faults import PageFault, QueryRefusedFault
from async_extractor.qbo.query import MOST_ROWS, Query
from async_extractor.qbo.split import split_page
from async_extractor.windows import SECOND, UTC

PACIFIC = ZoneInfo("America/Los_Angeles")
_QUERY = re.compile(
    r"SELECT (?P<what>\*|Id|COUNT\(\*\)) FROM (?P<entity>\w+)(?: WHERE (?P<where>.+?))?"
    r"(?: ORDERBY (?P<order>[\w.]+) ASC)?(?: STARTPOSITION (?P<start>\d+) MAXRESULTS (?P<most>\d+))?"
)
_COMPARISON = re.compile(r"([\w.]+) (>=|<) '([^']*)'")
_IDS = re.compile(r"Id IN \(('[^']*'(?:, '[^']*')*)\)")


@dataclass
class Row:
    """A record of the company; `has_id` False is one that comes without."""

    id: str
    created: datetime
    updated: datetime
    txn_date: date = date(2024, 1, 1)
    sync_token: int = 0
    active: bool = True
    poisoned: bool = False
    has_id: bool = True

    def value(self, path: str) -> Any:
        return {
            "MetaData.LastUpdatedTime": self.updated,
            "MetaData.CreateTime": self.created,
            "TxnDate": self.txn_date,
            "Id": int(self.id),
        }[path]

    def as_json(self) -> dict[str, Any]:
        record = {
            "Id": self.id,
            "SyncToken": str(self.sync_token),
            "TxnDate": self.txn_date.isoformat(),
            "MetaData": {
                "CreateTime": self.created.astimezone(PACIFIC).isoformat(),
                "LastUpdatedTime": self.updated.astimezone(PACIFIC).isoformat(),
            },
        }
        return record if self.has_id else {key: value for key, value in record.items() if key != "Id"}


@dataclass
class Company:
    """The books, and how QuickBooks behaves over them.

    `honours_order` False: ORDERBY is ignored. `stable_ties` False: rows of one value come in another order each
    time. `tells_ids` False: `SELECT Id` is refused, `compares_ids` False: `Id >= '7'` is, as neither is promised.
    """

    rows: list[Row]
    entity: Entity = ENTITIES["invoices"]
    honours_order: bool = True
    stable_ties: bool = True
    tells_ids: bool = True
    compares_ids: bool = True
    between: Callable[[Company], None] = lambda _company: None
    request_takes: timedelta = SECOND
    began: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))
    patience: Patience = field(default_factory=Patience)
    asked: list[str] = field(default_factory=list)
    answered: list[int] = field(default_factory=list)

    @property
    def now(self) -> datetime:
        waited = asyncio.get_running_loop().time()
        return self.began + timedelta(seconds=waited) + self.request_takes * len(self.asked)

    def touch(self, row: Row) -> None:
        """An edit, as a person makes it: a new version, now. QuickBooks keeps whole seconds."""
        row.updated, row.sync_token = self.now.replace(microsecond=0), row.sync_token + 1

    async def fetch(self, query: Query, spent: Spent, _patience: Patience | None = None) -> Answer:
        spent.requests += 1
        text = query.text()
        self.asked.append(text)
        self.between(self)
        response = self._respond(text)
        body = json.dumps(
            {"QueryResponse": response, "time": self.now.astimezone(PACIFIC).isoformat(timespec="milliseconds")}
        ).encode()
        return Answer(split_page(query.entity, body), self.payload(query), f"tid-{len(self.asked)}")

    def payload(self, query: Query) -> Mapping[str, Any]:
        return {"method": "GET", "path": "/v3/company/1/query", "minorversion": 75, "query": query.text()}

    def _respond(self, text: str) -> dict[str, Any]:
        parsed = _QUERY.fullmatch(text)
        assert parsed, f"not QuickBooks' language: {text}"
        assert parsed["entity"] == self.entity.query_name
        if (parsed["what"] == "Id" and not self.tells_ids) or (" Id >= " in text and not self.compares_ids):
            raise QueryRefusedFault("QuickBooks answered HTTP 400, code 4001: Invalid query", status=400, code="4001")
        found = self._matching(parsed["where"] or "")
        if parsed["what"] == "COUNT(*)":
            return {"totalCount": len(found)}
        start, most = int(parsed["start"] or 1), min(int(parsed["most"] or 100), MOST_ROWS)
        assert start >= 1
        page = self._ordered(found, parsed["order"])[start - 1 : start - 1 + most]
        if parsed["what"] == "*" and any(row.poisoned for row in page):
            raise PageFault("QuickBooks answered HTTP 500, code 10000", status=500, code="10000", tid="tid-poison")
        self.answered.append(len(page))
        if not page:
            return {}
        records = [row.as_json() if parsed["what"] == "*" else {"Id": row.id} for row in page]
        return {self.entity.query_name: records, "startPosition": start, "maxResults": len(page)}

    def _matching(self, where: str) -> list[Row]:
        rows = self.rows
        asks_for_inactive = False
        for condition in filter(None, where.split(" AND ")):
            if condition == "Active IN (true, false)":
                asks_for_inactive = True
            elif ids := _IDS.fullmatch(condition):
                wanted = set(re.findall(r"'([^']*)'", ids[1]))
                rows = [row for row in rows if row.id in wanted]
            else:
                comparison = _COMPARISON.fullmatch(condition)
                assert comparison, f"not a condition of QuickBooks': {condition}"
                path, operator, literal = comparison.groups()
                rows = [row for row in rows if _compare(row.value(path), operator, _literal(path, literal))]
        if self.entity.has_active and not asks_for_inactive:
            rows = [row for row in rows if row.active]
        return rows

    def _ordered(self, rows: list[Row], order: str | None) -> list[Row]:
        rows = list(rows)
        if not self.stable_ties:
            random.Random(len(self.asked)).shuffle(rows)
        if order is None or not self.honours_order:
            # Transactions come by LastUpdatedTime, the newest first.
            return sorted(rows, key=lambda row: row.updated, reverse=True)
        return sorted(rows, key=lambda row: row.value(order))


def _literal(path: str, literal: str) -> Any:
    if path == "Id":
        return int(literal)  # Ids were seen to be compared as numbers
    if path == "TxnDate":
        return date.fromisoformat(literal)
    return datetime.strptime(literal, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def _compare(value: Any, operator: str, literal: Any) -> bool:
    return bool(value >= literal if operator == ">=" else value < literal)


def at(second: int) -> datetime:
    """A second of New Year's night 2024, in UTC."""
    return datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
