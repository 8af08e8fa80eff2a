"""`make up` on a machine with nothing, and what a person does with the stack afterwards, in that order."""

from __future__ import annotations

import json
import re
import time

import pytest

from qbo_simulator import config
from tests.compose.composed import CHECKOUT, ENTITIES, SERVICES, CommandError, Stack
from tests.compose.leaks import assert_no_secret_shows, qbo_secrets
from tests.compose.pgadmin import PgAdmin
from tests.integration.test_mage_launch import QUEUED_JUST_THEN
from tools.demo.mage_server import OWNER_EMAIL, MageError

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

A_LONG_RUN = {
    "fecha_inicio": "2023-01-01",
    "fecha_fin": "2025-12-31",
    "chunk": "week",
    "concurrency": 3,
    "mode": "reprocess",
    "workers": 2,
}

# Seconds that only a hung test waits.
PATIENCE_S = 300


def test_every_service_is_ready_and_the_set_up_step_ended_well(stack: Stack) -> None:
    for service in SERVICES:
        assert stack.inspect(service)["State"]["Health"]["Status"] == "healthy"
    assert stack.inspect("setup")["State"]["ExitCode"] == 0
    print(stack.compose("logs", "--no-color", "--no-log-prefix", "setup").strip())
    answered = stack.execute("mage", "qbo-backfill", "secrets", "list", "--json")
    secrets = json.loads(answered)["secrets"]
    assert {secret["name"] for secret in secrets if secret["required"] and not secret["stored"]} == set()


def test_the_postgres_is_17_with_checksums_and_lz4_and_mage_has_a_database_of_its_own(stack: Stack) -> None:
    shown = stack.psql(
        "SELECT current_setting('server_version_num')::int / 10000, current_setting('data_checksums'), "
        "current_setting('default_toast_compression'), current_setting('timezone')"
    )
    assert shown == "17|on|lz4|UTC"
    schemas = stack.psql(
        "SELECT string_agg(nspname, ' ' ORDER BY nspname) FROM pg_namespace WHERE nspname !~ '^pg_|^info'"
    )
    assert schemas == "ops public raw"
    with pytest.raises(CommandError, match="permission denied for database"):
        stack.execute("postgres", "psql", "--username", "qbo_reader", "--dbname", "mage", "--command", "SELECT 1")


def test_three_one_time_triggers_load_the_whole_company(stack: Stack) -> None:
    for entity in ENTITIES:
        stack.mage.activate(f"qb_{entity}_backfill", f"{entity}_once")
    for entity in ENTITIES:
        run = stack.wait_for_run(f"qb_{entity}_backfill", f"{entity}_once")
        rows = stack.assert_raw_is_the_truth(entity)
        print(f"qb_{entity}_backfill: {run['status']}, raw.qb_{entity} has all {rows:,} rows of the source")


def test_the_triggers_are_disabled_afterwards_in_mage_and_in_their_files(stack: Stack) -> None:
    for entity in ENTITIES:
        assert _trigger(stack, entity) == ("inactive", "inactive")


def test_mages_queue_is_mended_in_the_image_that_runs(stack: Stack) -> None:
    assert stack.inspect("mage")["Config"]["Cmd"] == ["python", "/opt/backfill/start_mage.py"]
    launcher = stack.execute("mage", "cat", "/opt/backfill/start_mage.py")
    assert "mage_launch.start(" in launcher
    done = "/home/mage/job_is_done"
    stack.execute("mage", "python", "-c", QUEUED_JUST_THEN, done, "mended", "60")
    assert stack.execute("mage", "ls", done).strip() == done


def test_the_workers_of_a_run_are_processes_of_their_own_and_each_chunk_is_done_once(stack: Stack) -> None:
    newest = stack.newest_run()
    stack.mage.create_trigger("qb_invoices_backfill", "three_workers", {**A_LONG_RUN, "concurrency": 1, "workers": 3})
    deadline = time.monotonic() + PATIENCE_S
    at_once = 0
    # One chunk a worker: three at once are three workers.
    while at_once < 3:
        assert time.monotonic() < deadline, f"no more than {at_once} chunks are at work at once"
        at_once = max(at_once, int(stack.psql("SELECT count(*) FROM ops.chunks WHERE status = 'running'")))
    memory = stack.memory("mage")
    run = stack.wait_for_run("qb_invoices_backfill", "three_workers")
    children = {block["block_uuid"]: block["status"] for block in run["block_runs"] if ":" in block["block_uuid"]}
    assert children == {f"qb_extract:worker_{number}": "completed" for number in (1, 2, 3)}
    done = stack.psql(
        "SELECT count(DISTINCT chunk_id), count(*), sum(rows_read) FROM ops.attempts "
        f"WHERE run_id > {newest} AND outcome = 'done'"
    )
    chunks, attempts, read = map(int, done.split("|"))
    rows = stack.assert_raw_is_the_truth("invoices")
    assert (attempts, read) == (chunks, rows)
    print(f"3 workers, {at_once} chunks at once, Mage's memory {memory}")
    print(f"run {run['status']}, {chunks} chunks, each done once, {read:,} rows read, as at the source")


