"""A run's settings come from Mage Secrets; what is missing or wrong there is said by its name, never by its value."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from async_extractor.errors import ConfigurationError
from async_extractor.qbo.endpoints import Endpoints
from async_extractor.settings import Settings, warehouse_address
from async_extractor.warehouse.connection import Address

GIVEN = {
    "QBO_ENVIRONMENT": "sandbox",
    "QBO_REALM_ID": "4620816365",
    "QBO_CLIENT_ID": "client-id",
    "QBO_CLIENT_SECRET": "client-secret-Zx81",
    "QBO_REFRESH_TOKEN": "RT1-refresh-token-0001",
    "POSTGRES_HOST": "postgres",
    "POSTGRES_PORT": "5432",
    "POSTGRES_DB": "warehouse",
    "POSTGRES_USER": "extractor",
    "POSTGRES_PASSWORD": "pass-word-Qy77",
}


class Given:
    """Secrets in a dictionary; a missing or empty one is refused as Mage's are."""

    def __init__(self, **changed: str | None) -> None:
        self._values = {name: value for name, value in {**GIVEN, **changed}.items() if value is not None}

    def get(self, name: str) -> str | None:
        return self._values.get(name)

    def require(self, name: str) -> str:
        value = self._values.get(name)
        if not value:
            raise ConfigurationError(f"{name} is not in Mage Secrets")
        return value

    def snapshot(self) -> Given:
        return self

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[Given]:
        raise AssertionError("reading the settings takes no lock")
        yield self


def refusal(**changed: str | None) -> str:
    with pytest.raises(ConfigurationError) as refused:
        Settings.read(Given(**changed))  # type: ignore[arg-type]
    assert refused.value.exit_code == 4
    line = str(refused.value)
    assert "\n" not in line
    for name in ("QBO_CLIENT_SECRET", "QBO_REFRESH_TOKEN", "POSTGRES_PASSWORD"):
        assert GIVEN[name] not in line
    return line


def test_settings_are_what_the_secrets_say() -> None:
    settings = Settings.read(Given())  # type: ignore[arg-type]
    assert settings.realm_id == "4620816365"
    assert settings.environment == "sandbox"
    assert settings.endpoints == Endpoints.of("sandbox")
    assert (settings.client.id, settings.client.secret) == ("client-id", "client-secret-Zx81")
    assert settings.warehouse == Address("postgres", 5432, "warehouse", "extractor", "pass-word-Qy77")
    assert settings.raw_schema == "raw"


def test_a_profile_has_a_raw_schema_of_its_own() -> None:
    assert Settings.read(Given(), "acme").raw_schema == "raw_acme"  # type: ignore[arg-type]


def test_white_space_that_was_pasted_along_is_dropped_but_not_from_the_password() -> None:
    pasted = {name: f" {value}\n" for name, value in GIVEN.items()}
    settings = Settings.read(Given(**pasted))  # type: ignore[arg-type]
    expected = Settings.read(Given(POSTGRES_PASSWORD=" pass-word-Qy77\n"))  # type: ignore[arg-type]
    assert settings == expected
    assert settings.warehouse.password == " pass-word-Qy77\n"


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("value", [None, ""])
def test_a_secret_that_is_missing_or_empty_is_named(name: str, value: str | None) -> None:
    assert refusal(**{name: value}) == f"{name} is not in Mage Secrets"


@pytest.mark.parametrize("value", ["prod", "Sandbox", "simulator;", "http://127.0.0.1"])
def test_an_unknown_environment_is_refused(value: str) -> None:
    assert refusal(QBO_ENVIRONMENT=value).startswith("QBO_ENVIRONMENT: ")


@pytest.mark.parametrize(
    "value", ["acme", "1234", "46208163650a", "4620 816365", "../../v3", "4620816365/query", "-4620816365", "1" * 31]
)
def test_a_realm_that_is_not_digits_is_refused(value: str) -> None:
    assert refusal(QBO_REALM_ID=value).startswith("QBO_REALM_ID: is not a string of digits")


@pytest.mark.parametrize("value", ["0", "65536", "-1", "5432.0", "port", "5432;", "99999999999"])
def test_a_port_that_is_none_is_refused(value: str) -> None:
    assert refusal(POSTGRES_PORT=value) == "POSTGRES_PORT: is not a port number from 1 to 65535"


