"""The demo, kept up to be looked at: Mage's pages before and after, pgAdmin, the report, and the same facts as text."""

from __future__ import annotations

import asyncio
import io
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console

from tools.demo import story
from tools.demo.mage_server import OWNER_EMAIL
from tools.demo.stack import Stack
from tools.evidence import pgadmin_pages, tables
from tools.evidence.browser import browser, photograph_file
from tools.evidence.commands import Transcript
from tools.evidence.gallery import EvidenceError, Gallery
from tools.evidence.mage_pages import MagePages

Say = Callable[[str], None]

# So long before they fire the triggers are switched on: time enough to photograph them waiting.
_AHEAD = timedelta(seconds=120)
# Of what Mage Secrets hold, what nobody may see; the others are names of hosts and roles.
_SECRET = ("QBO_CLIENT_SECRET", "QBO_REFRESH_TOKEN", "QBO_ACCESS_TOKEN", "POSTGRES_PASSWORD")
_GUAYAQUIL = ZoneInfo("America/Guayaquil")
# Long values are cut here, where pgAdmin would cut them in the cell; it makes columns as wide as their names.
_ROWS_IN_PGADMIN = """\
SELECT id, left(payload::text, 22) AS first_22_of_the_payload,
       ingested_at_utc::timestamptz(0), extract_window_start_utc, extract_window_end_utc,
       page_number, page_size, left(request_payload ->> 'query', 27) AS first_27_of_the_request_query
  FROM raw.qb_{entity}
 ORDER BY id::bigint
 LIMIT 100"""
_CHUNKS_IN_PGADMIN = """\
SELECT run_id AS run, entity AS chunk_entity, kind AS chunk_kind, window_start, window_end,
       outcome, pages, requests, rows_read, rows_inserted, rows_unchanged
  FROM ops.chunks JOIN ops.attempts USING (chunk_id)
 WHERE entity IN ('invoices', 'customers', 'items')
 ORDER BY run_id, entity, kind DESC, window_start"""
# An invoice with one line and its subtotal: all of it has room on a picture.
_PAYLOAD_IN_PGADMIN = """\
SELECT id, ingested_at_utc,
       payload
  FROM raw.qb_invoices
 WHERE id = '146'"""
_LINES_OF_THE_PAYLOAD = 102
_VIEW_IN_PGADMIN = """\
SELECT id, doc_number, txn_date AS date_of_txn, customer_name, currency, total_amt, balance, due_date,
       last_updated_utc, deleted
  FROM raw_views.invoices
 ORDER BY txn_date, id::bigint
 LIMIT 100"""


def show(stack: Stack, gallery: Gallery, say: Say) -> None:
    """Brings the stack up, fires its triggers at a set time, and writes down and photographs what happens."""
    stack.up(say)
    gallery.hide(_secret_values(stack))
    environ = {
        "MAGE_REPO_PATH": str(stack.project),
        "MAGE_DATA_DIR": str(stack.mage.data_dir),
        "MAGE_DATABASE_CONNECTION_URL": stack.mage.database_url or "",
        "QBO_BACKFILL_REPORTS": str(stack.reports),
    }
    with browser() as context:
        mage = MagePages(context, stack.mage.address, OWNER_EMAIL, stack.mage.password)
        say("photographs: the triggers that wait")
        fires = _schedule(stack.project, datetime.now(timezone.utc) + _AHEAD)
        _until_waiting(stack)
        for name in story.NAMES:
            mage.photograph_trigger(_trigger_page(stack, name), gallery.picture(f"trigger-{name}-configured.png"))
        planned = Transcript(environ)
        planned.note(f"Switched on, waiting for {fires:%Y-%m-%d %H:%M} UTC:")
        planned.run("triggers", "list")

        say("the triggers fire; the demo's story")
        console = Console(file=io.StringIO(), width=160)
        # In a thread of its own: Playwright's loop runs in this one.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, story.tell(stack, console)).result()
        told = console.file.getvalue()  # type: ignore[attr-defined]
        gallery.hide(_secret_values(stack))  # there are tokens by now
        gallery.text("demo.txt", "The demo: three one-time triggers, what they loaded, and the proof", told)

        planned.note("After their runs, and after a restart of Mage:")
        planned.run("triggers", "list")
        gallery.text("triggers.txt", "The one-time triggers before and after", planned.text())
        _write_texts(stack, gallery, environ)

        say("photographs: runs, metrics, closed triggers, secrets, log, report")
        mage = MagePages(context, stack.mage.address, OWNER_EMAIL, stack.mage.password)
        for name in story.NAMES:
            run = stack.mage.runs(story.pipeline(name), story.trigger(name))[0]
            page = f"/pipelines/{story.pipeline(name)}/runs/{run['id']}"
            mage.photograph_block_output(
                page,
                "qb_report",
                [gallery.picture(f"run-{name}-metrics-{side}.png") for side in ("left", "right")],
            )
            mage.photograph_trigger(_trigger_page(stack, name), gallery.picture(f"trigger-{name}-disabled.png"))
        mage.photograph("/triggers", gallery.picture("triggers-all-disabled.png"), wait_for="items_once", height=420)
        mage.photograph(
            "/pipeline-runs", gallery.picture("runs-finished.png"), wait_for="qb_items_backfill", height=560
        )
        mage.photograph(
            "/pipelines/qb_items_backfill/edit?sideview=secrets",
            gallery.picture("mage-secrets.png"),
            wait_for="QBO_REFRESH_TOKEN",
        )
        first = stack.mage.runs(story.pipeline("invoices"), story.trigger("invoices"))[0]["id"]
        mage.photograph(
            f"/pipelines/qb_invoices_backfill/logs?pipeline_run_id[]={first}",
            gallery.picture("mage-log.png"),
            wait_for="logs found",
            height=2_300,
        )
        report = _first_report(stack.reports, "invoices")
        gallery.document("report/run-invoices.html", report.with_suffix(".html").read_text())
        gallery.document("report/run-invoices.md", report.with_suffix(".md").read_text())
        spanish = report.with_suffix(".es.html")
        number = report.name.split("-")[1]
        Transcript(environ).run("report", number, "--html", str(spanish), "--lang", "es")
        gallery.document("report/run-invoices.es.html", spanish.read_text())
        photograph_file(context, report.with_suffix(".html"), gallery.picture("report.png"), 1_500)
        _photograph_pgadmin(stack, gallery, context, say)


