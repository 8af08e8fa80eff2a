"""What ops knows as OpenMetrics text, for Prometheus and whatever reads its format.

Counters are sums over all runs, so they only grow; gauges say how things stand now. Nothing is kept in a
process: the text is made anew from Postgres each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement

PREFIX = "qbo_backfill"
SEVERITIES = ("ok", "notice", "warning", "error")

Kind = Literal["counter", "gauge"]


@dataclass
class Family:
    """One metric with its samples: labels and a value each. `unit` is a suffix of the name, as OpenMetrics wants."""

    name: str
    kind: Kind
    help: str
    unit: str = ""
    samples: list[tuple[dict[str, str], float]] = field(default_factory=list)

    def add(self, value: Any, **labels: object) -> None:
        if value is not None:
            self.samples.append(({name: str(label) for name, label in labels.items()}, float(value)))

    def lines(self) -> Iterable[str]:
        full = f"{PREFIX}_{self.name}"
        yield f"# TYPE {full} {self.kind}"
        if self.unit:
            yield f"# UNIT {full} {self.unit}"
        yield f"# HELP {full} {_escaped(self.help)}"
        suffix = "_total" if self.kind == "counter" else ""
        for labels, value in self.samples:
            inner = ",".join(f'{name}="{_escaped(label)}"' for name, label in labels.items())
            yield f"{full}{suffix}{{{inner}}} {_number(value)}" if inner else f"{full}{suffix} {_number(value)}"


def as_text(families: Sequence[Family]) -> str:
    """The exposition, ended by `# EOF`."""
    return "".join(f"{line}\n" for family in families for line in family.lines()) + "# EOF\n"


async def collect(connection: Connection) -> list[Family]:
    """Every family, from ops as it is now."""
    return [*await _counters(connection), *await _newest(connection), *await _standing(connection)]


async def _counters(connection: Connection) -> list[Family]:
    rows = Family("rows", "counter", "Records by what became of them.")
    requests = Family("requests", "counter", "Requests to QuickBooks, retries included; Intuit meters each.")
    retries = Family("retries", "counter", "Requests that were second or later tries.")
    throttled = Family("throttled", "counter", "Answers with status 429.")
    pages = Family("pages", "counter", "Pages loaded into raw.")
    received = Family("received_bytes", "counter", "Bytes of the answers' bodies, uncompressed.", "bytes")
    seconds = Family("worker_seconds", "counter", "Where the workers' time went.", "seconds")
    for row in await connection.fetch(statement("metrics_of_all_runs")):
        entity = row["entity"]
        for outcome in ("inserted", "updated", "unchanged", "quarantined"):
            rows.add(row[f"rows_{outcome}"], entity=entity, outcome=outcome)
        requests.add(row["requests"], entity=entity)
        retries.add(row["retries"], entity=entity)
        throttled.add(row["throttled"], entity=entity)
        pages.add(row["pages"], entity=entity)
        received.add(row["bytes_read"], entity=entity)
        for part in ("wait", "fetch", "split", "copy", "merge"):
            seconds.add(row[part], entity=entity, part=part)
    runs = Family("runs", "gauge", "Runs by how they stand.")
    for row in await connection.fetch(statement("runs_by_status")):
        runs.add(row["runs"], entity=row["entity"], mode=row["mode"], status=row["status"])
    return [rows, requests, retries, throttled, pages, received, seconds, runs]


async def _newest(connection: Connection) -> list[Family]:
    started = Family("last_run_started_timestamp_seconds", "gauge", "When the newest run began (Unix time).", "seconds")
    finished = Family("last_run_finished_timestamp_seconds", "gauge", "When it ended, if it has.", "seconds")
    duration = Family("last_run_duration_seconds", "gauge", "Its wall time so far.", "seconds")
    complete = Family("last_run_complete", "gauge", "1 when the newest run did all of its chunks, else 0.")
    read = Family("last_run_rows_read", "gauge", "Records that the newest run has read.")
    planned = Family("last_run_chunks_planned", "gauge", "Chunks that the newest run set out to do.")
    done = Family("last_run_chunks_done", "gauge", "How many of them are done.")
    for row in await connection.fetch(statement("metrics_of_newest_runs")):
        entity = row["entity"]
        started.add(row["started_at"].timestamp(), entity=entity)
        finished.add(row["finished_at"].timestamp() if row["finished_at"] else None, entity=entity)
        duration.add(row["seconds"], entity=entity)
        complete.add(row["status"] == "done", entity=entity)
        read.add(row["rows_read"], entity=entity)
        planned.add(row["chunks_planned"], entity=entity)
        done.add(row["chunks_done"], entity=entity)
    return [started, finished, duration, complete, read, planned, done]


async def _standing(connection: Connection) -> list[Family]:
    chunks = Family("chunks", "gauge", "Chunks of the ledger by how they stand.")
    for row in await connection.fetch(statement("chunks_by_status")):
        chunks.add(row["chunks"], entity=row["entity"], status=row["status"])
    quarantine = Family("quarantine_records", "gauge", "Records that stand in quarantine.")
    for row in await connection.fetch(statement("standing_quarantine_by_entity")):
        quarantine.add(row["records"], entity=row["entity"])
    checks = Family("check_severity", "gauge", "The last word of each check: 0 ok, 1 notice, 2 warning, 3 error.")
    for row in await connection.fetch(statement("latest_checks")):
        checks.add(SEVERITIES.index(row["severity"]), entity=row["entity"], check=row["name"])
    usage = Family("month_requests", "gauge", "Requests this month (UTC) of the company's allowance with Intuit.")
    for row in await connection.fetch(statement("usage_this_month")):
        usage.add(row["requests"], realm=row["realm_id"])
    return [chunks, quarantine, checks, usage]


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