@pytest.mark.parametrize("value", ["1", "5432", "65535"])
def test_a_port_is_any_number_from_1_to_65535(value: str) -> None:
    assert warehouse_address(Given(POSTGRES_PORT=value)).port == int(value)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "host"),
    [
        ("[::1]", "::1"),
        ("::1", "::1"),
        ("[fe80::1%eth0]", "fe80::1%eth0"),
        ("2001:0db8::0001", "2001:db8::1"),
        ("127.0.0.1", "127.0.0.1"),
        ("db.example.com", "db.example.com"),
        ("warehouse_db", "warehouse_db"),
        ("/var/run/postgresql", "/var/run/postgresql"),
    ],
)
def test_hosts_as_people_write_them(value: str, host: str) -> None:
    assert warehouse_address(Given(POSTGRES_HOST=value)).host == host  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("db.example.com:5433", "holds a port, too"),
        ("127.0.0.1:55432", "holds a port, too"),
        ("[::1]:5432", "holds a port, too"),
        ("postgresql://wh:pass-word-Qy77@db:5432/wh", "a URL's parts go into one secret each"),
        ("db example", "is not a host's name"),
        ("db;drop", "is not a host's name"),
    ],
)
def test_what_is_no_host_is_told(value: str, says: str) -> None:
    assert says in refusal(POSTGRES_HOST=value)


def test_tls_is_asked_for_by_secrets_and_else_by_libpqs_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warehouse_address(Given()).sslmode == "prefer"  # type: ignore[arg-type]
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    assert refusal().startswith("POSTGRES_SSLROOTCERT is not set, and POSTGRES_SSLMODE is verify-full: ")
    monkeypatch.setenv("PGSSLROOTCERT", "system")
    address = warehouse_address(Given())  # type: ignore[arg-type]
    assert (address.sslmode, address.sslrootcert) == ("verify-full", "system")
    address = warehouse_address(Given(POSTGRES_SSLMODE=" require\n"))  # type: ignore[arg-type]
    assert address.sslmode == "require"


@pytest.mark.parametrize("value", ["required", "allow", "Prefer", "verify_full"])
def test_an_unknown_mode_of_tls_is_refused(value: str) -> None:
    assert refusal(POSTGRES_SSLMODE=value) == (
        "POSTGRES_SSLMODE: is not one of disable, prefer, require, verify-ca, verify-full"
    )


def test_a_root_certificate_that_cant_be_read_is_told(tmp_path: Path) -> None:
    missing = refusal(POSTGRES_SSLMODE="verify-ca", POSTGRES_SSLROOTCERT=str(tmp_path / "root.crt"))
    assert missing == "POSTGRES_SSLROOTCERT: the file can't be used: No such file or directory"
    (tmp_path / "root.crt").write_text("not a certificate")
    empty = refusal(POSTGRES_SSLMODE="verify-ca", POSTGRES_SSLROOTCERT=str(tmp_path / "root.crt"))
    assert empty == "POSTGRES_SSLROOTCERT: the file can't be used: holds no certificate"


def test_the_proxy_is_not_shown() -> None:
    settings = Settings.read(Given(QBO_PROXY="http://user:pass-word-Pr0xy@proxy:3128"))  # type: ignore[arg-type]
    assert settings.proxy == "http://user:pass-word-Pr0xy@proxy:3128"
    assert "Pr0xy" not in repr(settings)


def test_the_simulators_environment_needs_the_simulators_address() -> None:
    assert refusal(QBO_ENVIRONMENT="simulator").startswith("QBO_SIMULATOR_URL is not in Mage Secrets")
    assert refusal(QBO_ENVIRONMENT="simulator", QBO_SIMULATOR_URL="http://evil.com").startswith("QBO_SIMULATOR_URL: ")
    settings = Settings.read(Given(QBO_ENVIRONMENT="simulator", QBO_SIMULATOR_URL="http://127.0.0.1:8080"))  # type: ignore[arg-type]
    assert settings.endpoints == Endpoints("http://127.0.0.1:8080", "http://127.0.0.1:8080/oauth2/v1/tokens/bearer")


def test_real_credentials_are_not_led_to_a_simulator() -> None:
    settings = Settings.read(Given(QBO_SIMULATOR_URL="http://127.0.0.1:8080"))  # type: ignore[arg-type]
    assert settings.endpoints == Endpoints.of("sandbox")


def test_neither_repr_nor_str_holds_a_secret() -> None:
    settings = Settings.read(Given())  # type: ignore[arg-type]
    said = f"{settings} {settings!r} {settings.warehouse} {settings.warehouse!r} {settings.client}"
    for name in ("QBO_CLIENT_SECRET", "QBO_REFRESH_TOKEN", "POSTGRES_PASSWORD"):
        assert GIVEN[name] not in said
