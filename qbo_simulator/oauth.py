"""Intuit's OAuth 2.0 as a state machine: one company's consent, its refresh token and its access tokens.

The refresh token rolls: a refresh after `rotate_after_seconds` returns a new value and kills the old one at once.
Two refreshes under way with the same value: the first wins, the second is told `invalid_grant`.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from dataclasses import dataclass
from typing import Any

from qbo_simulator.behaviour import Tokens
from qbo_simulator.times import Clock

REFRESH_LIFETIME = 8_726_400  # seconds: 101 days, as captured answers have it
CONSENT_LIFETIME = 5 * 365 * 86_400  # seconds: Intuit's cap since 2025-11
CODE_LIFETIME = 300  # seconds


class OAuthError(Exception):
    """What the token endpoint refuses: `error` by RFC 6749's name, with its HTTP status."""

    def __init__(self, status: int, error: str, description: str | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.description = description


@dataclass
class _Code:
    redirect_uri: str
    expires: float
    used: bool = False


class Consent:
    """A user's consent for one client and one company, from the authorization on."""

    def __init__(self, client_id: str, client_secret: str, refresh_token: str, clock: Clock) -> None:
        self.client_id = client_id
        self.client_secret = client_secret
        self._clock = clock
        self._codes: dict[str, _Code] = {}
        self._access: dict[str, float] = {}
        self._dead: dict[str, float] = {}
        self._in_exchange: set[str] = set()
        self._begin(refresh_token)

    def _begin(self, refresh_token: str) -> None:
        self.refresh_token: str | None = refresh_token
        self._issued = self._consented = self._clock.now()

    # Authorization

    def authorize(self, redirect_uri: str) -> str:
        """A code for this redirect URI, good for five minutes and one exchange."""
        code = "AB1" + secrets.token_hex(24)
        self._codes[code] = _Code(redirect_uri, self._clock.now() + CODE_LIFETIME)
        return code

    def exchange(self, code: str, redirect_uri: str, tokens: Tokens) -> dict[str, Any]:
        known = self._codes.get(code)
        if known is None or known.expires < self._clock.now() or known.redirect_uri != redirect_uri:
            raise OAuthError(400, "invalid_grant", "Invalid authorization code")
        if known.used:
            # Intuit takes a second exchange of a code for an attack, and revokes what the first one gave.
            self.revoke_all()
            raise OAuthError(400, "invalid_grant", "Authorization code already used")
        known.used = True
        self._begin(_new_refresh_token())
        return self._answer(tokens)

    # Refresh

    def check_client(self, client_id: str, client_secret: str) -> None:
        right_id = hmac.compare_digest(client_id.encode(), self.client_id.encode())
        right_secret = hmac.compare_digest(client_secret.encode(), self.client_secret.encode())
        if not (right_id and right_secret):
            raise OAuthError(401, "invalid_client")

    def begin_refresh(self, value: str, tokens: Tokens) -> None:
        """Claim the value for one exchange. OAuthError when it is dead, foreign, or being exchanged."""
        now = self._clock.now()
        if value in self._in_exchange:
            if tokens.reuse == "revokes-all":
                self.revoke_all()
            raise OAuthError(400, "invalid_grant", "Token invalid")
        if value == self.refresh_token and now < min(
            self._issued + REFRESH_LIFETIME, self._consented + CONSENT_LIFETIME
        ):
            self._in_exchange.add(value)
            return
        died = self._dead.get(value)
        if died is not None and self.refresh_token is not None:
            if now < died + tokens.grace_seconds:
                self._in_exchange.add(value)
                return
            if tokens.reuse == "revokes-all":
                self.revoke_all()
        raise OAuthError(400, "invalid_grant", "Incorrect or invalid refresh token")

    def finish_refresh(self, value: str, tokens: Tokens) -> tuple[dict[str, Any], bool]:
        """The answer, and whether the refresh token's value changed."""
        self._in_exchange.discard(value)
        if self.refresh_token is None:
            raise OAuthError(400, "invalid_grant", "Token invalid")
        now = self._clock.now()
        rotated = value == self.refresh_token and now - self._issued >= tokens.rotate_after_seconds
        if rotated:
            self._dead[value] = now
            self.refresh_token = _new_refresh_token()
            self._issued = now
        return self._answer(tokens), rotated

    def abandon_refresh(self, value: str) -> None:
        self._in_exchange.discard(value)

    def _answer(self, tokens: Tokens) -> dict[str, Any]:
        now = self._clock.now()
        access = _new_access_token()
        self._access = {token: expires for token, expires in self._access.items() if expires > now}
        self._access[access] = now + tokens.access_seconds
        return {
            "x_refresh_token_expires_in": int(self._issued + REFRESH_LIFETIME - now),
            "refresh_token": self.refresh_token,
            "access_token": access,
            "token_type": "bearer",
            "expires_in": tokens.access_seconds,
        }

    def hard_expiry(self) -> int:
        """Seconds until the consent itself ends, which no refresh moves."""
        return int(self._consented + CONSENT_LIFETIME - self._clock.now())

    @property
    def exchanging(self) -> bool:
        """Whether a refresh is under way."""
        return bool(self._in_exchange)

    # Use and end

    def is_live(self, access_token: str) -> bool:
        return self._access.get(access_token, 0) > self._clock.now()

    def expire_access_tokens(self) -> int:
        """End every access token now; how many there were."""
        count = len(self._access)
        self._access.clear()
        return count

    def revoke_all(self) -> None:
        """The connection is gone: the user must consent again."""
        if self.refresh_token is not None:
            self._dead[self.refresh_token] = 0
        self.refresh_token = None
        self._access.clear()

    def revoke(self, value: str) -> bool:
        """End the connection by one of its tokens; whether the token was one."""
        if value == self.refresh_token or value in self._access:
            self.revoke_all()
            return True
        return False

    def restore(self, refresh_token: str) -> None:
        """Consent anew, with this refresh token."""
        self._dead.pop(refresh_token, None)
        self._begin(refresh_token)


def _new_refresh_token() -> str:
    return f"RT1-{secrets.randbelow(100)}-H0-{secrets.token_hex(24)}"


def _new_access_token() -> str:
    # Real ones are encrypted JWTs of about a thousand characters.
    return "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0.." + base64.urlsafe_b64encode(
        secrets.token_bytes(600)
    ).decode().rstrip("=")
