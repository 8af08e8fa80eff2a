"""Intuit's token endpoint: a refresh token, or an authorization code, for an access token. One request, no retry."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from async_extractor.printable import printable
from async_extractor.qbo.faults import LONGEST_TID, AuthorizationFault, PageFault, TransientFault, redact
from async_extractor.qbo.gunzip import ACCEPTED, MOST_HEADER_BYTES, read_body
from async_extractor.qbo.network import connection_fault

# Bytes of an answer, which has a few hundred and two tokens.
MOST_BYTES = 65_536

REAUTHORISE = (
    "reauthorise the company: run `qbo-backfill auth login`, or store a new refresh token with "
    "`qbo-backfill secrets set QBO_REFRESH_TOKEN`"
)


@dataclass(frozen=True)
class Client:
    """The app's credentials at Intuit."""

    id: str
    secret: str

    def __repr__(self) -> str:
        return "Client(...)"


@dataclass(frozen=True)
class TokenAnswer:
    """What Intuit gives. Durations in seconds from now; None where it said nothing of it.

    `refresh_expires_in` is how long the refresh token lasts unless it is used before (100 days and a little);
    `consent_expires_in` is the end of the consent itself, five years after it, which no refresh moves.
    """

    access_token: str | None
    expires_in: float
    refresh_token: str | None
    refresh_expires_in: float | None
    consent_expires_in: float | None
    tid: str

    def __repr__(self) -> str:
        return "TokenAnswer(...)"


class TokenEndpoint:
    """Asks it over the session that it is given. Raises AuthorizationFault or TransientFault; no token in either."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def refresh(self, refresh_token: str, client: Client) -> TokenAnswer:
        return await self._ask({"grant_type": "refresh_token", "refresh_token": refresh_token}, client)

    async def exchange_code(self, code: str, redirect_uri: str, client: Client) -> TokenAnswer:
        return await self._ask({"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}, client)

    async def _ask(self, form: Mapping[str, str], client: Client) -> TokenAnswer:
        try:
            async with self._session.post(
                self._url,
                data=form,
                auth=aiohttp.BasicAuth(client.id, client.secret),
                # Without the second one Intuit doesn't tell when the consent ends.
                headers={
                    "Accept": "application/json",
                    "Accept-Encoding": ACCEPTED,
                    "x-include-refresh-token-hard-expires-in": "true",
                },
                allow_redirects=False,
                auto_decompress=False,
                max_line_size=MOST_HEADER_BYTES,
                max_field_size=MOST_HEADER_BYTES,
            ) as response:
                body = await read_body(response, MOST_BYTES)
                tid = printable(response.headers.get("intuit_tid", ""), LONGEST_TID)
        except PageFault as fault:
            raise TransientFault(f"Intuit's token endpoint gave {fault}") from None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            raise connection_fault("Intuit's token endpoint", error) from None
        if response.status == 200:
            return _read(body, tid)
        text = redact(body[:300].decode("utf-8", "replace"))
        if response.status >= 500 or response.status == 429:
            raise TransientFault(f"Intuit's token endpoint answered HTTP {response.status}", tid=tid)
        if "invalid_client" in text:
            raise AuthorizationFault(
                "Intuit refuses the app's credentials (invalid_client): check QBO_CLIENT_ID and QBO_CLIENT_SECRET "
                "against the app's Keys page at Intuit",
                code="invalid_client",
                tid=tid,
            )
        if "invalid_grant" in text:
            what = "authorization code" if "code" in form else "refresh token"
            raise AuthorizationFault(
                f"Intuit refuses the {what} (invalid_grant), it is old, revoked or another app's: {REAUTHORISE}",
                code="invalid_grant",
                tid=tid,
            )
        raise AuthorizationFault(f"Intuit's token endpoint answered HTTP {response.status}; {REAUTHORISE}", tid=tid)


def _read(body: bytes, tid: str) -> TokenAnswer:
    """Read leniently: were an answer refused for a figure's sake, the rotated token in it would be lost for good."""
    try:
        said: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = None
    said = said if isinstance(said, dict) else {}
    answer = TokenAnswer(
        access_token=_text(said.get("access_token")),
        expires_in=_seconds(said.get("expires_in")) or 0.0,
        refresh_token=_text(said.get("refresh_token")),
        refresh_expires_in=_seconds(said.get("x_refresh_token_expires_in")),
        consent_expires_in=_seconds(said.get("x_refresh_token_hard_expires_in")),
        tid=tid,
    )
    if answer.access_token is None and answer.refresh_token is None:
        raise TransientFault("Intuit's token endpoint gave an answer without tokens", tid=tid)
    return answer


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _seconds(value: object) -> float | None:
    try:
        return max(float(value), 0.0) if isinstance(value, (int, float, str)) else None
    except ValueError:
        return None
