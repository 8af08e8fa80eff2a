"""SQL stays SQL: hands the statements of `sql/` to Python by their names.

A file under `sql/statements/` holds statements, each after a line `-- name: some_name`.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from async_extractor.entities import ENTITIES

_PACKAGE = Path(__file__).resolve().parent.parent
# In a checkout `sql/` stands beside the package, in a wheel inside it.
SQL_FOLDER = next(
    (folder for folder in (_PACKAGE / "_sql", _PACKAGE.parent / "sql") if folder.is_dir()),
    _PACKAGE.parent / "sql",
)


@functools.cache
def statement(name: str, *, table: str = "", raw_schema: str = "raw") -> str:
    """The statement of that name; `table` and `raw_schema` fill in which raw table it is about. KeyError if unknown."""
    text = _statements()[name]
    return for_table(text, table, raw_schema)


def for_table(text: str, table: str, raw_schema: str = "raw") -> str:
    """SQL that is written for `raw.{table}`, for a table of entities.py and a company's schema.

    `{key}` is what tells a payload's record from others; `payload{stable}` is a payload without what differs at each
    reading. `{moment $3}` is the date of a row by the filter field $3, `{created_day}` its day of CreateTime,
    `{row_hash}` a figure over all that it says: none of them opens the payload of a row with a digest.
    """
    entity = _BY_TABLE.get(table, ENTITIES["invoices"])
    if entity.wrapped:
        key = "jsonb_path_query_first(payload, '$.*.Id') #>> '{}'"
    else:
        parts = ", ".join(f"payload ->> '{name}'" for name in entity.key)
        key = f"concat_ws('/', {parts})" if len(entity.key) > 1 else parts
    stable = f" - '{{{','.join(entity.volatile)}}}'::text[]" if entity.volatile else ""
    text = (
        re.sub(r"\{moment (\$\d)\}", _MOMENT, text)
        .replace("{created_day}", _CREATED_DAY)
        .replace("{row_hash}", _ROW_HASH)
    )
    return text.replace("raw.{table}", f"{raw_schema}.{table}").replace("{key}", key).replace("{stable}", stable)


# Dates in columns, and where these are null in the payload: a row whose version a repair has forgotten stays in its
# window.
_MOMENT = (
    r"coalesce(CASE \1 WHEN 'last_updated' THEN last_updated_utc WHEN 'created' THEN ops.in_calendar(created_utc) "
    r"WHEN 'txn_date' THEN txn_date::timestamp AT TIME ZONE 'UTC' END, "
    r"ops.moment(\1, ops.instant_at(payload, 'MetaData', 'LastUpdatedTime'), payload))"
)
_CREATED_DAY = "coalesce((ops.in_calendar(created_utc) AT TIME ZONE 'UTC')::date, ops.created_day(payload))"
_ROW_HASH = (
    "CASE WHEN digest IS NULL "
    "THEN ops.row_hash(id, payload{stable}, last_updated_utc, sync_token, deleted_at_utc IS NOT NULL) "
    "ELSE hash_record_extended(ROW(id, digest, last_updated_utc, sync_token, deleted_at_utc IS NOT NULL), 0) END"
)


_BY_TABLE = {entity.table: entity for entity in ENTITIES.values()}


@functools.cache
def _statements() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted((SQL_FOLDER / "statements").glob("*.sql")):
        parts = re.split(r"^-- name: (\w+)\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(f"{path.name}: the name {name} stands twice")
            found[name] = text.strip().rstrip(";")
    return found
