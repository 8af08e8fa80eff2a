"""A host that isn't the company's QuickBooks never receives a credential, whoever points there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from qbo_simulator import Simulator, SimulatorConfig
from tests.conftest import Database
from tests.support.backfilling import secrets_for
from tests.support.commands import CommandLine, Ended

SMALL = SimulatorConfig(invoices=3, customers=3, items=20)


class Stranger:
    """A server that takes whatever it is sent, and remembers it."""

    def __init__(self) -> None:
        self.received: list[str] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.received.append(f"{request.method} {request.url} {dict(request.headers)} {await request.text()}")
        return web.json_response({"access_token": "from-a-stranger", "expires_in": 3600})


@pytest.fixture
async def stranger() -> AsyncIterator[Stranger]:
    stranger = Stranger()
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", stranger.take)
    async with TestServer(app) as server:
        stranger.url = str(server.make_url("")).rstrip("/")
        yield stranger


@pytest.mark.slow_after(1)
@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("which", ["token", "query"])
async def test_a_redirect_is_not_followed(
    stranger: Stranger, command_line: CommandLine, database: Database, status: int, which: str
) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        asked_for_tokens = request.path.endswith("/bearer")
        if asked_for_tokens == (which == "token"):
            return web.Response(status=status, headers={"Location": f"{stranger.url}{request.path}"})
        return web.json_response({"access_token": "an-access-token", "expires_in": 3600})

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    async with TestServer(app) as redirecting, Simulator(SMALL) as simulator:
        _store(command_line, simulator, database, QBO_SIMULATOR_URL=str(redirecting.make_url("")).rstrip("/"))
        ended = await _run(command_line)
    assert ended.code in (3, 4)
    assert "redirect" in ended.stderr or f"HTTP {status}" in ended.stderr
    assert stranger.received == []


async def test_a_poisoned_discovery_document_is_not_even_asked_for(
    stranger: Stranger, command_line: CommandLine, database: Database
) -> None:
    asked: list[str] = []

    async def discovery(request: web.Request) -> web.Response:
        asked.append(request.path)
        endpoints = ("authorization_endpoint", "token_endpoint", "userinfo_endpoint", "revocation_endpoint", "issuer")
        return web.json_response({name: f"{stranger.url}/{name}" for name in endpoints})

    async def refused(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"error": "invalid_grant"}, status=400)

    app = web.Application()
    app.router.add_get("/.well-known/{rest:.*}", discovery)
    app.router.add_route("*", "/{rest:.*}", refused)
    async with TestServer(app) as poisoned, Simulator(SMALL) as simulator:
        _store(command_line, simulator, database, QBO_SIMULATOR_URL=str(poisoned.make_url("")).rstrip("/"))
        ended = await _run(command_line)
    assert ended.code == 4
    assert set(asked) == {"/oauth2/v1/tokens/bearer"}
    assert stranger.received == []


async def test_proxy_variables_and_a_netrc_are_not_followed(
    stranger: Stranger, command_line: CommandLine, database: Database, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login stranger password stranger\n")
    netrc.chmod(0o600)
    names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "WS_PROXY", "http_proxy", "https_proxy", "all_proxy")
    proxied = CommandLine({**command_line.environ, **dict.fromkeys(names, stranger.url), "NETRC": str(netrc)})
    async with Simulator(SMALL) as simulator:
        _store(command_line, simulator, database)
        ended = await _run(proxied)
        assert (ended.code, ended.result["rows"]["read"]) == (0, 20)
        assert simulator.service.ledger.tokens["refreshed"] == 1
    assert stranger.received == []


async def test_a_certificate_that_nobody_vouches_for_gets_nothing(
    command_line: CommandLine, database: Database, tmp_path: Path
) -> None:
    async with Simulator(SimulatorConfig(items=20, tls_folder=tmp_path / "tls")) as simulator:
        _store(command_line, simulator, database)
        ended = await _run(command_line)
        assert ended.code in (3, 4)
        assert "certificate" in ended.stderr.lower()
        assert simulator.service.ledger.tokens["refreshed"] == 0
        # The same one, once its authority is trusted on purpose.
        trusting = CommandLine({**command_line.environ, "SSL_CERT_FILE": str(tmp_path / "tls" / "authority.crt")})
        ended = await _run(trusting)
        assert ended.code == 0, ended.stderr


async def test_a_certificate_for_another_name_gets_nothing(
    command_line: CommandLine, database: Database, tmp_path: Path
) -> None:
    # Loopback, too, but none of the certificate's names.
    config = SimulatorConfig(host="127.0.0.2", items=20, tls_folder=tmp_path / "tls")
    async with Simulator(config) as simulator:
        assert simulator.url.startswith("https://127.0.0.2:")
        _store(command_line, simulator, database)
        trusting = CommandLine({**command_line.environ, "SSL_CERT_FILE": str(tmp_path / "tls" / "authority.crt")})
        ended = await _run(trusting)
        assert ended.code in (3, 4)
        assert "certificate" in ended.stderr.lower()
        assert simulator.service.ledger.tokens["refreshed"] == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example.com",
        "http://169.254.169.254",
        "http://127.0.0.1:8080@evil.example.com",
        "https://intuit.com",
    ],
)
def test_a_simulators_address_elsewhere_is_refused_before_anything_is_sent(command_line: CommandLine, url: str) -> None:
    for name, value in {"QBO_ENVIRONMENT": "simulator", "QBO_SIMULATOR_URL": url}.items():
        command_line.secrets.set(name, value)
    ended = command_line.backfill("items")
    assert ended.code == 4
    assert "QBO_SIMULATOR_URL" in ended.stderr


def _store(command: CommandLine, simulator: Simulator, database: Database, **changed: str) -> None:
    for name, value in {**secrets_for(simulator, database).values, **changed}.items():
        command.secrets.set(name, value)


async def _run(command: CommandLine) -> Ended:
    return await asyncio.to_thread(command.backfill, "items")
