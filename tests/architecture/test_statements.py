"""The SQL of `sql/statements/`: a name is one statement, is used, and whatever the code asks for is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from async_extractor.entities import ENTITIES, FIRST_CLASS
from async_extractor.warehouse import statements
from async_extractor.warehouse.statements import SQL_FOLDER, for_table, statement

PACKAGE = Path(statements.__file__).parents[1]
PYTHON = "\n".join(path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py")))
NAMES = [
    name
    for path in sorted((SQL_FOLDER / "statements").glob("*.sql"))
    for name in re.findall(r"^-- name: (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
]


# Those whose rows are compared, or told apart, in another way.
ODD = ("attachables", "exchange_rates", "recurring_transactions")


def without_comments(sql: str) -> str:
    return re.sub(r"--[^\n]*", "", sql)


def test_there_are_statements_and_no_name_stands_twice() -> None:
    assert len(NAMES) > 20
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_is_one_statement_with_its_parameters_numbered_without_a_gap(name: str) -> None:
    sql = without_comments(statement(name, table="qb_invoices"))
    assert re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|SET|LISTEN|NOTIFY|DROP|COPY|TRUNCATE)\b", sql)
    assert ";" not in sql
    numbers = {int(number) for number in re.findall(r"\$(\d+)", sql)}
    assert numbers == set(range(1, len(numbers) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_a_statement_is_used_by_the_code(name: str) -> None:
    assert re.search(rf"[\"']{name}[\"']", PYTHON), f"nothing in async_extractor names {name}"


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\bstatement\(\s*\"(\w+)\"", PYTHON))))
def test_a_statement_that_the_code_asks_for_is_there(name: str) -> None:
    assert name in NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("table", [ENTITIES[name].table for name in (*FIRST_CLASS, *ODD)])
def test_a_statement_about_a_raw_table_names_the_table_and_the_schema(name: str, table: str) -> None:
    sql = statement(name, table=table, raw_schema="raw_acme")
    assert "{" not in without_comments(sql).replace("'{", "").replace("{}", "")
    assert not re.search(r"\braw\.", without_comments(sql))
    general = next(
        part
        for path in (SQL_FOLDER / "statements").glob("*.sql")
        for part in re.split(r"^-- name: ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if part.split("\n", 1)[0] == name
    )
    assert sql.count(f"raw_acme.{table}") == general.count("raw.{table}")


def test_the_schema_is_raw_unless_another_is_named() -> None:
    text = "SELECT * FROM raw.{table} JOIN raw.{table} USING (id)"
    assert for_table(text, "qb_items") == "SELECT * FROM raw.qb_items JOIN raw.qb_items USING (id)"
    assert (
        for_table(text, "qb_items", "raw_acme") == "SELECT * FROM raw_acme.qb_items JOIN raw_acme.qb_items USING (id)"
    )


def test_a_name_that_is_not_there_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="drop_everything"):
        statement("drop_everything")


def test_a_name_that_stands_in_two_files_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "statements").mkdir()
    for file in ("a.sql", "b.sql"):
        (tmp_path / "statements" / file).write_text("-- name: same\nSELECT 1;\n", encoding="utf-8")
    monkeypatch.setattr(statements, "SQL_FOLDER", tmp_path)
    with pytest.raises(ValueError, match=r"b\.sql: the name same stands twice"):
        statements._statements.__wrapped__()
