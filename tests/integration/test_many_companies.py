"""Several companies in one command: a dead token, an outage or a mistake of one is told, and holds up no other."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from qbo_simulator import Simulator, SimulatorConfig, run_in_thread
from tests.support.backfilling import EVERYTHING, exactly, secrets_for, simulate, truth
from tests.support.commands import CommandLine, store
from tests.support.databases import execute

DATES = ("--fecha-inicio", EVERYTHING[0], "--fecha-fin", EVERYTHING[1])
OWN = ("QBO_REALM_ID", "QBO_REFRESH_TOKEN", "QBO_CLIENT_SECRET", "QBO_SIMULATOR_URL")
OUTAGE = {"faults": [{"kind": "unavailable", "requests": ["query", "count", "cdc", "read"]}]}
# As many failures in a row as open the breaker, and then no more.
HICCUP = {"faults": [{"kind": "unavailable", "requests": ["query"], "times": 8}]}


def config(number: int, **more: Any) -> SimulatorConfig:
    return SimulatorConfig(
        realm_id=f"91303578490161{number:05}",
        seed=number,
        invoices=200,
        customers=30,
        items=20,
        refresh_token=f"RT1-00-H0-the-refresh-token-of-company-{number}",
        **more,
    )


@contextlib.contextmanager
def companies(command_line: CommandLine, database: Any, **configs: SimulatorConfig) -> Iterator[dict[str, Simulator]]:
    """Simulators by profile; Postgres and the app's id are of the company without a prefix."""
    with contextlib.ExitStack() as stack:
        found = {name: stack.enter_context(run_in_thread(one)) for name, one in configs.items()}
        store(command_line, next(iter(found.values())), database)
        for name in ("QBO_REALM_ID", "QBO_REFRESH_TOKEN"):
            command_line.secrets.delete(name)
        for name, simulator in found.items():
            values = secrets_for(simulator, database).values
            for secret in OWN:
                command_line.secrets.set(f"{name.upper()}_{secret}", values[secret])
        yield found


def source(simulator: Simulator) -> dict[str, Any]:
    found = asyncio.run(truth(simulator, "invoices"))
    assert found
    return found


async def raw(database: Any, table: str) -> dict[str, Any]:
    connection = await asyncpg.connect(database.dsn)
    try:
        return {row["id"]: exactly(row["payload"]) for row in await connection.fetch(
            f"SELECT id, payload::text FROM {table}")}  # fmt: skip
    finally:
        await connection.close()


async def runs(database: Any) -> list[tuple[Any, ...]]:
    connection = await asyncpg.connect(database.dsn)
    try:
        rows = await connection.fetch("SELECT raw_schema, status, error FROM ops.run_metrics ORDER BY run_id")
        return [tuple(row) for row in rows]
    finally:
        await connection.close()


@pytest.mark.slow
def test_a_dead_token_and_an_outage_hold_up_no_other_company(command_line: CommandLine, database: Any) -> None:
    """Side by side with two that are well: these are complete, and each company's limits are kept."""
    kinds = {"dead": config(1), "out": config(2, switches=OUTAGE), "well": config(3), "fine": config(4)}
    with companies(command_line, database, **kinds) as simulators:
        command_line.secrets.set("DEAD_QBO_REFRESH_TOKEN", "RT1-00-H0-a-token-that-nobody-was-given")
        asked = ("run", "invoices", *DATES, "--profile", "dead,out,well,fine")
        # 14 connections are two runs at once: whoever waits holds up the others, if it may.
        ended = command_line.run(*asked, "--json", "--connections", "14")
        assert ended.code == 4, ended.stderr
        told = {one["profile"]: one for one in ended.result["companies"]}
        assert {name: one["exit_code"] for name, one in told.items()} == {"dead": 4, "out": 3, "well": 0, "fine": 0}
        assert all("reauthorise" in one["error"] or "refresh token" in one["error"] for one in told["dead"]["entities"])
        for name in ("well", "fine"):
            assert asyncio.run(raw(database, f"raw_{name}.qb_invoices")) == source(simulators[name])
        for name, simulator in simulators.items():
            assert set(simulator.service.ledger.summary()["violations"].values()) == {0}, name

        listed = command_line.run("profiles", "--json")
        rows = {row["profile"]: row for row in map(json.loads, listed.stdout.splitlines())}
        assert rows.keys() == simulators.keys()
        assert (rows["well"]["last_run"]["status"], rows["well"]["last_run"]["entities_not_done"]) == ("done", 0)
        assert rows["dead"]["last_run"] is None
        assert listed.code == 4
        assert rows["dead"]["connected"] is False
        assert "Intuit refused its refresh token" in rows["dead"]["error"]
        for text in (rows["dead"]["error"], *(one["error"] for one in told["dead"]["entities"])):
            assert text.count("qbo-backfill ") == text.count(" --profile dead") > 0, text
        table = command_line.run("run", "customers,items", *DATES, "--profile", "well,dead")
        assert table.code == 4
        assert "2 of 2" in table.stdout
        assert "0 of 2" in table.stdout


def test_company_without_a_refresh_token_is_told(command_line: CommandLine, database: Any) -> None:
    """By every command that several companies can be named to; and what they say to do is about that company."""
    with companies(command_line, database, well=config(1), half=config(2)):
        command_line.secrets.delete("HALF_QBO_REFRESH_TOKEN")
        asked = ("run", "items", *DATES, "--profile")
        assert command_line.run(*asked, "well").code == 0
        to_do = "qbo-backfill secrets set --profile half QBO_REFRESH_TOKEN"
        for command in (("resume",), ("status",), ("run", "items", *DATES)):
            ended = command_line.run(*command, "--profile", "all")
            assert ended.code == 4
            assert to_do in ended.stdout + ended.stderr, command
        listed = command_line.run("profiles", "--json")
        (row,) = (row for row in map(json.loads, listed.stdout.splitlines()) if row["profile"] == "half")
        assert (listed.code, row["connected"]) == (4, False)
        assert "qbo-backfill auth login --profile half" in row["error"]
        assert command_line.run(*to_do.split()[1:], text="RT1-a-token").code == 0
        assert command_line.run("status", "--profile", "all").code == 0