def _secret_values(stack: Stack) -> list[str]:
    store = stack.secrets()
    return [stack.mage.password, stack.warehouse.password, *(store.get(name) or "" for name in _SECRET)]


def _schedule(project: Path, earliest: datetime) -> datetime:
    """Every trigger of the copied project is set to the next full minute from then on, and switched on."""
    fires = (earliest + timedelta(seconds=59)).replace(second=0, microsecond=0)
    both = f"{fires:%Y-%m-%d %H:%M} UTC, {fires.astimezone(_GUAYAQUIL):%Y-%m-%d %H:%M} America/Guayaquil"
    for path in project.glob("pipelines/*/triggers.yaml"):
        text = path.read_text()
        text = re.sub(r"(?m)^([ -]+start_time:).*$", rf"\1 {fires:%Y-%m-%d %H:%M:%S}", text)
        text = re.sub(r"(?m)^([ -]+description:).*$", rf"\1 {both}", text)
        text = re.sub(r"(?m)^([ -]+status:).*$", r"\1 active", text)
        path.write_text(text)
    return fires


def _until_waiting(stack: Stack) -> None:
    """Until Mage has read the files."""
    deadline = time.monotonic() + 60
    while any(_trigger(stack, name)["status"] != "active" for name in story.NAMES):
        if time.monotonic() > deadline:
            raise EvidenceError("Mage didn't read the triggers' files within a minute")
        time.sleep(0.5)


def _trigger(stack: Stack, name: str) -> dict[str, Any]:
    return stack.mage.trigger(story.pipeline(name), story.trigger(name))


def _trigger_page(stack: Stack, name: str) -> str:
    return f"/pipelines/{story.pipeline(name)}/triggers/{_trigger(stack, name)['id']}"


def _first_report(folder: Path, entity: str) -> Path:
    return min(folder.glob(f"run-*-{entity}.html"), key=lambda path: int(path.stem.split("-")[1])).with_suffix("")


def _write_texts(stack: Stack, gallery: Gallery, environ: dict[str, str]) -> None:
    dsn = stack.warehouse.url(show_password=True)

    def write(name: str, title: str, *parts: str) -> None:
        gallery.text(name, title, "\n".join(parts))

    write(
        "volume-by-chunk.txt",
        "Volume by chunk (tramo), and totals by run; the second run of invoices read all of them again",
        tables.query(dsn, tables.CHUNKS),
        tables.query(dsn, tables.TOTALS),
    )
    write(
        "volume-by-month.txt",
        "Rows in raw by month of LastUpdatedTime (UTC)",
        *(f"-- {table}\n{tables.query(dsn, tables.MONTHS, table=table)}" for table in _TABLES),
    )
    write(
        "raw-tables.txt",
        "The raw tables: rows, keys, the first records with their metadata, one record whole",
        tables.query(dsn, tables.KEYS),
        *(tables.query(dsn, tables.ROWS, table=table) for table in _TABLES),
        tables.query(dsn, tables.ONE_ROW, table="qb_items"),
    )
    write("validations.txt", "The checks after each run", tables.query(dsn, tables.VALIDATIONS))
    commands = Transcript(environ)
    commands.run("secrets", "list")
    gallery.text("secrets.txt", "Mage Secrets: names, states, purposes", commands.text())
    commands = Transcript(environ)
    commands.run("status")
    commands.run("verify", "invoices", "--fecha-inicio", "2023-01-01", "--fecha-fin", "2025-12-31")
    gallery.text("status-and-verify.txt", "What ran, and raw held against QuickBooks on demand", commands.text())


_TABLES = ("qb_invoices", "qb_customers", "qb_items")


def _photograph_pgadmin(stack: Stack, gallery: Gallery, context: Any, say: Say) -> None:
    say("photographs: pgAdmin")
    with pgadmin_pages.running(stack.warehouse) as (address, password):
        gallery.hide([password])
        pages = pgadmin_pages.PgAdminPages(context, address, password, stack.warehouse)
        pages.photograph_tables(gallery.picture("pgadmin-tables.png"))
        for entity in ("invoices", "customers", "items"):
            pages.photograph_query(_ROWS_IN_PGADMIN.format(entity=entity), gallery.picture(f"pgadmin-{entity}.png"))
        pages.photograph_value(_PAYLOAD_IN_PGADMIN, _LINES_OF_THE_PAYLOAD, gallery.picture("pgadmin-payload.png"))
        pages.photograph_query(_VIEW_IN_PGADMIN, gallery.picture("pgadmin-view.png"))
        pages.photograph_query(_CHUNKS_IN_PGADMIN, gallery.picture("pgadmin-chunks.png"), height=1_050)
