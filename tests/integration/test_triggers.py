"""One-time triggers: a chain written into triggers.yaml as Mage takes it, and read back from file and database."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.conftest import MageHome
from tests.support.commands import CommandLine

PLAN = (
    *("triggers", "plan", "invoices", "--fecha-inicio", "2021-01-01", "--fecha-fin", "2023-12-31"),
    *("--every", "P1Y", "--gap", "PT30M", "--start", "2026-12-01T02:00:00Z"),
)
BEFORE = """# A comment that people need.
triggers:
- name: invoices_once
  pipeline_uuid: qb_invoices_backfill
  schedule_interval: '@once'
  schedule_type: time
  start_time: 2026-12-01 02:00:00
  status: inactive
  variables: {fecha_inicio: '2020-01-01', fecha_fin: '2020-12-31'}
"""


@pytest.fixture
def triggers_file(command_line: CommandLine) -> Path:
    folder = Path(command_line.environ["MAGE_REPO_PATH"]) / "pipelines" / "qb_invoices_backfill"
    folder.mkdir(parents=True)
    (folder / "triggers.yaml").write_text(BEFORE)
    return folder / "triggers.yaml"


def entries(path: Path) -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in yaml.safe_load(path.read_text())["triggers"]}


def test_a_range_becomes_a_chain_in_utc_with_guayaquils_time_beside_it(
    command_line: CommandLine, triggers_file: Path
) -> None:
    ended = command_line.run(*PLAN)
    assert ended.code == 0, ended.stderr
    found = entries(triggers_file)
    assert list(found) == [
        "invoices_once",
        "invoices_once_20210101_20211231",
        "invoices_once_20220101_20221231",
        "invoices_once_20230101_20231231",
    ]
    second = found["invoices_once_20220101_20221231"]
    assert second["start_time"] == datetime(2026, 12, 1, 2, 30)  # noqa: DTZ001 - Mage's are naive and in UTC
    assert second["description"] == "2026-12-01 02:30 UTC, 2026-11-30 21:30 America/Guayaquil"
    assert (second["status"], second["schedule_interval"]) == ("inactive", "@once")
    assert second["variables"] == {
        "chunk": "auto",
        "concurrency": 5,
        "fecha_fin": "2022-12-31",
        "fecha_inicio": "2022-01-01",
        "filter_field": "last_updated",
        "lang": "en",
        "mode": "resume",
    }
    assert triggers_file.read_text().startswith("# A comment that people need.\n")
    assert found["invoices_once"]["variables"] == {"fecha_inicio": "2020-01-01", "fecha_fin": "2020-12-31"}


def test_a_dry_run_shows_the_chain_and_writes_nothing(command_line: CommandLine, triggers_file: Path) -> None:
    shown = command_line.run(*PLAN, "--dry-run")
    assert "2026-11-30 21:30" in shown.stdout
    assert shown.stdout.endswith("Would write these 3 triggers, inactive. Nothing was written.\n")
    assert triggers_file.read_text() == BEFORE


def test_planning_again_replaces_and_doubles_nothing(command_line: CommandLine, triggers_file: Path) -> None:
    command_line.run(*PLAN)
    once = triggers_file.read_text()
    again = command_line.run(*PLAN)
    assert again.stdout.endswith("3 triggers, inactive; 3 of them replaced\n")
    assert triggers_file.read_text() == once


def test_an_active_trigger_is_not_changed_under_mages_hands(command_line: CommandLine, triggers_file: Path) -> None:
    assert command_line.run(*PLAN, "--active").code == 0
    text = triggers_file.read_text()
    refused = command_line.run(*PLAN)
    assert refused.code == 2
    assert "invoices_once_20210101_20211231 is active in triggers.yaml; set it inactive first" in refused.stderr
    assert triggers_file.read_text() == text


def test_list_holds_the_file_against_mages_database(command_line: CommandLine, triggers_file: Path) -> None:
    database = Path(command_line.environ["MAGE_DATA_DIR"]) / "mage_project" / "mage-ai.db"
    with sqlite3.connect(database) as connection:
        connection.execute(
            """INSERT INTO pipeline_schedule
                      (id, name, pipeline_uuid, schedule_interval, schedule_type, status, start_time, variables)
               VALUES (1, 'invoices_once', 'qb_invoices_backfill', '@once', 'TIME', 'ACTIVE', '2026-12-01 02:00:00',
                       NULL),
                      (2, 'by_hand', 'qb_items_backfill', '@once', 'TIME', 'INACTIVE', '2026-12-02 02:00:00',
                       '{"fecha_inicio": "2024-01-01", "fecha_fin": "2024-12-31"}')"""
        )
        connection.execute(
            """INSERT INTO pipeline_run (id, pipeline_schedule_id, pipeline_uuid, status)
               VALUES (1, 1, 'qb_invoices_backfill', 'FAILED'), (2, 1, 'qb_invoices_backfill', 'COMPLETED')"""
        )
    listed = [json.loads(line) for line in command_line.run("triggers", "list", "--json").stdout.splitlines()]
    by_name = {trigger["name"]: trigger for trigger in listed}
    assert by_name["invoices_once"]["in_file"] == "inactive"
    assert by_name["invoices_once"]["in_mage"] == "active"
    assert by_name["invoices_once"]["last_run"] == "COMPLETED"
    assert by_name["invoices_once"]["start"] == "2026-12-01T02:00:00Z"
    assert (by_name["by_hand"]["in_file"], by_name["by_hand"]["in_mage"]) == ("", "inactive")
    assert by_name["by_hand"]["variables"] == {"fecha_inicio": "2024-01-01", "fecha_fin": "2024-12-31"}
    assert by_name["invoices_once"]["variables"] == {"fecha_inicio": "2020-01-01", "fecha_fin": "2020-12-31"}
    table = command_line.run("triggers", "list").stdout
    assert "2026-11-30 21:00" in table


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--start", "2026-12-01T02:00"), "start: '2026-12-01T02:00' has no offset"),
        (("--start", "soon"), "start: 'soon' is not a timestamp"),
        (("--every", "yearly"), "every: 'yearly' is not day, week or an ISO 8601 duration"),
        (("--gap", "P1M"), "gap: 'P1M' has months or years"),
        (("--every", "day"), "every: makes 1,095 triggers, more than 200"),
        (("--fecha-fin", "2019-12-31"), "fecha_fin: 2019-12-31 is not after fecha_inicio"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    command_line: CommandLine, triggers_file: Path, more: tuple[str, ...], line: str
) -> None:
    ended = command_line.run(*PLAN, *more)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"qbo-backfill: {line}")
    assert triggers_file.read_text() == BEFORE


def test_a_file_that_is_no_yaml_is_one_line(command_line: CommandLine, triggers_file: Path) -> None:
    triggers_file.write_text("triggers: [")
    ended = command_line.run("triggers", "list")
    assert ended.code == 4
    assert "is not YAML that can be read" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_list_reads_mages_database_in_sqlite_and_in_postgres(mage: MageHome) -> None:
    ended = mage.command_line.run("triggers", "list")
    assert (ended.code, ended.stderr) == (0, "")


def with_a_run(command_line: CommandLine, status: str) -> Path:
    """Mage's database, in which the trigger invoices_once has had a run."""
    database = Path(command_line.environ["MAGE_DATA_DIR"]) / "mage_project" / "mage-ai.db"
    with sqlite3.connect(database) as connection:
        connection.execute(
            """INSERT INTO pipeline_schedule (id, name, pipeline_uuid, schedule_interval, schedule_type, status)
               VALUES (1, 'invoices_once', 'qb_invoices_backfill', '@once', 'TIME', 'ACTIVE')"""
        )
        connection.execute(
            """INSERT INTO pipeline_run (id, pipeline_schedule_id, pipeline_uuid, status)
               VALUES (1, 1, 'qb_invoices_backfill', ?)""",
            (status,),
        )
    return database


