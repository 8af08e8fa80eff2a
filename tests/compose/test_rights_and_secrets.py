"""Who may do what in the stack, and that no secret shows: before anything of size is loaded."""

from __future__ import annotations

import re
import urllib.error

import pytest

from qbo_simulator import config
from tests.compose.composed import SERVICES, CommandError, Stack
from tests.compose.leaks import assert_no_secret_shows, qbo_secrets
from tools.demo.mage_server import MageError

WRONG = "guessed-wrong-Vm4xTq"
PASSWORD_IS = (
    "from async_extractor.mage.secrets import MageSecrets; print(MageSecrets.locate().get('POSTGRES_PASSWORD'))"
)

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]


def test_ports_are_on_loopback_and_nothing_runs_as_root_or_with_rights_it_does_not_need(stack: Stack) -> None:
    for service in SERVICES:
        found = stack.inspect(service)
        bound = [at for ports in (found["NetworkSettings"]["Ports"] or {}).values() for at in ports or []]
        assert {at["HostIp"] for at in bound} <= {"127.0.0.1"}
        assert not found["Config"]["User"].startswith(("0", "root"))
        host = found["HostConfig"]
        assert host["CapDrop"] == ["ALL"]
        assert host["Privileged"] is False
        assert "no-new-privileges:true" in host["SecurityOpt"]
        assert host["Memory"] > 0
        assert host["Init"] is True
        assert host["RestartPolicy"]["Name"] == "unless-stopped"
        assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
        assert {"Name": "core", "Hard": 0, "Soft": 0} in host["Ulimits"]
        assert host["ReadonlyRootfs"] is (service != "pgadmin")
        print(f"{service}: user {found['Config']['User']}, {host['Memory'] >> 20} MB at most, ports {bound or 'none'}")


@pytest.mark.parametrize(
    ("role", "database", "statement"),
    [
        ("qbo_extractor", "warehouse", "DELETE FROM raw.qb_items"),
        ("qbo_extractor", "warehouse", "TRUNCATE raw.qb_items"),
        ("qbo_extractor", "warehouse", "CREATE SCHEMA mine"),
        ("qbo_extractor", "warehouse", "CREATE TABLE public.mine (id text)"),
        ("qbo_extractor", "warehouse", "SET ROLE qbo_owner"),
        ("qbo_extractor", "warehouse", "COPY raw.qb_items TO PROGRAM 'cat'"),
        ("qbo_extractor", "mage", "SELECT * FROM secret"),
        ("qbo_extractor", "postgres", "SELECT 1"),
        ("qbo_reader", "warehouse", "SET default_transaction_read_only = off; DELETE FROM raw.qb_items"),
        ("qbo_reader", "warehouse", "SET default_transaction_read_only = off; CREATE TEMPORARY TABLE mine (id text)"),
        ("qbo_reader", "mage", "SELECT * FROM secret"),
        ("qbo_owner", "warehouse", "CREATE ROLE mine"),
        ("qbo_owner", "warehouse", "ALTER SYSTEM SET log_statement = 'all'"),
        ("qbo_owner", "mage", "SELECT * FROM secret"),
        ("mage", "mage", "CREATE ROLE mine"),
        ("mage", "warehouse", "SELECT * FROM raw.qb_items"),
    ],
)
def test_a_role_may_do_no_more_than_it_must(stack: Stack, role: str, database: str, statement: str) -> None:
    with pytest.raises(CommandError) as refused:
        stack.psql(*statement.split("; "), role=role, database=database)
    found = re.search("permission denied.*", str(refused.value))
    assert found is not None, refused.value
    print(found[0])


def test_mage_refuses_the_password_that_everybody_knows_and_runs_no_code_from_its_page(stack: Stack) -> None:
    owners = stack.secret("mage_owner_password")
    for known in ("admin", "materia"):
        with pytest.raises(MageError, match="invalid"):
            stack.mage.log_in(known)
    with pytest.raises((MageError, urllib.error.HTTPError)):
        stack.mage.call("GET", "secrets")
    stack.mage.log_in(owners)
    for method, path, body in (
        ("POST", "files", {"file": {"name": "found.py", "dir_path": "custom", "content": "1"}}),
        ("PUT", "blocks/custom%2Fqb_plan", {"block": {"content": "1"}}),
        ("POST", "pipelines", {"pipeline": {"name": "found", "type": "python"}}),
        ("POST", "code_executions", {"code_execution": {"code": "1"}}),
    ):
        with pytest.raises(MageError, match="Unauthorized"):
            stack.mage.call(method, path, body)
        print(f"Mage refuses {method} {path}")
    answered = stack.mage.run_in_notebook("print(6007 * 7001)")
    assert "Unauthorized" in answered
    assert str(6007 * 7001) not in answered
    answered = stack.mage.type_in_terminal("echo $((6007 * 7001))")
    assert "Unauthorized access to the terminal" in answered
    assert str(6007 * 7001) not in answered
    print("Mage refuses code for its notebook's kernel, and lines for its terminal")


def test_no_secret_is_in_the_configuration_the_environment_a_command_line_or_a_log(stack: Stack) -> None:
    january = {"fecha_inicio": "2024-01-01", "fecha_fin": "2024-01-31"}
    by_hand = ("qbo-backfill", "run", "items", "--fecha-inicio", "2024-01-01", "--fecha-fin", "2024-01-31")
    stack.mage.create_trigger("qb_items_backfill", "january", january)
    assert stack.wait_for_run("qb_items_backfill", "january")["status"] == "completed"
    # A run that fails by a wrong password, and one that says so on the command line.
    right = stack.execute("mage", "python", "-c", PASSWORD_IS)
    stack.execute("mage", "qbo-backfill", "secrets", "set", "POSTGRES_PASSWORD", given=WRONG)
    try:
        stack.mage.create_trigger("qb_items_backfill", "refused", january)
        with pytest.raises(AssertionError, match="refuses the user or the password"):
            stack.wait_for_run("qb_items_backfill", "refused")
        with pytest.raises(CommandError, match="refuses the user or the password") as refused:
            stack.execute("mage", *by_hand)
    finally:
        stack.execute("mage", "qbo-backfill", "secrets", "set", "POSTGRES_PASSWORD", given=right)
    assert WRONG not in str(refused.value)
    assert_no_secret_shows(stack, {**stack.secrets(), **qbo_secrets(stack), "a wrong password": WRONG})


def test_no_process_may_leave_a_core_dump(stack: Stack) -> None:
    for service in SERVICES:
        limits = stack.as_root(service, "grep -h 'Max core file size' /proc/[0-9]*/limits").splitlines()
        assert limits
        assert {tuple(line.split()[-3:]) for line in limits} == {("0", "0", "bytes")}
        print(f"{service}: {len(limits)} processes, core dumps of 0 bytes at most")


def test_a_secret_is_asked_for_without_being_shown(stack: Stack) -> None:
    shown = stack.type_into(
        *("mage", "qbo-backfill", "secrets", "set", "QBO_CLIENT_ID"), prompt="QBO_CLIENT_ID: ", typed=config.CLIENT_ID
    )
    print(shown.strip())
    assert "QBO_CLIENT_ID is stored" in shown
    assert config.CLIENT_ID not in shown


def test_the_superusers_first_password_opens_nothing(stack: Stack) -> None:
    with pytest.raises(CommandError, match="password authentication failed"):
        stack.psql("SELECT 1", role="postgres", password=stack.secret("postgres_password"))
