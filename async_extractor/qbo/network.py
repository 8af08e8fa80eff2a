"""The HTTP session to QuickBooks: its limits, a company's proxy, and what a failed connection means.

In one place for the query endpoint, the token endpoint, and the commands that ask them.
"""

from __future__ import annotations

import asyncio
import os
import re
from typing import Any

import aiohttp
from yarl import URL

from async_extractor.errors import ConfigurationError
from async_extractor.qbo.faults import AuthorizationFault, QboFault, TransientFault, redact

# Seconds to wait for a connection to Intuit, or to the proxy.
CONNECT_SECONDS = 15.0
# The session's own, which the token endpoint is asked with; queries have Patience.request_seconds.
TOKEN_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=CONNECT_SECONDS)
# Gateways add headers; other clients take as much, aiohttp's own limit is 8 KB.
LONGEST_HEADER = 65_536
# What other programs go by. Not read here: a variable must not lead credentials to another host.
_UNREAD = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def http_session(proxy: str | None = None, *, connections: int = 100) -> aiohttp.ClientSession:
    """A session whose https requests are tunnelled through `proxy` (http://user:password@host:port), if any."""
    return aiohttp.ClientSession(
        timeout=TOKEN_TIMEOUT,
        trust_env=False,
        connector=aiohttp.TCPConnector(limit=connections),
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
        request_class=aiohttp.ClientRequest if proxy is None else _tunnelled(proxy),
    )


def _tunnelled(proxy: str) -> type[aiohttp.ClientRequest]:
    # ClientSession takes a proxy of its own from aiohttp 3.11 on only.
    address = URL(proxy)
    auth = aiohttp.BasicAuth(address.user, address.password or "") if address.user else None

    class Tunnelled(aiohttp.ClientRequest):
        def __init__(self, method: str, url: URL, **more: Any) -> None:
            # Without TLS the proxy would see all of it; only a simulator beside this process has none.
            if url.scheme == "https":
                more |= {"proxy": address.with_user(None), "proxy_auth": auth}
            super().__init__(method, url, **more)

    return Tunnelled


def checked_proxy(text: str | None) -> str | None:
    """QBO_PROXY's value, None where there is none; ConfigurationError, which doesn't show it, when it is no proxy."""
    if text is None or not text.strip():
        return None
    text = text.strip().removesuffix("/")
    wrong = ConfigurationError("QBO_PROXY: is not http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")
    if not re.fullmatch(r"http://([^\s/@:]+(:[^\s/@]*)?@)?([\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5}", text, re.ASCII):
        raise wrong
    try:
        return str(URL(text))
    except ValueError:
        raise wrong from None


def connection_fault(whose: str, error: BaseException) -> QboFault:
    """What a request that got no answer means: worth another try, or for somebody to look at."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or type(error.certificate_error).__name__
        return AuthorizationFault(
            f"the certificate shown for {whose} isn't trusted ({why}): where the network has an authority of its own, "
            "name the file of its certificate in the environment variable SSL_CERT_FILE"
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        refused = f"the proxy of QBO_PROXY refuses the way to {whose}: HTTP {error.status}"
        return (AuthorizationFault if 400 <= error.status < 500 else TransientFault)(refused)
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return TransientFault(f"the proxy of QBO_PROXY can't be reached ({_words(error.os_error)})")
    if isinstance(error, asyncio.TimeoutError):
        return TransientFault(f"{whose} gave no answer in time{_unread()}")
    return TransientFault(f"the connection to {whose} failed ({_words(error)}){_unread()}")


def _words(error: BaseException) -> str:
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{type(error).__name__}: {redact(' '.join(error.message.split()))[:200]}"
    words = getattr(error, "strerror", None)  # without the address, which may be the proxy's
    return f"{type(error).__name__}: {words}" if isinstance(words, str) and words else type(error).__name__


def _unread() -> str:
    found = [name for name in _UNREAD if os.environ.get(name)]
    return f"; {found[0]} is set, and isn't read: a proxy is named by the secret QBO_PROXY" if found else ""
