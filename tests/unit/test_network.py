"""QBO_PROXY as it is taken, and what a failed connection is called."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from async_extractor.errors import ConfigurationError
from async_extractor.qbo.faults import AuthorizationFault, TransientFault
from async_extractor.qbo.network import checked_proxy, connection_fault

KEY: Any = ConnectionKey("quickbooks.api.intuit.com", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    "text",
    [
        "http://proxy:3128",
        "http://10.0.0.1:8080",
        "http://[::1]:8080",
        "http://user:pass-word@proxy.example.com:3128",
        "http://user@proxy:3128",
    ],
)
def test_a_proxy_is_taken(text: str) -> None:
    assert checked_proxy(f" {text}/\n") == text


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_there_may_be_none(text: str | None) -> None:
    assert checked_proxy(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "proxy:3128",
        "https://proxy:3128",
        "socks5://proxy:1080",
        "http://proxy",
        "http://proxy:99999",
        "http://user:secret@host@proxy:1",
        "http://proxy:3128/path",
        "http://pro xy:3128",
    ],
)
def test_what_is_no_proxy_is_refused_without_being_shown(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^QBO_PROXY: is not http://HOST:PORT") as refused:
        checked_proxy(text)
    assert "secret" not in str(refused.value)
    assert text not in str(refused.value)


def test_a_certificate_that_isnt_trusted_is_no_matter_of_trying_again() -> None:
    error = ssl.SSLCertVerificationError()
    error.verify_message = "self-signed certificate in certificate chain"
    fault = connection_fault("QuickBooks", aiohttp.ClientConnectorCertificateError(KEY, error))
    assert isinstance(fault, AuthorizationFault)
    assert "self-signed certificate in certificate chain" in str(fault)
    assert "SSL_CERT_FILE" in str(fault)


@pytest.mark.parametrize(
    ("status", "kind"), [(407, AuthorizationFault), (403, AuthorizationFault), (502, TransientFault)]
)
def test_a_proxy_that_refuses(status: int, kind: type[Exception]) -> None:
    request: Any = aiohttp.RequestInfo
    fault = connection_fault("QuickBooks", aiohttp.ClientHttpProxyError(request, (), status=status, message="no"))
    assert type(fault) is kind
    assert str(fault) == f"the proxy of QBO_PROXY refuses the way to QuickBooks: HTTP {status}"


def test_other_failures_are_worth_another_try(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    late = connection_fault("QuickBooks", asyncio.TimeoutError())
    assert (type(late), str(late)) == (TransientFault, "QuickBooks gave no answer in time")
    reset = connection_fault("QuickBooks", ConnectionResetError(104, "Connection reset by peer"))
    assert str(reset) == "the connection to QuickBooks failed (ConnectionResetError: Connection reset by peer)"
    monkeypatch.setenv("https_proxy", "http://user:pass-word@proxy:3128")
    told = str(connection_fault("QuickBooks", asyncio.TimeoutError()))
    assert told.endswith("; https_proxy is set, and isn't read: a proxy is named by the secret QBO_PROXY")
