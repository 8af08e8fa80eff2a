"""A user's consent: Intuit's page on which it is given, and what comes back from it (OAuth 2.0, authorization code)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from authlib.common.security import generate_token
from authlib.oauth2.rfc6749.errors import MismatchingStateException, MissingCodeException
from authlib.oauth2.rfc6749.parameters import parse_authorization_code_response, prepare_grant_uri

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
        self._state = generate_token(40)
        self.url: str = prepare_grant_uri(
            page,
            client_id=client_id,
            response_type="code",
            redirect_uri=redirect_uri,
            scope=SCOPE,
            state=self._state,
        )

    def granted(self, answer: str) -> Granted:
        """What the address that the browser was sent to says.

        Raises StrangeAnswerError when it isn't this request's, ConfigurationError when the consent was refused.
        """
        said = {name: values[0] for name, values in parse_qs(urlsplit(answer).query).items()}
        if said.get("state") != self._state:
            raise StrangeAnswerError("the answer has another state than this request: begin again, in one browser")
        if "error" in said:
            word = re.sub(r"[^\w .-]", "", said["error"])[:60]
            raise ConfigurationError(f"Intuit's consent page answered {word}: nothing was stored")
        try:
            code = parse_authorization_code_response(answer, state=self._state)["code"]
        except (MissingCodeException, MismatchingStateException):
            raise StrangeAnswerError("the answer has no authorization code: begin again") from None
        realm_id = said.get("realmId", "")
        if not re.fullmatch(r"\d{5,30}", realm_id):
            raise StrangeAnswerError("the answer doesn't say which company was chosen (realmId): begin again")
        return Granted(str(code), realm_id)
