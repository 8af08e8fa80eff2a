"""Views over raw, one an entity, for people who look: made from entities.py, a convenience and not a model.

They stand in `raw_views`, or `raw_acme_views` for the profile acme. Nothing here reads them, so that a warehouse may do
without: where the role can't make them, or something else has the name, that is told and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import asyncpg

from async_extractor.entities import ENTITIES, Entity
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import SQL_FOLDER, for_table, statement

# What a view's comment begins with: others are somebody else's, and stay as they are.
_OURS = "For looking, not a model: "
_SCHEMA = (
    "Views over {raw} for people who look at it: a few keys of each record as columns. A convenience, no model: "
    "nothing is cleaned, joined or added up, deleted records stay in, and columns may change with a version."
)

_KINDS = dict.fromkeys(("Active", "Taxable", "HasBeenInvoiced", "MultiCurrencyEnabled"), "boolean") | dict.fromkeys(
    (
        *("TotalAmt", "Balance", "UnappliedAmt", "RemainingCredit", "Amount", "CurrentBalance", "PaymentAmount"),
        *("UnitPrice", "PurchaseCost", "QtyOnHand", "Hours", "Minutes", "HourlyRate", "DueDays", "DiscountPercent"),
        *("RateValue", "Rate", "Size"),
    ),
    "number",
)
# Keys inside an object that say nothing without the object's name.
_GENERAL = frozenset(("Address", "FreeFormNumber", "value"))


@dataclass(frozen=True)
class Column:
    """A column of a view: its name, the SQL that it is, and what it holds."""

    name: str
    sql: str
    comment: str


def views_schema(raw_schema: str) -> str:
    """The schema of the views over that one."""
    return f"{raw_schema}_views"


def is_views_schema(schema: str) -> bool:
    """Whether it is the name of a schema of views, which no company's own may have."""
    return schema.endswith("_views")


def columns_of(entity: Entity) -> list[Column]:
    """A view's columns: the id, what `shows` names, and how the record stands."""
    record = "jsonb_path_query_first(payload, '$.*')" if entity.wrapped else "payload"
    found = [Column("id", "id", entity.id_comment)]
    for path in entity.shows.split():
        found += _shown(record, path.split("."))
    if entity.has_create_time:
        sql = f"ops.instant_at({record}, 'MetaData', 'CreateTime')"
        found.append(Column("created_utc", sql, "MetaData.CreateTime as an instant."))
    return [
        *found,
        Column("last_updated_utc", "last_updated_utc", "MetaData.LastUpdatedTime as an instant."),
        Column("deleted", "deleted_at_utc IS NOT NULL", "Whether the record was found deleted in QuickBooks."),
        Column("deleted_at_utc", "deleted_at_utc", "When it was found deleted (UTC); null while it lives."),
    ]


def _shown(record: str, path: list[str]) -> Iterator[Column]:
    key = path[-1]
    if key == "CurrencyRef":
        yield _column("currency", "text", record, [*path, "value"])
    elif key.endswith("Ref"):
        name = _snake(key.removesuffix("Ref"))
        yield _column(f"{name}_id", "text", record, [*path, "value"])
        yield _column(f"{name}_name", "text", record, [*path, "name"])
    else:
        kind = _KINDS.get(key, "date" if key.endswith("Date") else "text")
        yield _column(_snake(path[-2] if key in _GENERAL else key), kind, record, path)


def _column(name: str, kind: str, record: str, path: list[str]) -> Column:
    keys = ", ".join(f"'{key}'" for key in path)
    return Column(name, f"ops.{kind}_at({record}, {keys})", f"{'.'.join(path)}; null where it is no {kind}.")


def _snake(key: str) -> str:
    """`TotalAmt` is total_amt, `POStatus` po_status."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", key).lower()


async def make_views(connection: Connection, raw_schema: str) -> list[str]:
    """Makes the view of each table in the schema that has none as it should be; why some couldn't be, a line each."""
    schema = views_schema(raw_schema)
    if not await connection.fetchval(statement("may_make_in"), schema):
        return [f"the role may not make views in schema {schema}: let it own that schema, or do without"]
    told = []
    async with connection.transaction():
        await connection.execute(statement("one_migration_at_a_time"))
        if not await connection.fetchval(statement("schema_exists"), schema):
            await connection.execute(f"CREATE SCHEMA {schema}")
            await connection.execute(f"COMMENT ON SCHEMA {schema} IS {_quoted(_SCHEMA.format(raw=raw_schema))}")
        standing = {row["name"]: row for row in await connection.fetch(statement("views_of"), schema, _OURS)}
        tables = set(await connection.fetchval(statement("tables_of"), raw_schema))
        for entity in ENTITIES.values():
            there, columns = standing.get(entity.name), columns_of(entity)
            if entity.table not in tables:
                continue
            if there is not None and not there["ours"]:
                told.append(f"{schema}.{entity.name} is somebody else's, and stays")
            elif there is None or there["columns"] != [f"{column.name}: {column.comment}" for column in columns]:
                drop = "" if there is None else f"DROP VIEW {schema}.{entity.name};\n"
                try:
                    async with connection.transaction():
                        await connection.execute(drop + _definition(entity, columns, raw_schema))
                except (asyncpg.DependentObjectsStillExistError, asyncpg.LockNotAvailableError) as error:
                    told.append(f"{schema}.{entity.name} stays as it was: {error}")
    return told


def _definition(entity: Entity, columns: list[Column], raw_schema: str) -> str:
    """The SQL that makes a view, with what it and its columns are."""
    schema, view = views_schema(raw_schema), f"{views_schema(raw_schema)}.{entity.name}"
    text = (SQL_FOLDER / "raw_view.sql").read_text(encoding="utf-8")
    text = text.replace("{columns}", ",\n       ".join(f"{column.sql} AS {column.name}" for column in columns))
    text = for_table(text.replace("{views}", schema).replace("{view}", entity.name), entity.table, raw_schema)
    said = f"{_OURS}{entity.query_name} records of {raw_schema}.{entity.table}, one row an Id, deleted ones too."
    comments = [f"COMMENT ON VIEW {view} IS {_quoted(said)}"]
    comments += [f"COMMENT ON COLUMN {view}.{column.name} IS {_quoted(column.comment)}" for column in columns]
    return f"{text}\n{'; '.join(comments)};"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
