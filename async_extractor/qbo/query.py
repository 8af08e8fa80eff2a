"""The text of a query, in QuickBooks' own language.

`SELECT * | COUNT(*) FROM Entity [WHERE a AND b] [ORDERBY p] [STARTPOSITION n] [MAXRESULTS n]`: one entity,
AND only. Literals stand in single quotes; times carry `Z`, since a time without an offset is read in a
zone that Intuit doesn't document.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from async_extractor.entities import Entity
from async_extractor.windows import DAY, SECOND, iso

# Intuit's data-queries page: at most 1000 rows an answer.
MOST_ROWS = 1000
# Versions below 75 have been served as 75 since 2025-08-01; naming it keeps the answer's shape told.
MINOR_VERSION = 75


# No URL limit is documented; a longer statement goes in a POST body, as Intuit's own SDKs do.
LONGEST_GET = 2000


@dataclass(frozen=True)
class HttpRequest:
    """How something is asked: below `/v3/company/{realm}/`, with these parameters, or this text as the body."""

    method: Literal["GET", "POST"]
    resource: str
    parameters: dict[str, str]
    body: str | None


@dataclass(frozen=True)
class DateField:
    """A date of a record that a query can filter and order by. `granularity` is its finest step."""

    name: str
    path: str
    granularity: timedelta

    def literal(self, moment: datetime) -> str:
        return f"'{moment.date().isoformat()}'" if self.granularity == DAY else f"'{iso(moment)}'"

    def at_least(self, moment: datetime) -> str:
        return f"{self.path} >= {self.literal(moment)}"

    def before(self, moment: datetime) -> str:
        return f"{self.path} < {self.literal(moment)}"


LAST_UPDATED = DateField("last_updated", "MetaData.LastUpdatedTime", SECOND)
CREATED = DateField("created", "MetaData.CreateTime", SECOND)
TXN_DATE = DateField("txn_date", "TxnDate", DAY)
DATE_FIELDS = {field.name: field for field in (LAST_UPDATED, CREATED, TXN_DATE)}


def has_id(ids: Iterable[str]) -> str:
    """The condition that a record has one of these Ids."""
    quoted = ("'" + i.replace("\\", "\\\\").replace("'", "\\'") + "'" for i in ids)
    return f"Id IN ({', '.join(quoted)})"


@dataclass(frozen=True)
class Query:
    """A query of one entity. `conditions` are joined by AND; `order` is ascending."""

    entity: Entity
    conditions: tuple[str, ...] = ()
    order: DateField | None = None
    start_position: int = 1
    max_results: int = MOST_ROWS
    what: Literal["*", "COUNT(*)", "Id"] = "*"

    def where(self, *conditions: str) -> Query:
        return replace(self, conditions=(*self.conditions, *conditions))

    def request(self) -> HttpRequest:
        text = self.text()
        if len(text) <= LONGEST_GET:
            return HttpRequest("GET", "query", {"query": text}, None)
        return HttpRequest("POST", "query", {}, text)

    def text(self) -> str:
        conditions = list(self.conditions)
        if self.entity.has_active:
            # Without it the inactive are left out, of COUNT(*) too.
            conditions.append("Active IN (true, false)")
        parts = [f"SELECT {self.what} FROM {self.entity.query_name}"]
        if conditions:
            parts.append("WHERE " + " AND ".join(conditions))
        if self.what != "COUNT(*)":
            if self.order is not None:
                parts.append(f"ORDERBY {self.order.path} ASC")
            if not self.entity.one_row:
                parts.append(f"STARTPOSITION {self.start_position} MAXRESULTS {self.max_results}")
        return " ".join(parts)


# Intuit's change-data-capture page: 30 days back, 1000 objects. An hour less, for clocks that differ.
LOOK_BACK = timedelta(days=30) - timedelta(hours=1)
MOST_CHANGES = 1000


@dataclass(frozen=True)
class ChangesSince:
    """Change data capture: what changed since a moment, deleted records among it, which no query shows.

    An answer holds at most MOST_CHANGES objects, the deleted ones last.
    """

    entity: Entity
    since: datetime

    def request(self) -> HttpRequest:
        parameters = {"entities": self.entity.query_name, "changedSince": iso(self.since)}
        return HttpRequest("GET", "cdc", parameters, None)

    def text(self) -> str:
        return f"changes of {self.entity.query_name} since {iso(self.since)}"
