"""Credentials go to Intuit's hosts, or to a simulator on this machine or in this Compose project, and nowhere else."""

from __future__ import annotations

import pytest

from async_extractor.errors import ConfigurationError
from async_extractor.qbo.endpoints import Endpoints

TOKEN = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"


def test_sandbox_and_production_are_intuits_own_hosts() -> None:
    assert Endpoints.of("production") == Endpoints("https://quickbooks.api.intuit.com", TOKEN)
    assert Endpoints.of("sandbox") == Endpoints("https://sandbox-quickbooks.api.intuit.com", TOKEN)


@pytest.mark.parametrize("environment", ["production", "sandbox"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://evil.com"])
def test_a_simulators_address_changes_nothing_outside_the_simulators_environment(environment: str, url: str) -> None:
    assert Endpoints.of(environment, url) == Endpoints.of(environment)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        (" http://127.0.0.1:8080 ", "http://127.0.0.1:8080"),
        ("http://127.8.9.10:1", "http://127.8.9.10:1"),
        ("https://localhost:8443", "https://localhost:8443"),
        ("http://LOCALHOST:8080", "http://LOCALHOST:8080"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://simulator:8080", "http://simulator:8080"),
        ("http://qbo-simulator_2:8080", "http://qbo-simulator_2:8080"),
        ("http://simulator", "http://simulator"),
    ],
)
def test_a_simulator_on_loopback_or_under_a_services_name_is_taken(url: str, base: str) -> None:
    assert Endpoints.of("simulator", url) == Endpoints(base, f"{base}/oauth2/v1/tokens/bearer")


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.com",
        "https://quickbooks.api.intuit.com",
        # Names that only begin or end like a local one.
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "http://evil.com.",
        "http://localhost.",
        "http://127.0.0.1.",
        "http://.localhost",
        # User information, so that what looks like the host isn't.
        "http://127.0.0.1@evil.com",
        "http://127.0.0.1:8080@evil.com",
        "http://localhost:80\\@evil.com",
        "http://localhost\\@evil.com",
        "http://evil.com\\@localhost",
        "http://evil.com:80@localhost",
        "http://user:password@localhost:8080",
        "http://:password@simulator:8080",
        "http://@simulator:8080",
        # Fragments, queries and paths.
        "http://evil.com#localhost",
        "http://evil.com?localhost",
        "http://evil.com/localhost",
        "http://localhost#",
        "http://localhost?",
        "http://localhost#@evil.com",
        "http://localhost/path",
        "http://localhost//evil.com",
        "http://localhost/../evil.com",
        # Addresses in disguise.
        "http://2130706433",
        "http://0x7f000001",
        "http://0X7F.1",
        "http://0x7f.1",
        "http://127.1",
        "http://0177.0.0.1",
        "http://1.1.1.1",
        "http://16843009",
        "http://0.0.0.0",
        "http://[::]",
        "http://[fe80::1]",
        "http://[::ffff:1.1.1.1]",
        "http://169.254.169.254",
        "http://10.0.0.1:8080",
        "http://192.168.1.5",
        # What Unicode would turn into a local name, or a local name into.
        "http://ⓛocalhost",
        "http://127。0。0。1",
        "http://löcalhost",
        "http://localhost%2eevil.com",
        "http://localhost%00.evil.com",
        # White space and control characters that a parser drops.
        "http://local\nhost",
        "http://localhost\t.evil.com",
        "http://localhost \n.evil.com",
        "http://localhost\r\nHost: evil.com",
        # Not a base of HTTP.
        "localhost:8080",
        "//localhost:8080",
        "http:localhost:8080",
        "ftp://localhost",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http://:8080",
        "http://localhost:port",
        "http://localhost:99999",
        "http://localhost:-1",
        "http://[::1",
        "http://-simulator",
        "http://" + "a" * 64,
    ],
)
def test_any_other_address_is_refused_in_one_line_that_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Endpoints.of("simulator", url)
    assert str(refused.value) == (
        "QBO_SIMULATOR_URL: must be http(s)://HOST:PORT with a loopback address or a Compose service's name"
    )
    assert refused.value.exit_code == 4


@pytest.mark.parametrize("url", [None, ""])
def test_a_simulator_without_an_address_says_which_secret_is_missing(url: str | None) -> None:
    with pytest.raises(ConfigurationError, match=r"^QBO_SIMULATOR_URL is not in Mage Secrets"):
        Endpoints.of("simulator", url)


@pytest.mark.parametrize("environment", ["", "prod", "Production", "simulator ", "https://evil.com"])
def test_an_unknown_environment_is_refused_with_those_there_are(environment: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Endpoints.of(environment, "http://localhost:1")
    assert str(refused.value).startswith("QBO_ENVIRONMENT: is not one of sandbox, production, simulator")
