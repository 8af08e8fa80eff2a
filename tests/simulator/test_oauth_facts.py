"""What is known of Intuit's OAuth, fact by fact. Each test's docstring quotes its fact."""

from __future__ import annotations

import asyncio
import socket
import ssl
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from qbo_simulator.oauth import CONSENT_LIFETIME, REFRESH_LIFETIME
from tests.simulator.client import Client


async def test_a_refresh_answers_what_intuit_answers() -> None:
    """Response fields: access_token, token_type: bearer, expires_in: 3600, refresh_token (<= 512 characters),
    x_refresh_token_expires_in (100-101 days)."""
    async with Client() as client:
        reply = await client.refresh()
        body = reply.json
        assert reply.status == 200
        assert set(body) == {"access_token", "token_type", "expires_in", "refresh_token", "x_refresh_token_expires_in"}
        assert (body["token_type"], body["expires_in"]) == ("bearer", 3600)
        assert 8_640_000 <= body["x_refresh_token_expires_in"] <= 8_726_400
        assert len(body["access_token"]) <= 4096
        assert len(body["refresh_token"]) <= 512


async def test_the_hard_expiry_is_told_to_who_asks_only() -> None:
    """The hard-expiry field only if the opt-in header is sent."""
    async with Client() as client:
        asked = await client.refresh(**{"x-include-refresh-token-hard-expires-in": "true"})
        assert CONSENT_LIFETIME - 60 < asked.json["x_refresh_token_hard_expires_in"] <= CONSENT_LIFETIME
        assert "x_refresh_token_hard_expires_in" not in (await client.refresh()).json


async def test_wrong_credentials_are_invalid_client_and_a_wrong_token_invalid_grant() -> None:
    """Wrong credentials -> 401 {"error":"invalid_client"}; dead/old/foreign refresh token -> 400 invalid_grant."""
    async with Client() as client:
        wrong = await client.refresh(secret="wrong")
        assert (wrong.status, wrong.json) == (401, {"error": "invalid_client"})
        foreign = await client.refresh("RT1-foreign")
        assert (foreign.status, foreign.json["error"]) == (400, "invalid_grant")
        nobody = await client.ask("POST", "/oauth2/v1/tokens/bearer", data={"grant_type": "refresh_token"})
        assert (nobody.status, nobody.json["error"]) == (401, "invalid_client")


async def test_credentials_may_stand_in_the_body() -> None:
    """Sending client_id/secret in the body also works in practice."""
    async with Client() as client:
        config = client.sim.config
        form = {"grant_type": "refresh_token", "refresh_token": config.refresh_token}
        form |= {"client_id": config.client_id, "client_secret": config.client_secret}
        assert (await client.ask("POST", "/oauth2/v1/tokens/bearer", data=form)).status == 200


async def test_the_value_stays_for_a_day_and_its_successor_kills_it() -> None:
    """Value changes about every 24 h (on the first refresh after 24 h); between, the same value comes back. Assume the
    old value dead at once."""
    async with Client() as client:
        first = (await client.refresh()).json["refresh_token"]
        assert first == client.sim.config.refresh_token
        await client.control("clock", {"offset_seconds": 86_401})
        second = (await client.refresh()).json["refresh_token"]
        assert second != first
        assert (await client.refresh(first)).json["error"] == "invalid_grant"
        assert (await client.refresh(second)).json["refresh_token"] == second


async def test_a_replaced_value_can_be_given_a_grace() -> None:
    """2018 documentation: the previous value expires 24 h after the new one."""
    async with Client(scenario="rotation-strict") as client:
        await client.control("faults", {"switches": {"tokens": {"grace_seconds": 3600}}})
        old = client.sim.config.refresh_token
        new = (await client.refresh(old)).json["refresh_token"]
        again = await client.refresh(old)
        assert (again.status, again.json["refresh_token"]) == (200, new)
        await client.control("clock", {"offset_seconds": 3601})
        assert (await client.refresh(old)).status == 400


async def test_of_two_refreshes_at_once_the_first_wins() -> None:
    """Exchange one at a time: the first wins, the second gets invalid_grant."""
    async with Client() as client:
        replies = await asyncio.gather(*(client.refresh() for _ in range(4)))
        assert sorted(reply.status for reply in replies) == [200, 400, 400, 400]
        assert (await client.control("ledger"))["tokens"] == {"refreshed": 1, "invalid_grant": 3, "rotated": 0}


