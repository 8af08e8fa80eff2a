"""Mage Secrets, read and written as Mage itself does, from a block or from the command line.

Mage is not imported: that takes seconds, and a command should answer at once. What Mage does instead is
small: a Fernet key in a file, and the table `secret` with the values encrypted by it. Mage's own
`get_secret_value` and `create_secret` read and write the same rows.

No value of a secret is ever part of an error, a repr or a log line.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from cryptography.fernet import Fernet, InvalidToken

from async_extractor.errors import ConfigurationError, RequestError
from async_extractor.mage import database
from async_extractor.mage.location import MageData
from async_extractor.profile_option import with_profile

REFRESH_TOKEN = "QBO_REFRESH_TOKEN"  # noqa: S105 - a name, not a value
ACCESS_TOKEN = "QBO_ACCESS_TOKEN"  # noqa: S105
# Words of `--profile`, so that no company's own name: every profile, and the company whose secrets have no prefix.
ALL, DEFAULT = "all", "default"
MEANINGS = {ALL: "every profile", DEFAULT: "the secrets without a prefix"}


@dataclass(frozen=True)
class KnownSecret:
    """One secret that the project reads. `per_company` ones are never shared between profiles."""

    name: str
    purpose: str
    required: bool = True
    per_company: bool = False


KNOWN_SECRETS = {
    secret.name: secret
    for secret in (
        KnownSecret("QBO_CLIENT_ID", "The Intuit app's client id"),
        KnownSecret("QBO_CLIENT_SECRET", "The Intuit app's client secret"),
        KnownSecret("QBO_REALM_ID", "The company's id at QuickBooks (realm)", per_company=True),
        KnownSecret(REFRESH_TOKEN, "OAuth 2.0 refresh token; renewed by each refresh", per_company=True),
        KnownSecret("QBO_ENVIRONMENT", "sandbox, production or simulator"),
        KnownSecret("QBO_SIMULATOR_URL", "The simulator's address, in that environment", required=False),
        KnownSecret("QBO_PROXY", "A proxy for https to QuickBooks: http://USER:PASSWORD@HOST:PORT", required=False),
        KnownSecret("NOTIFY_URL", "A webhook that gets the end of a run as JSON", required=False),
        KnownSecret("POSTGRES_HOST", "Where the warehouse is; in Compose the service's name"),
        KnownSecret("POSTGRES_PORT", "Its port"),
        KnownSecret("POSTGRES_DB", "Its database"),
        KnownSecret("POSTGRES_USER", "The role that the extractor logs in as"),
        KnownSecret("POSTGRES_PASSWORD", "That role's password"),
        KnownSecret("POSTGRES_SSLMODE", "disable, prefer, require, verify-ca or verify-full", required=False),
        KnownSecret("POSTGRES_SSLROOTCERT", "The file of its authority's certificate, or `system`", required=False),
        KnownSecret("POSTGRES_PASSWORD_NEXT", "Its next one, while `secrets rotate` changes it", required=False),
        KnownSecret(
            ACCESS_TOKEN,
            "The current access token and its expiry; written by the refresh, never by hand",
            required=False,
            per_company=True,
        ),
    )
}

# As they are, whatever is in them.
PASSWORDS = ("POSTGRES_PASSWORD", "POSTGRES_PASSWORD_NEXT")


def clean(name: str, value: str) -> str:
    """The value without what pasting adds: blanks around it, and marks that nobody sees (BOM, zero-width ...).

    A realm's groups of four are joined. Passwords, and names that aren't this project's, stay as they are.
    ConfigurationError names the first character that a value for QuickBooks can't hold, and where it stands.
    """
    known = next((one for one in KNOWN_SECRETS if name == one or name.endswith(f"_{one}")), None)
    if known is None or known in PASSWORDS:
        return value
    seen = "".join(one for one in value if unicodedata.category(one) != "Cf").strip()
    if known == "QBO_REALM_ID":
        # Not over lines: two values pasted at once are no realm.
        seen = re.sub(r"[^\S\r\n]+", "", seen)
    if known.startswith("QBO_"):
        for place, one in enumerate(seen, 1):
            if not " " <= one <= "~":
                what = f"U+{ord(one):04X} ({unicodedata.name(one, 'a control character')})"
                raise ConfigurationError(f"{name}: character {place} of its value is {what}, which can't be in it")
    return seen


def removed(before: str, after: str) -> str:
    """What `clean` took out, in words; '' when that was nothing."""
    blanks = sum(one.isspace() for one in before) - sum(one.isspace() for one in after)
    marks = sorted({f"U+{ord(one):04X}" for one in before if unicodedata.category(one) == "Cf"})
    return ", ".join([*([f"{blanks} blanks or line ends"] if blanks else []), *marks])


_MIGRATE = """
import os
from mage_ai.settings.repo import set_repo_path
set_repo_path(os.environ['MAGE_REPO_PATH'])
from mage_ai.orchestration.db.database_manager import database_manager
database_manager.run_migrations()
"""


class MageSecrets:
    """The secrets of one Mage, and in it of one company when a `profile` is given.

    `profile="acme"` reads ACME_QBO_REALM_ID where an empty one reads QBO_REALM_ID. What isn't a company's
    own (the app's credentials, the environment, Postgres) falls back to the name without the prefix.
    """

    def __init__(self, data: MageData, *, profile: str = "", announce: Callable[[str], None] | None = None) -> None:
        if profile and not re.fullmatch(r"[a-z][a-z0-9_]{0,30}", profile):
            raise RequestError(f"profile {profile!r}: lower-case letters, digits and _ only, a letter first.")
        if profile in (ALL, DEFAULT):
            raise RequestError(f"profile {profile!r}: means {MEANINGS[profile]}, and is no company's name.")
        self._data = data
        self._prefix = f"{profile.upper()}_" if profile else ""
        self._announce = announce or (lambda _line: None)
        self._lock_file = data.secrets_dir / f"{self._prefix.lower()}refresh.lock"
        self._table = data.database

    @classmethod
    def locate(
        cls,
        environ: Mapping[str, str] = os.environ,
        *,
        profile: str = "",
        announce: Callable[[str], None] | None = None,
    ) -> MageSecrets:
        """The Mage that the environment names (see MageData.locate).

        `announce` is told in one line when something takes long. Raises ConfigurationError.
        """
        return cls(MageData.locate(environ), profile=profile, announce=announce)

    def __repr__(self) -> str:
        return f"MageSecrets({self.where}{f', {self._prefix[:-1].lower()}' if self._prefix else ''})"

    @property
    def where(self) -> str:
        """The store in words, without a password."""
        return f"{self._data.database}, key in {self._data.secrets_dir}"

    def get(self, name: str) -> str | None:
        """The value as it is now; None when there is none. Raises ConfigurationError if it can't be read."""
        if not self._table.exists():
            return None
        key = self._key()
        if key is None:
            return None
        with self._table.session() as session:
            return self._find(key, name, database.read(session, key.owner, self._spellings([name])))

    def require(self, name: str) -> str:
        """The value; a missing or empty one is a ConfigurationError that says how to set it."""
        return self._present(name, self.get(name))

    def snapshot(self) -> Snapshot:
        """This project's secrets as they are now, read at once. Raises as `get` does."""
        key = self._key() if self._table.exists() else None
        if key is None:
            return Snapshot(self, None, {})
        with self._table.session() as session:
            return Snapshot(self, key, database.read(session, key.owner, self._spellings(KNOWN_SECRETS)))

    def _present(self, name: str, value: str | None) -> str:
        if not value:
            full = self._prefix + name if self._is_own(name) else name
            raise ConfigurationError(
                f"The Mage secret {full} is {'missing' if value is None else 'empty'}; "
                f"set it with: {self._setting(full)}"
            )
        return value

    def set(self, name: str, value: str) -> None:
        """Create it or replace it in place. The first time Mage's database and key are made, too.

        A refresh token that another process is just renewing is written after it: what a person sets wins.
        Raises RequestError for an empty value, ConfigurationError for a store that can't be used.
        """
        full = self._prefix + name
        value = clean(full, value)
        if not value:
            raise RequestError(f"The value of {full} is empty; nothing was stored.")
        if not self._table.exists():
            self._migrate()
        key = self._key()
        if key is None or not key.owner.key_uuid_as_read:
            key = self._make_key()
        self._keep_private()
        encrypted = {full: key.encrypt(value)}
        if name == REFRESH_TOKEN:
            with self._table.locked(key.owner, [full], self._lock_file) as held:
                if held is not None:
                    held.write(key.owner, encrypted)
                    return
        with self._table.session() as session:
            database.write(session, key.owner, encrypted)

    def delete(self, name: str) -> bool:
        """Remove it; False when there was none. Works without a key, too: such a row helps nobody."""
        if not self._table.exists():
            return False
        key = self._read_key()
        with self._table.session() as session:
            return database.delete(session, key.owner if key else None, self._prefix + name)

    def names(self) -> list[str]:
        """What is stored, of this profile only and without its prefix."""
        key = self._key() if self._table.exists() else None
        if key is None:
            return []
        with self._table.session() as session:
            stored = database.names(session, key.owner)
        return [name.removeprefix(self._prefix) for name in stored if name.startswith(self._prefix)]

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[HeldSecrets]:
        """Hold the company's tokens for one refresh: every other process and thread waits here.

        Entering waits as long as it takes; a holder that dies lets go by itself. Enter, exit and `put` may
        each run in another thread (asyncio.to_thread). Raises ConfigurationError when there is no refresh
        token to hold.
        """
        key = self._key() if self._table.exists() else None
        if key is not None:
            names = [self._prefix + name for name in (REFRESH_TOKEN, ACCESS_TOKEN)]
            with self._table.locked(key.owner, names, self._lock_file) as held:
                if held is not None:
                    yield HeldSecrets(self, key, held)
                    return
        self.require(REFRESH_TOKEN)
        raise ConfigurationError("The Mage secrets changed while they were being locked; run it again.")

    def _is_own(self, name: str) -> bool:
        known = KNOWN_SECRETS.get(name)
        return bool(self._prefix) and (known is None or known.per_company)

    def _spellings(self, names: Iterable[str]) -> list[str]:
        """Under which names of the table they may stand."""
        own = [self._prefix + name for name in names]
        return [*own, *(name for name in names if self._prefix and not self._is_own(name))]

    def _find(self, key: _Key, name: str, stored: Mapping[str, str]) -> str | None:
        full = next((full for full in self._spellings([name]) if full in stored), name)
        encrypted = stored.get(full)
        if encrypted is None:
            return None
        try:
            value = key.fernet.decrypt(encrypted.encode()).decode()
        except (InvalidToken, ValueError):
            raise ConfigurationError(
                f"The Mage secret {full} was encrypted with another key than the one in "
                f"{self._data.secrets_dir}: restore that key, or store it again with: "
                f"{self._setting(full)}"
            ) from None
        return clean(full, value)

    def _setting(self, full: str) -> str:
        """The command that stores a secret, of the company or of all."""
        own = self._prefix and full.startswith(self._prefix)
        name, profile = (full[len(self._prefix) :], self._prefix[:-1].lower()) if own else (full, "")
        return with_profile(f"qbo-backfill secrets set {name}", profile)

    def _migrate(self) -> None:
        if importlib.util.find_spec("mage_ai") is None:
            raise ConfigurationError(
                f"Mage's database isn't set up ({self._data.database}) and mage-ai isn't installed here: "
                "start Mage once, or pip install 'async-extractor[mage]'."
            )
        self._announce("Setting up Mage's database, once; this takes some seconds ...")
        done = subprocess.run(  # noqa: S603 - this interpreter, a constant
            [sys.executable, "-c", _MIGRATE],
            env=self._data.environ_for_child(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0 or not self._table.exists():
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            raise ConfigurationError(
                f"Mage couldn't set up its database ({self._data.database}): {self._data.database.redact(lines[-1])}"
            )

    def _read_key(self) -> _Key | None:
        try:
            secret = (self._data.secrets_dir / "key").read_text().strip()
            fernet = Fernet(secret)
        except FileNotFoundError:
            return None
        except ValueError:
            path = self._data.secrets_dir / "key"
            raise ConfigurationError(f"{path} doesn't hold a key of Mage's: restore it.") from None
        except OSError as error:
            raise ConfigurationError(f"Mage's key can't be read: {error.strerror}: {error.filename}") from None
        uuid_file = self._data.secrets_dir / "uuid"
        as_read = uuid_file.read_text() if uuid_file.exists() else ""
        return _Key(fernet, database.Owner(as_read, str(self._data.project)))

    def _key(self) -> _Key | None:
        """The key; None when none was made yet. One that is lost, with secrets still there, is an error."""
        key = self._read_key()
        if key is None:
            with self._table.session() as session:
                rows = database.count(session)
            key = self._read_key()  # another process may have made it, and stored by it, since we looked
            if rows and key is None:
                raise ConfigurationError(
                    f"Mage's key is missing ({self._data.secrets_dir}/key) while {rows} secrets are stored: "
                    "point MAGE_DATA_DIR at the folder that has it, restore it from a backup, or delete each "
                    "of them (qbo-backfill secrets delete NAME) and set them again."
                )
        return key

    def _make_key(self) -> _Key:
        """Make key and uuid once, whole, for this user only; another process's take precedence."""
        folder = self._data.secrets_dir
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The uuid first: whoever sees the key finds the uuid, too.
        for name, content in (("uuid", uuid.uuid4().hex), ("key", Fernet.generate_key().decode())):
            fresh = folder / f".{name}.{os.getpid()}.{uuid.uuid4().hex}"
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(fresh, folder / name)
            fresh.unlink()
        key = self._read_key()
        if key is None:
            raise ConfigurationError(f"Mage's key couldn't be made in {folder}.")
        return key

    def _keep_private(self) -> None:
        # Mage makes them 0755 and 0644. What another user owns is that user's to decide.
        for path, mode in (("", 0o700), ("key", 0o600), ("uuid", 0o600)):
            private = self._data.secrets_dir / path
            if private.exists() and private.stat().st_uid == os.geteuid():
                private.chmod(mode)


@dataclass(frozen=True)
class _Key:
    fernet: Fernet
    owner: database.Owner

    def encrypt(self, value: str) -> str:
        return self.fernet.encrypt(value.encode()).decode()


class Snapshot:
    """The secrets that this project knows, as they were when `MageSecrets.snapshot` read them; others as they are."""

    def __init__(self, secrets: MageSecrets, key: _Key | None, stored: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._key = key
        self._stored = stored

    def get(self, name: str) -> str | None:
        """As MageSecrets has it: one that can't be decrypted is an error when it is asked for."""
        if name not in KNOWN_SECRETS:
            return self._secrets.get(name)
        return None if self._key is None else self._secrets._find(self._key, name, self._stored)

    def require(self, name: str) -> str:
        """As MageSecrets has it."""
        return self._secrets._present(name, self.get(name))


class HeldSecrets:
    """The secrets while this process alone may refresh them. Made by MageSecrets.exclusive."""

    def __init__(self, secrets: MageSecrets, key: _Key, held: database.Locked) -> None:
        self._secrets = secrets
        self._key = key
        self._held = held

    def get(self, name: str) -> str | None:
        """The value as it is in the store now: another process may have refreshed while this one waited."""
        spellings = self._secrets._spellings([name])
        return self._secrets._find(self._key, name, self._held.read(self._key.owner, spellings))

    def check_writable(self, name: str) -> None:
        """ConfigurationError where `put` would fail, as on a disk that is full or read only: the value is written
        once more as it is."""
        self._held.rewrite(self._key.owner, self._secrets._spellings([name]))

    def put(self, values: Mapping[str, str]) -> None:
        """Store all of them or none; durable when this returns.

        Call it once: in Postgres the commit lets the next process in.
        """
        prefix = self._secrets._prefix
        encrypted = {prefix + name: self._key.encrypt(value) for name, value in values.items()}
        self._held.write(self._key.owner, encrypted)