def test_what_a_run_suggests_is_for_its_company(command_line: CommandLine, database: Any) -> None:
    """Of a record that is set aside and a row that another hand changed, in texts, the report and stored advice."""
    with companies(command_line, database, acme=config(1)) as simulators:
        bad = {"payload": '{"Id":"777","SyncToken":"0","Name":"\\u0000","MetaData":{"CreateTime":'
               '"2024-03-01T10:00:00Z","LastUpdatedTime":"2024-03-01T10:00:00Z"}}'}  # fmt: skip
        asyncio.run(simulate(simulators["acme"], "load", {"entity": "Item", "records": [bad]}))
        ended = command_line.run("run", "items", *DATES, "--profile", "acme")
        assert ended.code == 0
        execute(database, "DELETE FROM raw_acme.qb_items WHERE id <> '777'")
        verified = command_line.run("verify", "items", *DATES, "--profile", "acme", "--json")
        shown = command_line.run("report", str(verified.result["run_id"]), "--profile", "acme")
        listed = command_line.run("quarantine", "list", "--profile", "acme")
        stored = execute(database, "SELECT string_agg(advice, E'\\n') FROM ops.validations")[0][0]
        texts = [ended.stdout, verified.stdout, shown.stdout, listed.stdout, stored]
    for text in texts:
        commands = re.findall(r"qbo-backfill\s+(?:verify|quarantine\s+\w+|report)\b(\s+--profile\s+acme)?", text)
        assert commands, text
        assert all(commands), text


@pytest.mark.slow
def test_a_company_that_quickbooks_keeps_waiting_lets_others_go_first_and_is_complete_in_the_end(
    command_line: CommandLine, database: Any
) -> None:
    """One run at a time: it would otherwise keep the only place for as long as the breaker is open."""
    kinds = {"slow": config(1, switches=HICCUP), "well": config(2), "fine": config(3)}
    with companies(command_line, database, **kinds) as simulators:
        ended = command_line.run(
            "run", "invoices", *DATES, "--chunk", "P1M", "--profile", "all", "--json", "--connections", "7"
        )
        assert ended.code == 0, ended.stderr
        for name, simulator in simulators.items():
            assert asyncio.run(raw(database, f"raw_{name}.qb_invoices")) == source(simulator)
            assert set(simulator.service.ledger.summary()["violations"].values()) == {0}
    assert [run[:2] for run in asyncio.run(runs(database))] == [
        ("raw_fine", "done"), ("raw_slow", "incomplete"), ("raw_well", "done"), ("raw_slow", "done")
    ]  # fmt: skip


@pytest.mark.slow
def test_a_signal_stops_all_and_resume_and_the_same_run_go_on(command_line: CommandLine, database: Any) -> None:
    """What had begun is resumed, what had not says so; `status` and `plan` take the same companies."""
    kinds = {name: config(number, latency_ms=100) for number, name in enumerate(("acme", "globex", "initech"), 1)}
    dates = ("run", "invoices,items", *DATES, "--chunk", "P1M", "--profile", "all", "--json", "--connections", "7")
    with companies(command_line, database, **kinds) as simulators:
        process = command_line.start(*dates)
        assert process.stderr is not None
        for line in process.stderr:
            if "acme invoices" in line and "chunks to read" in line:
                break
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate()
        assert process.returncode == 3
        told = {one["profile"]: one for one in json.loads(stdout.splitlines()[-1])["companies"]}
        assert {one["exit_code"] for one in told.values()} == {3}
        assert all("before it began" in one["error"] for one in told["initech"]["entities"])

        would = command_line.run("resume", "--profile", "all", "--dry-run")
        assert would.stdout.startswith("Would resume company acme, run 1: invoices by last_updated")
        assert len(would.stdout.splitlines()) == 1
        resumed = command_line.run("resume", "--profile", "all", "--json")
        assert (resumed.code, resumed.result["entity"], resumed.result["status"]) == (0, "invoices", "done")
        plan = command_line.run("plan", "invoices", *DATES, "--profile", "acme,globex")
        assert [line.split(":")[0] for line in plan.stdout.splitlines()] == [
            "acme invoices", "globex invoices", "together"
        ]  # fmt: skip
        again = command_line.run(*dates[:-2])
        assert again.code == 0, again.stderr
        for name, simulator in simulators.items():
            assert asyncio.run(raw(database, f"raw_{name}.qb_invoices")) == source(simulator)
            assert set(simulator.service.ledger.summary()["violations"].values()) == {0}
        status = command_line.run("status", "items", "--profile", "globex,acme", "--json")
        rows = [json.loads(line) for line in status.stdout.splitlines()]
        assert {(row["raw_schema"], row["entity"]) for row in rows} == {("raw_acme", "items"), ("raw_globex", "items")}
        report = next(line for line in again.stderr.splitlines() if line.startswith("report   ") and "company-" in line)
        page = Path(report.removeprefix("report   ")).read_text(encoding="utf-8")
        assert page.index("Each entity of this run") < page.index('<h2 id="entity-1-h">')
        verified = command_line.run("verify", "items", *DATES, "--profile", "all", "--json")
        assert (verified.code, len(verified.result["companies"])) == (0, 3), verified.stderr
