"""Where requests may go. Credentials are sent to these hosts and to no other."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from async_extractor.errors import ConfigurationError

ENVIRONMENTS = ("sandbox", "production", "simulator")


@dataclass(frozen=True)
class Endpoints:
    """The base of the accounting API, without a slash at its end, the token endpoint's URL, and that of the page
    on which a user consents."""

    api: str
    token: str
    consent: str = field(default="https://appcenter.intuit.com/connect/oauth2", compare=False)

    @classmethod
    def of(cls, environment: str, simulator_url: str | None = None) -> Endpoints:
        """The endpoints of `sandbox`, `production` or `simulator`; ConfigurationError otherwise.

        A simulator's URL is taken only in the simulator's environment, and only on loopback or a
        name without dots, such as a Compose service, so that real credentials can't be led astray.
        """
        intuit_token = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"  # noqa: S105 - an address
        if environment == "production":
            return cls("https://quickbooks.api.intuit.com", intuit_token)
        if environment == "sandbox":
            return cls("https://sandbox-quickbooks.api.intuit.com", intuit_token)
        checked_environment(environment)
        if not simulator_url:
            raise ConfigurationError(
                "QBO_SIMULATOR_URL is not in Mage Secrets, and QBO_ENVIRONMENT is simulator; "
                "set it with `qbo-backfill secrets set QBO_SIMULATOR_URL`"
            )
        base = simulator_url.strip().rstrip("/")
        if not _is_local(base):
            raise ConfigurationError(
                "QBO_SIMULATOR_URL: must be http(s)://HOST:PORT with a loopback address or a Compose service's name"
            )
        return cls(base, f"{base}/oauth2/v1/tokens/bearer", f"{base}/connect/oauth2")


def checked_environment(environment: str) -> None:
    """ConfigurationError when it is none of ENVIRONMENTS."""
    if environment not in ENVIRONMENTS:
        raise ConfigurationError(
            f"QBO_ENVIRONMENT: is not one of {', '.join(ENVIRONMENTS)}; "
            "set it with `qbo-backfill secrets set QBO_ENVIRONMENT`"
        )


def _is_local(url: str) -> bool:
    if re.search(r"[^!-~]|[@?#%\\]", url):  # what a parser may drop, or read in its own way
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or parts.path:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # A dotted name could be anybody's; a name that is all digits is an address in disguise.
        return re.fullmatch(
            r"(?=.*[a-z])[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?", host
        ) is not None and not host.startswith("0x")
