"""The blocks' functions one after the other, as Mage calls them, on a real warehouse."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from async_extractor.errors import BackfillError, ConfigurationError, IncompleteError
from async_extractor.mage import blocks as mage
from qbo_simulator import SimulatorConfig, run_in_thread
from tests.support.commands import CommandLine, store
from tests.support.databases import execute

pytestmark = pytest.mark.mage

VARIABLES = {
    "pipeline_uuid": "qb_items_backfill_copy",
    "entity": "items",
    "fecha_inicio": "2015-01-01",
    "fecha_fin": "2026-01-31",
    "chunk": "P1Y",
    "concurrency": 2,
    # What Mage adds, and the blocks have no use for.
    "ds": "2026-11-24",
    "env": "prod",
    "event": {},
}


@pytest.fixture
def simulator() -> Iterator[Any]:
    with run_in_thread(SimulatorConfig(invoices=10, customers=10, items=120)) as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def _mage(command_line: CommandLine, simulator: Any, database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in command_line.environ.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MAGE_DATABASE_CONNECTION_URL", raising=False)
    store(command_line, simulator, database)


def test_each_stage_hands_the_next_what_it_needs_as_plain_json(database: Any) -> None:
    planned = mage.plan(VARIABLES)
    extracted = mage.extract(planned, VARIABLES)
    validated = mage.validate(extracted, VARIABLES)
    for given in (planned, extracted):
        # Mage keeps a dict whole only as JSON: no dates, no None, no number as a key.
        assert json.loads(json.dumps(given)) == given
        assert None not in given.values()
    assert planned["entity"] == "items"
    assert extracted["run_id"] == planned["run_id"]
    assert extracted["chunks_done"] == extracted["chunks"] > 0
    assert set(validated["run"]) == {planned["run_id"]}
    assert set(validated["result"]) <= {"ok", "notice", "warning"}
    report = mage.report(validated, {**VARIABLES, "pipeline_run_id": None})
    assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(120,)]
    total = report.iloc[0]
    assert total["what"].startswith("Complete")
    assert (total["status"], total["run"]) == ("done", planned["run_id"])
    assert total["report"].endswith(f"run-{planned['run_id']}-items.html")
    assert int(total["rows_read"]) == int(total["rows_inserted"]) == 120
    assert int(report["rows_read"][1:].sum()) == 120
    assert set(report["what"][1:]) == {"window", "catch-up"}


def test_missing_row_fails_the_block(database: Any) -> None:
    """Mage's run must not complete over a row that is missing: qb_validate fails with the check's words."""
    extracted = mage.extract(mage.plan(VARIABLES), VARIABLES)
    execute(database, "DELETE FROM raw.qb_items WHERE id = (SELECT min(id) FROM raw.qb_items)")
    with pytest.raises(IncompleteError, match="missing"):
        mage.validate(extracted, VARIABLES)
    assert execute(database, "SELECT status FROM ops.runs") == [("incomplete",)]


def test_missing_row_fails_a_played_block(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The editor's play of qb_extract ends as a run does."""
    monkeypatch.setattr(mage, "_is_played", lambda _variables: True)
    mage.extract(mage.plan(VARIABLES), VARIABLES)
    execute(database, "DELETE FROM raw.qb_items WHERE id = (SELECT min(id) FROM raw.qb_items)")
    with pytest.raises(IncompleteError, match="missing"):
        mage.extract(mage.plan(VARIABLES), VARIABLES)


def test_the_run_decides_not_what_the_variables_say_by_now(database: Any) -> None:
    planned = mage.plan(VARIABLES)
    changed = {**VARIABLES, "fecha_inicio": "2025-12-01", "entity": "customers", "concurrency": "many"}
    report = mage.report(mage.validate(mage.extract(planned, changed), changed), changed)
    assert report.iloc[0]["status"] == "done"
    assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(120,)]


