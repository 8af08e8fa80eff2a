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
    entity = (("entity", "invoices"), ("profile", ""), ("realm", secrets.values["QBO_REALM_ID"]))

    def value(name: str, *labels: tuple[str, str]) -> float:
        return samples[f"qbo_backfill_{name}", tuple(sorted((*entity, *labels)))]

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
    volume = await one(database, "SELECT sum(rows) AS rows FROM ops.daily_volume WHERE run_id = 1")
    assert volume["rows"] == 1_200
    latest = await one(database, "SELECT run_id, severity FROM ops.latest_validations WHERE name = 'keys'")
    assert (latest["run_id"], latest["severity"]) == (2, "ok")


async def test_companies_are_apart(database: Any) -> None:
    """Another company's clean run hides neither this one's error nor its newest run."""
    connection = await asyncpg.connect(database.dsn)
    try:
        await bring_up_to_date(connection)
        await connection.execute(
            """INSERT INTO ops.company (raw_schema, realm_id, environment)
               VALUES ('raw', 'A', 'simulator'), ('raw_acme', 'B', 'simulator');
               INSERT INTO ops.runs (realm_id, entity, filter_field, mode, range_start, range_end, chunk,
                                     concurrency, status)
               SELECT realm, 'items', 'last_updated', 'resume', '2024-01-01', '2024-02-01', 'auto', 5, status
                 FROM (VALUES ('A', 'incomplete'), ('B', 'done')) AS r (realm, status);
               INSERT INTO ops.validations (run_id, name, severity, message)
               SELECT run_id, 'source_count', CASE realm_id WHEN 'A' THEN 'error' ELSE 'ok' END, '' FROM ops.runs"""
        )
    finally:
        await connection.close()
    samples = await samples_of(database)
    for realm, profile, severity, complete in (("A", "", 3, 0), ("B", "acme", 0, 1)):
        labels = (("entity", "items"), ("profile", profile), ("realm", realm))
        checked = tuple(sorted((*labels, ("check", "source_count"))))
        assert samples["qbo_backfill_check_severity", checked] == severity
        assert samples["qbo_backfill_last_run_complete", labels] == complete


async def test_a_superseded_chunk_is_done_where_others_were_read(database: Any) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        await bring_up_to_date(connection)
        await connection.execute(
            """INSERT INTO ops.runs (realm_id, entity, filter_field, mode, range_start, range_end, chunk, concurrency)
               VALUES ('A', 'items', 'last_updated', 'resume', '2024-01-01', '2024-02-01', 'auto', 5);
               INSERT INTO ops.chunks (realm_id, entity, filter_field, kind, window_start, window_end, range_start,
                                       range_end, status, done_at)
               SELECT 'A', 'items', 'last_updated', 'window', a::timestamptz, b::timestamptz, a::timestamptz,
                      b::timestamptz, s, CASE s WHEN 'done' THEN now() END
                 FROM (VALUES ('2024-01-01', '2024-02-01', 'superseded'), ('2024-01-01', '2024-01-20', 'done'),
                              ('2024-01-20', '2024-02-01', 'planned')) AS c (a, b, s);
               INSERT INTO ops.run_chunks VALUES (1, 1)"""
        )
        counts = "SELECT chunks_planned, chunks_done FROM ops.run_metrics"
        assert tuple(await connection.fetchrow(counts)) == (1, 0)
        await connection.execute("UPDATE ops.chunks SET status = 'done', done_at = now() WHERE chunk_id = 3")
        assert tuple(await connection.fetchrow(counts)) == (1, 1)
    finally:
        await connection.close()


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
