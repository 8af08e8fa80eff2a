"""Through a company's proxy: the API and the token endpoint by CONNECT, nothing of it in the clear, nothing shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from qbo_simulator import Simulator, SimulatorConfig
from qbo_simulator.tls import AUTHORITY
from tests.conftest import Database
from tests.support import debian
from tests.support.commands import CommandLine, store

USER, PASSWORD = "through", "the-proxy-Zq31"


@pytest.fixture
async def simulator(tmp_path: Path) -> AsyncIterator[Any]:
    async with Simulator(SimulatorConfig(items=20, tls_folder=tmp_path / "tls")) as simulator:
        yield simulator


@pytest.fixture
def trusting(command_line: CommandLine, tmp_path: Path) -> CommandLine:
    return CommandLine({**command_line.environ, "SSL_CERT_FILE": str(tmp_path / "tls" / AUTHORITY)})


async def test_both_endpoints_are_reached_through_tinyproxy(
    simulator: Any, trusting: CommandLine, database: Database
) -> None:
    store(trusting, simulator, database)
    with debian.tinyproxy(USER, PASSWORD) as (url, log):
        trusting.secrets.set("QBO_PROXY", url)
        ended = await asyncio.to_thread(trusting.backfill, "items")
        assert (ended.code, ended.result["rows"]["read"]) == (0, 20), ended.stderr
        asked = [line.split("): ")[-1] for line in log.read_text().splitlines() if "Request (file descriptor" in line]
        assert asked
        port = simulator.url.rpartition(":")[2]
        assert {line.split(" ")[0] for line in asked} == {"CONNECT"}
        assert all(f":{port} " in line for line in asked)
        assert simulator.service.ledger.tokens["refreshed"] == 1
        assert PASSWORD not in ended.stdout + ended.stderr

        trusting.secrets.set("QBO_PROXY", url.replace(PASSWORD, "another-password"))
        trusting.secrets.delete("QBO_ACCESS_TOKEN")
        ended = await asyncio.to_thread(trusting.backfill, "items", "--mode", "reprocess")
    assert ended.code == 4
    assert "the proxy of QBO_PROXY refuses" in ended.stderr
    assert "another-password" not in ended.stdout + ended.stderr
    assert simulator.service.ledger.tokens["refreshed"] == 1


async def test_a_proxy_that_isnt_there_is_told(simulator: Any, trusting: CommandLine, database: Database) -> None:
    store(trusting, simulator, database)
    trusting.secrets.set("QBO_PROXY", f"http://{USER}:{PASSWORD}@127.0.0.1:1")
    ended = await asyncio.to_thread(trusting.backfill, "items")
    assert ended.code in (3, 4)
    assert "the proxy of QBO_PROXY can't be reached" in ended.stderr
    assert PASSWORD not in ended.stdout + ended.stderr
    assert simulator.service.ledger.tokens["refreshed"] == 0


async def test_a_variable_that_is_not_read_is_told_when_the_connection_fails(
    simulator: Any, command_line: CommandLine, database: Database
) -> None:
    store(command_line, simulator, database)
    command_line.secrets.set("QBO_SIMULATOR_URL", "https://127.0.0.1:1")
    proxied = CommandLine({**command_line.environ, "HTTPS_PROXY": "http://proxy.example:3128"})
    ended = await asyncio.to_thread(proxied.backfill, "items")
    assert ended.code in (3, 4)
    assert "HTTPS_PROXY is set, and isn't read" in ended.stderr
    assert "QBO_PROXY" in ended.stderr


async def test_a_certificate_that_isnt_trusted_is_asked_once(
    simulator: Any, command_line: CommandLine, database: Database
) -> None:
    store(command_line, simulator, database)
    ended = await asyncio.to_thread(command_line.backfill, "items")
    assert ended.code == 4
    assert "SSL_CERT_FILE" in ended.stderr
    assert "trying again" not in ended.stderr
    assert "reach" not in ended.stderr.replace("can't be reached at", "")


async def test_long_headers_are_taken(command_line: CommandLine, database: Database) -> None:
    """Up to 64 KB, as other clients do."""

    async def long_winded(request: web.Request) -> web.StreamResponse:
        headers = {"X-Gateway": "x" * 60_000}
        if request.path.endswith("/bearer"):
            return web.json_response({"access_token": "an-access-token", "expires_in": 3600}, headers=headers)
        return web.json_response({"QueryResponse": {"totalCount": 0}, "time": "2024-01-01T00:00:00Z"}, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", long_winded)
    async with TestServer(app) as server, Simulator(SimulatorConfig(items=1)) as simulator:
        store(command_line, simulator, database)
        command_line.secrets.set("QBO_SIMULATOR_URL", str(server.make_url("")).rstrip("/"))
        ended = await asyncio.to_thread(command_line.backfill, "items")
    assert ended.code == 0, ended.stderr
