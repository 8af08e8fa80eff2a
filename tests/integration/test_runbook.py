"""The runbook's commands as a person calls them: each a process, against a simulator and a real database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qbo_simulator import SimulatorConfig, planting
from qbo_simulator.simulator import run_in_thread
from tests.support.commands import CommandLine, store
from tests.support.databases import execute

RANGE = ("--fecha-inicio", "2024-12-01", "--fecha-fin", "2026-01-31")


@pytest.fixture(scope="module")
def company() -> Iterator[Any]:
    """A simulated company of one year, for tests that don't change its books."""
    with run_in_thread(SimulatorConfig(invoices=600, customers=40, items=20, years=1, limits=False)) as simulator:
        yield simulator


@pytest.fixture
def command(command_line: CommandLine, company: Any, database: Any) -> CommandLine:
    store(command_line, company, database)
    return command_line


def run(command: CommandLine, *arguments: str) -> Any:
    return command.run("run", "invoices", *RANGE, "--json", "--no-limits", *arguments)


def test_resume_reads_what_is_left_and_then_has_nothing_to_do(command: CommandLine, database: Any) -> None:
    assert run(command, "--chunk", "P1M").code == 0
    execute(database, "DELETE FROM raw.qb_invoices WHERE last_updated_utc >= '2025-10-01'")
    execute(database, "UPDATE ops.chunks SET status = 'planned', done_at = NULL WHERE window_start >= '2025-10-01'")
    execute(database, "UPDATE ops.runs SET status = 'incomplete', error = '5 of 14 chunks are not done; run again'")
    assert "\nrun 1: 5 of 14 chunks are not done; run again\n" in command.run("status").stdout
    assert re.search(r": left by an earlier plan, [45] chunks; about", command.run("plan", "invoices", *RANGE).stdout)
    would = command.run("resume", "--dry-run")
    assert would.code == 0
    assert re.search(r"Would resume run 1: invoices by last_updated .*: [4567] of 1[45] chunks are left", would.stdout)
    assert execute(database, "SELECT count(*) FROM ops.runs") == [(1,)]
    resumed = command.run("resume", "--json", "--no-limits")
    assert resumed.code == 0, resumed.stderr
    assert resumed.result["status"] == "done"
    assert "\nrun 1: what it had left was done by a later run\n" in command.run("status").stdout
    assert execute(database, "SELECT count(*) FROM raw.qb_invoices") == [(600,)]
    again = command.run("resume", "--json")
    assert (again.code, again.result) == (0, {"resumed": 0, "under_way": 0})


@pytest.mark.slow
def test_resume_goes_on_after_one_that_is_left_again(command_line: CommandLine, database: Any) -> None:
    """One run that is incomplete again keeps the others from nothing; the end says which it is."""
    without_rows = {"kind": "empty-page", "requests": ["query"]}
    with run_in_thread(SimulatorConfig(invoices=5, customers=5, items=5, years=1, limits=False)) as simulator:
        store(command_line, simulator, database)
        simulator.service.adopt({"faults": [without_rows]})
        for entity in ("items", "customers"):
            assert command_line.run("run", entity, *RANGE, "--no-limits").code == 3
        simulator.service.adopt({"faults": [{**without_rows, "containing": "from item"}]})
        ended = command_line.run("resume", "--json", "--no-limits")
    assert ended.code == 3
    told = {one["entity"]: one for one in ended.result["entities"]}
    assert "counts 5 rows" in told["items"]["error"]
    assert told["customers"]["status"] == "done"
    assert execute(database, "SELECT count(*) FROM raw.qb_customers") == [(5,)]
    assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(0,)]


def test_resume_beside_a_run_that_is_under_way_is_not_done(command_line: CommandLine, database: Any) -> None:
    with run_in_thread(SimulatorConfig(invoices=60, customers=5, items=5, years=1, latency_ms=3000)) as slow:
        store(command_line, slow, database)
        process = command_line.start("run", "invoices", *RANGE)
        assert process.stderr is not None
        assert any("chunks to read" in line for line in process.stderr)
        beside = command_line.run("resume", "--json")
        assert (beside.code, beside.result) == (3, {"resumed": 0, "under_way": 1})
        assert re.search(r"run 1: invoices by last_updated .* is under way", beside.stderr)
        process.kill()
        process.communicate()


def test_resume_of_a_run_that_another_followed_goes_on_with_the_newest(command: CommandLine, database: Any) -> None:
    for _ in range(2):
        assert run(command, "--chunk", "P1M", "--mode", "reprocess").code == 0
    execute(database, "UPDATE ops.runs SET status = 'incomplete', error = '5 of 14 chunks are not done; run again'")
    would = command.run("resume", "1", "--dry-run")
    assert (would.code, would.stdout[:18]) == (0, "Would resume run 2")


