"""Replacing a secret by a new one while backfills run. None of them is stopped, and none fails for it.

A run reads a secret anew when the one it has is refused, so the new value has to be in Mage Secrets by the time
the old one ends. Each rotation here keeps to that, and can be repeated when it was cut short.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace

import asyncpg

from async_extractor.errors import ConfigurationError, IncompleteError
from async_extractor.events import Events
from async_extractor.mage.secrets import MageSecrets
from async_extractor.qbo.auth.access_tokens import ACCESS_TOKEN, CLIENT_SECRET, REFRESH_TOKEN, AccessTokens, HeldSecrets
from async_extractor.qbo.faults import AuthorizationFault, TransientFault
from async_extractor.qbo.network import http_session
from async_extractor.settings import PASSWORDS, Settings, warehouse_address
from async_extractor.warehouse.connection import Address, Connection, connect
from async_extractor.warehouse.failures import told

# As Postgres itself computes a verifier (scram_iterations' default).
SCRAM_ITERATIONS = 4096


async def rotate_postgres_password(store: MageSecrets) -> str:
    """A random new password for the role in POSTGRES_USER, at Postgres and in Mage Secrets; what was done.

    The role changes its own password, which needs no rights. The new one is stored as POSTGRES_PASSWORD_NEXT
    first: a run that is refused meanwhile tries it, and a rotation that was cut short is ended by the next, which
    then sets a password of its own.
    Raises ConfigurationError; runs go on all the same, by the old password or the next one.
    """
    current, following = PASSWORDS
    address = warehouse_address(store)
    try:
        # Also when an earlier rotation got as far as Postgres: `newer_passwords` has the next one.
        connection = await connect(address)
    except (asyncpg.PostgresError, OSError, asyncio.TimeoutError) as error:
        raise ConfigurationError(f"{address}: {told(error)}; nothing was changed") from None
    try:
        await _one_rotation_at_a_time(connection)
        await _end_what_was_cut_off(store, address)
        # Always a new one: what an earlier rotation left as the next may be known to others by now.
        password = secrets.token_urlsafe(24)
        store.set(following, password)
        await connection.execute(f"ALTER ROLE CURRENT_USER PASSWORD '{scram_verifier(password)}'")
        await (await connect(replace(address, password=password, newer_passwords=tuple))).close()
        store.set(current, password)
        store.delete(following)
    except (asyncpg.PostgresError, OSError, asyncio.TimeoutError) as error:
        raise ConfigurationError(
            f"{address}: {told(error)}; the rotation is not complete, and runs go on: run it again"
        ) from None
    finally:
        await connection.close()
    return f"{address.user} has a new password at {address.host}, and POSTGRES_PASSWORD is that"


async def rotate_client_secret(store: MageSecrets, new: str) -> str:
    """The app's new client secret, tried at Intuit before it is stored; what was done.

    It is tried by refreshing the company's tokens, which are stored with it in one transaction. Raises
    ConfigurationError when Intuit refuses it: the old one is then still stored.
    """
    settings = Settings.read(store)
    await _exchange(_WithAnother(store, CLIENT_SECRET, new), settings)
    return "Intuit takes the new client secret; it is stored, with the tokens that came"


async def rotate_refresh_token(store: MageSecrets, profile: str = "") -> str:
    """A refresh now, whatever is left of the access token; what came of it.

    Intuit decides whether the refresh token changes (about once a day); the access token always does. Raises
    ConfigurationError when the company has to be authorised anew.
    """
    before = store.get(REFRESH_TOKEN)
    await _exchange(store, Settings.read(store, profile))
    if store.get(REFRESH_TOKEN) == before:
        return "the access token is new; Intuit gave the same refresh token again, which it changes about once a day"
    return "refresh token and access token are new, and stored"


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """What Postgres keeps of a password (RFC 5803), so that the password itself is in no statement and no log."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"


async def _end_what_was_cut_off(store: MageSecrets, address: Address) -> None:
    """Stores the next password as the current one where Postgres takes that alone. Under the rotation's lock."""
    current, following = PASSWORDS
    for name in (current, following):
        password = store.get(name)
        if password is None:
            continue
        try:
            await (await connect(replace(address, password=password, newer_passwords=tuple))).close()
        except asyncpg.InvalidPasswordError:
            continue
        if name == following:
            store.set(current, password)
        return


async def _one_rotation_at_a_time(connection: Connection) -> None:
    # The lock ends with the session.
    if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtext('ops.rotation'))"):
        raise ConfigurationError("another rotation of this password is under way; nothing was changed")


async def _exchange(store: MageSecrets | _WithAnother, settings: Settings) -> None:
    """A refresh at Intuit, even when the stored access token is still good."""
    stored = store.get(ACCESS_TOKEN)
    async with http_session(settings.proxy) as session:
        tokens = AccessTokens(session, settings.endpoints.token, settings.client, store, Events([]))
        try:
            await tokens.current(str(json.loads(stored).get("token", "")) if stored else "")
        except AuthorizationFault as fault:
            raise ConfigurationError(f"{fault}; nothing was changed") from None
        except TransientFault as fault:
            raise IncompleteError(f"{fault}; nothing was changed, run it again") from None


class _WithAnother:
    """The store with one secret's new value in the place of the stored one; it is stored when tokens are."""

    def __init__(self, store: MageSecrets, name: str, value: str) -> None:
        self._store = store
        self._name = name
        self._value = value
        self._held: HeldSecrets | None = None

    def get(self, name: str) -> str | None:
        if name == self._name:
            return self._value
        return (self._held or self._store).get(name)

    def check_writable(self, name: str) -> None:
        self._holder().check_writable(name)

    def put(self, values: Mapping[str, str]) -> None:
        self._holder().put({**values, self._name: self._value})

    def _holder(self) -> HeldSecrets:
        if self._held is None:
            raise RuntimeError("writing is for the holder of the lock")
        return self._held

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[_WithAnother]:
        with self._store.exclusive() as held:
            self._held = held
            yield self
