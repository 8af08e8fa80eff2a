"""Planning a run: what of its range is left to do, what that costs, and the plan in the ledger."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import metadata
from typing import Any

import aiohttp
import asyncpg

from async_extractor.checks.reprocessing import hash_of
from async_extractor.error_mapping import endings
from async_extractor.planning.chunking import Piece, cut_into_pieces
from async_extractor.planning.estimate import CHECKING, Cost, reading
from async_extractor.qbo.client import PLANNING, Spent
from async_extractor.qbo.counting import count
from async_extractor.qbo.query import DATE_FIELDS, Query
from async_extractor.request import BackfillRequest
from async_extractor.resources import Opened
from async_extractor.settings import Settings
from async_extractor.warehouse.ledger import Series
from async_extractor.warehouse.limits import requests_this_month
from async_extractor.windows import SECOND, UTC, Window, gaps


@dataclass(frozen=True)
class Work:
    """What a run sets out to do. `adopted` and `superseded` are chunks of the ledger by number, `waiting` those of the
    adopted that are not done, `done` how many are. The rest is of what no chunk covers: its pieces, QuickBooks' clock
    and COUNT(*) when it was cut, and from when on edits are to be caught up with."""

    pieces: list[Piece]
    adopted: list[int]
    superseded: list[int]
    done: int
    waiting: list[Piece]
    catches_up: bool
    catch_up_from: datetime | None
    as_of: datetime | None
    source_count: int | None


class Planner:
    """Plans the work of one request. QuickBooks is asked for counts only, and what that costs goes to `spent`."""

    def __init__(
        self, opened: Opened, settings: Settings, request: BackfillRequest, series: Series, spent: Spent
    ) -> None:
        self._session = opened.session
        self._ledger = opened.ledger
        self._client = opened.client
        self._settings = settings
        self._request = request
        self._series = series
        self._spent = spent
        self._field = DATE_FIELDS[request.filter_field]

    async def work(self) -> Work:
        """What of the range is to be done: chunks of the ledger, and what no chunk covers, cut into pieces.

        ConfigurationError or IncompleteError when QuickBooks can't be asked.
        """
        request = self._request
        known = await self._ledger.chunks_in(self._series, request.window)
        inside = [c for c in known if request.window.contains(c.window)]
        open_catch_up = await self._ledger.open_catch_up(self._series, request.window)
        left: list[Window] = []
        adopted, superseded = [c for c in inside if c.status == "failed"], []
        if request.mode == "resume":
            adopted = inside
            left = gaps(request.window, (c.window for c in known if c.status == "done" or c in inside))
        elif request.mode == "reprocess":
            adopted = [c for c in inside if c.held]
            superseded = [c for c in inside if not c.held]
            left = gaps(request.window, (c.window for c in inside if c.held))
        pieces, as_of, source_count = await self._cut(left) if left else ([], None, None)
        catch_up_from = as_of if self._needs_catch_up(as_of, pieces) else None
        ids = [c.chunk_id for c in adopted]
        return Work(
            pieces=pieces,
            adopted=ids if open_catch_up is None or catch_up_from is not None else [*ids, open_catch_up],
            superseded=[c.chunk_id for c in superseded],
            done=sum(c.status == "done" for c in inside),
            waiting=[Piece(c.window, c.expected_rows) for c in adopted if c.status != "done"],
            catches_up=catch_up_from is not None or open_catch_up is not None,
            catch_up_from=catch_up_from,
            as_of=as_of,
            source_count=source_count,
        )

    async def write(self, work: Work) -> tuple[int, int]:
        """The work as a run of the ledger: the run's number, and how many chunks it has."""
        request = self._request
        run_id = await self._ledger.insert_run(
            self._series,
            request.mode,
            request.window,
            request.chunk,
            request.concurrency,
            {**versions(), **await self._before_reprocessing()},
        )
        chunks = await self._ledger.write_plan(
            run_id,
            self._series,
            request.window,
            pieces=[(piece.window, piece.rows) for piece in work.pieces],
            adopted=work.adopted,
            superseded=work.superseded,
            catch_up_from=work.catch_up_from,
            as_of=work.as_of,
            source_count=work.source_count,
        )
        return run_id, chunks

    async def cost(self, work: Work) -> Cost:
        """What the work takes of Intuit's quota, the counting that has been done for it included."""
        month = await self._session.do(lambda c: requests_this_month(c, self._settings.realm_id))
        pages = reading(work.pieces, work.source_count) + reading(work.waiting, None)
        return Cost(
            counted=self._spent.requests,
            reading=pages,
            after=int(work.catches_up) + CHECKING,
            rows=work.source_count,
            chunks=len(work.pieces) + len(work.waiting),
            spent_this_month=month,
        )

    def counting(self, window: Window) -> Query:
        """The query whose rows a window's are."""
        return Query(self._request.entity, (self._field.at_least(window.start), self._field.before(window.end)))

    async def _cut(self, left: Sequence[Window]) -> tuple[list[Piece], datetime, int]:
        """What is left of the range in pieces, QuickBooks' clock before it was counted, and the count."""
        clock: list[datetime] = []

        async def rows(window: Window) -> int:
            began = asyncio.get_running_loop().time()
            counted = await count(self._client, self.counting(window), self._spent, PLANNING)
            now = counted.server_time or datetime.now(UTC)
            # The count is older than the answer's own time by no more than the answer took.
            elapsed = timedelta(seconds=asyncio.get_running_loop().time() - began)
            clock.append((now.astimezone(UTC) - elapsed - 2 * SECOND).replace(microsecond=0))
            return counted.rows

        with endings(self._settings, planning=True):
            await self._client.authorise()
            pieces, total = await cut_into_pieces(
                left, self._request.step, rows, self._request.concurrency, self._field.granularity
            )
        as_of = min(clock)
        if self._request.filter_field != "txn_date":
            # What is later than the reading can't be called read; a later run begins here.
            pieces = [
                piece
                if piece.window.end <= as_of
                else Piece(Window(piece.window.start, as_of), 0 if piece.rows == 0 else None)
                for piece in pieces
                if piece.window.start < as_of
            ]
        return pieces, as_of, total

    def _needs_catch_up(self, as_of: datetime | None, pieces: Sequence[Piece]) -> bool:
        """Whether rows of the range can have been edited out of it, or added to it, while it was read."""
        if as_of is None or all(piece.rows == 0 for piece in pieces):
            return False
        return self._request.filter_field != "created" or self._request.window.end > as_of

    async def _before_reprocessing(self) -> dict[str, Any]:
        """What the rows of the range say before they are read again, for the proof that it changed nothing."""
        request = self._request
        if request.mode != "reprocess":
            return {}
        connection = await self._session.live()
        return await hash_of(
            connection, request.entity, self._settings.raw_schema, request.window, request.filter_field
        )


def versions() -> dict[str, str]:
    """What a run was made with, for its settings in the ledger."""
    return {
        "qbo-backfill": metadata.version("async-extractor"),
        "python": platform.python_version(),
        "aiohttp": aiohttp.__version__,
        "asyncpg": asyncpg.__version__,
    }