def test_retry_run_goes_on_with_what_a_killed_reprocess_left(database: Any) -> None:
    mage.extract(mage.plan(VARIABLES), VARIABLES)
    fired = {**VARIABLES, "mode": "reprocess", "execution_partition": "1/20261201T020000"}
    planned = mage.plan(fired)
    assert mage.plan(fired)["run_id"] == planned["run_id"]
    # As a run that ended with chunks left.
    execute(
        database, f"UPDATE ops.runs SET status = 'incomplete', finished_at = now() WHERE run_id = {planned['run_id']}"
    )
    chunks = "SELECT chunk_id FROM ops.chunks WHERE status = 'planned' AND kind = 'window' ORDER BY chunk_id"
    left = execute(database, chunks)
    again = mage.plan(fired)
    assert again["run_id"] != planned["run_id"]
    assert execute(database, chunks) == left != []
    assert execute(database, f"SELECT mode FROM ops.runs WHERE run_id = {again['run_id']}") == [("resume",)]
    # Another firing of the trigger reads all of it.
    assert mage.plan({**fired, "execution_partition": "1/20261202T020000"})["run_id"] > again["run_id"]


def test_another_try_of_validate_takes_up_what_the_first_one_left(database: Any) -> None:
    """The first one has closed the run with its reason, which is untrue by then."""
    extracted = mage.extract(mage.plan(VARIABLES), VARIABLES)
    execute(database, "DELETE FROM raw.qb_items WHERE id = (SELECT min(id) FROM raw.qb_items)")
    with pytest.raises(IncompleteError, match="missing"):
        mage.validate(extracted, VARIABLES)
    validated = mage.validate(extracted, VARIABLES)
    total = mage.report(validated, VARIABLES).iloc[0]
    assert (total["status"], total["run"]) == ("done", extracted["run_id"] + 1)
    assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(120,)]


def test_a_report_that_comes_late_takes_up_the_run(database: Any) -> None:
    """Mage was down for hours before qb_report: the run has been closed as one whose process is gone."""
    validated = mage.validate(mage.extract(mage.plan(VARIABLES), VARIABLES), VARIABLES)
    execute(database, "UPDATE ops.runs SET status = 'incomplete', finished_at = now(), error = 'its process is gone'")
    total = mage.report(validated, VARIABLES).iloc[0]
    assert (total["status"], total["run"]) == ("done", 2)
    assert mage.report(validated, VARIABLES).iloc[0]["status"] == "done"


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("by", ["block", "resume"])
def test_a_run_that_is_done_no_more(by: str, command_line: CommandLine, database: Any) -> None:
    """Another try of a block whose run was done reads what a check has found missing since; so does `resume`."""
    extracted = mage.extract(mage.plan(VARIABLES), VARIABLES)
    validated = mage.validate(extracted, VARIABLES)
    assert mage.report(validated, VARIABLES).iloc[0]["status"] == "done"
    execute(database, "DELETE FROM raw.qb_items WHERE id = (SELECT min(id) FROM raw.qb_items)")
    with pytest.raises(IncompleteError, match="missing"):
        mage.validate(extracted, VARIABLES)
    if by == "block":
        assert mage.report(validated, VARIABLES).iloc[0]["status"] == "done"
    else:
        assert command_line.run("resume", "--no-limits").code == 0
    assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(120,)]
    assert command_line.run("resume").stdout.startswith("Nothing to resume")


def test_another_include_is_never_gone_on_without(database: Any) -> None:
    """The variable was changed between two tries: what the first one planned isn't what is asked for now."""
    variables = {**VARIABLES, "entity": "invoices", "execution_partition": "1/20261201T020000"}
    planned = mage.plan(variables)
    changed = {**variables, "include": "enhancedAllCustomFields"}
    with pytest.raises(IncompleteError, match="include: run 1 reads invoices with none now"):
        mage.plan(changed)
    assert mage.extract(planned, variables)["run_id"] == planned["run_id"]
    mage.report(mage.validate(planned, variables), variables)
    again = mage.plan(changed)
    assert again["run_id"] != planned["run_id"]
    mage.report(mage.validate(mage.extract(again, changed), changed), changed)
    included = execute(database, "SELECT settings ->> 'include', status FROM ops.runs ORDER BY run_id")
    assert included == [("none", "done"), ("enhancedAllCustomFields", "done")]


def test_a_killed_verify_run_is_never_gone_on_with(database: Any) -> None:
    planned = mage.plan(VARIABLES)
    execute(database, "UPDATE ops.runs SET status = 'incomplete', finished_at = now()")
    execute(
        database,
        "INSERT INTO ops.runs (realm_id, entity, filter_field, mode, range_start, range_end, chunk, concurrency)"
        " SELECT realm_id, entity, filter_field, 'verify', range_start, range_end, chunk, concurrency FROM ops.runs",
    )
    extracted = mage.extract(planned, VARIABLES)
    assert extracted["chunks"] > 0
    assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(120,)]


