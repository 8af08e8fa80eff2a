"""docs/schema.md is what the database says of itself, and the database says something of everything."""

from __future__ import annotations

import asyncpg

from async_extractor.entities import ENTITIES
from async_extractor.warehouse.schema import bring_up_to_date
from tests.conftest import Database
from tools.docs.schema_document import DOCUMENT, describe

_WITHOUT_COMMENT = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('raw', 'raw_views', 'ops') AND c.relkind IN ('r', 'v') AND obj_description(c.oid) IS NULL
UNION ALL
SELECT n.nspname || '.' || c.relname || '.' || a.attname
  FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('raw', 'raw_views', 'ops') AND c.relkind IN ('r', 'v') AND a.attnum > 0 AND NOT a.attisdropped
   AND col_description(a.attrelid, a.attnum) IS NULL
UNION ALL
SELECT 'function ' || p.proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
 WHERE n.nspname = 'ops' AND obj_description(p.oid) IS NULL
"""


async def test_the_document_is_what_the_migrations_make(database: Database) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        await bring_up_to_date(connection, entities=ENTITIES)
        current = await describe(connection)
    finally:
        await connection.close()
    assert DOCUMENT.read_text(encoding="utf-8") == current, "run `python -m tools.docs.schema_document`"


async def test_every_table_column_and_function_has_a_comment(database: Database) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        await bring_up_to_date(connection, entities=ENTITIES)
        bare = [row[0] for row in await connection.fetch(_WITHOUT_COMMENT)]
    finally:
        await connection.close()
    assert bare == []
