"""One run of the ledger: what a backfill and a verification have in common."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from typing import TypeVar

import asyncpg

from async_extractor.checks import CheckResult
from async_extractor.checks.balance import Reconciled
from async_extractor.error_mapping import ending_of, endings
from async_extractor.errors import BackfillError, ConfigurationError, IncompleteError
from async_extractor.events import Diary, Events, Listener
from async_extractor.extraction.workers import Extraction
from async_extractor.limits import no_limits, shared_limits
from async_extractor.planning.planner import Planner
from async_extractor.profile_option import work_for
from async_extractor.qbo.client import Patience, QueryClient, Spent, unless_stopped
from async_extractor.qbo.faults import StoppedFault
from async_extractor.reconciliation import Reconciliation
from async_extractor.report.files import keep_report
from async_extractor.request import BackfillRequest
from async_extractor.resources import opened
from async_extractor.settings import Secrets, Settings
from async_extractor.warehouse.events import keep_events
from async_extractor.warehouse.ledger import Ledger, Series
from async_extractor.warehouse.loader import WorkerSession
from async_extractor.warehouse.session import CLOSING_SECONDS, Session, WarehouseLost

T = TypeVar("T")
# The report of a run that was told to stop waits for nobody who holds its tables.
STOPPED_REPORT_SECONDS = 0.5


class Run:
    """The resources of a run and the steps that every run is made of; an async context manager."""

    session: Session
    ledger: Ledger
    client: QueryClient
    planner: Planner
    reconciliation: Reconciliation

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
        work_for(profile)
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
        self.events = Events([*listeners, self._diary])
        self.series = Series(self.settings.realm_id, request.entity.name, request.filter_field)
        self.spent = Spent()
        self.stopping = asyncio.Event()
        self.stopped_for: str | None = None
        self._closing = contextlib.AsyncExitStack()
        self._entered: int | None = None

    def stop(self, reason: str) -> None:
        """Ends the extraction; chunks begun are released, and the run can be resumed."""
        self.stopped_for = reason
        self.stopping.set()

    async def open(self) -> None:
        """Opens the warehouse and the client. ConfigurationError when the warehouse can't be used."""
        settings, request = self.settings, self.request
        limits = (
            shared_limits(settings.warehouse, settings.realm_id, self.events, workers=self._workers)
            if self._limits
            else no_limits(self.events)
        )
        try:
            with endings(settings):
                parts = await self._closing.enter_async_context(
                    opened(
                        settings,
                        self._secrets,
                        self.events,
                        limits,
                        self._patience,
                        (request.entity.name,),
                        self.stopping,
                    )
                )
                await parts.ledger.close_gone_runs(settings.realm_id)
        except BaseException:
            await self._closing.aclose()
            raise
        self.session, self.ledger, self.client = parts.session, parts.ledger, parts.client
        self.planner = Planner(parts, settings, request, self.series, self.spent, self._workers)
        self.reconciliation = Reconciliation(
            self.session, self.client, settings, request, self.planner.counting, self.events, self.spent
        )

    async def close(self, error: BaseException | None = None) -> None:
        """Closes what `open` opened. A run that has not ended goes on in the next stage, but not after an error."""
        if self._entered is not None:
            # That nobody works on it shows by the backend's end, too.
            with contextlib.suppress(WarehouseLost, asyncpg.PostgresError, OSError, asyncio.TimeoutError):
                await asyncio.wait_for(self._leave(self._entered, error), CLOSING_SECONDS)
        await self._closing.aclose()

    async def _leave(self, run_id: int, error: BaseException | None) -> None:
        if error is not None:
            await self._end(run_id, self._ending_of(error) or _unexpected(error))
        await self.ledger.leave_run(run_id)

    async def enter(self, run_id: int) -> None:
        """This process works on the run from now on: it is alive as long as the session is."""
        self._entered = run_id
        await self.ledger.enter_run(run_id)
        include = await self.ledger.include_of_run(run_id)
        self.client.include = "" if include == "none" else include

    async def unless_stopped(self, work: Awaitable[T], grace: float = 0.0) -> T:
        """What the work comes to. Raises IncompleteError when the run is told to stop, whatever the work waits for.

        `grace` seconds are for work that hears of it by itself.
        """
        try:
            return await unless_stopped(self.stopping, work, grace)
        except StoppedFault:
            raise self._stopped() from None

    def _stopped(self) -> IncompleteError:
        return IncompleteError(f"{self.stopped_for} before it was done; run the same again to resume")

    @contextlib.asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """While nobody else plans this company's entity; the same session may enter twice."""
        await self.unless_stopped(self.ledger.lock_planning(self.series))
        try:
            yield
        finally:
            await self.ledger.unlock_planning(self.series)

    async def extract(self, run_id: int, concurrency: int) -> None:
        """Reads and loads the run's chunks.

        IncompleteError when some are left, ConfigurationError when access is refused; the run is closed then.
        """
        extraction = Extraction(
            self.client,
            self.request.entity,
            self.request.filter_field,
            self._new_session,
            self.events,
            self.stopping,
            self.spent,
        )
        async with self.closed_on_error(run_id):
            counts = await self.ledger.chunk_counts(run_id)
            if counts["done"] < counts["planned"]:  # otherwise no worker would find anything to begin
                await extraction.run(run_id, concurrency)
                counts = await self.ledger.chunk_counts(run_id)
            await self.count_requests(run_id)
            if counts["done"] < counts["planned"]:
                raise IncompleteError(await self._why_incomplete(run_id, counts))

    async def reconcile(self, run_id: int) -> Reconciled:
        """Marks what was deleted, and holds the range against QuickBooks: counts, and the records where they differ.

        The ledger then says until when deletions are known. Raises as `extract` does.
        """
        since, as_of, now, asked = await self.ledger.deletions_owed(run_id)
        listed = await self.reconciliation.mark_reported(since, now)
        await self.reconciliation.resolve_gone(asked)
        reconciled = await self.reconciliation.reconcile(run_id, as_of, listed=listed.complete)
        lost = [f.moment for f in reconciled.compared.of("missing", "outdated") if f.moment is not None]
        await self.ledger.reopen(self.series, lost)
        lately = await self.reconciliation.gone_lately()
        marked = await self.reconciliation.mark_deleted(
            dict.fromkeys([*reconciled.surplus, *(gone.id for gone in lately.gone)])
        )
        reconciled = reconciled.without_surplus().including(lately.rows - len(lately.gone))
        if listed.complete:
            await self.ledger.know_deletions(run_id, since, asked, whole=True)
        elif reconciled.whole:
            # Counts that agree, and records compared where they did not: nothing is left that QuickBooks hasn't.
            await self.ledger.know_deletions(run_id, since, asked, whole=False)
        if deleted := listed.marked + marked:
            self.events.emit(
                "marked_deleted",
                "load",
                f"{deleted:,} records were deleted in QuickBooks: marked in raw, their payload kept"
                if deleted > 1
                else "1 record was deleted in QuickBooks: marked in raw, its payload kept",
                level="warning",
                marked=deleted,
            )
        return reconciled

    @contextlib.asynccontextmanager
    async def closed_on_error(self, run_id: int) -> AsyncIterator[None]:
        """Whatever ends this block early closes the run: no ending leaves it open."""
        try:
            yield
        except Exception as error:
            ending = self._ending_of(error)
            with contextlib.suppress(WarehouseLost, asyncpg.PostgresError, OSError):
                await self.end_early(run_id, ending or _unexpected(error))
            if ending is None:
                raise
            raise ending from None

    async def end_early(self, run_id: int, ending: BackfillError) -> None:
        """Closes the run with its reason, and reports it."""
        await self._end(run_id, ending)
        await self.count_requests(run_id)
        await self.write_report(run_id)

    async def _end(self, run_id: int, ending: BackfillError) -> None:
        status = "failed" if isinstance(ending, ConfigurationError) else "incomplete"
        await self.ledger.finish_run(run_id, status, str(ending))

    def _ending_of(self, error: BaseException) -> BackfillError | None:
        """What ended the run, as its caller sees it; None for a mistake of ours."""
        if isinstance(error, StoppedFault) or (self.stopped_for and not isinstance(error, Exception)):
            return self._stopped()
        return ending_of(error, self.settings)

    async def write_report(self, run_id: int) -> None:
        """Keeps the report's files."""
        seconds = STOPPED_REPORT_SECONDS if self.stopping.is_set() else None
        await keep_report(self.session, run_id, self.request.lang, self.events, seconds)

    async def count_requests(self, run_id: int) -> None:
        """What has been asked since the last time, and the events worth keeping, into the ledger."""
        spent = self.spent.take()
        await self.ledger.add_requests(run_id, spent.requests, spent.retries, spent.throttled)
        await keep_events(self.session, run_id, self._diary.take())

    def tell(self, checks: Sequence[CheckResult]) -> None:
        """Each check as an event."""
        for check in checks:
            self.events.emit("validated", "validate", check.sentence, level=check.level, **check.fields())

    async def _why_incomplete(self, run_id: int, counts: dict[str, int]) -> str:
        left = counts["planned"] - counts["done"]
        reason = self.stopped_for or f"{counts['failed']} failed"
        errors = [row["error"] for row in await self.ledger.chunk_table(run_id) if row["error"]]
        example = f", for example: {errors[0]}" if errors and not self.stopped_for else ""
        return (
            f"{left} of {counts['planned']} chunks are not done ({reason}{example}); "
            "`qbo-backfill resume` goes on where it stopped"
        )

    def _new_session(self) -> WorkerSession:
        settings, entity = self.settings, self.request.entity
        return WorkerSession(
            settings.warehouse, entity.table, settings.raw_schema, settings.realm_id, entity.name, self.events
        )


def _unexpected(error: BaseException) -> IncompleteError:
    """A mistake of ours, as the run's reason; its caller sees it whole."""
    return IncompleteError(f"{type(error).__name__}: {error}")