def test_a_run_whose_plan_could_not_be_told_is_closed(command_line: CommandLine, company: Any, database: Any) -> None:
    """What goes wrong between two stages closes the run, too."""
    store(command_line, company, database)
    assert run(command_line).code == 0
    execute(database, "CREATE FUNCTION ops.refused() RETURNS trigger LANGUAGE plpgsql AS "
                      "$$BEGIN RAISE 'not allowed' USING ERRCODE = '42501'; END$$")  # fmt: skip
    execute(
        database, "CREATE TRIGGER refused BEFORE UPDATE OF requests_sent ON ops.runs EXECUTE FUNCTION ops.refused()"
    )
    assert run(command_line, "--mode", "reprocess").code == 4
    assert execute(database, "SELECT status FROM ops.runs ORDER BY run_id") == [("done",), ("failed",)]
    execute(database, "DROP TRIGGER refused ON ops.runs")
    assert command_line.run("resume", "--json", "--no-limits").result["status"] == "done"


def test_a_full_disk_for_the_log_ends_no_run(command: CommandLine, database: Any) -> None:
    """`--events` can't be written: the run is done, and the exit code says that the file is incomplete."""
    ended = run(command, "--events", "/dev/full")
    assert (ended.code, ended.result["status"]) == (4, "done")
    assert "events can't be written (No space left on device): it is incomplete" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_resume_of_a_run_that_is_none_of_the_companys_is_one_line(command: CommandLine, database: Any) -> None:
    assert run(command).code == 0
    execute(database, "UPDATE ops.runs SET status = 'incomplete', realm_id = '777'")
    for number in ("1", "77"):
        ended = command.run("resume", number)
        assert (ended.code, ended.stdout) == (2, "")
        told = f"RUN: there is no run {number} of this company; `qbo-backfill status` lists them"
        assert ended.stderr == f"qbo-backfill: {told}\n"


def test_retry_of_a_date_reads_its_chunk_and_nothing_else(command: CommandLine, database: Any) -> None:
    assert run(command, "--chunk", "P1M").code == 0
    gone = execute(database, "DELETE FROM raw.qb_invoices WHERE last_updated_utc::date = '2025-03-05' RETURNING id")
    execute(
        database,
        "DELETE FROM raw.qb_invoices WHERE last_updated_utc >= '2025-06-01' AND last_updated_utc < '2025-06-05'",
    )
    would = command.run("retry", "--chunk", "2025-03-05", "--dry-run", "--json")
    assert would.result["window"] == "[2025-03-01T00:00:00Z, 2025-04-01T00:00:00Z)"
    retried = command.run("retry", "--chunk", "2025-03-05", "--json", "--no-limits")
    assert retried.code == 0, retried.stderr
    assert retried.result["rows"]["inserted"] == len(gone)
    assert retried.result["window"] == {"start": "2025-03-01T00:00:00Z", "end": "2025-04-01T00:00:00Z"}
    assert execute(database, "SELECT count(*) FROM raw.qb_invoices")[0][0] < 600
    twice = command.run("retry", "--chunk", "2025-03-05", "--json", "--no-limits")
    assert (twice.result["rows"]["inserted"], twice.result["rows"]["updated"]) == (0, 0)


def test_retry_takes_what_failed_and_says_when_nothing_did(command: CommandLine, database: Any) -> None:
    assert run(command, "--chunk", "P1M").code == 0
    nothing = command.run("retry", "--json")
    assert (nothing.code, nothing.result) == (0, {"retried": 0})
    execute(
        database,
        """UPDATE ops.chunks SET status = 'failed', done_at = NULL, error = 'broken'
            WHERE kind = 'window' AND window_start = '2025-05-01'""",
    )
    retried = command.run("retry", "invoices", "--json", "--no-limits")
    assert retried.code == 0, retried.stderr
    assert (retried.result["chunks"]["planned"], retried.result["chunks"]["done"]) == (2, 2)  # with its catch-up
    assert execute(database, "SELECT count(*) FROM ops.chunks WHERE status = 'failed'") == [(0,)]