def test_a_block_that_is_played_in_the_editor_leaves_no_run(database: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mage, "_is_played", lambda _variables: True)
    planned = mage.plan(VARIABLES)
    assert planned["run_id"] == 0
    assert execute(database, "SELECT count(*) FROM ops.runs") == [(0,)]
    mage.extract(planned, VARIABLES)
    assert execute(database, "SELECT status FROM ops.runs") == [("done",)]
    assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(120,)]


def test_the_report_survives_mages_parquet(tmp_path: Any) -> None:
    import pandas as pd

    report = mage.report(mage.validate(mage.extract(mage.plan(VARIABLES), VARIABLES), VARIABLES), VARIABLES)
    report.to_parquet(tmp_path / "data.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "data.parquet"), report)


def test_a_run_that_is_not_done_fails_the_report() -> None:
    """Mage's run must not complete over anything that is owed, as here the checks."""
    with pytest.raises(IncompleteError, match="the checks were not made"):
        mage.report(mage.extract(mage.plan(VARIABLES), VARIABLES), VARIABLES)


def test_another_try_of_extract_takes_up_what_the_first_one_left(database: Any) -> None:
    planned = mage.plan(VARIABLES)
    # As a first try leaves it whose chunk failed for good: the run is over.
    execute(
        database,
        "UPDATE ops.chunks SET status = 'failed', error = 'of the test' WHERE chunk_id = "
        "(SELECT min(chunk_id) FROM ops.chunks WHERE status = 'planned' AND kind = 'window')",
    )
    with pytest.raises(IncompleteError, match="of the test"):
        mage.extract(planned, VARIABLES)
    again = mage.extract(planned, VARIABLES)
    assert again["run_id"] != planned["run_id"]
    assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(120,)]
    report = mage.report(mage.validate(again, VARIABLES), VARIABLES)
    assert report.iloc[0]["status"] == "done"


def test_a_killed_try_is_gone_on_with_in_the_same_run(database: Any) -> None:
    planned = mage.plan(VARIABLES)
    # As a SIGKILL leaves it: a chunk that is running in nobody's hands.
    execute(
        database,
        "UPDATE ops.chunks SET status = 'running', attempt = 1 WHERE chunk_id = "
        "(SELECT min(chunk_id) FROM ops.chunks WHERE status = 'planned' AND kind = 'window')",
    )
    assert mage.extract(planned, VARIABLES)["run_id"] == planned["run_id"]
    assert execute(database, "SELECT count(*) FROM raw.qb_items") == [(120,)]


def test_a_company_with_a_profile_fills_a_schema_of_its_own(command_line: CommandLine, database: Any) -> None:
    secrets = command_line.secrets
    for name in ("QBO_REALM_ID", "QBO_REFRESH_TOKEN"):
        secrets.set(f"ACME_{name}", secrets.require(name))
    variables = {**VARIABLES, "profile": "acme"}
    mage.extract(mage.plan(variables), variables)
    assert execute(database, "SELECT count(*) FROM raw_acme.qb_items") == [(120,)]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("POSTGRES_PASSWORD", "wrong-canary", r"POSTGRES_PASSWORD"),
        ("POSTGRES_PORT", "1", r"POSTGRES_HOST"),
        ("QBO_REALM_ID", "not digits", r"^QBO_REALM_ID: "),
        ("QBO_SIMULATOR_URL", "http://127.0.0.1:1", r"QuickBooks can't be reached at http://127.0.0.1:1"),
        ("QBO_REFRESH_TOKEN", "wrong-canary", r"invalid_grant"),
    ],
)
def test_what_is_wrong_with_a_secret_is_one_line_without_its_value(
    command_line: CommandLine, name: str, value: str, line: str
) -> None:
    command_line.secrets.set(name, value)
    with pytest.raises(BackfillError, match=line) as caught:
        mage.plan(VARIABLES)
    assert isinstance(caught.value, ConfigurationError)
    assert "\n" not in str(caught.value)
    assert "canary" not in str(caught.value)
