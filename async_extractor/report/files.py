"""Report files: where they are kept, beside Mage's data and never in the repository, and how they are written."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from async_extractor.events import Events
from async_extractor.paths import from_home, write_whole
from async_extractor.report.compose import compose
from async_extractor.report.document import Report
from async_extractor.report.figures import RunFigures, gather
from async_extractor.report.render import as_html, as_markdown
from async_extractor.warehouse.failures import is_passing
from async_extractor.warehouse.session import Session


def reports_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`QBO_BACKFILL_REPORTS`, else `reports` in MAGE_DATA_DIR, else in Mage's own default, `~/.mage_data`."""
    chosen = environ.get("QBO_BACKFILL_REPORTS")
    if chosen:
        return from_home(chosen)
    return from_home(environ.get("MAGE_DATA_DIR") or "~/.mage_data") / "reports"


def write_report(figures: RunFigures, lang: str, folder: Path) -> tuple[Path, Path]:
    """The run's HTML and Markdown in that folder, replacing those of before; their paths. Raises OSError.

    `run-12-invoices.html`: the same run always has the same name.
    """
    return write_pages(compose(figures, lang), folder, stem(figures.run))


def stem(run: Mapping[str, Any]) -> str:
    """The name of a run's files, without the ending."""
    return f"run-{run['run_id']}-{run['entity']}"


def write_pages(report: Report, folder: Path, stem: str) -> tuple[Path, Path]:
    """A report's HTML and Markdown under this name, replacing those of before; their paths. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    page, text = folder / f"{stem}.html", folder / f"{stem}.md"
    for path, content in ((page, as_html(report)), (text, as_markdown(report))):
        write_whole(path, content)
    return page, text


async def keep_report(session: Session, run_id: int, lang: str, events: Events, seconds: float | None = None) -> None:
    """Write the run's files; when they can't be written, or not be gathered within so many seconds, an event says so,
    and the run is what it is."""
    try:
        figures = await asyncio.wait_for(gather(await session.live(), run_id), seconds)
        page, _ = write_report(figures, lang, reports_folder())
    except Exception as error:
        # A lost database is not waited for: what is in the ledger can be shown at any time.
        if not isinstance(error, OSError) and not is_passing(error):
            raise
        why = str(error) or "its figures could not be had in time"
        missing = f"the report could not be written ({why}); `qbo-backfill report {run_id}` shows it"
        events.emit("report_not_written", "report", missing, level="warning")
    else:
        events.emit("report_written", "report", f"report: {page}", path=str(page))