def test_a_used_trigger_is_told_and_can_be_made_to_fire_again(command_line: CommandLine, triggers_file: Path) -> None:
    database = with_a_run(command_line, "COMPLETED")
    assert "triggers rearm NAME" in command_line.run("triggers", "list").stdout
    ended = command_line.run("triggers", "rearm", "invoices_once", "--at", "2026-12-05T01:00:00-05:00")
    assert (ended.code, ended.stderr) == (0, "")
    again = entries(triggers_file)["invoices_once"]
    assert (again["status"], again["last_enabled_at"]) == ("active", None)
    assert again["start_time"] == datetime(2026, 12, 5, 6)  # noqa: DTZ001 - Mage's are naive and in UTC
    with sqlite3.connect(database) as connection:
        assert connection.execute("SELECT name, status FROM pipeline_schedule").fetchall() == [
            ("invoices_once (run 1)", "INACTIVE")
        ]
    assert command_line.run("triggers", "rearm", "nobody").code == 2


def test_a_trigger_whose_run_is_under_way_is_not_rearmed(command_line: CommandLine, triggers_file: Path) -> None:
    with_a_run(command_line, "RUNNING")
    ended = command_line.run("triggers", "rearm", "invoices_once")
    assert (ended.code, ended.stderr.count("\n")) == (2, 1)
    assert "invoices_once has a run under way (running)" in ended.stderr
    assert triggers_file.read_text() == BEFORE


def test_a_date_without_quotes_is_told_with_file_trigger_and_variable(
    command_line: CommandLine, triggers_file: Path
) -> None:
    triggers_file.write_text(BEFORE.replace("'2020-01-01'", "2020-01-01"))
    told = command_line.run("triggers", "list").stdout
    assert f"{triggers_file}: invoices_once: fecha_inicio is a date without quotes" in told
