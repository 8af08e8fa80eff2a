"""OAuth over HTTP: authorization, the token endpoint, revocation, and the two discovery documents."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import secrets
import time
from urllib.parse import urlencode, urlsplit, urlunsplit

from aiohttp import web

from qbo_simulator.api_routes import abort, log_entry, new_tid
from qbo_simulator.envelopes import Answer, html
from qbo_simulator.faults import ON_A_PAGE, ON_THE_WAY, answer_for
from qbo_simulator.fuzz import fuzzed
from qbo_simulator.ledger import Entry
from qbo_simulator.oauth import OAuthError
from qbo_simulator.service import Service
from qbo_simulator.tls import INTUIT_HOSTS

_LOOPBACK = frozenset(["127.0.0.1", "localhost", "::1"])
ACCOUNTING_SCOPE = "com.intuit.quickbooks.accounting"


class OAuthRoutes:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[web.RouteDef]:
        found = [
            web.post("/oauth2/v1/tokens/bearer", self.token),
            web.get("/connect/oauth2", self.authorize),
            web.post("/v2/oauth2/tokens/revoke", self.revoke),
        ]
        documents = ("openid_configuration", "openid_sandbox_configuration")
        paths = [f"/.well-known/{document}{slash}" for document in documents for slash in ("", "/")]
        return found + [web.get(path, self.discovery) for path in paths]

    async def token(self, request: web.Request) -> web.StreamResponse:
        """Exchange a refresh token or a code. OAuth calls are neither metered nor limited."""
        service = self._service
        began = time.perf_counter()
        entry = Entry(service.clock.now(), "token", request.method, request.path, new_tid())
        try:
            struck = service.faults.strike("token")
            fault = entry.fault = None if struck is None else struck.kind
            if fault is not None and fault not in ON_THE_WAY and fault not in ON_A_PAGE:
                service.turn += 1
                answer = answer_for(fault, service.how, service.clock.envelope_time(), service.turn, "")
                entry.status = answer.status
                headers = answer.headers | {"intuit_tid": entry.tid, "Content-Type": answer.content_type}
                return web.Response(status=answer.status, body=answer.body, headers=headers)
            body, lost = await self._exchange(request)
            if struck is not None and struck.kind == "slow-body":
                await asyncio.sleep(struck.body_seconds)
            if lost or fault in ("reset", "truncated", "truncated-gzip"):
                entry.fault = entry.fault or "dropped-token-answer"
                return abort(request)
            entry.status = 200
            service.ledger.tokens["refreshed"] += 1
            if fault == "fuzz":
                answer = fuzzed(Answer(200, json.dumps(body).encode()), service.chance)
                entry.status = answer.status
                headers = answer.headers | {"intuit_tid": entry.tid, "Content-Type": answer.content_type}
                return web.Response(status=answer.status, body=answer.body, headers=headers)
            return _json(200, body, entry.tid)
        except OAuthError as error:
            entry.status = error.status
            service.ledger.tokens[error.error] += 1
            told: dict[str, object] = {"error": error.error}
            if error.description is not None:
                told["error_description"] = error.description
            return _json(error.status, told, entry.tid)
        finally:
            entry.milliseconds = round((time.perf_counter() - began) * 1000, 2)
            service.ledger.close(entry)
            log_entry(entry)

    async def _exchange(self, request: web.Request) -> tuple[dict[str, object], bool]:
        """The token answer, and whether it is lost on its way."""
        service, tokens = self._service, self._service.how.tokens
        form = {name: str(value) for name, value in (await request.post()).items()}
        client = _client(request, form)
        if client is None:
            raise OAuthError(401, "invalid_client")
        service.consent.check_client(*client)
        grant = form.get("grant_type")
        if grant == "authorization_code":
            body = service.consent.exchange(form.get("code", ""), form.get("redirect_uri", ""), tokens)
            service.ledger.tokens["consented"] += 1
            return self._with_hard_expiry(request, body), False
        if grant != "refresh_token":
            raise OAuthError(400, "unsupported_grant_type")
        value = form.get("refresh_token", "")
        service.consent.begin_refresh(value, tokens)
        try:
            await asyncio.sleep(tokens.milliseconds / 1000)
        except asyncio.CancelledError:
            service.consent.abandon_refresh(value)
            raise
        body, rotated = service.consent.finish_refresh(value, tokens)
        lost = rotated and service.dropped_answers < tokens.drop_rotated_answers
        service.dropped_answers += lost
        service.ledger.tokens["rotated"] += rotated
        return self._with_hard_expiry(request, body), lost

    def _with_hard_expiry(self, request: web.Request, body: dict[str, object]) -> dict[str, object]:
        """Told only to who asks: seconds until the five-year consent ends."""
        if request.headers.get("x-include-refresh-token-hard-expires-in", "").lower() == "true":
            body["x_refresh_token_hard_expires_in"] = self._service.consent.hard_expiry()
        return body

    async def authorize(self, request: web.Request) -> web.StreamResponse:
        """The consent screen, which here always agrees: back to the redirect URI with `code`, `state`, `realmId`.

        Only loopback redirect URIs are taken, so that nothing leaves the machine.
        """
        wanted = request.query
        redirect_uri = wanted.get("redirect_uri", "")
        problem = None
        if wanted.get("client_id") != self._service.consent.client_id:
            problem = "The client_id is unknown"
        elif wanted.get("response_type") != "code":
            problem = "The response_type must be code"
        elif ACCOUNTING_SCOPE not in wanted.get("scope", "").split():
            problem = f"The scope must hold {ACCOUNTING_SCOPE}"
        elif urlsplit(redirect_uri).hostname not in _LOOPBACK:
            problem = "The redirect_uri query parameter value is invalid: only loopback addresses are registered"
        if problem is not None:
            answer = html(400, problem, "appcenter")
            return web.Response(status=400, body=answer.body, headers={"Content-Type": answer.content_type})
        code = self._service.consent.authorize(redirect_uri)
        parameters = {"code": code, "state": wanted.get("state", ""), "realmId": self._service.config.realm_id}
        parts = urlsplit(redirect_uri)
        query = "&".join(part for part in (parts.query, urlencode(parameters)) if part)
        raise web.HTTPFound(urlunsplit(parts._replace(query=query)))

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        if request.content_type == "application/json":
            try:
                form = await request.json()
            except json.JSONDecodeError:
                form = {}
        else:
            form = dict(await request.post())
        client = _client(request, form)
        tid = new_tid()
        try:
            if client is None:
                raise OAuthError(401, "invalid_client")
            self._service.consent.check_client(*client)
        except OAuthError as error:
            return _json(error.status, {"error": error.error}, tid)
        if not self._service.consent.revoke(str(form.get("token", ""))):
            return _json(400, {"error": "invalid_request"}, tid)
        return web.Response(status=200, headers={"intuit_tid": tid})

    async def discovery(self, request: web.Request) -> web.StreamResponse:
        # Asked for as one of Intuit's hosts, it names Intuit's hosts; else all is here.
        here = f"{request.scheme}://{request.host}"
        intuit = request.host in INTUIT_HOSTS
        login, issuer, revoking = (
            ("https://appcenter.intuit.com", "https://oauth.platform.intuit.com", "https://developer.api.intuit.com")
            if intuit
            else (here, here, here)
        )
        # Only the OpenID scopes are listed; the accounting scope is not.
        document: dict[str, object] = {
            "issuer": f"{issuer}/op/v1",
            "authorization_endpoint": f"{login}/connect/oauth2",
            "token_endpoint": f"{issuer}/oauth2/v1/tokens/bearer",
            "userinfo_endpoint": f"{issuer}/v1/openid_connect/userinfo",
            "revocation_endpoint": f"{revoking}/v2/oauth2/tokens/revoke",
            "jwks_uri": f"{issuer}/op/v1/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "scopes_supported": ["openid", "email", "profile", "address", "phone"],
            "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
            "claims_supported": ["aud", "exp", "iat", "iss", "realmid", "sub"],
        }
        return _json(200, document, new_tid())


def _client(request: web.Request, form: dict[str, str]) -> tuple[str, str] | None:
    """The client's credentials: Basic, or in the body, which works in practice too."""
    scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "basic":
        try:
            decoded = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None
        identifier, colon, secret = decoded.partition(":")
        return (identifier, secret) if colon else None
    if "client_id" in form and "client_secret" in form:
        return form["client_id"], form["client_secret"]
    return None


def _json(status: int, body: dict[str, object], tid: str) -> web.Response:
    headers = {
        "intuit_tid": tid,
        "x-spanid": secrets.token_hex(16),
        "Content-Type": "application/json;charset=utf-8",
        "Cache-Control": "no-cache, no-store",
        "Pragma": "no-cache",
        "Server": "nginx",
    }
    if status == 401:
        headers["WWW-Authenticate"] = 'Basic realm="Intuit"'
    return web.Response(status=status, body=json.dumps(body).encode(), headers=headers)
