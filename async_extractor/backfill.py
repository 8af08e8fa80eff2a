"""The conductor: plan, extract, validate, report. The one place where QuickBooks and the warehouse meet."""

from __future__ import annotations

import asyncio
import contextlib
import platform
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any

import aiohttp
import asyncpg

from async_extractor.cost import CHECKING, Cost, reading
from async_extractor.errors import BackfillError, ConfigurationError, IncompleteError
from async_extractor.events import Diary, Events, Listener
from async_extractor.extraction import Extraction
from async_extractor.plan import Piece, Work, cut_into_pieces
from async_extractor.qbo.budget import IN_FLIGHT
from async_extractor.qbo.client import PLANNING, TOKEN_TIMEOUT, Patience, QueryClient, Spent
from async_extractor.qbo.faults import AuthorizationFault, QboFault, TransientFault
from async_extractor.qbo.oauth import AccessTokens
from async_extractor.qbo.query import DATE_FIELDS, Query
from async_extractor.report import gather, reports_folder, write_report
from async_extractor.request import BackfillRequest
from async_extractor.result import BackfillResult
from async_extractor.settings import Secrets, Settings
from async_extractor.sharing import no_limits, shared_limits
from async_extractor.validation import Validation, Validator
from async_extractor.validation.reprocessing import hash_of
from async_extractor.warehouse.budget import requests_this_month
from async_extractor.warehouse.connection import Connection, connect_first, is_passing, told
from async_extractor.warehouse.diary import keep_events
from async_extractor.warehouse.ledger import Ledger, Series
from async_extractor.warehouse.loader import WorkerSession
from async_extractor.warehouse.schema import bring_up_to_date
from async_extractor.warehouse.session import Session, WarehouseLost
from async_extractor.windows import SECOND, UTC, Window, gaps


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
    _connection: Connection  # the session's first; for checks, which end with it rather than being done twice
    _ledger: Ledger
    _client: QueryClient

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
        self._field = DATE_FIELDS[request.filter_field]
        self._spent = Spent()
        self._stop = asyncio.Event()
        self._stopped_for: str | None = None
        self._closing = contextlib.AsyncExitStack()

    def stop(self, reason: str) -> None:
        """Ends the extraction at the next page; chunks begun are released, and the run can be resumed."""
        self._stopped_for = reason
        self._stop.set()

    async def __aenter__(self) -> Backfill:
        async with contextlib.AsyncExitStack() as stack:
            address, settings = self.settings.warehouse, self.settings
            self._connection = await connect_first(address)
            self._session = Session(address, self._events, connection=self._connection)
            stack.push_async_callback(self._session.close)
            await bring_up_to_date(self._connection, settings.raw_schema)
            self._ledger = Ledger(self._session)
            await self._only_one_company()
            session = await stack.enter_async_context(
                # trust_env off: a proxy variable must not lead credentials to another host.
                aiohttp.ClientSession(
                    timeout=TOKEN_TIMEOUT, trust_env=False, connector=aiohttp.TCPConnector(limit=IN_FLIGHT)
                )
            )
            tokens = AccessTokens(session, settings.endpoints.token, settings.client, self._secrets, self._events)
            stack.push_async_callback(tokens.close)
            limits = await stack.enter_async_context(
                shared_limits(address, settings.realm_id, self._events, workers=self._workers)
                if self._limits
                else no_limits(self._events)
            )
            self._client = QueryClient(
                session,
                settings.endpoints.api,
                settings.realm_id,
                tokens,
                limits.gate,
                limits.breaker,
                self._events,
                self._patience,
            )
            self._closing = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._closing.aclose()

    async def plan(self) -> int:
        """Cuts what is left of the range into chunks, in one transaction; the run's number.

        ConfigurationError or IncompleteError when QuickBooks can't be asked; nothing is written then.
        """
        request = self.request
        await self._ledger.lock_planning(self._series)
        try:
            work = await self._work()
            run_id = await self._ledger.insert_run(
                self._series,
                request.mode,
                request.window,
                request.chunk,
                request.concurrency,
                {**self._versions(), **await self._before_reprocessing()},
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
        finally:
            await self._ledger.unlock_planning(self._series)
        cost = await self._cost(work)
        await self._count_requests(run_id)
        already = f", {work.done} of them done before" if request.mode == "resume" and work.done else ""
        counted = f", {work.source_count:,} rows at QuickBooks" if work.source_count is not None else ""
        self._events.emit(
            "planned",
            "plan",
            f"run {run_id}: {chunks} chunks of {request.entity.name} in {request.window}{already}{counted}; {cost}",
            run_id=run_id,
            chunks=chunks,
            source_count=work.source_count,
            cost=cost.as_dict(),
        )
        return run_id

    async def preview(self) -> Cost:
        """What `plan` would come to, without writing it. Raises as `plan` does."""
        return await self._cost(await self._work())

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
            if not self._can_end(error):
                raise
            ending = self._ending(error)
            status = "failed" if isinstance(ending, ConfigurationError) else "incomplete"
            with contextlib.suppress(WarehouseLost, asyncpg.PostgresError):
                await self._ledger.finish_run(run_id, status, str(ending))
                await self._count_requests(run_id)
                await self._write_report(run_id)
            raise ending from None
        await self._count_requests(run_id)
        counts = await self._ledger.chunk_counts(run_id)
        if counts["done"] == counts["planned"]:
            return
        reason = await self._why_incomplete(run_id, counts)
        await self._ledger.finish_run(run_id, "incomplete", reason)
        await self._write_report(run_id)
        raise IncompleteError(reason)

    async def validate(self, run_id: int) -> list[Validation]:
        """Checks what the run left in raw, against QuickBooks' COUNT(*) where the run read anything."""
        totals = await self._ledger.totals(run_id)
        with self._endings():
            validator = Validator(await self._session.live(), self.request.entity, self.settings.raw_schema)
            checks = await validator.check(
                run_id,
                self.request.filter_field,
                self.request.window,
                self._count_range if totals["read"] else None,
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
        await self._ledger.lock_planning(self._series)
        try:
            return await self._ledger.later_run(run_id) or await self.plan()
        finally:
            await self._ledger.unlock_planning(self._series)

    async def report(self, run_id: int) -> BackfillResult:
        """Closes the run and says what it came to."""
        counts = await self._ledger.chunk_counts(run_id)
        run = await self._ledger.run(run_id)
        if run["finished_at"] is None and counts["done"] == counts["planned"]:
            await self._ledger.finish_run(run_id, "done", None)
            run = await self._ledger.run(run_id)
        totals = await self._ledger.totals(run_id)
        table = await self._ledger.chunk_table(run_id)
        checks = await self._ledger.validations(run_id)
        result = BackfillResult(
            run_id=run_id,
            entity=run["entity"],
            status=run["status"],
            window=Window(run["range_start"], run["range_end"]),
            chunks=counts,
            rows={name: totals[name] for name in ("read", "inserted", "updated", "unchanged", "quarantined")},
            requests={
                "sent": run["requests_sent"] + totals["requests"],
                "retried": run["requests_retried"] + totals["retries"],
                "throttled": run["requests_throttled"] + totals["throttled"],
            },
            seconds=((run["finished_at"] or datetime.now(UTC)) - run["started_at"]).total_seconds(),
            error=run["error"],
            chunk_table=table,
            validations=[Validation(c["name"], c["severity"], c["message"], c["found"], c["advice"]) for c in checks],
        )
        rows = result.rows
        self._events.emit(
            "run_finished",
            "report",
            f"run {run_id} {result.status}: {counts['done']} of {counts['planned']} chunks, "
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

    async def _before_reprocessing(self) -> dict[str, Any]:
        """What the rows of the range say before they are read again, for the proof that it changed nothing."""
        request, raw_schema = self.request, self.settings.raw_schema
        if request.mode != "reprocess":
            return {}
        connection = await self._session.live()
        return await hash_of(connection, request.entity, raw_schema, request.window, request.filter_field)

    async def _write_report(self, run_id: int) -> None:
        """The report's files; the run is what it is when they can't be written."""
        figures = await gather(await self._session.live(), run_id)
        try:
            page, _ = write_report(figures, self.request.lang, reports_folder())
        except OSError as error:
            told = f"the report could not be written ({error}); `qbo-backfill report {run_id}` shows it"
            self._events.emit("report_not_written", "report", told, level="warning")
        else:
            self._events.emit("report_written", "report", f"report: {page}", path=str(page))

    async def _work(self) -> Work:
        """What of the range is to be done: chunks of the ledger, and what no chunk covers, cut into pieces."""
        request = self.request
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

    async def _cost(self, work: Work) -> Cost:
        months = await self._session.do(lambda c: requests_this_month(c, self.settings.realm_id))
        pages = reading(work.pieces, work.source_count) + reading(work.waiting, None)
        return Cost(
            counted=self._spent.requests,
            reading=pages,
            after=int(work.catches_up) + (CHECKING if pages else 0),
            rows=work.source_count,
            chunks=len(work.pieces) + len(work.waiting),
            spent_this_month=months,
        )

    async def _cut(self, left: list[Window]) -> tuple[list[Piece], datetime, int]:
        """What is left of the range in pieces, QuickBooks' clock before it was counted, and the count."""
        clock: list[datetime] = []

        async def count(window: Window) -> int:
            began = asyncio.get_running_loop().time()
            answer = await self._client.fetch(self._counting(window), self._spent, PLANNING)
            now = answer.page.server_time or datetime.now(UTC)
            # The count is older than the answer's own time by no more than the answer took.
            elapsed = timedelta(seconds=asyncio.get_running_loop().time() - began)
            clock.append((now.astimezone(UTC) - elapsed - 2 * SECOND).replace(microsecond=0))
            return _total(answer.page.total_count)

        with self._endings(planning=True):
            await self._client.authorise()
            pieces, total = await cut_into_pieces(
                left, self.request.step, count, self.request.concurrency, self._field.granularity
            )
        as_of = min(clock)
        if self.request.filter_field != "txn_date":
            # What is later than the reading can't be called read; a later run begins here.
            pieces = [
                piece
                if piece.window.end <= as_of
                else Piece(Window(piece.window.start, as_of), 0 if piece.rows == 0 else None)
                for piece in pieces
                if piece.window.start < as_of
            ]
        return pieces, as_of, total

    def _needs_catch_up(self, as_of: datetime | None, pieces: list[Piece]) -> bool:
        """Whether rows of the range can have been edited out of it, or added to it, while it was read."""
        if as_of is None or all(piece.rows == 0 for piece in pieces):
            return False
        return self.request.filter_field != "created" or self.request.window.end > as_of

    def _counting(self, window: Window) -> Query:
        conditions = (self._field.at_least(window.start), self._field.before(window.end))
        return Query(self.request.entity, conditions, what="COUNT(*)")

    async def _count_range(self) -> int:
        answer = await self._client.fetch(self._counting(self.request.window), self._spent)
        return _total(answer.page.total_count)

    async def _count_requests(self, run_id: int) -> None:
        spent = self._spent.take()
        await self._ledger.add_requests(run_id, spent.requests, spent.retries, spent.throttled)
        await keep_events(self._session, run_id, self._diary.take())

    async def _only_one_company(self) -> None:
        settings = self.settings
        other = await self._ledger.other_schema(settings.raw_schema, settings.realm_id)
        if other is not None:
            # The ledger is kept by company: what is done for one schema would be taken for done in the other.
            raise ConfigurationError(
                f"QBO_REALM_ID: company {settings.realm_id} fills schema {other} in database "
                f"{settings.warehouse.database} already, and can't fill {settings.raw_schema}, too: "
                "a profile is for another company"
            )
        realm, environment = await self._ledger.claim_schema(
            settings.raw_schema, settings.realm_id, settings.environment
        )
        if (realm, environment) != (settings.realm_id, settings.environment):
            raise ConfigurationError(
                f"QBO_REALM_ID: schema {settings.raw_schema} in database {settings.warehouse.database} "
                f"holds company {realm} "
                f"({environment}), not {settings.realm_id} ({settings.environment}); "
                "Ids are unique only within a company: "
                "use another database (POSTGRES_DB)"
            )

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

    async def _why_incomplete(self, run_id: int, counts: dict[str, int]) -> str:
        left = counts["planned"] - counts["done"]
        reason = self._stopped_for or f"{counts['failed']} failed"
        errors = [row["error"] for row in await self._ledger.chunk_table(run_id) if row["error"]]
        example = f", for example: {errors[0]}" if errors and not self._stopped_for else ""
        return f"{left} of {counts['planned']} chunks are not done ({reason}{example}); run the same again to resume"

    @contextlib.contextmanager
    def _endings(self, *, planning: bool = False) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if not self._can_end(error):
                raise
            raise self._ending(error, planning=planning) from None

    @staticmethod
    def _can_end(error: Exception) -> bool:
        """Whether this is an end that a person can act on; anything else is a mistake of ours, to be seen whole."""
        return isinstance(error, (QboFault, BackfillError, WarehouseLost, asyncpg.PostgresError)) or is_passing(error)

    def _ending(self, error: Exception, *, planning: bool = False) -> BackfillError:
        """What ended the run, as the error that the caller sees."""
        if isinstance(error, BackfillError):
            return error
        if isinstance(error, AuthorizationFault):
            return ConfigurationError(str(error))
        if isinstance(error, TransientFault) and planning and error.status == 0:
            name = "QBO_SIMULATOR_URL" if self.settings.environment == "simulator" else "QBO_ENVIRONMENT"
            return ConfigurationError(f"QuickBooks can't be reached at {self.settings.endpoints.api} ({name}): {error}")
        if isinstance(error, (QboFault, WarehouseLost)):
            return IncompleteError(str(error))
        return IncompleteError(f"{told(error)}; run the same again to resume")

    def _versions(self) -> dict[str, str]:
        return {
            "python": platform.python_version(),
            "aiohttp": aiohttp.__version__,
            "asyncpg": asyncpg.__version__,
        }


def _total(count: int | None) -> int:
    if count is None:
        raise TransientFault("QuickBooks answered COUNT(*) without a totalCount")
    return count
