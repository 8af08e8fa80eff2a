"""Several entities in one command: side by side on the company's one budget, told in one table at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from rich.table import Table

from async_extractor.cli.screen import screen
from async_extractor.errors import BackfillError, IncompleteError, NotOfferedError
from async_extractor.request import BackfillRequest

# As many as the course has pipelines.
AT_ONCE = 3


class Result(Protocol):
    """How an entity ended."""

    @property
    def status(self) -> str: ...
    def as_dict(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Outcome:
    """An entity's result, or the error that it ended with."""

    entity: str
    result: Result | None = None
    error: BackfillError | None = None
    good: tuple[str, ...] = ("done",)

    @property
    def status(self) -> str:
        if self.result is not None:
            return self.result.status
        return "not offered" if isinstance(self.error, NotOfferedError) else "failed"

    @property
    def exit_code(self) -> int:
        if self.error is not None:
            return self.error.exit_code
        return 0 if self.status in self.good else IncompleteError.exit_code

    def as_dict(self) -> dict[str, Any]:
        told = {"entity": self.entity, "status": self.status, "exit_code": self.exit_code}
        return {**told, **(self.result.as_dict() if self.result else {"error": str(self.error)})}


async def each(
    requests: Sequence[BackfillRequest],
    work: Callable[[BackfillRequest], Awaitable[Result]],
    good: tuple[str, ...] = ("done",),
) -> list[Outcome]:
    """`work` on each request, AT_ONCE at a time. One that ends early doesn't stop the others."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(request: BackfillRequest) -> Outcome:
        async with places:
            try:
                return Outcome(request.entity.name, await work(request), good=good)
            except BackfillError as error:
                return Outcome(request.entity.name, error=error)

    ended = await asyncio.gather(*(one(request) for request in requests), return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, BaseException):
            raise outcome  # a mistake of ours, to be seen whole, once the others have ended
    return [outcome for outcome in ended if isinstance(outcome, Outcome)]


def tell(outcomes: Sequence[Outcome], title: str, *, as_json: bool) -> int:
    """The table of entities, or one JSON object; the gravest exit code."""
    code = max((outcome.exit_code for outcome in outcomes), default=0)
    if as_json:
        print(json.dumps({"exit_code": code, "entities": [outcome.as_dict() for outcome in outcomes]}), flush=True)
        return code
    table = Table(title=title, title_justify="left")
    for name in ("entity", "status", "run", "rows read", "inserted", "updated", "requests", "seconds", "why"):
        table.add_column(name, overflow="fold")
    for outcome in outcomes:
        told = outcome.as_dict()
        rows, requests = told.get("rows"), told.get("requests", "")
        rows = rows if isinstance(rows, dict) else {}
        table.add_row(
            outcome.entity,
            outcome.status,
            str(told.get("run_id") or ""),
            *(f"{rows[name]:,}" if name in rows else "" for name in ("read", "inserted", "updated")),
            f"{requests['sent']:,}" if isinstance(requests, dict) else str(requests),
            str(told.get("seconds", "")),
            str(told.get("error") or ""),
        )
    screen().print(table, markup=False, highlight=False)
    return code