async def test_a_second_refresh_can_be_taken_for_an_attack() -> None:
    """Intuit may treat it as an attack and revoke the token just issued -> user must reconsent."""
    async with Client(scenario="rotation-strict") as client:
        await client.control("faults", {"switches": {"tokens": {"reuse": "revokes-all"}}})
        old = client.sim.config.refresh_token
        winner = (await client.refresh(old)).json
        assert (await client.refresh(old)).json["error"] == "invalid_grant"
        assert (await client.refresh(winner["refresh_token"])).json["error"] == "invalid_grant"
        client.token = winner["access_token"]
        assert (await client.query("SELECT * FROM Item")).status == 401


async def test_a_lost_answer_is_a_lost_connection() -> None:
    """If Intuit rotated but the client never stored the answer, reconnect is the only cure."""
    async with Client(scenario="rotation-strict") as client:
        await client.control("faults", {"switches": {"tokens": {"drop_rotated_answers": 1}}})
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.refresh()
        assert (await client.refresh()).json["error"] == "invalid_grant"


async def test_refresh_tokens_and_consents_end() -> None:
    """Refresh token: rolling 100 days. 5-year hard cap: counted from consent, refresh does not reset it."""
    async with Client() as client:
        await client.control("clock", {"offset_seconds": REFRESH_LIFETIME - 10})
        rolled = (await client.refresh()).json["refresh_token"]
        value = rolled
        for days in range(200, 5 * 365, 100):
            await client.control("clock", {"offset_seconds": days * 86_400})
            value = (await client.refresh(value)).json["refresh_token"]
        await client.control("clock", {"offset_seconds": CONSENT_LIFETIME + 10})
        assert (await client.refresh(value)).json["error"] == "invalid_grant"
    async with Client() as client:
        await client.control("clock", {"offset_seconds": REFRESH_LIFETIME + 10})
        assert (await client.refresh()).json["error"] == "invalid_grant"


async def test_access_tokens_end_after_an_hour_or_sooner() -> None:
    """Issue 3600 s access tokens (shortenable)."""
    async with Client() as client:
        assert (await client.query("SELECT * FROM Item")).status == 200
        await client.control("clock", {"offset_seconds": 3601})
        assert (await client.query("SELECT * FROM Item")).status == 401
    async with Client(access_token_seconds=5) as client:
        assert (await client.refresh()).json["expires_in"] == 5


async def test_a_user_logs_in_by_an_authorization_code() -> None:
    """authorise /connect/oauth2: back to the redirect URI with code, state and realmId; the code is exchanged once."""
    async with Client() as client:
        config = client.sim.config
        redirect = "http://localhost:8765/callback?from=app"
        parameters = {"client_id": config.client_id, "response_type": "code", "redirect_uri": redirect, "state": "s 1"}
        parameters["scope"] = "com.intuit.quickbooks.accounting openid"
        sent = await client.ask("GET", "/connect/oauth2", params=parameters)
        assert sent.status == 302
        back = urlsplit(sent.headers["location"])
        answer = {name: values[0] for name, values in parse_qs(back.query).items()}
        assert (back.netloc, back.path, answer["from"], answer["state"]) == (
            "localhost:8765",
            "/callback",
            "app",
            "s 1",
        )
        assert answer["realmId"] == config.realm_id

        form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": redirect}
        login = aiohttp.BasicAuth(config.client_id, config.client_secret)
        other = await client.ask(
            "POST", "/oauth2/v1/tokens/bearer", data=form | {"redirect_uri": "http://localhost/"}, auth=login
        )
        assert other.json["error"] == "invalid_grant"
        tokens = (await client.ask("POST", "/oauth2/v1/tokens/bearer", data=form, auth=login)).json
        client.token = tokens["access_token"]
        assert (await client.query("SELECT * FROM Item")).status == 200
        # Intuit staff say the same of a double code exchange: what was issued is revoked.
        twice = await client.ask("POST", "/oauth2/v1/tokens/bearer", data=form, auth=login)
        assert twice.json["error"] == "invalid_grant"
        assert (await client.query("SELECT * FROM Item")).status == 401


