"""Planning a run: what of its range is left to do, what that costs, and the plan in the ledger."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import metadata
from typing import Any

import aiohttp
import asyncpg

from async_extractor.checks.reprocessing import hash_of
from async_extractor.error_mapping import endings
from async_extractor.errors import IncompleteError, NotOfferedError
from async_extractor.planning.chunking import ROW_TARGET, Piece, cut_into_pieces
from async_extractor.planning.estimate import CHECKING, Estimate, reading
from async_extractor.qbo.client import PLANNING, Spent
from async_extractor.qbo.counting import Counted, count
from async_extractor.qbo.faults import AuthorizationFault, QueryRefusedFault, TransientFault, says_not_offered
from async_extractor.qbo.query import DATE_FIELDS, Query
from async_extractor.request import BackfillRequest
from async_extractor.resources import Opened
from async_extractor.settings import Settings
from async_extractor.warehouse.ledger import KnownChunk, Plan, Series
from async_extractor.warehouse.limits import requests_this_month
from async_extractor.warehouse.statements import statement
from async_extractor.windows import SECOND, SETTLING, UTC, Window, gaps, whole_second_up


@dataclass(frozen=True)
class Work:
    """What a run sets out to do: the ledger's plan, and what it will cost."""

    plan: Plan
    #: How many chunks of the range are done already.
    done: int
    #: Chunks of the ledger that are to be read, as pieces.
    waiting: Sequence[Piece]

    @property
    def pieces(self) -> list[Piece]:
        return [Piece(window, rows) for window, rows in self.plan.pieces]


