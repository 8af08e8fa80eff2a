"""`qbo-backfill check`: each thing that a run would trip over is a line, by the words that the run would use."""

from __future__ import annotations

import json
from typing import Any

import asyncpg
import pytest

from qbo_simulator import SimulatorConfig, run_in_thread
from tests.support.commands import CommandLine, Ended, store

RUN = ["run", "invoices", "--fecha-inicio", "2024-01-01", "--fecha-fin", "2024-01-31"]


def lines(ended: Ended) -> dict[str, dict[str, str]]:
    return {f"{line['area']} {line['name']}": line for line in json.loads(ended.stdout)["lines"]}


def wrong(ended: Ended) -> dict[str, str]:
    return {name: line["message"] for name, line in lines(ended).items() if line["severity"] == "error"}


async def execute(database: Any, statements: str) -> None:
    connection = await asyncpg.connect(database.dsn)
    try:
        await connection.execute(statements)
    finally:
        await connection.close()


async def test_what_is_ready_ends_with_0_and_leaves_the_database_as_it_was(
    command_line: CommandLine, database: Any
) -> None:
    with run_in_thread(SimulatorConfig(invoices=30, customers=20, items=10)) as simulator:
        store(command_line, simulator, database)
        ended = command_line.run("check", "--json")
        shown = command_line.run("check")
        asked = simulator.service.ledger.requests
    assert ended.code == 0, ended.stdout + ended.stderr
    assert json.loads(ended.stdout)["ready"] is True
    found = lines(ended)
    assert found["quickbooks invoices"]["message"] == "30 rows can be read"
    assert "clock is" in found["quickbooks clock"]["message"]
    assert "Postgres 1" in found["postgres connection"]["message"]
    assert shown.stdout.splitlines()[-1].startswith("Ready: ")
    assert "QBO_CLIENT_ID" in shown.stdout
    assert asked["count"] == 6
    await execute(database, "CREATE SCHEMA ops; CREATE SCHEMA raw")  # they aren't there


def test_nothing_stored_is_a_line_for_each_secret(command_line: CommandLine) -> None:
    ended = command_line.run("check", "--json")
    assert ended.code == 4
    missing = wrong(ended)
    for name in ("QBO_CLIENT_ID", "QBO_CLIENT_SECRET", "QBO_REALM_ID", "QBO_REFRESH_TOKEN", "POSTGRES_PASSWORD"):
        assert f"qbo-backfill secrets set {name}" in missing[f"secrets {name}"]
    assert command_line.environ["MAGE_DATA_DIR"] in lines(ended)["secrets where"]["message"]


@pytest.mark.slow_after(2)
@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("QBO_REALM_ID", "twelve", "secrets QBO_REALM_ID"),
        ("QBO_PROXY", "ftp://somewhere", "secrets QBO_PROXY"),
        ("POSTGRES_HOST", "postgresql://u:p@h/db", "secrets POSTGRES_HOST"),
        ("POSTGRES_PASSWORD", "", "secrets POSTGRES_PASSWORD"),
        ("POSTGRES_DB", "no_such_database", "postgres connection"),
        ("QBO_REFRESH_TOKEN", "an-old-one", "quickbooks connection"),
        ("QBO_CLIENT_SECRET", "another", "quickbooks connection"),
        ("QBO_REALM_ID", "99999999", "quickbooks invoices"),
    ],
)
def test_a_run_and_check_refuse_the_same_with_the_same_words(
    command_line: CommandLine, database: Any, name: str, value: str, line: str
) -> None:
    with run_in_thread(SimulatorConfig(invoices=30)) as simulator:
        store(command_line, simulator, database)
        if value:
            command_line.secrets.set(name, value)
        else:
            command_line.secrets.delete(name)
        checked = command_line.run("check", "--json")
        ran = command_line.run(*RUN)
    assert (checked.code, ran.code) == (4, 4), (checked.stdout, ran.stderr)
    said = wrong(checked)[line].split(" (intuit_tid")[0].removeprefix("invoices: ")
    assert said in ran.stderr
    assert "qbo-backfill check" in ran.stderr
    assert ran.stderr.count("\n") == 1


def test_quickbooks_is_asked_also_where_postgres_is_away(command_line: CommandLine, database: Any) -> None:
    with run_in_thread(SimulatorConfig(invoices=30)) as simulator:
        store(command_line, simulator, database)
        command_line.secrets.set("POSTGRES_PORT", "1")
        ended = command_line.run("check", "--json")
    assert ended.code == 4
    assert set(wrong(ended)) == {"postgres connection"}
    assert lines(ended)["quickbooks invoices"]["message"] == "30 rows can be read"


async def test_a_table_that_may_not_be_written_is_refused_before_quickbooks_is_asked(
    command_line: CommandLine, database: Any
) -> None:
    with run_in_thread(SimulatorConfig(invoices=30)) as simulator:
        store(command_line, simulator, database)
        assert command_line.backfill().code == 0
        await execute(
            database,
            "CREATE ROLE checked LOGIN PASSWORD 'checked-pw'; GRANT USAGE ON SCHEMA raw, ops TO checked; "
            "GRANT ALL ON ALL TABLES IN SCHEMA raw, ops TO checked; "
            "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ops TO checked; REVOKE UPDATE ON raw.qb_items FROM checked",
        )
        try:
            command_line.secrets.set("POSTGRES_USER", "checked")
            command_line.secrets.set("POSTGRES_PASSWORD", "checked-pw")
            checked = command_line.run("check", "--json")
            ran = command_line.run(*RUN)
        finally:
            await execute(database, "DROP OWNED BY checked; DROP ROLE checked")
    assert (checked.code, ran.code) == (4, 4)
    assert "UPDATE on raw.qb_items" in wrong(checked)["postgres schema"]
    assert "UPDATE on raw.qb_items" in ran.stderr


def test_another_companys_schema_is_refused_and_a_check_claims_none(command_line: CommandLine, database: Any) -> None:
    with run_in_thread(SimulatorConfig(invoices=30, realm_id="4620816365")) as simulator:
        store(command_line, simulator, database)
        command_line.secrets.set("QBO_REALM_ID", "77777777")
        assert command_line.run("check", "--json").code == 4
        command_line.secrets.set("QBO_REALM_ID", "4620816365")
        assert command_line.run("check", "--json").code == 0
        assert command_line.backfill().code == 0
        command_line.secrets.set("QBO_REALM_ID", "77777777")
        ended = command_line.run("check", "--json")
    assert "holds company 4620816365" in wrong(ended)["postgres schema"]


def test_a_company_under_two_names_is_told(command_line: CommandLine, database: Any, other_database: Any) -> None:
    with run_in_thread(SimulatorConfig(invoices=3, customers=2, items=1)) as simulator:
        store(command_line, simulator, database)
        for name in ("QBO_REALM_ID", "QBO_REFRESH_TOKEN"):
            command_line.secrets.set(f"ACME_{name}", str(command_line.secrets.get(name)))
        command_line.secrets.set("ACME_POSTGRES_DB", other_database.dbname)
        for profile, other in (("", "acme"), ("acme", "default")):
            ended = command_line.run("check", "--json", "--profile", profile)
            told = lines(ended)["secrets profiles"]
            assert (ended.code, told["severity"]) == (0, "notice")
            assert told["message"].startswith(f"this company is {other}, too;")
