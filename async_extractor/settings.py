"""A run's settings, all of them from Mage Secrets, checked before anything is asked or written."""

from __future__ import annotations

import ipaddress
import os
import re
from dataclasses import dataclass, field
from typing import Protocol

from async_extractor.errors import ConfigurationError
from async_extractor.qbo.auth.access_tokens import TokenStore
from async_extractor.qbo.auth.token_endpoint import Client
from async_extractor.qbo.endpoints import Endpoints
from async_extractor.qbo.network import checked_proxy
from async_extractor.warehouse.connection import Address, tls_context

# The second one is there while the first is being rotated; see rotation.py.
PASSWORDS = ("POSTGRES_PASSWORD", "POSTGRES_PASSWORD_NEXT")


class Secrets(TokenStore, Protocol):
    """What a run needs of Mage Secrets."""

    def require(self, name: str) -> str:
        """The value, or ConfigurationError when it is missing or empty."""
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
        environment = secrets.require("QBO_ENVIRONMENT").strip()
        endpoints = Endpoints.of(environment, secrets.get("QBO_SIMULATOR_URL"))
        realm_id = secrets.require("QBO_REALM_ID").strip()
        if not re.fullmatch(r"[0-9]{5,30}", realm_id):
            raise ConfigurationError(
                "QBO_REALM_ID: is not a string of digits; "
                "it is the company ID that QuickBooks shows under Account and settings"
            )
        client = Client(secrets.require("QBO_CLIENT_ID").strip(), secrets.require("QBO_CLIENT_SECRET").strip())
        secrets.require("QBO_REFRESH_TOKEN")
        return cls(
            realm_id,
            environment,
            endpoints,
            client,
            warehouse_address(secrets),
            f"raw_{profile}" if profile else "raw",
            checked_proxy(secrets.get("QBO_PROXY")),
        )


def warehouse_address(secrets: Secrets) -> Address:
    """Where the warehouse is, from the POSTGRES_* secrets; ConfigurationError names what is missing or wrong.

    There is no POSTGRES_URL: the password in it would have to be percent-encoded by hand, could not be rotated alone,
    and would stand in whatever tells where the warehouse is.
    """
    port = secrets.require("POSTGRES_PORT").strip()
    if not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise ConfigurationError("POSTGRES_PORT: is not a port number from 1 to 65535")
    host, database, user = (secrets.require(name).strip() for name in ("POSTGRES_HOST", "POSTGRES_DB", "POSTGRES_USER"))
    # libpq's variables where there is no secret, as asyncpg would take them: a `verify-full` must not be lost.
    sslmode, sslrootcert = (
        (secrets.get(f"POSTGRES_{name}") or os.environ.get(f"PG{name}") or default).strip()
        for name, default in (("SSLMODE", "prefer"), ("SSLROOTCERT", ""))
    )
    tls_context(sslmode, sslrootcert)
    for name, value in (("POSTGRES_DB", database), ("POSTGRES_USER", user)):
        if "://" in value or "\n" in value:
            raise ConfigurationError(f"{name}: is not a name; a URL's parts go into one secret each")
    return Address(
        host=checked_host(host),
        port=int(port),
        database=database,
        user=user,
        password=secrets.require("POSTGRES_PASSWORD"),
        newer_passwords=lambda: [value for name in PASSWORDS if (value := secrets.get(name))],
        sslmode=sslmode,
        sslrootcert=sslrootcert,
    )


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
