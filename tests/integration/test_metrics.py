"""Metrics: OpenMetrics that Prometheus' own parser takes, and views that agree with what a run returned."""

from __future__ import annotations

from typing import Any

import asyncpg
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from async_extractor.monitoring.openmetrics import as_text, collect
from async_extractor.warehouse.schema import bring_up_to_date
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import backfill, secrets_for


async def samples_of(database: Any) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    connection = await asyncpg.connect(database.dsn)
    try:
        await bring_up_to_date(connection)
        text = as_text(await collect(connection))
    finally:
        await connection.close()
    assert text.endswith("# EOF\n")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def one(database: Any, query: str) -> Any:
    connection = await asyncpg.connect(database.dsn)
    try:
        return dict(await connection.fetchrow(query))
    finally:
        await connection.close()


async def test_an_empty_ledger_gives_valid_text_without_samples(database: Any) -> None:
    assert await samples_of(database) == {}


async def test_metrics_and_views_say_what_the_run_said(database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=1_200, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        first = await backfill(secrets, "invoices", "2024-12-01", "2026-01-31", chunk="P1M")
        again = await backfill(secrets, "invoices", "2024-12-01", "2026-01-31", mode="reprocess")
    samples = await samples_of(database)
    entity = ("entity", "invoices")

    def value(name: str, *labels: tuple[str, str]) -> float:
        return samples[f"qbo_backfill_{name}", tuple(sorted((entity, *labels)))]

    assert value("rows_total", ("outcome", "inserted")) == first.rows["inserted"] == 1_200
    assert value("rows_total", ("outcome", "unchanged")) == again.rows["unchanged"] == 1_200
    assert value("requests_total") == first.requests["sent"] + again.requests["sent"]
    assert value("last_run_complete") == 1
    assert value("last_run_chunks_done") == again.chunks["done"]
    assert value("check_severity", ("check", "source_count")) == 0
    assert value("runs", ("mode", "reprocess"), ("status", "done")) == 1

    run = await one(database, "SELECT * FROM ops.run_metrics WHERE run_id = 1")
    assert (run["rows_read"], run["rows_inserted"], run["requests"]) == (1_200, 1_200, first.requests["sent"])
    assert (run["chunks_planned"], run["chunks_done"], run["status"]) == (15, 15, "done")
    assert run["worst_check"] in ("ok", "notice")
    chunks = await one(
        database,
        "SELECT count(*) AS n, sum(rows_read) AS rows, sum(pages) AS pages FROM ops.chunk_metrics WHERE run_id = 1",
    )
    assert (chunks["n"], chunks["rows"]) == (15, 1_200)
    progress = await one(database, "SELECT * FROM ops.progress WHERE run_id = 2")
    assert (progress["rows_read"], progress["time_left"]) == (1_200, None)
    volume = await one(database, "SELECT sum(rows) AS rows FROM ops.daily_volume WHERE run_id = 1")
    assert volume["rows"] == 1_200
    latest = await one(database, "SELECT run_id, severity FROM ops.latest_validations WHERE name = 'keys'")
    assert (latest["run_id"], latest["severity"]) == (2, "ok")


async def test_every_table_view_and_column_of_ops_is_explained(database: Any) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        await bring_up_to_date(connection)
        without = await connection.fetch(
            """SELECT c.relname, a.attname
                 FROM pg_class c
                 JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname IN ('ops', 'raw')
                 JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                WHERE c.relkind IN ('r', 'v')
                  AND (obj_description(c.oid) IS NULL OR col_description(c.oid, a.attnum) IS NULL)"""
        )
    finally:
        await connection.close()
    assert [tuple(row) for row in without] == []