@pytest.mark.slow_after(3)
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("retry", "--chunk", "5th of March"), "chunk: '5th of March' is not an ISO date"),
        (("retry", "--chunk", "2025-03-05T10:00"), "chunk: '2025-03-05T10:00' has a time but no offset"),
        (("retry", "--chunk", "1999-01-01"), "chunk: no chunk of the ledger holds 1999-01-01"),
        (("retry", "wages"), "entity: 'wages' is not one of"),
        (("quarantine", "show", "9"), "NUMBER: there is no entry 9"),
        (("quarantine", "retry", "9"), "NUMBER: no entry 9 stands"),
        (("report", "9"), "RUN: there is no run 9"),
        (("report", "--lang", "fr"), "lang: 'fr' is not one of en, es"),
        (("verify", "invoices", "--fecha-inicio", "x", "--fecha-fin", "2025-01-01"), "fecha_inicio: 'x' is not an ISO"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(command: CommandLine, arguments: tuple[str, ...], line: str) -> None:
    ended = command.run(*arguments)
    assert (ended.code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"qbo-backfill: {line}")
    assert ended.stderr.count("\n") == 1


def test_reprocess_leaves_the_same_hash_and_says_so_in_the_report(command: CommandLine, database: Any) -> None:
    assert run(command, "--chunk", "P3M").code == 0
    would = command.run("reprocess", "invoices", *RANGE, "--dry-run")
    assert would.stdout.startswith(
        "Would read invoices by last_updated in [2024-12-01T00:00:00Z, 2026-02-01T00:00:00Z)"
    )
    again = command.run("reprocess", "invoices", *RANGE, "--json", "--no-limits")
    assert again.code == 0, again.stderr
    assert (again.result["rows"]["read"], again.result["rows"]["unchanged"]) == (600, 600)
    report = command.run("report", "--json").result
    proof = {check["name"]: check for check in report["checks"]}["reprocess"]
    assert proof["severity"] == "ok"
    assert "same 600 rows with the same hash" in proof["message"]


def test_a_quarantined_record_is_listed_shown_and_arrives_after_its_correction(
    command_line: CommandLine, database: Any
) -> None:
    bad = (
        '{"Id": "777001", "SyncToken": "0", "PrivateNote": "a\\u0000b", "MetaData": '
        '{"CreateTime": "2025-06-01T10:00:00-07:00", "LastUpdatedTime": "2025-06-01T10:00:00-07:00"}}'
    )
    good = bad.replace("\\u0000", "").replace('"SyncToken": "0"', '"SyncToken": "1"')
    with run_in_thread(SimulatorConfig(invoices=50, years=1, limits=False)) as simulator:
        store(command_line, simulator, database)
        plant(simulator, bad)
        assert run(command_line).code == 0
        [entry] = [json.loads(line) for line in command_line.run("quarantine", "list", "--json").stdout.splitlines()]
        assert (entry["record_id"], entry["entity"]) == ("777001", "invoices")
        shown = command_line.run("quarantine", "show", str(entry["quarantine_id"]))
        assert bad in shown.stdout
        still = command_line.run("quarantine", "retry", "--json", "--no-limits")
        assert still.code == 0, still.stderr
        assert still.result["rows"]["quarantined"] == 1
        assert len(command_line.run("quarantine", "list", "--json").stdout.splitlines()) == 1
        simulator.service.company.tables["Invoice"].clear()
        plant(simulator, good)
        mended = command_line.run("quarantine", "retry", "--json", "--no-limits")
        assert mended.result["rows"]["inserted"] == 1
        assert command_line.run("quarantine", "list").stdout == "Nothing is in quarantine.\n"
        assert execute(database, "SELECT payload ->> 'PrivateNote' FROM raw.qb_invoices WHERE id = '777001'") == [
            ("ab",)
        ]


def plant(simulator: Any, payload: str) -> None:
    planting.plant(simulator.service.company.tables["Invoice"], {"payload": payload.encode()}, simulator.service.now())


def test_verify_exits_3_with_the_repairing_command_and_0_after_it(command: CommandLine, database: Any) -> None:
    assert run(command).code == 0
    execute(database, "DELETE FROM raw.qb_invoices WHERE id IN (SELECT id FROM raw.qb_invoices ORDER BY id LIMIT 50)")
    found = command.run("verify", "invoices", *RANGE, "--json", "--no-limits")
    assert found.code == 3
    assert len(found.result["differences"]["missing"]) == 50
    line = found.stderr.splitlines()[-1]
    assert line.endswith(
        "repair it with: qbo-backfill verify invoices --fecha-inicio 2024-12-01 --fecha-fin 2026-01-31 --repair"
    )
    repair = line.rpartition("qbo-backfill ")[2].split()
    repaired = command.run(*repair, "--no-limits", "--json")
    assert (repaired.code, repaired.result["status"]) == (0, "repaired"), repaired.stderr
    assert execute(database, "SELECT count(*) FROM raw.qb_invoices") == [(600,)]
    assert command.run("verify", "invoices", *RANGE, "--no-limits").code == 0


def test_each_run_writes_its_report_beside_mages_data(command: CommandLine, tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    assert run(command, "--events", str(events), "--lang", "es").code == 0
    page = Path(command.environ["MAGE_DATA_DIR"]) / "reports" / "run-1-invoices.html"
    assert page.read_text().startswith('<!doctype html>\n<html lang="es">')
    assert (page.parent / "run-1-invoices.md").read_text().startswith("# Completo")
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    assert {line["code"] for line in lines} >= {"QBF-I101", "QBF-I201", "QBF-I402", "QBF-W501", "QBF-I601"}
    assert all(re.fullmatch(r"QBF-[IWE]\d{3}", line["code"]) for line in lines)
    target = tmp_path / "page.html"
    assert command.run("report", "1", "--html", str(target)).code == 0
    assert '<html lang="en">' in target.read_text()
    text = command.run("report").stdout
    assert text.startswith("# Complete\n")
    assert "America/Guayaquil | 2024-11-30 19:00 to 2026-01-31 19:00" in text