class Planner:
    """Plans the work of one request. QuickBooks is asked for counts only, and what that costs goes to `spent`."""

    def __init__(
        self,
        opened: Opened,
        settings: Settings,
        request: BackfillRequest,
        series: Series,
        spent: Spent,
        processes: int = 1,
    ) -> None:
        """`processes` work on the run; within each the workers share chunks."""
        self._processes = processes
        self._session = opened.session
        self._ledger = opened.ledger
        self._client = opened.client
        self._settings = settings
        self._request = request
        self._series = series
        self._spent = spent
        self._field = DATE_FIELDS[request.filter_field]

    async def work(
        self, again: Sequence[Window] = (), hollow: Collection[int] = (), since: datetime | None = None
    ) -> Work:
        """What of the range is to be done: chunks of the ledger, and what no chunk covers, cut into pieces.

        A repair names windows to be read `again` whatever is done, `hollow` chunks, which nobody has read, and `since`
        when it has been looking for differences: what is edited meanwhile is the catch-up's.
        ConfigurationError or IncompleteError when QuickBooks can't be asked.
        """
        request = self._request
        # A row that raw had put into the range may have its date elsewhere; there its window may be done, too.
        ends = [request.window, *again]
        reaches = Window(min(window.start for window in ends), max(window.end for window in ends))
        known = await self._ledger.chunks_in(self._series, reaches)
        inside = [c for c in known if request.window.contains(c.window)]
        other_include = await self._other_include() is not None
        adopted, superseded, left = self._choose(known, known if other_include else inside, anew=other_include)
        if again or hollow:
            left = []
        pieces, as_of, source_count = await self._cut(left)
        owed = await self._ledger.owed_since(self._series, reaches, as_of)
        pieces = self._settled([*pieces, *(Piece(window, None) for window in again)], as_of)
        if again or hollow:
            read_again = {piece.window for piece in pieces}
            superseded = [c for c in known if not c.held and (c.chunk_id in hollow or c.window in read_again)]
            gone = {c.chunk_id for c in superseded}
            adopted = [c for c in inside if c.status != "done" and c.chunk_id not in gone]
        edits_from = min(as_of, owed.edits or as_of, since or as_of)
        return Work(
            plan=Plan(
                pieces=[(piece.window, piece.rows) for piece in pieces],
                adopted=[c.chunk_id for c in adopted],
                superseded=[c.chunk_id for c in superseded],
                as_of=as_of,
                edits_from=edits_from,
                deletions_from=owed.deletions if superseded else None,
                catch_up_from=edits_from - SETTLING if self._catches_up(since or owed.edits, pieces, as_of) else None,
                source_count=source_count if left else None,
            ),
            done=sum(c.status == "done" for c in inside),
            waiting=[Piece(c.window, c.expected_rows) for c in adopted if c.status != "done"],
        )

    async def settle_include(self) -> None:
        """Where the entity is to be read with another `include` than before, none of its windows is done any more.

        So all rows of a table are read by one setting, and done never stands for one that lacks what was asked for.
        IncompleteError while another run reads by the former one. To be called by the one who plans.
        """
        before = await self._other_include()
        if before is None:
            return
        entity, asked = self._request.entity.name, self._request.include
        open_run = await self._ledger.open_run(self._series)
        if open_run is not None:
            raise IncompleteError(
                f"include: run {open_run} reads {entity} with {before} now, so that {asked} has to wait for its end; "
                "run the same again then"
            )
        why = f"read with include {before}, and {entity} is read with {asked} since"
        await self._ledger.reopen_entity(self._series, why)

    async def _other_include(self) -> str | None:
        """What the entity was read with, where the request asks for something else."""
        before = await self._ledger.include_of(self._series)
        asked = self._request.include
        return before if before and asked and self._request.entity.custom_fields and before != asked else None

    def _choose(
        self, known: Sequence[KnownChunk], inside: Sequence[KnownChunk], *, anew: bool
    ) -> tuple[Sequence[KnownChunk], Sequence[KnownChunk], list[Window]]:
        """Which chunks of the ledger the run adopts, which it supersedes, and what of the range is to be planned."""
        window = self._request.window
        if anew or self._request.mode == "reprocess":
            held = [c for c in inside if c.held]
            return held, [c for c in inside if not c.held], gaps(window, (c.window for c in held))
        if self._request.mode == "retry":
            # What no plan knew of, the time since the last run for one, is owed by the range as well.
            return [c for c in inside if c.status == "failed"], [], gaps(window, (c.window for c in known))
        ours = {c.chunk_id for c in inside}
        covered = (c.window for c in known if c.status == "done" or c.chunk_id in ours)
        return inside, [], gaps(window, covered)

    def _catches_up(self, owed: datetime | None, pieces: Sequence[Piece], as_of: datetime) -> bool:
        """Whether edits are owed, for what is read now or was read before, or the range reaches into the present."""
        return owed is not None or bool(pieces) or self._request.window.end > as_of - SETTLING

    async def write(
        self, work: Work, mode: str | None = None, run_id: int | None = None, **settings: Any
    ) -> tuple[int, int]:
        """The work as a run of the ledger: the run's number, and how many chunks it has.

        IncompleteError where the run has begun and the entity is read with another `include` since.
        """
        if run_id is None:
            run_id = await self.begin(mode, **settings)
        elif await self._ledger.include_of_run(run_id) != await self._ledger.include_of(self._series):
            raise IncompleteError(
                f"another run reads {self._request.entity.name} with another include since this one began; "
                "run the same again"
            )
        return run_id, await self._ledger.write_plan(run_id, self._series, self._request.window, work.plan)

    async def begin(self, mode: str | None = None, **settings: Any) -> int:
        """A new run of the ledger, without a plan; its number."""
        request = self._request
        include = await self._ledger.include_of(self._series) or "none"
        if request.include and request.entity.custom_fields:
            include = request.include
        return await self._ledger.insert_run(
            self._series,
            mode or request.mode,
            request.window,
            request.chunk,
            request.concurrency,
            {**versions(), "include": include, **settings},
        )

    async def cost(self, work: Work) -> Estimate:
        """What the work takes of Intuit's quota, the counting that has been done for it included."""
        month = await self._session.do(lambda c: requests_this_month(c, self._settings.realm_id))
        pieces, plan = work.pieces, work.plan
        pages = reading(pieces, plan.source_count) + reading(work.waiting, None)
        return Estimate(
            counted=self._spent.requests,
            reading=pages,
            # A catch-up that finds nothing is a page and its count.
            after=2 * int(plan.catch_up_from is not None) + CHECKING,
            rows=plan.source_count,
            chunks=len(pieces) + len(work.waiting),
            planned_before=len(work.waiting),
            spent_this_month=month,
        )

    def counting(self, window: Window) -> Query:
        """The query whose rows a window's are."""
        return Query(self._request.entity, (self._field.at_least(window.start), self._field.before(window.end)))

    async def clock(self) -> datetime:
        """QuickBooks' clock, at the latest that it can be now. Raises as `work` does."""
        with endings(self._settings, planning=True):
            await self._client.authorise()
            counted = await self._count(self._request.window)
            return whole_second_up(clock_of(counted)) + 2 * SECOND

    async def _count(self, window: Window) -> Counted:
        """COUNT(*) of a window. NotOfferedError where QuickBooks says that the company has no such entity."""
        entity = self._request.entity
        try:
            return await count(self._client, self.counting(window), self._spent, PLANNING)
        except (QueryRefusedFault, AuthorizationFault) as fault:
            if not (entity.needs and says_not_offered(fault)):
                raise
            kept = await self._rows_in_raw()
            told = f"this company has no {entity.query_name} (it needs {entity.needs}): {fault}"
            if kept:
                raise IncompleteError(f"{told}; but {kept:,} rows were read before") from None
            raise NotOfferedError(told) from None

    async def _rows_in_raw(self) -> int:
        query = statement("count_table", table=self._request.entity.table, raw_schema=self._settings.raw_schema)
        return int(await self._session.do(lambda c: c.fetchval(query)))

    async def _cut(self, left: Sequence[Window]) -> tuple[list[Piece], datetime, int]:
        """What is left of the range in pieces, QuickBooks' clock before it was counted, and the count.

        Where nothing is left the whole range is counted, for the clock: the run's beginning.
        """
        clock: list[datetime] = []

        async def rows(window: Window) -> int:
            began = asyncio.get_running_loop().time()
            counted = await self._count(window)
            # The count is older than the answer's own time by no more than the answer took.
            elapsed = timedelta(seconds=asyncio.get_running_loop().time() - began)
            clock.append((clock_of(counted) - elapsed - 2 * SECOND).replace(microsecond=0))
            return counted.rows

        with endings(self._settings, planning=True):
            await self._client.authorise()
            pieces, total = await cut_into_pieces(
                left,
                self._request.step,
                rows,
                self._processes if self._processes > 1 else 0,
                self._field.granularity,
                ROW_TARGET * self._request.concurrency,
            )
            if not left:
                total = await rows(self._request.window)
            elif total == 0 and not await self._rows_in_raw():
                # A page says so, too: what answers each COUNT(*) with 0 would hide everything.
                pieces = [Piece(window, None) for window in left]
        return pieces, min(clock), total

    def _settled(self, pieces: Sequence[Piece], as_of: datetime) -> list[Piece]:
        """The pieces as far as no rows come to them any more; the catch-up has the last minutes, and a later run
        begins there. To a TxnDate rows come at any time."""
        if self._request.filter_field == "txn_date":
            return list(pieces)
        settled = as_of - SETTLING
        return [
            piece
            if piece.window.end <= settled
            else Piece(Window(piece.window.start, settled), 0 if piece.rows == 0 else None)
            for piece in pieces
            if piece.window.start < settled
        ]

    async def before_reprocessing(self) -> dict[str, Any]:
        """What the rows of the range say before they are read again, for the proof that it changed nothing."""
        request = self._request
        if request.mode != "reprocess":
            return {}
        connection = await self._session.live()
        return await hash_of(
            connection, request.entity, self._settings.raw_schema, request.window, request.filter_field
        )


def clock_of(counted: Counted) -> datetime:
    """QuickBooks' clock at the answer. TransientFault when it told none: a run can't do without."""
    if counted.server_time is None:
        raise TransientFault("QuickBooks' answer carries no usable time: as of when, can't be said", status=200)
    return counted.server_time.astimezone(UTC)


def versions() -> dict[str, str]:
    """What a run was made with, for its settings in the ledger."""
    return {
        "qbo-backfill": metadata.version("async-extractor"),
        "python": platform.python_version(),
        "aiohttp": aiohttp.__version__,
        "asyncpg": asyncpg.__version__,
    }
