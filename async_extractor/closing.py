"""What a run came to, and the report's files."""

from __future__ import annotations

from datetime import datetime

from async_extractor.checks import Validation
from async_extractor.events import Events
from async_extractor.report import gather, reports_folder, write_report
from async_extractor.result import BackfillResult
from async_extractor.warehouse.ledger import Ledger
from async_extractor.warehouse.session import Session
from async_extractor.windows import UTC, Window


async def result_of(ledger: Ledger, run_id: int) -> BackfillResult:
    """What a run came to, as the ledger has it."""
    counts = await ledger.chunk_counts(run_id)
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
