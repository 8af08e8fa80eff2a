"""No secret is found anywhere, whatever went wrong: backfills with canaries for credentials, in a real Mage."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator

import asyncpg
import pytest

from qbo_simulator import Simulator, SimulatorConfig, run_in_thread
from tests.support.backfilling import simulate
from tests.support.commands import COMMAND
from tests.support.echo import ACCESS_TOKEN, FAILURES, echoing_intuit
from tests.support.leaks import files, forbids_core_dumps, leaks, processes, rows
from tools.demo.mage_server import CHECKOUT, failures
from tools.demo.stack import Company, Stack

pytestmark = [pytest.mark.mage, pytest.mark.timeout(900)]

PATIENCE_S = 300
# Shapes as Intuit's and Postgres' own are, values that nobody else has.
CANARIES = {
    "QBO_CLIENT_ID": "ABcanaryClientId7Fz02mQpXw93kfLs8Tn4bVr6JhYd1GcEoU",
    "QBO_CLIENT_SECRET": "cAnarySecretOfTheApp5xQ8wZt2Lr7Nv4Bk9Ys",
    "QBO_REFRESH_TOKEN": "RT1-42-H0-1777777777canaryrefreshk3j5h6g7f8d9s0a",
    "POSTGRES_PASSWORD": "canary:pass/word@with?every%sign&in=it",
}
EVERYTHING = {"fecha_inicio": "2023-01-01", "fecha_fin": "2025-12-31", "concurrency": 4, "chunk": "P3M"}


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """The simulated company, in this process: a command line with the canaries would be a find of its own making."""
    config = SimulatorConfig(
        invoices=600,
        customers=80,
        items=40,
        client_id=CANARIES["QBO_CLIENT_ID"],
        client_secret=CANARIES["QBO_CLIENT_SECRET"],
        refresh_token=CANARIES["QBO_REFRESH_TOKEN"],
        scenario="storm",
    )
    with run_in_thread(config) as serving:
        yield serving


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, simulator: Simulator) -> Iterator[Stack]:
    """A Mage whose secrets are the canaries; the warehouse takes the canary password."""
    stack = Stack(tmp_path_factory.mktemp("leaks") / "stack", Company(invoices=1, customers=1, items=1))
    try:
        stack.up(lambda _step: None)
        asyncio.run(_set_password(stack, CANARIES["POSTGRES_PASSWORD"]))
        _store(stack, QBO_SIMULATOR_URL=simulator.url, QBO_REALM_ID=simulator.config.realm_id, **CANARIES)
        yield stack
    finally:
        stack.down()


@pytest.mark.slow
async def test_a_backfill_through_every_kind_of_fault_leaves_no_secret_behind(
    stack: Stack, simulator: Simulator
) -> None:
    stack.mage.create_trigger("qb_invoices_backfill", "stormy", EVERYTHING)
    expired = False
    while (state := _state(stack, "qb_invoices_backfill", "stormy")) not in ("completed", "failed"):
        if state == "running" and not expired:
            # Answered 401 with the expired token in the body; the refresh that follows gives another one.
            await simulate(simulator, "tokens", {"expire_access": True})
            expired = True
        _look_at_processes(stack)
        await asyncio.sleep(0.5)
    run = stack.mage.runs("qb_invoices_backfill", "stormy")[0]
    assert (run["status"], failures(run)) == ("completed", {})
    assert simulator.service.ledger.tokens["refreshed"] > 0
    await _nothing_is_found(stack)


@pytest.mark.slow
async def test_answers_that_repeat_the_credentials_are_not_passed_on(stack: Stack) -> None:
    with echoing_intuit() as echo:
        _store(stack, QBO_SIMULATOR_URL=echo.url, QBO_REFRESH_TOKEN=CANARIES["QBO_REFRESH_TOKEN"])
        stack.secrets().delete("QBO_ACCESS_TOKEN")
        for number, year in enumerate(FAILURES):
            pipeline = ("qb_invoices_backfill", "qb_customers_backfill", "qb_items_backfill")[number % 3]
            dates = {"fecha_inicio": f"{year}-01-01", "fecha_fin": f"{year}-12-31", "concurrency": 2}
            stack.mage.create_trigger(pipeline, f"echo_{year}", dates)
            await _until_failed(stack, pipeline, f"echo_{year}")
            assert failures(stack.mage.runs(pipeline, f"echo_{year}")[0]), "a failure that says nothing helps nobody"
        for mode in ("invalid_grant", "invalid_client", "broken"):
            echo.token_failure = mode
            stack.secrets().delete("QBO_ACCESS_TOKEN")
            stack.mage.create_trigger("qb_items_backfill", mode, EVERYTHING)
            await _until_failed(stack, "qb_items_backfill", mode)
        assert any(ACCESS_TOKEN in text for text in echo.seen)
        assert any(CANARIES["QBO_REFRESH_TOKEN"] in text for text in echo.seen)
    await _nothing_is_found(stack)


@pytest.mark.slow
async def test_a_warehouse_that_refuses_or_is_gone_is_told_of_without_its_password(stack: Stack) -> None:
    wrong = "canary-wrong-password-Lq83nsY"
    for name, changed in {
        "wrong_password": {"POSTGRES_PASSWORD": wrong},
        "no_such_database": {"POSTGRES_PASSWORD": CANARIES["POSTGRES_PASSWORD"], "POSTGRES_DB": "nowhere"},
        "nobody_there": {"POSTGRES_DB": "warehouse", "POSTGRES_PORT": "1"},
        "a_dsn_for_a_host": {"POSTGRES_HOST": f"postgresql://backfill:{wrong}@127.0.0.1/warehouse"},
    }.items():
        _store(stack, **changed)
        stack.mage.create_trigger("qb_items_backfill", name, EVERYTHING)
        await _until_failed(stack, "qb_items_backfill", name)
        ended = _on_the_command_line(stack)
        assert ended.returncode == 4
        assert leaks(ended.stdout + ended.stderr, {**CANARIES, "wrong": wrong}) == set(), name
    await _nothing_is_found(stack, wrong=wrong)


@pytest.mark.slow
def test_neither_mage_nor_what_it_starts_may_leave_a_core_dump(stack: Stack) -> None:
    assert forbids_core_dumps(stack.mage.pid)


async def _nothing_is_found(stack: Stack, **more: str) -> None:
    secrets = {**CANARIES, "an access token": ACCESS_TOKEN, **more}
    stored = stack.secrets().get("QBO_ACCESS_TOKEN")
    if stored:
        secrets["the access token's record"] = stored
    for places in (list(files(stack.folder)), list(await rows(stack)), list(processes(stack.folder))):
        for place, text in places:
            assert leaks(text, secrets) == set(), place
        # What must be there is found: the search does read what it says it reads.
        assert any(str(stack.project).encode() in text for _, text in places)


def _look_at_processes(stack: Stack) -> None:
    for place, text in processes(stack.folder):
        assert leaks(text, CANARIES) == set(), place


def _store(stack: Stack, **secrets: str) -> None:
    for name, value in secrets.items():
        stack.secrets().set(name, value)


async def _set_password(stack: Stack, password: str) -> None:
    connection = await asyncpg.connect(stack.postgres.up().url(show_password=True))
    await connection.execute(f"ALTER ROLE backfill PASSWORD '{password}'")
    await connection.close()


def _state(stack: Stack, pipeline: str, trigger: str) -> str:
    runs = stack.mage.runs(pipeline, trigger)
    return str(runs[0]["status"]) if runs else "waiting"


async def _until_failed(stack: Stack, pipeline: str, trigger: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    looked = 0
    while (state := _state(stack, pipeline, trigger)) != "failed":
        looked += 1
        if looked % 30 == 0:
            stack.mage.wait_until_ready()  # with a log-in, which makes Mage's server read its database anew
        assert state != "completed", f"{trigger} was to fail"
        assert time.monotonic() < deadline, f"{trigger} is still {state}"
        await asyncio.sleep(0.3)


def _on_the_command_line(stack: Stack) -> subprocess.CompletedProcess[bytes]:
    mages = {"MAGE_REPO_PATH": str(stack.project), "MAGE_DATA_DIR": str(stack.mage_data)}
    return subprocess.run(
        [*COMMAND, "run", "items", "--fecha-inicio", "2024-01-01", "--fecha-fin", "2024-01-31"],
        cwd=CHECKOUT,
        env={**os.environ, **mages, "MAGE_DATABASE_CONNECTION_URL": stack.mage.database_url or ""},
        capture_output=True,
        check=False,
    )
