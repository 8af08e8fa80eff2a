"""docs/add-an-entity.md, done as it says to a copy of the checkout: Vendor and Payment are backfilled."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml

from qbo_simulator import run_as_process
from tests.support.backfilling import simulate
from tests.support.commands import CommandLine, store
from tests.support.documents import ROOT

DOCUMENT = ROOT / "docs" / "add-an-entity.md"
COPIED = ("async_extractor", "mage_project", "sql", "pyproject.toml")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy, with the document's steps 1 and 2 done."""
    copy = tmp_path / "checkout"
    copy.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy / name)
    entities = copy / "async_extractor" / "entities.py"
    text = entities.read_text()
    last = re.findall(r"^        Entity\(.*\n", text, re.MULTILINE)[-1]
    entities.write_text(text.replace(last, last + block("python")))
    subprocess.run(["bash", "-euc", block("bash")], cwd=copy, check=True)
    return copy


def vendor(number: int, *, active: bool = True) -> dict[str, Any]:
    when = f"2024-03-{number:02d}T10:00:00-08:00"
    return {
        "DisplayName": f"Vendor {number}",
        "Active": active,
        "Balance": 10.50,
        "Id": str(number),
        "SyncToken": "0",
        "MetaData": {"CreateTime": when, "LastUpdatedTime": when},
    }


def payment(number: int) -> dict[str, Any]:
    record = vendor(number)
    return {
        "TotalAmt": 639.00,
        "TxnDate": f"2024-02-{number:02d}",
        **{key: record[key] for key in ("Id", "SyncToken", "MetaData")},
    }


def run(checkout: Path, command_line: CommandLine, *arguments: str) -> dict[str, Any]:
    """The command of the copy; its JSON result."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("MAGE_", "QBO_BACKFILL"))}
    ended = subprocess.run(
        [sys.executable, "-c", "from async_extractor.cli import main; main()", *arguments, "--no-limits", "--json"],
        cwd=checkout,
        env={**others, "PYTHONPATH": str(checkout), **command_line.environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def plant(simulator: Any, entity: str, records: list[dict[str, Any]]) -> None:
    body = {"entity": entity, "records": [{"payload": json.dumps(record)} for record in records]}
    assert asyncio.run(simulate(simulator, "load", body))["planted"] == len(records)


def test_vendors_and_payments_are_backfilled_after_the_documents_steps(
    checkout: Path, command_line: CommandLine, database: Any
) -> None:
    dates = ("--fecha-inicio", "2024-01-01", "--fecha-fin", "2024-12-31")
    with run_as_process("--invoices", "10", "--customers", "5", "--items", "5") as simulator:
        plant(simulator, "Vendor", [vendor(number, active=number % 4 > 0) for number in range(1, 21)])
        plant(simulator, "Payment", [payment(number) for number in range(1, 16)])
        store(command_line, AddressOf(simulator), database)
        vendors = run(checkout, command_line, "run", "vendors", *dates)
        payments = run(checkout, command_line, "run", "payments", *dates, "--filter-field", "txn_date")
        verified = run(checkout, command_line, "verify", "payments", *dates, "--filter-field", "txn_date")
    assert (vendors["status"], vendors["rows"]["inserted"]) == ("done", 20)
    assert (payments["status"], payments["rows"]["inserted"]) == ("done", 15)
    assert verified["status"] == "equal"
    connection = psycopg2.connect(database.dsn)
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM raw.qb_vendors WHERE payload -> 'Active' = 'false'")
        assert cursor.fetchone() == (5,)
        cursor.execute("SELECT obj_description('raw.qb_payments'::regclass)")
        (comment,) = cursor.fetchone()
        assert comment.startswith("QuickBooks Online Payment records")
    connection.close()


def test_the_new_pipelines_are_whole_and_wait_for_their_dates(checkout: Path) -> None:
    for entity in ("vendors", "payments"):
        name = f"qb_{entity}_backfill"
        folder = checkout / "mage_project" / "pipelines" / name
        pipeline = yaml.safe_load((folder / "metadata.yaml").read_text())
        (trigger,) = yaml.safe_load((folder / "triggers.yaml").read_text())["triggers"]
        assert (pipeline["uuid"], pipeline["name"]) == (name, name)
        assert [block["uuid"] for block in pipeline["blocks"]] == ["qb_plan", "qb_extract", "qb_validate", "qb_report"]
        assert (trigger["name"], trigger["pipeline_uuid"]) == (f"{entity}_once", name)
        assert (trigger["schedule_interval"], trigger["status"]) == ("@once", "inactive")
        assert "items" not in (folder / "metadata.yaml").read_text().lower()


class AddressOf:
    """What `store` asks a simulator for."""

    def __init__(self, process: Any) -> None:
        self._process = process

    def address(self) -> dict[str, str]:
        names = ("url", "realm_id", "client_id", "client_secret", "refresh_token")
        return {name: getattr(self._process, name) for name in names}
