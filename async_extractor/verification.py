"""Verification on demand: raw held against QuickBooks, and repaired where they differ.

What is looked at costs as few requests as can be: counts (reconciliation.py), days that raw holds otherwise than the
last run left them (no request), and with `deep` every record of the range, as many requests as reading it. A repair
reads again the days that hold a difference, by the same path as a backfill, and marks as deleted what QuickBooks has no
more. Then all is looked at again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType

from async_extractor.checks import CheckResult, Validator, findings, latest, suggested_commands, worst
from async_extractor.checks.after_run import ledger_result
from async_extractor.checks.balance import Counts, Reconciled
from async_extractor.checks.comparison import Compared, days_to_read
from async_extractor.checks.coverage import Coverage, coverage
from async_extractor.checks.day_checksums import UNDATED, Seals, windows_to_read
from async_extractor.checks.verification_result import VerificationResult
from async_extractor.events import Listener
from async_extractor.planning.chunking import cut_into_pieces
from async_extractor.qbo.client import Patience
from async_extractor.qbo.paging.reader import BEGINNING
from async_extractor.qbo.query import CREATED, LAST_UPDATED, MOST_ROWS
from async_extractor.reconciliation import MOST_LOOKS, Task, costs_as_much_as_all
from async_extractor.request import BackfillRequest
from async_extractor.run import Run
from async_extractor.settings import Secrets
from async_extractor.warehouse.statements import statement
from async_extractor.windows import SETTLING, Window, gaps


@dataclass
class Examined:
    """One look at the range: its checks, the differences, and the ledger's holes."""

    checks: list[CheckResult]
    compared: Compared
    covered: Coverage


