"""`qbo-backfill auth`: the connection to Intuit: made anew in a browser, or looked at. Tokens are never shown."""

from __future__ import annotations

import asyncio
import atexit
import errno
import html
import json
import shutil
import sys
import tempfile
import time
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer
from aiohttp import web

from async_extractor.cli.options import company
from async_extractor.errors import BackfillError, ConfigurationError, RequestError
from async_extractor.mage.secrets import MageSecrets
from async_extractor.profile_option import with_profile
from async_extractor.qbo.auth.access_tokens import ACCESS_TOKEN, REFRESH_TOKEN, StoredTokens
from async_extractor.qbo.auth.consent import ConsentRequest, Granted, StrangeAnswerError
from async_extractor.qbo.auth.lifetimes import look, sentences
from async_extractor.qbo.auth.token_endpoint import Client, TokenEndpoint
from async_extractor.qbo.endpoints import Endpoints
from async_extractor.qbo.faults import QboFault
from async_extractor.qbo.network import checked_proxy, http_session
from async_extractor.spoken import say

app = typer.Typer(no_args_is_help=True)

REALM_ID = "QBO_REALM_ID"
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Profile = typer.Option(
    "", "--profile", callback=company, help="The company, when there are several: its names are prefixed."
)
Port = typer.Option(8910, "--port", min=0, max=65535, help="Of the loopback address that Intuit sends the browser to.")
RedirectUri = typer.Option(
    "", "--redirect-uri", help="One that isn't on this machine: then paste here where the browser ended up."
)
NoBrowser = typer.Option(False, "--no-browser", help="Only show the address to open.")
Timeout = typer.Option(300.0, "--timeout", min=1.0, help="Seconds to wait for the consent.")
AsJson = typer.Option(False, "--json", help="One JSON object on stdout.")


@app.command()
def login(
    profile: str = Profile,
    port: int = Port,
    redirect_uri: str = RedirectUri,
    no_browser: bool = NoBrowser,
    timeout: float = Timeout,
) -> None:
    """Ask for consent in the browser and store the new refresh token in Mage Secrets.

    The redirect URI, http://localhost:8910/callback unless told otherwise, must be among those on the app's
    Keys page at Intuit. A running backfill goes on with the new token.
    """
    secrets = MageSecrets.locate(profile=profile)
    if redirect_uri and (urlsplit(redirect_uri).scheme not in ("http", "https") or not urlsplit(redirect_uri).hostname):
        raise RequestError(f"redirect-uri: {redirect_uri!r} is not an http(s) address")
    try:
        realm_id = asyncio.run(_login(secrets, port, redirect_uri, not no_browser, timeout))
    except QboFault as fault:
        raise ConfigurationError(str(fault)) from None
    typer.echo(say(f"Company {realm_id} is connected; its new refresh token is stored ({secrets.where})."))


@app.command()
def status(profile: str = Profile, as_json: bool = AsJson) -> int:
    """How old the tokens are and when they end. Ends with 4 when the company must be reauthorised."""
    secrets = MageSecrets.locate(profile=profile)
    found = look(secrets.get(REFRESH_TOKEN), secrets.get(ACCESS_TOKEN), time.time())
    if as_json:
        typer.echo(json.dumps({"profile": profile, **found}))
    else:
        for line in sentences(found):
            typer.echo(say(with_profile(line)))
    return 0 if found["connected"] else ConfigurationError.exit_code


