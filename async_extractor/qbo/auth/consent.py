"""A user's consent: Intuit's page on which it is given, and what comes back from it (OAuth 2.0, authorization code)."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from async_extractor.errors import ConfigurationError, RequestError

SCOPE = "com.intuit.quickbooks.accounting"


class StrangeAnswerError(RequestError):
    """What came to the redirect URI isn't the answer to this request."""


@dataclass(frozen=True)
class Granted:
    """An authorization code, good for minutes and for one exchange, and the company that was chosen."""

    code: str
    realm_id: str

    def __repr__(self) -> str:
        return f"Granted(realm_id={self.realm_id!r})"


class ConsentRequest:
    """One request for consent. Its state is random, and only an answer that repeats it is taken."""

    def __init__(self, page: str, client_id: str, redirect_uri: str) -> None:
        self.redirect_uri = redirect_uri
        self._state = secrets.token_urlsafe(32)
        asked = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPE,
            "state": self._state,
        }
        self.url = f"{page}?{urlencode(asked)}"

    def granted(self, answer: str) -> Granted:
        """What the address that the browser was sent to says.

        Raises StrangeAnswerError when it isn't this request's, ConfigurationError when the consent was refused.
        """
        said = {name: values[0] for name, values in parse_qs(urlsplit(answer).query).items()}
        if not secrets.compare_digest(said.get("state", "").encode(), self._state.encode()):
            raise StrangeAnswerError("the answer has another state than this request: begin again, in one browser")
        if "error" in said:
            word = re.sub(r"[^\w .-]", "", said["error"])[:60]
            raise ConfigurationError(f"Intuit's consent page answered {word}: nothing was stored")
        if "code" not in said:
            raise StrangeAnswerError("the answer has no authorization code: begin again")
        realm_id = said.get("realmId", "")
        if not re.fullmatch(r"[0-9]{5,30}", realm_id):
            raise StrangeAnswerError("the answer doesn't say which company was chosen (realmId): begin again")
        return Granted(said["code"], realm_id)
