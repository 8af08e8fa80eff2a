"""What the warehouse says, as text: a statement and its rows in columns, as psql prints them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg2

CHUNKS = """
SELECT c.entity, c.kind, to_char(c.window_start, 'YYYY-MM-DD HH24:MI:SS') AS window_start_utc,
       to_char(c.window_end, 'YYYY-MM-DD HH24:MI:SS') AS window_end_utc, a.outcome, c.expected_rows AS expected,
       a.pages, a.requests, a.retries, a.throttled, a.rows_read AS read, a.rows_inserted AS inserted,
       a.rows_updated AS updated, a.rows_unchanged AS unchanged, a.rows_quarantined AS quarantined,
       round(extract(epoch FROM a.finished_at - a.started_at)::numeric, 2) AS seconds, a.run_id AS run
  FROM ops.chunks c JOIN ops.attempts a USING (chunk_id)
 ORDER BY a.run_id, c.entity, c.kind DESC, c.window_start, a.attempt
"""
TOTALS = """
SELECT r.run_id AS run, r.entity, r.mode, r.status, count(DISTINCT a.chunk_id) AS chunks_read, sum(a.pages) AS pages,
       sum(a.requests) + max(r.requests_sent) AS requests, sum(a.retries) + max(r.requests_retried) AS retries,
       sum(a.rows_read) AS read, sum(a.rows_inserted) AS inserted, sum(a.rows_updated) AS updated,
       sum(a.rows_unchanged) AS unchanged,
       round(extract(epoch FROM max(r.finished_at) - max(r.started_at))::numeric, 1) AS seconds
  FROM ops.runs r JOIN ops.attempts a USING (run_id)
 GROUP BY r.run_id, r.entity, r.mode, r.status ORDER BY r.run_id
"""
MONTHS = """
SELECT to_char(last_updated_utc, 'YYYY-MM') AS month_utc, count(*) AS rows,
       count(DISTINCT last_updated_utc::date) AS days,
       min(last_updated_utc) AS first_utc, max(last_updated_utc) AS last_utc
  FROM raw.{table} GROUP BY 1 ORDER BY 1
"""
ROWS = """
SELECT id, left(payload::text, 40) || ' ...' AS payload, ingested_at_utc, extract_window_start_utc,
       extract_window_end_utc, page_number AS page, page_size AS size, request_payload ->> 'method' AS method,
       last_updated_utc, sync_token, run_id
  FROM raw.{table} ORDER BY id::bigint LIMIT 5
"""
ONE_ROW = """
SELECT jsonb_pretty(payload) AS payload, jsonb_pretty(request_payload) AS request_payload
  FROM raw.{table} ORDER BY id::bigint LIMIT 1
"""
KEYS = """
SELECT 'qb_invoices' AS table, count(*) AS rows, count(DISTINCT id) AS ids,
       count(*) FILTER (WHERE id IS NULL) AS null_ids,
       count(*) FILTER (WHERE id <> payload ->> 'Id') AS not_the_payloads_id FROM raw.qb_invoices
UNION ALL SELECT 'qb_customers', count(*), count(DISTINCT id), count(*) FILTER (WHERE id IS NULL),
       count(*) FILTER (WHERE id <> payload ->> 'Id') FROM raw.qb_customers
UNION ALL SELECT 'qb_items', count(*), count(DISTINCT id), count(*) FILTER (WHERE id IS NULL),
       count(*) FILTER (WHERE id <> payload ->> 'Id') FROM raw.qb_items
"""
FINGERPRINT = """
SELECT count(*) AS rows, md5(string_agg(id || payload::text, ',' ORDER BY id)) AS hash_of_payloads,
       md5(string_agg(id || ':' || xmin::text, ',' ORDER BY id)) AS hash_of_row_versions
  FROM raw.{table}
"""
VALIDATIONS = """
SELECT v.run_id AS run, r.entity, v.name, v.severity, v.message, v.advice
  FROM ops.validations v JOIN ops.runs r USING (run_id) ORDER BY v.run_id, v.validation_id
"""
EVENTS = """
SELECT to_char(happened_at, 'HH24:MI:SS.MS') AS at_utc, code, phase, level, message
  FROM ops.events ORDER BY event_id
"""
EVENT_COUNTS = """
SELECT code, name, count(*) AS times, min(message) AS for_example FROM ops.events GROUP BY code, name ORDER BY 3 DESC, 1
"""
ATTEMPTS = """
SELECT c.chunk_id AS chunk, to_char(c.window_start, 'YYYY-MM-DD') AS from_utc,
       to_char(c.window_end, 'YYYY-MM-DD') AS to_utc,
       c.kind, c.status, a.attempt, coalesce(a.outcome, '(killed)') AS outcome, a.run_id AS run, a.rows_read AS read,
       a.rows_inserted AS inserted, a.rows_unchanged AS unchanged
  FROM ops.chunks c LEFT JOIN ops.attempts a USING (chunk_id)
 WHERE c.status <> 'superseded' ORDER BY c.kind DESC, c.window_start, a.attempt
"""


def query(dsn: str, sql: str, **names: str) -> str:
    """The statement as it was sent, and its rows in columns."""
    sql = sql.strip().format(**names)
    columns, rows = fetch(dsn, sql)
    return f"{sql};\n\n{in_columns(columns, rows)}\n"


def fetch(dsn: str, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names of the columns, and the rows."""
    connection = psycopg2.connect(dsn)
    try:
        connection.set_session(readonly=True)
        with connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(sql)
            return [column.name for column in cursor.description], cursor.fetchall()
    finally:
        connection.close()


def in_columns(columns: list[str], rows: list[tuple[Any, ...]]) -> str:
    """Rows under their columns; numbers to the right, and a value of several lines on several lines."""
    cells = [[_text(value).split("\n") for value in row] for row in rows]
    widths = [
        max([len(name), *(len(line) for row in cells for line in row[number])]) for number, name in enumerate(columns)
    ]
    right = [bool(rows) and all(_is_number(row[number]) for row in rows) for number in range(len(columns))]
    lines = [" | ".join(name.ljust(width) for name, width in zip(columns, widths, strict=True)).rstrip()]
    lines.append("-+-".join("-" * width for width in widths))
    for row in cells:
        for number in range(max(len(cell) for cell in row)):
            parts = [cell[number] if number < len(cell) else "" for cell in row]
            aligned = [
                part.rjust(width) if is_right else part.ljust(width)
                for part, width, is_right in zip(parts, widths, right, strict=True)
            ]
            lines.append(" | ".join(aligned).rstrip())
    return "\n".join([*lines, f"({len(rows)} {'row' if len(rows) == 1 else 'rows'})"])


def _is_number(value: Any) -> bool:
    return value is None or (not isinstance(value, (str, datetime, bool)) and str(value).lstrip("-")[:1].isdigit())


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(" ", "milliseconds").removesuffix("+00:00") + "Z"
    return str(value)
