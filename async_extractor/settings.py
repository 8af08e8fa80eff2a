"""A run's settings, all of them from Mage Secrets, checked before anything is asked or written."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlsplit

from async_extractor.errors import ConfigurationError
from async_extractor.qbo.auth.access_tokens import TokenStore
from async_extractor.qbo.auth.token_endpoint import Client
from async_extractor.qbo.endpoints import Endpoints, checked_environment
from async_extractor.qbo.network import checked_proxy
from async_extractor.warehouse.connection import Address, tls_context

# The second one is there while the first is being rotated; see rotation.py.
PASSWORDS = ("POSTGRES_PASSWORD", "POSTGRES_PASSWORD_NEXT")


class Readable(Protocol):
    """Secrets to be read."""

    def get(self, name: str) -> str | None:
        """The value; None when there is none."""
        ...

    def require(self, name: str) -> str:
        """The value, or ConfigurationError when it is missing or empty."""
        ...


class Secrets(TokenStore, Readable, Protocol):
    """What a run needs of Mage Secrets."""

    def snapshot(self) -> Readable:
        """All of them as they are now, read at once."""
        ...


@dataclass(frozen=True)
class Settings:
    """Which company, as which app, into which warehouse."""

    realm_id: str
    environment: str
    endpoints: Endpoints
    client: Client
    warehouse: Address
    raw_schema: str = "raw"
    proxy: str | None = field(default=None, repr=False)

    @classmethod
    def read(cls, secrets: Secrets, profile: str = "") -> Settings:
        """The settings in Mage Secrets; ConfigurationError names the first that is missing or wrong.

        A profile has its own raw schema: `raw_acme` for `acme`.
        """
        found = _read(secrets, READERS)
        return cls(
            found["QBO_REALM_ID"],
            found["QBO_ENVIRONMENT"],
            found["QBO_SIMULATOR_URL"],
            Client(found["QBO_CLIENT_ID"], found["QBO_CLIENT_SECRET"]),
            _address(secrets, found),
            raw_schema_of(profile),
            found["QBO_PROXY"],
        )


def raw_schema_of(profile: str) -> str:
    """The schema that a profile's company fills."""
    return f"raw_{profile}" if profile else "raw"


def profile_of(raw_schema: str) -> str:
    """The profile whose company fills a schema."""
    return raw_schema.partition("_")[2]


def warehouse_address(secrets: Secrets) -> Address:
    """Where the warehouse is, from the POSTGRES_* secrets; ConfigurationError names what is missing or wrong.

    There is no POSTGRES_URL: the password in it would have to be percent-encoded by hand, could not be rotated alone,
    and would stand in whatever tells where the warehouse is.
    """
    return _address(secrets, _read(secrets, (name for name in READERS if name.startswith("POSTGRES_"))))


def _read(secrets: Secrets, names: Iterable[str]) -> dict[str, Any]:
    now = secrets.snapshot()
    return {name: READERS[name](now) for name in names}


def _address(secrets: Secrets, found: Mapping[str, Any]) -> Address:
    sslmode, sslrootcert = found["POSTGRES_SSLMODE"]
    return Address(
        host=found["POSTGRES_HOST"],
        port=found["POSTGRES_PORT"],
        database=found["POSTGRES_DB"],
        user=found["POSTGRES_USER"],
        password=found["POSTGRES_PASSWORD"],
        newer_passwords=lambda: [value for name in PASSWORDS if (value := secrets.get(name))],
        sslmode=sslmode,
        sslrootcert=sslrootcert,
    )


def _required(name: str) -> Callable[[Readable], str]:
    return lambda secrets: secrets.require(name).strip()


def _name(name: str) -> Callable[[Readable], str]:
    def read(secrets: Readable) -> str:
        value = secrets.require(name).strip()
        if "://" in value or "\n" in value:
            raise ConfigurationError(f"{name}: is not a name; a URL's parts go into one secret each")
        return value

    return read


