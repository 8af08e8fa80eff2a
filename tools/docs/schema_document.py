"""docs/schema.md, from the warehouse's own COMMENTs: `python -m tools.docs.schema_document` writes it anew.

It makes a warehouse on a throwaway server and describes what is there; a test holds the file against that.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any

import asyncpg

from async_extractor.entities import ENTITIES
from async_extractor.warehouse.schema import bring_up_to_date
from local_postgres.embedded import EmbeddedPostgres

DOCUMENT = Path(__file__).parents[2] / "docs" / "schema.md"

_INTRODUCTION = """\
# The warehouse's schemas

*Made from the database's own `COMMENT`s by `python -m tools.docs.schema_document`; don't edit it by hand.*

The tables are made by the numbered files of [`sql/`](../sql), each applied once and in order by the first run, or by
`qbo-backfill warehouse migrate`. Entities share one shape ([`sql/raw_entity.sql`](../sql/raw_entity.sql)).
All times are instants (`timestamptz`), in UTC.
The first run makes the tables of its entities, `warehouse migrate` those of all.
In psql, `\\d+ raw.qb_invoices` shows the same texts; pgAdmin has them under *Properties*.
"""

_RELATIONS = """
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind = 'v' AS is_view, obj_description(c.oid) AS comment
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('raw', 'raw_views', 'ops') AND c.relkind IN ('r', 'v')
 ORDER BY array_position(ARRAY['raw', 'raw_views', 'ops'], n.nspname::text), c.relkind, c.relname
"""
_COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS required,
       col_description(a.attrelid, a.attnum) AS comment
  FROM pg_attribute a
 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
 ORDER BY a.attnum
"""
# From 18 on NOT NULL is listed as a constraint, too; it stands beside the column already.
_CONSTRAINTS = """
SELECT pg_get_constraintdef(oid) AS definition
  FROM pg_constraint
 WHERE conrelid = $1 AND contype <> 'n'
 ORDER BY array_position(ARRAY['p', 'u', 'f', 'c'], contype::text), pg_get_constraintdef(oid)
"""
_INDEXES = """
SELECT pg_get_indexdef(i.indexrelid) AS definition
  FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid
 WHERE i.indrelid = $1 AND c.oid IS NULL
 ORDER BY 1
"""
_FUNCTIONS = """
SELECT p.proname AS name, pg_get_function_identity_arguments(p.oid) AS arguments, obj_description(p.oid) AS comment
  FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = 'ops'
 ORDER BY 1
"""
FIRST = "qb_invoices"
_VIEWS = """
`qbo-backfill warehouse migrate` makes them, and a run that of a table that it makes; the profile acme has them in
`raw_acme_views`. The role `qbo_reader` reads them, and nothing of this program does. A key that is missing, or holds
something else than it should, is a null. `\\d+ raw_views.invoices` says from which key of the payload each column is.

    SELECT date_trunc('month', txn_date)::date, currency, sum(total_amt)
      FROM raw_views.invoices WHERE NOT deleted GROUP BY 1, 2 ORDER BY 1, 2;

Each begins with `id` and ends with `created_utc` (but for `exchange_rates`), `last_updated_utc`, `deleted` and
`deleted_at_utc`; in between:

| View | Columns |
|---|---|
"""
_IN_EACH = ("id", "created_utc", "last_updated_utc", "deleted", "deleted_at_utc")
_SCHEMAS = "SELECT obj_description($1::regnamespace)"


async def describe(connection: Any) -> str:
    """The document for the warehouse that the connection leads to, which is up to date."""
    parts = [_INTRODUCTION]
    described: str | None = None
    entity_tables = {entity.table for entity in ENTITIES.values()}
    alike: list[str] = []
    for relation in await connection.fetch(_RELATIONS):
        if relation["schema"] != described:
            if alike:
                parts.append(f"\nColumns and constraints of the others are the same: {', '.join(alike)}.\n")
                alike.clear()
            described = relation["schema"]
            parts.append(f"\n## Schema {described}\n\n{await connection.fetchval(_SCHEMAS, described)}\n")
            if described == "raw_views":
                parts.append(_VIEWS)
        if described == "raw_views":
            names = [one["name"] for one in await connection.fetch(_COLUMNS, relation["oid"])]
            columns = ", ".join(f"`{name}`" for name in names if name not in _IN_EACH)
            parts.append(f"| `{relation['name']}` | {columns} |\n")
            continue
        if described == "raw" and relation["name"] in entity_tables and relation["name"] != FIRST:
            alike.append(f"`{relation['name']}`")
            continue
        kind = " (view)" if relation["is_view"] else ""
        parts.append(f"\n### {described}.{relation['name']}{kind}\n\n{relation['comment']}\n")
        parts.append("\n| Column | Type | | What it is |\n|---|---|---|---|\n")
        for column in await connection.fetch(_COLUMNS, relation["oid"]):
            required = "required" if column["required"] else ""
            parts.append(f"| `{column['name']}` | `{column['type']}` | {required} | {_cell(column['comment'])} |\n")
        rules = [row["definition"] for row in await connection.fetch(_CONSTRAINTS, relation["oid"])]
        rules += [row["definition"] for row in await connection.fetch(_INDEXES, relation["oid"])]
        if rules:
            parts.append("\n" + "".join(f"* `{' '.join(rule.split())}`\n" for rule in rules))
    parts.append("\n## Functions of ops\n\n| Function | What it does |\n|---|---|\n")
    parts += [
        f"| `{function['name']}({function['arguments']})` | {_cell(function['comment'])} |\n"
        for function in await connection.fetch(_FUNCTIONS)
    ]
    return "".join(parts)


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


async def _write(url: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await bring_up_to_date(connection, entities=ENTITIES)
        DOCUMENT.write_text(await describe(connection), encoding="utf-8")
    finally:
        await connection.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the server's own user must get in
        server = EmbeddedPostgres(Path(folder) / "postgres", throwaway=True)
        try:
            asyncio.run(_write(server.up().url(show_password=True)))
        finally:
            server.destroy()


if __name__ == "__main__":
    main()
