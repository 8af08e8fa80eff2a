"""What the probe sends, and what it reads of answers: orders, ties, times."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from async_extractor.qbo.client import PLANNING, QueryClient, Spent
from async_extractor.qbo.faults import PageFault, QueryRefusedFault
from async_extractor.qbo.query import DateField, HttpRequest
from async_extractor.windows import UTC


@dataclass(frozen=True)
class Asked:
    """A request in QuickBooks' own words."""

    resource: str
    parameters: dict[str, str]

    def request(self) -> HttpRequest:
        return HttpRequest("GET", self.resource, self.parameters, None)

    def text(self) -> str:
        return " ".join(self.parameters.values())


@dataclass(frozen=True)
class Seen:
    """An answer, or a refusal by its `code`."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    count: int | None = None
    time: Any = None
    seconds: float = 0.0
    code: str = ""

    @property
    def refused(self) -> bool:
        return bool(self.code)


class ProbingClient(QueryClient):
    """The company's client, which keeps the names of the answers' headers."""

    header_names: frozenset[str] = frozenset()

    async def ask(self, asked: Asked) -> Seen:
        """The answer to whatever is asked, refusals included; raises what else `fetch` raises."""
        spent = Spent()
        try:
            body, _ = await self._ask(asked, _decoded, spent, PLANNING)  # type: ignore[arg-type]
        except QueryRefusedFault as refused:
            return Seen(code=refused.code or str(refused.status), seconds=spent.fetch_seconds)
        parts = body["CDCResponse"][0]["QueryResponse"] if "CDCResponse" in body else [body["QueryResponse"]]
        rows = [row for part in parts for value in part.values() if isinstance(value, list) for row in value]
        return Seen(rows, parts[0].get("totalCount") if parts else None, body.get("time"), spent.fetch_seconds)

    async def _send(self, *arguments: Any, **more: Any) -> tuple[int, Mapping[str, str], bytes]:
        status, headers, body = await super()._send(*arguments, **more)
        self.header_names |= {name.lower() for name in headers}
        return status, headers, body


def _decoded(body: bytes) -> dict[str, Any]:
    try:
        said = json.loads(body.decode("utf-8-sig", "replace"), strict=False)
        assert isinstance(said.get("QueryResponse", said.get("CDCResponse")), (dict, list))
        return dict(said)
    except (ValueError, AttributeError, AssertionError, RecursionError) as error:
        raise PageFault(f"QuickBooks' answer is not a page in JSON ({type(error).__name__})") from None


def moment_of(row: Mapping[str, Any], by: DateField) -> datetime:
    """In UTC; a record without one sorts first, as the oldest."""
    value: Any = row
    for step in by.path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    with contextlib.suppress(ValueError):
        moment = datetime.fromisoformat(str(value).replace("Z", "+00:00"))
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return datetime.min.replace(tzinfo=UTC)


def groups(seen: Seen, by: DateField) -> Iterator[list[str]]:
    """The Ids of records of one value, in the page's order."""
    for _, rows in itertools.groupby(seen.rows, key=lambda row: moment_of(row, by)):
        yield [str(row.get("Id")) for row in rows]


def tied(seen: Seen, by: DateField) -> int:
    """How many records of the page share their value with another."""
    return sum(len(group) for group in groups(seen, by) if len(group) > 1)


def order_of_ties(seen: Seen, by: DateField) -> list[list[str]]:
    """Of whole groups: the first and the last may reach beyond the page."""
    return [group for group in list(groups(seen, by))[1:-1] if len(group) > 1]


def lonely(seen: Seen, by: DateField, step: timedelta, apart: timedelta | None = None) -> tuple[datetime | None, int]:
    """A value inside the page, and how many records have it: none is just before or after, or `apart` around."""
    counts = Counter(moment_of(row, by) for row in seen.rows)
    moments = sorted(counts)[1:-1]
    for before, moment, after in zip(moments, moments[1:], moments[2:], strict=False):
        room = step if apart is None else apart
        if moment - before > room and after - moment > room:
            return moment, counts[moment]
    return None, 0


def above(texts: Sequence[str], one: str, *, text: bool = False) -> int:
    """How many are greater than the one, as numbers or as text."""
    if text:
        return sum(other > one for other in texts)
    return sum(int(other) > int(one) for other in texts if other.isdecimal() and one.isdecimal())


def time_style(times: Sequence[Any]) -> str:
    """How answers write their time, in the simulator's words."""
    known = [one for one in times if one is not None]
    if not known:
        return "absent"
    if all(isinstance(one, (int, float)) for one in known):
        return "milliseconds"
    shape = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?"
    matches = [re.fullmatch(shape, str(one)) for one in known]
    found = [match for match in matches if match is not None]
    if len(found) < len(known):
        return "nonsense"
    if any(match[2] is None for match in found):
        return "naive"
    if any(match[2] == "Z" for match in found):
        return "utc"
    return "seen" if any(match[1] for match in found) else "whole"
