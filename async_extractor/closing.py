"""How a run ends: what it came to, or what ended it as the one line that its caller sees, and the report's files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime

import asyncpg

from async_extractor.errors import BackfillError, ConfigurationError, IncompleteError
from async_extractor.events import Events
from async_extractor.qbo.faults import AuthorizationFault, QboFault, TransientFault
from async_extractor.report import gather, reports_folder, write_report
from async_extractor.result import BackfillResult
from async_extractor.settings import Settings
from async_extractor.validation import Validation
from async_extractor.warehouse.connection import is_passing, told
from async_extractor.warehouse.ledger import Ledger
from async_extractor.warehouse.session import Session, WarehouseLost
from async_extractor.windows import UTC, Window


@contextlib.contextmanager
def endings(settings: Settings, *, planning: bool = False) -> Iterator[None]:
    """Whatever a person can act on leaves this block as a BackfillError."""
    try:
        yield
    except Exception as error:
        ending = ending_of(error, settings, planning=planning)
        if ending is None:
            raise
        raise ending from None


def ending_of(error: Exception, settings: Settings, *, planning: bool = False) -> BackfillError | None:
    """What ended a run, as the error that its caller sees; None for a mistake of ours, which is to be seen whole."""
    if isinstance(error, BackfillError):
        return error
    if isinstance(error, AuthorizationFault):
        return ConfigurationError(str(error))
    if isinstance(error, TransientFault) and planning and error.status == 0:
        name = "QBO_SIMULATOR_URL" if settings.environment == "simulator" else "QBO_ENVIRONMENT"
        return ConfigurationError(f"QuickBooks can't be reached at {settings.endpoints.api} ({name}): {error}")
    if isinstance(error, (QboFault, WarehouseLost)):
        return IncompleteError(str(error))
    if isinstance(error, asyncpg.PostgresError) or is_passing(error):
        return IncompleteError(f"{told(error)}; run the same again to resume")
    return None


async def why_incomplete(ledger: Ledger, run_id: int, counts: dict[str, int], stopped_for: str | None) -> str:
    """One line on the chunks that a run leaves, of `counts` (planned, done, failed): how many, why, and what to do.

    `stopped_for` is why it was told to stop, None when it wasn't.
    """
    left = counts["planned"] - counts["done"]
    reason = stopped_for or f"{counts['failed']} failed"
    errors = [row["error"] for row in await ledger.chunk_table(run_id) if row["error"]]
    example = f", for example: {errors[0]}" if errors and not stopped_for else ""
    return f"{left} of {counts['planned']} chunks are not done ({reason}{example}); run the same again to resume"


async def close(ledger: Ledger, run_id: int) -> BackfillResult:
    """Marks the run done if all of its chunks are and it hasn't ended otherwise, and says what it came to."""
    counts = await ledger.chunk_counts(run_id)
    run = await ledger.run(run_id)
    if run["finished_at"] is None and counts["done"] == counts["planned"]:
        await ledger.finish_run(run_id, "done", None)
        run = await ledger.run(run_id)
    totals = await ledger.totals(run_id)
    table = await ledger.chunk_table(run_id)
    checks = await ledger.validations(run_id)
    return BackfillResult(
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


async def keep_report(session: Session, run_id: int, lang: str, events: Events) -> None:
    """The report's files; the run is what it is when they can't be written."""
    figures = await gather(await session.live(), run_id)
    try:
        page, _ = write_report(figures, lang, reports_folder())
    except OSError as error:
        missing = f"the report could not be written ({error}); `qbo-backfill report {run_id}` shows it"
        events.emit("report_not_written", "report", missing, level="warning")
    else:
        events.emit("report_written", "report", f"report: {page}", path=str(page))
