"""What ops knows as OpenMetrics text, for Prometheus and whatever reads its format.

Counters are sums over all runs, so they only grow; gauges say how things stand now. Nothing is kept in a
process: the text is made anew from Postgres each time. Every sample has its company (realm) and profile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from async_extractor.settings import profile_of
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement

SEVERITIES = ("ok", "notice", "warning", "error")


@dataclass(frozen=True)
class _Metric:
    """A metric read from a statement's rows: one sample for each of `columns`, or for `of` where it has none.

    `columns` are labelled by the name of their own, under `split`; `labels` are columns of the row.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    statement: str
    of: str | tuple[str, ...]
    labels: tuple[str, ...] = ()
    split: str = ""
    unit: str = ""


_ALL, _NEWEST = "metrics_of_all_runs", "metrics_of_newest_runs"
_ROWS = ("rows_inserted", "rows_updated", "rows_unchanged", "rows_quarantined")
_PARTS = ("wait", "fetch", "split", "copy", "merge")
_ENTITY = ("entity",)
_METRICS = (
    _Metric("rows", "counter", "Records by what became of them.", _ALL, _ROWS, _ENTITY, "outcome"),
    _Metric(
        "requests",
        "counter",
        "Requests to QuickBooks, retries included; Intuit meters each.",
        _ALL,
        "requests",
        _ENTITY,
    ),
    _Metric("retries", "counter", "Requests that were second or later tries.", _ALL, "retries", _ENTITY),
    _Metric("throttled", "counter", "Answers with status 429.", _ALL, "throttled", _ENTITY),
    _Metric("pages", "counter", "Pages loaded into raw.", _ALL, "pages", _ENTITY),
    _Metric(
        "received_bytes",
        "counter",
        "Bytes of the answers' bodies, uncompressed.",
        _ALL,
        "bytes_read",
        _ENTITY,
        unit="bytes",
    ),
    _Metric("worker_seconds", "counter", "Where the workers' time went.", _ALL, _PARTS, _ENTITY, "part", "seconds"),
    _Metric("runs", "gauge", "Runs by their status.", "runs_by_status", "runs", ("entity", "mode", "status")),
    _Metric(
        "last_run_started_timestamp_seconds",
        "gauge",
        "When the newest run began (Unix time).",
        _NEWEST,
        "started_at",
        _ENTITY,
        unit="seconds",
    ),
    _Metric(
        "last_run_finished_timestamp_seconds",
        "gauge",
        "When it ended, if it has.",
        _NEWEST,
        "finished_at",
        _ENTITY,
        unit="seconds",
    ),
    _Metric("last_run_duration_seconds", "gauge", "Its wall time so far.", _NEWEST, "seconds", _ENTITY, unit="seconds"),
    _Metric(
        "last_run_complete",
        "gauge",
        "1 when the newest run did all of its chunks, else 0.",
        _NEWEST,
        "complete",
        _ENTITY,
    ),
    _Metric("last_run_rows_read", "gauge", "Records that the newest run has read.", _NEWEST, "rows_read", _ENTITY),
    _Metric(
        "last_run_chunks_planned",
        "gauge",
        "Chunks that the newest run set out to do.",
        _NEWEST,
        "chunks_planned",
        _ENTITY,
    ),
    _Metric("last_run_chunks_done", "gauge", "How many of them are done.", _NEWEST, "chunks_done", _ENTITY),
    _Metric(
        "chunks", "gauge", "Chunks of the ledger by their status.", "chunks_by_status", "chunks", ("entity", "status")
    ),
    _Metric("quarantine_records", "gauge", "Records in quarantine.", "quarantine_by_entity", "records", _ENTITY),
    _Metric(
        "check_severity",
        "gauge",
        "The last word of each check: 0 ok, 1 notice, 2 warning, 3 error.",
        "latest_checks",
        "severity",
        ("entity", "check"),
    ),
    _Metric(
        "requests_this_month",
        "gauge",
        "Requests this month (UTC) of the company's allowance with Intuit.",
        "usage_this_month",
        "requests",
    ),
)


class _Collected(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def as_text(families: Sequence[Metric]) -> str:
    """The exposition, ended by `# EOF`."""
    registry = CollectorRegistry()
    registry.register(_Collected(families))
    text: bytes = generate_latest(registry)  # type: ignore[no-untyped-call]
    return text.decode()


async def collect(connection: Connection) -> list[Metric]:
    """Every family, from ops as it is now."""
    schemas = {row["realm_id"]: row["raw_schema"] for row in await connection.fetch(statement("raw_schemas"))}
    rows = {
        name: [dict(row) for row in await connection.fetch(statement(name))]
        for name in dict.fromkeys(metric.statement for metric in _METRICS)
    }
    return [_family(metric, rows[metric.statement], schemas) for metric in _METRICS]


def _family(metric: _Metric, rows: Sequence[Mapping[str, Any]], schemas: Mapping[str, str]) -> Metric:
    split = [metric.split] if metric.split else []
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    names = ["realm", "profile", *metric.labels, *split]
    family: Metric = kind(f"qbo_backfill_{metric.name}", metric.help, labels=names, unit=metric.unit)
    for row in rows:
        # raw_acme is the profile acme, raw the one without a name.
        profile = profile_of(schemas.get(row["realm_id"], ""))
        labels = [row["realm_id"], profile, *(row[name] for name in metric.labels)]
        for column in (metric.of,) if isinstance(metric.of, str) else metric.of:
            if row[column] is not None:
                more = [column.removeprefix("rows_")] if split else []
                family.add_metric([*labels, *more], _value(row[column]))  # type: ignore[attr-defined]
    return family


def _value(value: Any) -> float:
    if hasattr(value, "timestamp"):
        return float(value.timestamp())
    return float(SEVERITIES.index(value) if value in SEVERITIES else value)
