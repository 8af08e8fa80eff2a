"""The conductor: plan, extract, validate, report. Each stage is a room of its own; here they meet."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from types import TracebackType

import asyncpg

from async_extractor.checks import CheckResult, Validator
from async_extractor.error_mapping import ending_of, endings, why_incomplete
from async_extractor.errors import BackfillError, ConfigurationError, IncompleteError
from async_extractor.events import Diary, Events, Listener
from async_extractor.extraction.workers import Extraction
from async_extractor.limits import no_limits, shared_limits
from async_extractor.planning.estimate import Cost
from async_extractor.planning.planner import Planner
from async_extractor.qbo.client import Patience, QueryClient, Spent
from async_extractor.qbo.counting import count
from async_extractor.report.files import keep_report
from async_extractor.request import BackfillRequest
from async_extractor.resources import opened
from async_extractor.result import BackfillResult, close
from async_extractor.settings import Secrets, Settings
from async_extractor.warehouse.events import keep_events
from async_extractor.warehouse.ledger import Ledger, Series
from async_extractor.warehouse.loader import WorkerSession
from async_extractor.warehouse.session import Session, WarehouseLost


async def run_backfill(
    request: BackfillRequest,
    secrets: Secrets,
    listeners: Iterable[Listener] = (),
    *,
    limits: bool = True,
    patience: Patience | None = None,
) -> BackfillResult:
    """The whole backfill. A run that ends with chunks not done comes back as `incomplete`, with the reason.

    Raises ConfigurationError when it can't begin or must not go on.
    """
    async with Backfill(request, secrets, listeners, limits=limits, patience=patience) as backfill:
        run_id = await backfill.plan()
        with contextlib.suppress(IncompleteError):  # the ledger has the reason, and the report says it
            await backfill.extract(run_id)
            await backfill.validate(run_id)
        return await backfill.report(run_id)


class Backfill:
    """One run, stage by stage; an async context manager. The run's number is all that the stages share,
    so each may be a process of its own."""

    _session: Session
    _ledger: Ledger
    _client: QueryClient
    _planner: Planner

    def __init__(
        self,
        request: BackfillRequest,
        secrets: Secrets,
        listeners: Iterable[Listener] = (),
        *,
        limits: bool = True,
        profile: str = "",
        patience: Patience | None = None,
        workers: int = 1,
    ) -> None:
        """`workers` is how many processes work on the run; it matters where they can't share the budget."""
        self.request = request
        self.settings = Settings.read(secrets, profile)
        if not limits and self.settings.environment != "simulator":
            raise ConfigurationError(
                "no-limits: is for the simulator only, and QBO_ENVIRONMENT is " + self.settings.environment
            )
        self._secrets = secrets
        self._limits = limits
        self._patience = patience
        self._workers = workers
        self._diary = Diary()
        self._events = Events([*listeners, self._diary])
        self._series = Series(self.settings.realm_id, request.entity.name, request.filter_field)
        self._spent = Spent()
        self._stop = asyncio.Event()
        self._stopped_for: str | None = None
        self._closing = contextlib.AsyncExitStack()

    def stop(self, reason: str) -> None:
        """Ends the extraction at the next page; chunks begun are released, and the run can be resumed."""
        self._stopped_for = reason
        self._stop.set()

    async def __aenter__(self) -> Backfill:
        settings, events = self.settings, self._events
        limits = (
            shared_limits(settings.warehouse, settings.realm_id, events, workers=self._workers)
            if self._limits
            else no_limits(events)
        )
        parts = await self._closing.enter_async_context(
            opened(settings, self._secrets, events, limits, self._patience, self._stop)
        )
        self._session, self._ledger, self._client = parts.session, parts.ledger, parts.client
        self._planner = Planner(parts, settings, self.request, self._series, self._spent)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    async def plan(self) -> int:
        """Cuts what is left of the range into chunks, in one transaction; the run's number.

        ConfigurationError or IncompleteError when QuickBooks can't be asked; nothing is written then.
        """
        async with self._alone():
            work = await self._planner.work()
            run_id, chunks = await self._planner.write(work)
        cost = await self._planner.cost(work)
        await self._count_requests(run_id)
        already = f", {work.done} of them done before" if self.request.mode == "resume" and work.done else ""
        counted = f", {work.source_count:,} rows at QuickBooks" if work.source_count is not None else ""
        self._events.emit(
            "planned",
            "plan",
            f"run {run_id}: {chunks} chunks of {self.request.entity.name} in {self.request.window}"
            f"{already}{counted}; {cost}",
            run_id=run_id,
            chunks=chunks,
            source_count=work.source_count,
            cost=cost.as_dict(),
        )
        return run_id

    async def preview(self) -> Cost:
        """What `plan` would come to, without writing it. Raises as `plan` does."""
        return await self._planner.cost(await self._planner.work())

    async def extract(self, run_id: int) -> None:
        """Reads and loads the run's chunks.

        IncompleteError when some are left, ConfigurationError when access is refused.
        """
        await self._tell_begun(run_id)
        extraction = Extraction(
            self._client,
            self.request.entity,
            self.request.filter_field,
            self._new_session,
            self._events,
            self._stop,
        )
        try:
            await extraction.run(run_id, self.request.concurrency)
        except Exception as error:
            ending = ending_of(error, self.settings)
            if ending is None:
                raise
            with contextlib.suppress(WarehouseLost, asyncpg.PostgresError):
                await self._end_early(run_id, ending)
            raise ending from None
        await self._count_requests(run_id)
        counts = await self._ledger.chunk_counts(run_id)
        if counts["done"] < counts["planned"]:
            ending = IncompleteError(await why_incomplete(self._ledger, run_id, counts, self._stopped_for))
            await self._end_early(run_id, ending)
            raise ending

    async def validate(self, run_id: int) -> list[CheckResult]:
        """Checks what the run left in raw, against QuickBooks' COUNT(*) of the range."""
        with endings(self.settings):
            validator = Validator(await self._session.live(), self.request.entity, self.settings.raw_schema)
            checks = await validator.check(
                run_id,
                self.request.filter_field,
                self.request.window,
                self._count_range,
            )
        await self._count_requests(run_id)
        for check in checks:
            self._events.emit("validated", "validate", check.sentence, level=check.level, **check.fields())
        return checks

    async def has_ended(self, run_id: int) -> bool:
        """Whether the run was closed, so that extracting for it again needs a plan of its own."""
        return (await self._ledger.run(run_id))["finished_at"] is not None

    async def take_up(self, run_id: int) -> int:
        """The run to extract for: this one, or when it has ended the one that goes on with what it left.

        That is begun here, unless another process has begun it already.
        """
        if not await self.has_ended(run_id):
            return run_id
        async with self._alone():
            return await self._ledger.later_run(run_id) or await self.plan()

    async def report(self, run_id: int) -> BackfillResult:
        """Closes the run and says what it came to."""
        result = await close(self._ledger, run_id)
        chunks, rows = result.chunks, result.rows
        self._events.emit(
            "run_finished",
            "report",
            f"run {run_id} {result.status}: {chunks['done']} of {chunks['planned']} chunks, "
            f"{rows['read']:,} rows read, "
            f"{rows['inserted']:,} inserted, {rows['updated']:,} updated, {rows['unchanged']:,} unchanged, "
            f"{rows['quarantined']:,} quarantined, {result.requests['sent']:,} requests, {result.seconds:.1f} s",
            **result.as_dict(),
        )
        await self._write_report(run_id)
        return result

    async def _tell_begun(self, run_id: int) -> None:
        counts, run = await self._ledger.chunk_counts(run_id), await self._ledger.run(run_id)
        self._events.emit(
            "extract_begun",
            "extract",
            f"run {run_id}: {counts['planned'] - counts['done']:,} chunks to read, "
            f"{self.request.concurrency} at a time",
            run_id=run_id,
            chunks=counts["planned"] - counts["done"],
            source_count=run["source_count"] if counts["done"] == 0 else None,
        )

    async def _end_early(self, run_id: int, ending: BackfillError) -> None:
        status = "failed" if isinstance(ending, ConfigurationError) else "incomplete"
        await self._ledger.finish_run(run_id, status, str(ending))
        await self._count_requests(run_id)
        await self._write_report(run_id)

    @contextlib.asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """While nobody else plans this company's entity; the same session may enter twice."""
        await self._ledger.lock_planning(self._series)
        try:
            yield
        finally:
            await self._ledger.unlock_planning(self._series)

    async def _write_report(self, run_id: int) -> None:
        await keep_report(self._session, run_id, self.request.lang, self._events)

    async def _count_range(self) -> int:
        window = self._planner.counting(self.request.window)
        return (await count(self._client, window, self._spent)).rows

    async def _count_requests(self, run_id: int) -> None:
        spent = self._spent.take()
        await self._ledger.add_requests(run_id, spent.requests, spent.retries, spent.throttled)
        await keep_events(self._session, run_id, self._diary.take())

    def _new_session(self) -> WorkerSession:
        settings, entity = self.settings, self.request.entity
        return WorkerSession(
            settings.warehouse,
            entity.table,
            settings.raw_schema,
            settings.realm_id,
            entity.name,
            self._events,
        )