def _environment(secrets: Readable) -> str:
    environment = secrets.require("QBO_ENVIRONMENT").strip()
    checked_environment(environment)
    return environment


def _realm_id(secrets: Readable) -> str:
    realm_id = secrets.require("QBO_REALM_ID").strip()
    if not re.fullmatch(r"[0-9]{5,30}", realm_id):
        raise ConfigurationError(
            "QBO_REALM_ID: is not a string of digits; "
            "it is the company ID that QuickBooks shows under Account and settings"
        )
    return realm_id


def _port(secrets: Readable) -> int:
    port = secrets.require("POSTGRES_PORT").strip()
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ConfigurationError("POSTGRES_PORT: is not a port number from 1 to 65535")
    return int(port)


def _tls(secrets: Readable) -> tuple[str, str]:
    # libpq's variables where there is no secret, as asyncpg would take them: a `verify-full` must not be lost.
    sslmode, sslrootcert = (
        (secrets.get(f"POSTGRES_{name}") or os.environ.get(f"PG{name}") or default).strip()
        for name, default in (("SSLMODE", "prefer"), ("SSLROOTCERT", ""))
    )
    tls_context(sslmode, sslrootcert)
    return sslmode, sslrootcert


# In characters. Intuit's longest has 1,000 and some; a file or a pipe that never ends is read no further.
LONGEST_SECRET = 100_000

# How each secret is read, what a run refuses of it included. `check` tries them one by one, a run all of them.
READERS: dict[str, Callable[[Readable], Any]] = {
    "QBO_ENVIRONMENT": _environment,
    "QBO_SIMULATOR_URL": lambda secrets: Endpoints.of(_environment(secrets), secrets.get("QBO_SIMULATOR_URL")),
    "QBO_REALM_ID": _realm_id,
    "QBO_CLIENT_ID": _required("QBO_CLIENT_ID"),
    "QBO_CLIENT_SECRET": _required("QBO_CLIENT_SECRET"),
    "QBO_REFRESH_TOKEN": _required("QBO_REFRESH_TOKEN"),
    "POSTGRES_PORT": _port,
    "POSTGRES_HOST": lambda secrets: checked_host(secrets.require("POSTGRES_HOST").strip()),
    "POSTGRES_DB": _name("POSTGRES_DB"),
    "POSTGRES_USER": _name("POSTGRES_USER"),
    "POSTGRES_SSLMODE": _tls,
    "POSTGRES_PASSWORD": lambda secrets: secrets.require("POSTGRES_PASSWORD"),
    "QBO_PROXY": lambda secrets: checked_proxy(secrets.get("QBO_PROXY")),
    "NOTIFY_URL": lambda secrets: checked_webhook(secrets.get("NOTIFY_URL")),
}


def checked_webhook(text: str | None) -> str | None:
    """NOTIFY_URL's value, None where there is none; ConfigurationError, which doesn't show it, when it is no URL."""
    text = (text or "").strip()
    try:
        known = urlsplit(text).scheme in ("https", "http") and urlsplit(text).hostname
    except ValueError:
        known = None
    if text and not known:
        raise ConfigurationError("NOTIFY_URL: is not https://HOST/..., to which the end of a run is posted")
    return text or None


def checked_host(text: str) -> str:
    """A host's name, an IPv4 or IPv6 address without brackets, or a socket's folder; ConfigurationError otherwise.

    It is told in errors and logs, so that it must not be a whole URL, with the password in it.
    """
    host = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    if re.fullmatch(r"[\w.-]+|/[\w./-]*", text):
        return text
    if re.fullmatch(r"(\[[^\]]*\]|[\w.-]+):\d*", text):
        raise ConfigurationError("POSTGRES_HOST: holds a port, too, which goes into POSTGRES_PORT alone")
    if "://" in text or "@" in text:
        raise ConfigurationError("POSTGRES_HOST: is not a host's name; a URL's parts go into one secret each")
    raise ConfigurationError("POSTGRES_HOST: is not a host's name, an address or a socket's folder")
