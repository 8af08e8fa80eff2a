"""`qbo-backfill check --probe` on the simulator: it finds every switch as it was set."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from async_extractor.mage.location import MageData
from async_extractor.preflight import Preflight
from async_extractor.probe.questions import MOST_REQUESTS, Finding
from async_extractor.windows import UTC
from qbo_simulator import Simulator, SimulatorConfig
from qbo_simulator.behaviour import behaviour, merged
from tests.support.backfilling import simulate, truth
from tests.support.commands import COMMAND, CommandLine, store

DEFAULTS = {
    "queries": {
        "order_by": "honoured",
        "order_by_id": "ignored",
        "compare_id": "number",
        "ties": "by-statement",
        "naive_times": "pacific",
        "over_1000": "capped",
        "hidden_fractions": False,
        "sku": "always",
    },
    "cdc": {"older": "cut", "exceptions": "refused"},
    "answers": {"total_count": "seen", "time": "seen"},
}
SET: list[dict[str, Any]] = [
    {},
    {"queries": {"order_by_id": "honoured", "naive_times": "utc", "ties": "stable"}, "answers": {"time": "whole"}},
    {"queries": {"order_by_id": "refused", "compare_id": "refused"}, "answers": {"time": "utc"}},
    {"queries": {"ties": "shuffled", "naive_times": "refused", "sku": "named"}, "answers": {"time": "naive"}},
    {"queries": {"over_1000": "refused"}, "cdc": {"exceptions": "empty"}, "answers": {"time": "milliseconds"}},
    {"cdc": {"older": "accepted", "exceptions": "listed"}, "answers": {"time": "nonsense", "total_count": "absent"}},
    {"queries": {"hidden_fractions": True}, "cdc": {"older": "refused"}, "answers": {"time": "absent"}},
]


def config(switches: dict[str, Any], invoices: int = 1_200, names: int = 60) -> SimulatorConfig:
    # Books that end before change data capture's reach, and with less than 1,000 invoices of the year before.
    end = (datetime.now(UTC) - timedelta(days=60)).date()
    return SimulatorConfig(invoices=invoices, customers=names, items=names, years=3, end=end, switches=switches)


async def probed(command: CommandLine, simulator: Simulator, database: Any) -> dict[str, Any]:
    """What the probe writes."""
    store(command, simulator, database)
    # A tax code of today, which change data capture could list.
    code = json.dumps({"Id": "1", "Name": "TAX", "SyncToken": "0"})
    await simulate(simulator, "load", {"entity": "TaxCode", "records": [{"payload": code}]})
    findings: list[Finding] = []
    preflight = Preflight(command.secrets, MageData.locate(command.environ), "", lambda _line: None)
    await preflight.look()
    return await preflight.probe(findings.append)


@pytest.mark.long
@pytest.mark.parametrize("switches", SET, ids=json.dumps)
async def test_each_switch_is_found_as_it_was_set(
    command_line: CommandLine, database: Any, switches: dict[str, Any]
) -> None:
    async with Simulator(config(switches)) as simulator:
        written = await probed(command_line, simulator, database)
    found = written["switches"]
    latency = found.pop("latency")
    assert found == merged(DEFAULTS, switches), written["findings"]
    assert written["requests"] <= MOST_REQUESTS
    assert latency["base_ms"][0] <= latency["base_ms"][1]


async def test_an_order_that_is_ignored_leaves_what_rests_on_it_open(command_line: CommandLine, database: Any) -> None:
    async with Simulator(config({"queries": {"order_by": "ignored"}})) as simulator:
        written = await probed(command_line, simulator, database)
    assert written["switches"]["queries"]["order_by"] == "ignored"
    assert "ties" not in written["switches"]["queries"]


async def test_a_company_with_next_to_nothing_leaves_questions_open(command_line: CommandLine, database: Any) -> None:
    async with Simulator(config({}, invoices=0, names=3)) as simulator:
        written = await probed(command_line, simulator, database)
        found = [finding["found"] for finding in written["findings"]]
    assert any("can't be told" in one for one in found)
    assert "total_count" not in written["switches"]["answers"]


async def test_the_file_is_anonymous_and_makes_a_simulator_of_the_same_switches(
    command_line: CommandLine, database: Any, tmp_path: Path
) -> None:
    out = tmp_path / "found.json"
    switches = {"queries": {"order_by_id": "honoured", "naive_times": "utc"}, "cdc": {"older": "refused"}}
    async with Simulator(config(switches)) as simulator:
        store(command_line, simulator, database)
        arguments = ("check", "--probe", "--yes", "--json", "--out", str(out))
        ended = await asyncio.to_thread(command_line.run, *arguments)
        records = {
            **await truth(simulator, "invoices"),
            **await truth(simulator, "customers"),
            **await truth(simulator, "items"),
        }
    assert ended.code == 0, ended.stdout + ended.stderr
    text = out.read_text()
    assert json.loads(ended.stdout)["probe"] == json.loads(text)
    assert behaviour(json.loads(text)["switches"]).queries.naive_times == "utc"
    texts = {value for record in records.values() for value in record.values() if isinstance(value, str)}
    words = {one for one in texts if len(one) > 4 and one not in ("false", "true")}
    assert not [one for one in (*words, simulator.realm_id) if f'"{one}"' in text or f" {one} " in text], text
    # An Id is a number, as the milliseconds of an answer are.
    others = [finding["found"] for finding in json.loads(text)["findings"] if "milliseconds" not in finding["question"]]
    assert not set(others) & records.keys(), text
    arguments = ("-m", "qbo_simulator", "--as", str(out), "--help")  # which looks at the file, and ends
    process = await asyncio.create_subprocess_exec(COMMAND[0], *arguments, stdout=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0


def test_without_a_terminal_nothing_is_sent_unasked(command_line: CommandLine) -> None:
    ended = command_line.run("check", "--probe")
    assert ended.code == 2
    assert "--yes" in ended.stderr