class Verification:
    """A run that compares, and reads again only to repair; an async context manager."""

    def __init__(
        self,
        request: BackfillRequest,
        secrets: Secrets,
        listeners: Iterable[Listener] = (),
        *,
        limits: bool = True,
        profile: str = "",
        patience: Patience | None = None,
    ) -> None:
        self._run = Run(request, secrets, listeners, limits=limits, profile=profile, patience=patience)
        self.request = request
        self.settings = self._run.settings

    def stop(self, reason: str) -> None:
        """Ends it early; IncompleteError then."""
        self._run.stop(reason)

    async def __aenter__(self) -> Verification:
        await self._run.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._run.close(error)

    async def verify(self, *, deep: bool = False, repair: bool = False) -> VerificationResult:
        """Looks at the request's range; with `repair` fixes what differs and looks again.

        ConfigurationError or IncompleteError when QuickBooks can't be asked to the end; the run says why.
        """
        run = self._run
        run_id = await run.planner.begin("verify", deep=deep)
        await run.enter(run_id)
        async with run.closed_on_error(run_id):
            as_of = await run.planner.clock()
            await run.ledger.record_clock(run_id, as_of)
            return await run.unless_stopped(self._verify(run_id, as_of, deep=deep, repair=repair), grace=1.5)

    async def _verify(self, run_id: int, as_of: datetime, *, deep: bool, repair: bool) -> VerificationResult:
        run = self._run
        validator = Validator(await run.session.live(), self.request.entity, self.settings.raw_schema)
        first = await self._examine(run_id, validator, as_of, deep=deep)
        run.tell(first.checks)
        await validator.write(run_id, first.checks)
        checks = [*first.checks]
        windows: list[Window] = []
        marked = 0
        if repair and _needs_repair(first):
            windows, marked = await self._repair(run_id, as_of, first)
            again = [Task(run.reconciliation.field, window) for window in windows]
            connection = await run.session.live()
            await Seals(connection, self.request.entity, self.settings.raw_schema).seal_run(run_id)
            last = await self._examine(run_id, validator, as_of, deep=False, also=again)
            last.checks.append(
                CheckResult(
                    "repair",
                    "ok" if worst(last.checks) != "error" else "error",
                    {"windows": [str(window) for window in windows], "marked_deleted": marked},
                )
            )
            run.tell(last.checks)
            await validator.write(run_id, last.checks)
            checks += last.checks
        await run.count_requests(run_id)
        different = worst(latest(checks)) == "error"
        await run.ledger.finish_run(run_id, "incomplete" if different else "done", None)
        ended, totals = await run.ledger.run(run_id), await run.ledger.totals(run_id)
        await run.write_report(run_id)
        return VerificationResult(
            run_id=run_id,
            entity=ended["entity"],
            status="different" if different else "repaired" if windows or marked else "equal",
            window=self.request.window,
            found=first.compared,
            windows_read=windows,
            marked_deleted=marked,
            checks=latest(checks),
            requests=ended["requests_sent"] + totals["requests"],
            seconds=(ended["finished_at"] - ended["started_at"]).total_seconds(),
        )

    async def _examine(
        self, run_id: int, validator: Validator, as_of: datetime, *, deep: bool, also: Sequence[Task] = ()
    ) -> Examined:
        request, entity, field_name = self.request, self.request.entity, self.request.filter_field
        run, reconciliation = self._run, self._run.reconciliation
        connection = await run.session.live()
        table = {"table": entity.table, "raw_schema": self.settings.raw_schema}
        keys = findings.table_keys(dict(await connection.fetchrow(statement("check_table_keys", **table))))
        verified = request.window
        # What is too young for the counts is compared record by record; it may be all of the range.
        counted = reconciliation.count_as_of(as_of)
        if field_name != "txn_date" and verified.start < as_of < verified.end:
            verified = Window(verified.start, as_of)
        covered = await coverage(connection, self.settings.realm_id, entity.name, field_name, verified)
        seals = Seals(connection, entity, self.settings.raw_schema)
        sealed = await seals.any()
        # Without seals each day would be broken; what is known is known without them.
        known = [seal for seal in await seals.broken() if sealed or seal.transactions]
        broken = [seal for seal in known if seal.concerns(verified, field_name)]
        granularity = reconciliation.field.granularity
        undated = [seal for seal in broken if seal.day <= UNDATED]
        days = [Task(CREATED, window) for window in windows_to_read(broken, MOST_ROWS)]
        for look in range(MOST_LOOKS):
            counts = await reconciliation.counts(counted) if counted else Counts(0, 0)
            tasks = [*also, await self._edited_since(as_of)]
            whole = deep or bool(undated) or look == MOST_LOOKS - 1 or await reconciliation.counts_can_hide()
            if not whole:
                tasks += [*(await reconciliation.differing(counted, counts) if counted else ()), *days]
                # Or counts that say nothing.
                whole = costs_as_much_as_all(tasks, counts) or entity.leaves == "superseded"
            if whole:
                pieces, _ = await cut_into_pieces(
                    [verified], None, reconciliation.count, request.concurrency, granularity
                )
                tasks = [Task(reconciliation.field, piece.window) for piece in pieces]
                # Only the whole day, by CreateTime, says that none of its records is missing.
                tasks += days if reconciliation.field != CREATED else []
            compared, clean = await reconciliation.compare(tasks, verified, as_of, lambda: run.stopped_for)
            balance = Reconciled(0, 0, compared, 0)
            if counted:
                counts = await reconciliation.without_superseded(counted, counts, compared)
                balance = await reconciliation.balance(counted, counts, compared)
            if balance.whole:
                break
        lately = await reconciliation.gone_lately()
        for finding in lately.gone:
            compared.add(finding)
        younger = lately.rows - len(lately.gone) + sum(not finding.counted for finding in compared.of("missing"))
        at_source = counts.at_source + younger
        if whole:  # a day's records were compared in their own window, too
            compared.rows = min(compared.rows, at_source)
        # Days of which QuickBooks confirms every row are as they should be, whoever wrote them.
        equal = [seal for seal in broken if seal.day > UNDATED and not gaps(seal.window, clean)]
        all_equal = whole and not compared.findings and not compared.unreadable
        if undated and all_equal and await reconciliation.holds_all(at_source, as_of):
            equal += undated
        confirmed = await seals.confirmable(equal, verified, field_name)
        await seals.confirm(run_id, confirmed)
        misplaced = await reconciliation.misplaced(verified, compared)
        repair = suggested_commands.verify(entity.name, request.window, field_name, repair=True, deep=deep)
        source = findings.source_rows(
            compared,
            at_source,
            counts.in_raw + lately.rows,
            unexplained=balance.unexplained,
            whole=whole,
            repair=repair,
        )
        volume = await validator.volume(
            run_id,
            self.settings.realm_id,
            field_name,
            request.window,
            same_as_source=source.severity != "error",
        )
        return Examined(
            checks=[
                keys,
                findings.windows(misplaced, repair),
                ledger_result(covered, entity.name, request.window, field_name),
                findings.seals([seal for seal in broken if seal not in confirmed], sealed=sealed),
                source,
                volume,
            ],
            compared=compared,
            covered=covered,
        )

    async def _edited_since(self, as_of: datetime) -> Task:
        """What was edited since raw is known to have all edits: counts don't show it where it stays in the range.

        What is too young for the counts is part of it.
        """
        run = self._run
        if self.request.filter_field == "last_updated":
            row = await (await run.session.live()).fetchrow(statement("read_until"), *run.series.key, as_of)
            since = row["counted"]
        else:
            since = (await run.ledger.owed_since(run.series, self.request.window, as_of)).edits
        if since is None:
            # No run has said what it had read. A record may be edited before its TxnDate, and not before it is created.
            since = BEGINNING if self.request.filter_field == "txn_date" else self.request.window.start
        return Task(LAST_UPDATED, Window(min(since, as_of) - SETTLING, as_of))

    async def _repair(self, run_id: int, as_of: datetime, examined: Examined) -> tuple[list[Window], int]:
        """Reads again what differs, through the ledger; marks deleted what QuickBooks has no more."""
        run, covered = self._run, examined.covered
        table = {"table": self.request.entity.table, "raw_schema": self.settings.raw_schema}
        windows = _joined(
            [
                *days_to_read(examined.compared.findings.values(), self.request.window),
                *(chunk.window for chunk in covered.hollow),
                *covered.holes,
            ]
        )
        surplus = [finding.id for finding in examined.compared.of("surplus")]
        run.events.emit(
            "repair_begun",
            "plan",
            f"reading {len(windows):,} windows again, marking {len(surplus):,} rows deleted",
            run_id=run_id,
            windows=[str(window) for window in windows],
        )
        again = [f.id for f in examined.compared.of("altered", "misplaced", "missing")]
        hollow = {chunk.chunk_id for chunk in covered.hollow}
        async with run.alone():
            work = await run.planner.work(again=windows, hollow=hollow, since=as_of)
            await run.planner.write(work, run_id=run_id)
            # The next read of these wins, whatever version raw pretends to have. Whoever is killed here has planned it.
            await run.session.do(lambda c: c.execute(statement("forget_versions", **table), again))
        await run.extract(run_id, self.request.concurrency)
        return windows, await run.reconciliation.mark_deleted(dict.fromkeys(surplus))


def _needs_repair(examined: Examined) -> bool:
    covered = examined.covered
    return bool(examined.compared.findings or covered.hollow or covered.holes or covered.open)


def _joined(windows: Sequence[Window]) -> list[Window]:
    """The windows without overlaps, in order; those that touch stay apart, as chunks of their own."""
    joined: list[Window] = []
    for window in sorted(windows):
        if joined and window.start < joined[-1].end:
            joined[-1] = Window(joined[-1].start, max(joined[-1].end, window.end))
        else:
            joined.append(window)
    return joined
