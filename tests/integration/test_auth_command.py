"""`qbo-backfill auth`: a consent by browser from its beginning to the stored token, and what is said of tokens."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

import aiohttp
import pytest

from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import simulate
from tests.support.commands import CommandLine, Ended, store


class Login:
    """`auth login` under way; the test is the browser."""

    def __init__(self, command_line: CommandLine, *arguments: str) -> None:
        # A test that fails leaves no process behind: it gives up by itself.
        patience = () if "--timeout" in arguments else ("--timeout", "30")
        command = ("auth", "login", "--no-browser", *patience, *arguments)
        self.process: subprocess.Popen[str] = command_line.start(*command)

    async def url(self) -> str:
        assert self.process.stderr is not None
        assert "Open this address" in await asyncio.to_thread(self.process.stderr.readline)
        return (await asyncio.to_thread(self.process.stderr.readline)).strip()

    async def ended(self) -> Ended:
        stdout, stderr = await asyncio.to_thread(self.process.communicate)
        return Ended(self.process.returncode, stdout, stderr)


async def visit(url: str, *, follow: bool = True) -> tuple[int, str]:
    """The status and the text that the browser ends with; the address it is sent to when it is not to follow."""
    async with aiohttp.ClientSession() as browser, browser.get(url, allow_redirects=follow) as page:
        return page.status, await page.text() if follow else page.headers["Location"]


def with_query(url: str, **changes: str) -> str:
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | changes
    return urlunsplit(parts._replace(query=urlencode({name: value for name, value in query.items() if value})))


async def test_a_consent_in_the_browser_stores_the_new_token_and_the_next_run_uses_it(
    command_line: CommandLine, database: Any
) -> None:
    async with Simulator(SimulatorConfig(invoices=50)) as simulator:
        store(command_line, simulator, database)
        await simulate(simulator, "tokens", {"revoke": True})
        assert (await asyncio.to_thread(command_line.backfill)).code == 4
        login = Login(command_line, "--port", "0")
        url = await login.url()
        assert parse_qs(urlsplit(url).query)["scope"] == ["com.intuit.quickbooks.accounting"]
        status, text = await visit(url)
        assert (status, text) == (200, "QuickBooks is connected. This page can be closed.\n")
        ended = await login.ended()
        assert ended.code == 0, ended.stderr
        assert simulator.service.consent.refresh_token == command_line.secrets.get("QBO_REFRESH_TOKEN")
        assert str(simulator.service.consent.refresh_token) not in ended.stdout + ended.stderr
        assert (await asyncio.to_thread(command_line.backfill)).code == 0
        # The login's own access token was good for it.
        assert simulator.service.ledger.tokens["consented"] == 1
        assert simulator.service.ledger.tokens["refreshed"] == 1


async def test_an_answer_with_another_state_is_refused_and_the_right_one_still_taken(
    command_line: CommandLine, database: Any
) -> None:
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        store(command_line, simulator, database)
        login = Login(command_line, "--port", "0")
        _, answer = await visit(await login.url(), follow=False)
        for forged in (with_query(answer, state="forged"), with_query(answer, state=""), with_query(answer, code="")):
            status, text = await visit(forged)
            assert status == 400
            assert "begin again" in text
        assert (await visit(answer))[0] == 200
        assert (await login.ended()).code == 0


async def test_a_company_that_is_not_the_stored_one_is_refused_and_nothing_is_stored(
    command_line: CommandLine, database: Any
) -> None:
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        store(command_line, simulator, database)
        before = command_line.secrets.get("QBO_REFRESH_TOKEN")
        login = Login(command_line, "--port", "0")
        _, answer = await visit(await login.url(), follow=False)
        await visit(with_query(answer, realmId="123456789"))
        ended = await login.ended()
    assert ended.code == 4
    assert "123456789" in ended.stderr
    assert "nothing was stored" in ended.stderr
    assert command_line.secrets.get("QBO_REFRESH_TOKEN") == before
    assert simulator.service.ledger.tokens["consented"] == 0


async def test_a_consent_that_is_refused_ends_with_4(command_line: CommandLine, database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        store(command_line, simulator, database)
        login = Login(command_line, "--port", "0")
        _, answer = await visit(await login.url(), follow=False)
        await visit(with_query(answer, code="", error="access_denied"))
        ended = await login.ended()
    assert ended.code == 4
    assert "access_denied" in ended.stderr.strip().splitlines()[-1]


async def test_a_consent_that_never_comes_is_not_waited_for_for_ever(command_line: CommandLine, database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        store(command_line, simulator, database)
        ended = await Login(command_line, "--port", "0", "--timeout", "1").ended()
    assert ended.code == 4
    assert "no consent came within 1 s" in ended.stderr


async def test_with_a_redirect_uri_elsewhere_the_address_is_pasted(command_line: CommandLine, database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        store(command_line, simulator, database)
        arguments = ("auth", "login", "--no-browser", "--redirect-uri", "https://books.example.com/connected")
        process = command_line.start(*arguments, input=True)
        assert process.stderr is not None
        lines = [await asyncio.to_thread(process.stderr.readline) for _ in range(3)]
        redirect = parse_qs(urlsplit(lines[1].strip()).query)
        assert redirect["redirect_uri"] == ["https://books.example.com/connected"]
        # The simulator sends browsers to loopback only; where it would have sent them is known.
        code = simulator.service.consent.authorize("https://books.example.com/connected")
        answer = urlencode({"code": code, "state": redirect["state"][0], "realmId": simulator.realm_id})
        _, stderr = await asyncio.to_thread(process.communicate, f"https://books.example.com/connected?{answer}\n")
        assert process.returncode == 0, stderr
        assert command_line.secrets.get("QBO_REFRESH_TOKEN") == simulator.service.consent.refresh_token


async def test_a_port_that_is_taken_is_one_line(command_line: CommandLine, database: Any) -> None:
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        store(command_line, simulator, database)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            ended = await Login(command_line, "--port", str(taken.getsockname()[1])).ended()
    assert ended.code == 2
    assert re.fullmatch(r"qbo-backfill: port: \d+ can't be listened on \(.*\)\n", ended.stderr)


@pytest.fixture
async def used(command_line: CommandLine, database: Any) -> CommandLine:
    """A connection that a run has used once."""
    async with Simulator(SimulatorConfig(invoices=10)) as simulator:
        store(command_line, simulator, database)
        assert (await asyncio.to_thread(command_line.backfill, "items")).code == 0
    return command_line


async def test_status_tells_ages_and_ends_and_no_values(used: CommandLine) -> None:
    ended = await asyncio.to_thread(used.run, "auth", "status", "--json")
    assert ended.code == 0
    said = ended.result
    assert said["connected"] is True
    assert 3000 < said["access_token_seconds_left"] <= 3600
    assert 0 <= said["refreshed_seconds_ago"] < 300
    assert 99 * 86_400 < said["refresh_token_seconds_left"] <= 101 * 86_400
    assert 4.9 * 365 * 86_400 < said["consent_seconds_left"] <= 5 * 365 * 86_400
    text = (await asyncio.to_thread(used.run, "auth", "status")).stdout
    assert "refresh token: in use for" in text
    assert "ends in 101 days" in text
    for name in ("QBO_REFRESH_TOKEN", "QBO_CLIENT_SECRET"):
        assert str(used.secrets.get(name)) not in text + ended.stdout
    assert json.loads(used.secrets.get("QBO_ACCESS_TOKEN") or "{}")["token"] not in text + ended.stdout


async def test_of_a_token_that_was_only_stored_nothing_is_known_yet(command_line: CommandLine) -> None:
    command_line.secrets.set("QBO_REFRESH_TOKEN", "RT1-stored-by-hand")
    ended = await asyncio.to_thread(command_line.run, "auth", "status")
    assert ended.code == 0
    assert "its age is known after the next refresh" in ended.stdout


async def test_without_a_refresh_token_status_says_how_to_get_one(command_line: CommandLine) -> None:
    ended = await asyncio.to_thread(command_line.run, "auth", "status")
    assert ended.code == 4
    assert ended.stdout == "No refresh token is stored: qbo-backfill auth login\n"


async def test_a_token_that_has_ended_is_said_to_need_a_new_consent(used: CommandLine) -> None:
    stored = json.loads(used.secrets.get("QBO_ACCESS_TOKEN") or "{}")
    used.secrets.set("QBO_ACCESS_TOKEN", json.dumps({**stored, "refresh_ends_at": 1_700_000_000}))
    ended = await asyncio.to_thread(used.run, "auth", "status")
    assert ended.code == 4
    assert "ended on 2023-11-14" in ended.stdout
    assert "reauthorised" in ended.stdout