def test_psql_in_another_container_finds_the_rows_by_the_services_name(stack: Stack) -> None:
    print("psql --host postgres --username qbo_reader --dbname warehouse")
    for entity in ENTITIES:
        counted = stack.psql(f"SELECT count(*), min(last_updated_utc), max(last_updated_utc) FROM raw.qb_{entity}")
        print(f"raw.qb_{entity}|{counted}")
        assert int(counted.split("|")[0]) > 0
    with pytest.raises(CommandError, match=r"read-only transaction|permission denied"):
        stack.psql("DELETE FROM raw.qb_items")


def test_pgadmin_takes_its_password_and_has_the_server_by_name(stack: Stack) -> None:
    _use_pgadmin(stack)
    with pytest.raises(AssertionError, match="refused"):
        PgAdmin(stack.ports["PGADMIN_PORT"]).log_in(OWNER_EMAIL, "admin")


@pytest.mark.parametrize("service", ["pgadmin", "simulator", "postgres", "mage"])
def test_a_service_may_be_restarted_in_the_middle_of_a_run(stack: Stack, service: str) -> None:
    began = time.monotonic()
    name = f"while_{service}_restarts"
    done_before = _begin_a_long_run(stack, name)
    stack.compose("restart", service)
    run = stack.wait_for_run("qb_invoices_backfill", name)
    stack.compose("up", "--detach", "--wait", "--no-recreate", service)
    rows = stack.assert_raw_is_the_truth("invoices")
    print(
        f"{service} restarted after {done_before} chunks: run {run['status']} "
        f"after {time.monotonic() - began:.0f} s, {rows:,} rows as at the source"
    )


def test_every_secret_is_rotated_by_one_command_while_a_run_goes_on(stack: Stack) -> None:
    before = stack.secrets()
    done = _begin_a_long_run(stack, "while_secrets_change")
    for name, given in (
        ("POSTGRES_PASSWORD", ""),
        ("QBO_CLIENT_SECRET", config.CLIENT_SECRET),
        ("QBO_REFRESH_TOKEN", ""),
    ):
        print(stack.execute("mage", "qbo-backfill", "secrets", "rotate", name, given=given).strip())
    rotated = ("mage_pgpass", "warehouse_owner_password", "reader_password", "mage_owner_password", "mage_jwt_secret")
    for name in rotated:
        print(stack.rotate(name).strip())
    stack.compose("up", "--detach", "--wait", "--no-recreate", "mage")
    stack.mage.log_in(stack.secret("mage_owner_password"))
    # A server that restarts ends every connection: from now on all is by the new passwords.
    stack.compose("restart", "postgres")
    run = stack.wait_for_run("qb_invoices_backfill", "while_secrets_change")
    rows = stack.assert_raw_is_the_truth("invoices")
    print(f"rotated after {done} chunks: run {run['status']}, {rows:,} rows as at the source")
    after = stack.secrets()
    assert {name for name in before if before[name] != after[name]} == set(rotated)
    for role, name in (("qbo_reader", "reader_password"), ("qbo_owner", "warehouse_owner_password")):
        with pytest.raises(CommandError, match="password authentication failed"):
            stack.psql("SELECT 1", role=role, password=before[name])
    with pytest.raises(CommandError, match="password authentication failed"):
        stack.psql("SELECT 1", role="qbo_extractor", password=before["extractor_password"])
    with pytest.raises(MageError, match="invalid"):
        stack.mage.log_in(before["mage_owner_password"])
    stack.mage.log_in(after["mage_owner_password"])
    olds = {f"the former {name}": before[name] for name in rotated}
    assert_no_secret_shows(stack, {**olds, **after, **qbo_secrets(stack)})


def test_a_client_secret_that_is_refused_is_not_stored(stack: Stack) -> None:
    with pytest.raises(CommandError, match="invalid_client"):
        stack.execute("mage", "qbo-backfill", "secrets", "rotate", "QBO_CLIENT_SECRET", given="mistyped")
    assert qbo_secrets(stack)["QBO_CLIENT_SECRET"] == config.CLIENT_SECRET


