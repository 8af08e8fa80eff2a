"""Runs a backfill: plan, extract, validate, report. What each stage does stands in a package of its own."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from types import TracebackType

from async_extractor.checks import CheckResult, Validator, findings, suggested_commands
from async_extractor.error_mapping import endings
from async_extractor.errors import IncompleteError
from async_extractor.events import Listener
from async_extractor.planning.estimate import Estimate
from async_extractor.qbo.client import Patience
from async_extractor.request import BackfillRequest
from async_extractor.result import BackfillResult, close
from async_extractor.run import Run
from async_extractor.settings import Secrets
from async_extractor.windows import SETTLING


async def run_backfill(
    request: BackfillRequest,
    secrets: Secrets,
    listeners: Iterable[Listener] = (),
    *,
    limits: bool = True,
    patience: Patience | None = None,
) -> BackfillResult:
    """The whole backfill. A run that ends with anything owed comes back as `incomplete`, with the reason.

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
        self._run = Run(request, secrets, listeners, limits=limits, profile=profile, patience=patience, workers=workers)
        self.request = request
        self.settings = self._run.settings

    def stop(self, reason: str) -> None:
        """Ends the extraction; chunks begun are released, and the run can be resumed."""
        self._run.stop(reason)

    async def __aenter__(self) -> Backfill:
        await self._run.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._run.close(error)

    async def plan(self) -> int:
        """Cuts what is left of the range into chunks, in one transaction; the run's number.

        ConfigurationError or IncompleteError when QuickBooks can't be asked; nothing is written then.
        """
        run, planner = self._run, self._run.planner
        with endings(self.settings):
            async with run.alone():
                await planner.settle_include()
                await run.unless_stopped(run.reconciliation.note_changed())
                work = await run.unless_stopped(planner.work())
                before = await run.unless_stopped(planner.before_reprocessing())
                run_id, chunks = await planner.write(work, **before)
            await run.enter(run_id)
            cost = await planner.cost(work)
            planned = await run.ledger.run(run_id)
            await run.count_requests(run_id)
        if planned["as_of"] - planned["started_at"] > SETTLING:
            ahead = planned["as_of"] - planned["started_at"]
            message = f"QuickBooks' clock is {ahead.total_seconds() / 60:,.0f} minutes ahead of Postgres'"
            run.events.emit("clock_ahead", "plan", message, level="warning", seconds=round(ahead.total_seconds()))
        already = f", {work.done} of them done before" if self.request.mode == "resume" and work.done else ""
        source_count = work.plan.source_count
        counted = f", {source_count:,} rows at QuickBooks" if source_count is not None else ""
        run.events.emit(
            "planned",
            "plan",
            f"run {run_id}: {chunks} chunks of {self.request.entity.name} in {self.request.window}"
            f"{already}{counted}; {cost}",
            run_id=run_id,
            chunks=chunks,
            source_count=source_count,
            cost=cost.as_dict(),
        )
        return run_id

    async def preview(self) -> Estimate:
        """What `plan` would come to, without writing it. Raises as `plan` does."""
        planner = self._run.planner
        with endings(self.settings):
            return await planner.cost(await self._run.unless_stopped(planner.work()))

    async def extract(self, run_id: int) -> None:
        """Reads and loads the run's chunks.

        IncompleteError when some are left, ConfigurationError when access is refused.
        """
        run = self._run
        await run.enter(run_id)
        counts, ledgers = await run.ledger.chunk_counts(run_id), await run.ledger.run(run_id)
        left = counts["planned"] - counts["done"]
        run.events.emit(
            "extract_begun",
            "extract",
            f"run {run_id}: {left:,} chunks to read, {self.request.concurrency} at a time",
            run_id=run_id,
            chunks=left,
            source_count=ledgers["source_count"] if counts["done"] == 0 else None,
        )
        await run.extract(run_id, self.request.concurrency)

    async def validate(self, run_id: int) -> list[CheckResult]:
        """Marks what was deleted, and checks what the run left in raw against QuickBooks.

        A check that could not be made is an error, and one that ends as an error keeps the run from being done. Raises
        as `extract` does where QuickBooks or the warehouse is away; the run is closed then.
        """
        run = self._run
        await run.enter(run_id)
        async with run.closed_on_error(run_id):
            checks = await run.unless_stopped(self._check(run_id))
        await run.count_requests(run_id)
        run.tell(checks)
        return checks

    async def _check(self, run_id: int) -> list[CheckResult]:
        run, request = self._run, self.request
        reconciled = await run.reconcile(run_id)
        validator = Validator(await run.session.live(), request.entity, self.settings.raw_schema)
        source = findings.source_rows(
            reconciled.compared,
            reconciled.at_source,
            reconciled.in_raw,
            unexplained=reconciled.unexplained,
            whole=False,
            repair=suggested_commands.verify(
                request.entity.name,
                request.window,
                request.filter_field,
                repair=True,
                deep=bool(reconciled.compared.of("unheld")),  # counts may be the same
            ),
            # A change that moves no time is none that a backfill can know of (docs/decisions/10-completeness.md).
            harmless={"unmoved", "altered"},
        )
        sound = source.severity != "error"
        made = await validator.check(run_id, request.filter_field, request.window, reconciled, sound=sound)
        checks = [source, *made]
        await validator.write(run_id, checks)
        return checks

    async def take_up(self, run_id: int) -> int:
        """The run to go on with: this one, or when it has ended and anything is owed the one that takes what it left.

        That is begun here, unless another process has begun it already.
        """
        run = await self._run.ledger.run(run_id)
        if run["finished_at"] is None or (run["status"] == "done" and not await self._run.ledger.owed(run_id)):
            return run_id
        async with self._run.alone():
            return await self._run.ledger.later_run(run_id) or await self.plan()

    async def report(self, run_id: int) -> BackfillResult:
        """Closes the run, done when nothing is owed (`ops.owed`), and says what it came to."""
        run = self._run
        with endings(self.settings):
            result = await close(run.ledger, run_id)
        chunks, rows = result.chunks, result.rows
        run.events.emit(
            "run_finished",
            "report",
            f"run {run_id} {result.status}: {chunks['done']} of {chunks['planned']} chunks, "
            f"{rows['read']:,} rows read, "
            f"{rows['inserted']:,} inserted, {rows['updated']:,} updated, {rows['unchanged']:,} unchanged, "
            f"{rows['quarantined']:,} quarantined, {result.requests['sent']:,} requests, {result.seconds:.1f} s",
            **result.as_dict(),
        )
        await run.write_report(run_id)
        return result