async def _login(secrets: MageSecrets, port: int, redirect_uri: str, browser: bool, timeout: float) -> str:
    """The company's realm id, once its token is stored."""
    endpoints = Endpoints.of(secrets.require("QBO_ENVIRONMENT").strip(), secrets.get("QBO_SIMULATOR_URL"))
    client = Client(secrets.require("QBO_CLIENT_ID").strip(), secrets.require("QBO_CLIENT_SECRET").strip())
    if redirect_uri and urlsplit(redirect_uri).hostname not in LOOPBACK:
        request = ConsentRequest(endpoints.consent, client.id, redirect_uri)
        _show(request.url, browser)
        typer.echo(say("When the browser has been sent on, paste its address here:"), err=True)
        granted = request.granted((await asyncio.to_thread(sys.stdin.readline)).strip())
    else:
        request, granted = await _by_loopback(endpoints.consent, client.id, redirect_uri, port, browser, timeout)
    stored = (secrets.get(REALM_ID) or "").strip()
    if stored and stored != granted.realm_id:
        raise ConfigurationError(
            f"the company that was chosen is {granted.realm_id}, and {REALM_ID} is {stored}: nothing was stored; "
            "choose that company on Intuit's page, or use --profile for another one"
        )
    async with http_session(checked_proxy(secrets.get("QBO_PROXY"))) as session:
        endpoint = TokenEndpoint(session, endpoints.token)
        answer = await endpoint.exchange_code(granted.code, request.redirect_uri, client)
    if answer.refresh_token is None:
        raise ConfigurationError("Intuit gave no refresh token; nothing was stored: try again")
    values = {
        REFRESH_TOKEN: answer.refresh_token,
        ACCESS_TOKEN: StoredTokens.of(answer, answer.refresh_token, None).json(),
        **({} if stored else {REALM_ID: granted.realm_id}),
    }
    await asyncio.to_thread(_store, secrets, values)
    return granted.realm_id


def _store(secrets: MageSecrets, values: dict[str, str]) -> None:
    """All of them, in one transaction and under the refresh's lock where there is a token already."""
    if secrets.get(REFRESH_TOKEN):
        with secrets.exclusive() as held:
            held.put(values)
        return
    for name, value in values.items():
        secrets.set(name, value)


async def _by_loopback(
    page: str, client_id: str, redirect_uri: str, port: int, browser: bool, timeout: float
) -> tuple[ConsentRequest, Granted]:
    """Waits on loopback for the browser to come back from Intuit's page."""
    parts = urlsplit(redirect_uri)
    path = parts.path or "/callback"
    outcome: asyncio.Future[Granted] = asyncio.get_running_loop().create_future()
    request: ConsentRequest | None = None

    async def callback(received: web.Request) -> web.Response:
        assert request is not None
        try:
            granted = request.granted(received.path_qs)
        except StrangeAnswerError as error:
            # Anything on this machine can call a loopback address; the browser's own answer may yet come.
            return web.Response(status=400, text=f"{say(str(error))}\n")
        except BackfillError as error:
            if not outcome.done():
                outcome.set_exception(error)
            return web.Response(status=400, text=say("The consent was not given. This page can be closed.") + "\n")
        if not outcome.done():
            outcome.set_result(granted)
        return web.Response(text=say("QuickBooks is connected. This page can be closed.") + "\n")

    server = web.AppRunner(_only(path, callback), access_log=None)
    await server.setup()
    try:
        bound = await _listen_on_loopback(server, parts.port or port)
        request = ConsentRequest(page, client_id, redirect_uri or f"http://localhost:{bound}{path}")
        _show(request.url, browser)
        try:
            return request, await asyncio.wait_for(outcome, timeout)
        except asyncio.TimeoutError:
            raise ConfigurationError(f"no consent came within {timeout:.0f} s; nothing was stored") from None
    finally:
        await server.cleanup()


async def _listen_on_loopback(server: web.AppRunner, port: int) -> int:
    """The port, on both loopback addresses: `localhost` may be either, and nobody else may answer on the other."""
    try:
        await web.TCPSite(server, "127.0.0.1", port).start()
        bound = int(server.addresses[0][1])
    except OSError as error:
        raise RequestError(f"port: {port} can't be listened on ({error.strerror})") from None
    try:
        await web.TCPSite(server, "::1", bound).start()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise RequestError(f"port: {bound} is another program's on [::1]; take another --port") from None
    return bound


def _only(path: str, handler: Any) -> web.Application:
    application = web.Application()
    application.router.add_get(path, handler)
    return application


def _show(url: str, browser: bool) -> None:
    typer.echo(say(f"Open this address and choose the company:\n{url}"), err=True)
    if browser:
        # By a page that only this user can read: a browser's command line is seen by all users of the machine.
        folder = Path(tempfile.mkdtemp(prefix="qbo-backfill-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        page = folder / "consent.html"
        page.write_text(f'<meta http-equiv="refresh" content="0; url={html.escape(url)}">\n', encoding="utf-8")
        webbrowser.open(page.as_uri())