def test_all_is_as_it_was_after_down_and_up(stack: Stack) -> None:
    before = _what_must_stay(stack)
    stack.down()
    assert stack.compose("ps", "--all", "--quiet").strip() == ""
    began = time.monotonic()
    stack.up()
    print(f"up again in {time.monotonic() - began:.0f} s")
    stack.mage.log_in(stack.secret("mage_owner_password"))
    assert _what_must_stay(stack) == before
    # An active trigger fires within Mage's tick of 2 s: these stay as they were.
    time.sleep(10)
    assert _what_must_stay(stack) == before
    _use_pgadmin(stack)
    stack.mage.create_trigger("qb_items_backfill", "after_up", {**A_LONG_RUN, "chunk": "auto"})
    assert stack.wait_for_run("qb_items_backfill", "after_up")["status"] == "completed"
    stack.assert_raw_is_the_truth("items")


def test_a_backup_is_restored_on_empty_volumes_by_the_documented_commands(stack: Stack) -> None:
    text = (CHECKOUT / "docs" / "docker.md").read_text().partition("## The data")[2].partition("\n## ")[0]
    back_up, restore = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    before = _what_a_backup_holds(stack)
    stack.shell(back_up)
    stack.compose("down", "--volumes")
    stack.up()
    assert stack.psql("SELECT count(*) FROM raw.qb_items") == "0"
    stack.shell(restore)
    stack.mage.log_in(stack.secret("mage_owner_password"))
    assert _what_a_backup_holds(stack) == before
    for entity in ENTITIES:
        rows = stack.assert_raw_is_the_truth(entity)
        print(f"restored: raw.qb_{entity}, {rows:,} rows as at the source")
    dates = ("--fecha-inicio", "2023-01-01", "--fecha-fin", "2025-12-31")
    print(stack.execute("mage", "qbo-backfill", "verify", "items", *dates).strip())


def _trigger(stack: Stack, entity: str) -> tuple[str, str]:
    """Its status in Mage's database and in its file; both are written some moments after the run has ended."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        stack.mage.read_anew()
        status = stack.mage.trigger(f"qb_{entity}_backfill", f"{entity}_once")["status"], stack.trigger_in_file(entity)
        if status == ("inactive", "inactive") or time.monotonic() > deadline:
            return status
        time.sleep(0.5)


def _begin_a_long_run(stack: Stack, name: str) -> int:
    """A run that reads every week again, well under way; how many of its chunks are done."""
    newest = stack.newest_run()
    stack.mage.create_trigger("qb_invoices_backfill", name, A_LONG_RUN)
    deadline = time.monotonic() + PATIENCE_S
    done = 0
    while done < 8:
        assert time.monotonic() < deadline, "the run doesn't get under way"
        time.sleep(0.5)
        done = int(
            stack.psql(
                "SELECT count(*) FROM ops.run_chunks JOIN ops.chunks USING (chunk_id) "
                f"WHERE run_id > {newest} AND status = 'done'"
            )
        )
    status = stack.psql("SELECT status FROM ops.runs ORDER BY run_id DESC LIMIT 1")
    assert status == "running"
    return done


def _what_a_backup_holds(stack: Stack) -> dict[str, object]:
    """Every row, the names of the stored secrets, the triggers and how many runs there were."""
    kept = _what_must_stay(stack)
    rows = {
        entity: stack.psql(f"SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM raw.qb_{entity} AS t")
        for entity in ENTITIES
    }
    return {"rows": rows, **{name: kept[name] for name in ("secrets", "triggers", "runs")}}


def _what_must_stay(stack: Stack) -> dict[str, object]:
    """Every row's version, the secrets' encrypted values, the triggers, and how many runs there were."""
    versions = {
        entity: stack.psql(f"SELECT count(*), md5(string_agg(id || ':' || xmin, ',' ORDER BY id)) FROM raw.qb_{entity}")
        for entity in ENTITIES
    }
    from_mage = "SELECT md5(string_agg(name || value, ',' ORDER BY name)) FROM secret"
    encrypted = stack.execute(
        *("postgres", "psql", "--username", "postgres", "--dbname", "mage", "-At", "--command", from_mage)
    )
    names = json.loads(stack.execute("mage", "qbo-backfill", "secrets", "list", "--json"))["secrets"]
    return {
        "rows": versions,
        "secrets": [secret["name"] for secret in names if secret["stored"]],
        "encrypted": encrypted,
        "triggers": {entity: _trigger(stack, entity) for entity in ENTITIES},
        "runs": stack.psql("SELECT count(*), max(run_id) FROM ops.runs"),
    }


def _use_pgadmin(stack: Stack) -> None:
    pgadmin = PgAdmin(stack.ports["PGADMIN_PORT"])
    pgadmin.log_in(OWNER_EMAIL, stack.secret("pgadmin_password"))
    (server,) = pgadmin.servers()
    assert (server["name"], server["host"], server["username"]) == ("Warehouse, to read", "postgres", "qbo_reader")
    answer = pgadmin.connect(server, stack.secret("reader_password"))
    assert answer["data"]["connected"] is True
    assert answer["data"]["user"]["is_superuser"] is False
    print(f"pgAdmin: logged in, connected to '{server['name']}' at {server['host']} as {server['username']}")