@pytest.mark.parametrize(
    "wrong",
    [{"client_id": "x"}, {"response_type": "token"}, {"scope": "openid"}, {"redirect_uri": "https://example.com/"}],
)
async def test_an_authorization_that_is_not_the_applications_is_refused(wrong: dict[str, str]) -> None:
    async with Client() as client:
        parameters = {"client_id": client.sim.config.client_id, "response_type": "code", "state": "x"}
        parameters |= {"redirect_uri": "http://localhost/", "scope": "com.intuit.quickbooks.accounting"} | wrong
        reply = await client.ask("GET", "/connect/oauth2", params=parameters)
        assert (reply.status, reply.headers["content-type"]) == (400, "text/html")


async def test_a_connection_can_be_revoked() -> None:
    """revoke /v2/oauth2/tokens/revoke."""
    async with Client() as client:
        assert (await client.query("SELECT * FROM Item")).status == 200
        config = client.sim.config
        login = aiohttp.BasicAuth(config.client_id, config.client_secret)
        for token, status in (("foreign", 400), (config.refresh_token, 200)):
            reply = await client.ask("POST", "/v2/oauth2/tokens/revoke", json={"token": token}, auth=login)
            assert reply.status == status
        assert (await client.query("SELECT * FROM Item")).status == 401
        assert (await client.refresh()).json["error"] == "invalid_grant"


@pytest.mark.parametrize("document", ["openid_configuration", "openid_sandbox_configuration"])
@pytest.mark.parametrize("slash", ["", "/"])
async def test_both_discovery_documents_are_there_with_and_without_slash(document: str, slash: str) -> None:
    """Discovery: /.well-known/openid_configuration/ and openid_sandbox_configuration/. It lists only OIDC scopes, not
    the accounting scope."""
    async with Client() as client:
        found = (await client.ask("GET", f"/.well-known/{document}{slash}")).json
        assert found["token_endpoint"] == f"{client.sim.url}/oauth2/v1/tokens/bearer"
        assert found["authorization_endpoint"] == f"{client.sim.url}/connect/oauth2"
        assert found["revocation_endpoint"] == f"{client.sim.url}/v2/oauth2/tokens/revoke"
        assert "com.intuit.quickbooks.accounting" not in found["scopes_supported"]


async def test_tls_with_a_local_authority_serves_intuits_hosts_on_request(tmp_path: object) -> None:
    """TLS with a local CA on request; a proxy on loopback takes Intuit's hosts for the simulator, and no other."""
    async with Client(tls_folder=tmp_path, proxy_port=0) as client:
        trusting = ssl.create_default_context(cafile=f"{tmp_path}/authority.crt")
        proxy = client.sim.proxy_url
        for host in ("developer.intuit.com", "oauth.platform.intuit.com"):
            url = f"https://{host}/.well-known/openid_configuration"
            found = await client.ask("GET", url, ssl=trusting, proxy=proxy)
            assert found.json["token_endpoint"] == "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"
        with pytest.raises(aiohttp.ClientHttpProxyError) as refused:
            await client.ask("GET", "https://example.com/", ssl=trusting, proxy=proxy)
        assert refused.value.status == 403
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await client.ask("GET", "/.well-known/openid_configuration", ssl=ssl.create_default_context())
        key = next(path for path in tmp_path.iterdir() if path.suffix == ".key")  # type: ignore[attr-defined]
        assert key.stat().st_mode & 0o077 == 0


async def test_the_proxy_outlives_a_client_that_leaves(tmp_path: object) -> None:
    async with Client(tls_folder=tmp_path, proxy_port=0) as client:
        port = urlsplit(str(client.sim.proxy_url)).port
        assert port is not None
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONN")
        writer.close()
        sock = socket.create_connection(("127.0.0.1", port))
        sock.close()
        trusting = ssl.create_default_context(cafile=f"{tmp_path}/authority.crt")
        url = "https://appcenter.intuit.com/connect/oauth2"
        assert (await client.ask("GET", url, ssl=trusting, proxy=client.sim.proxy_url)).status == 400
