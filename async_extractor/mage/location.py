"""Where Mage keeps a project's data, by Mage's own rules but without importing Mage (that takes seconds).

MAGE_DATA_DIR is the data folder, `~/.mage_data` when it isn't set. In it are `secrets/key` and
`secrets/uuid`, shared by all projects, and `<project folder's name>/mage-ai.db` unless
MAGE_DATABASE_CONNECTION_URL (or DB_USER, DB_PASS, DB_NAME, DB_HOST, DB_PORT) names a database. The rules are
those of mage_ai.settings.repo, mage_ai.orchestration.db and mage_ai.data_preparation.shared.secrets in
Mage 0.9.80.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from async_extractor.errors import ConfigurationError
from async_extractor.mage.database import MageDatabase
from async_extractor.paths import from_home

_DEFAULT_DATA_DIR = "~/.mage_data"
_PROJECT = "mage_project"
# A database's URL as SQLAlchemy reads it, through which Mage has its own.
_URL = re.compile(
    r"(?P<driver>sqlite|postgresql(\+psycopg2)?)://((?P<user>[^:/]*)(:(?P<password>[^@]*))?@)?"
    r"(\[(?P<ipv6>[^/?]+)\]|(?P<host>[^/:?]+))?(:(?P<port>\d*))?(/(?P<dbname>[^?]*))?(\?(?P<query>.*))?"
)
_VARIABLES = (
    "MAGE_REPO_PATH",
    "MAGE_DATA_DIR",
    "MAGE_DATABASE_CONNECTION_URL",
    *("DB_USER", "DB_PASS", "DB_NAME", "DB_HOST", "DB_PORT"),
)


@dataclass(frozen=True)
class MageData:
    """One project's data: absolute paths, and the database that holds its secrets, triggers and runs."""

    project: Path
    secrets_dir: Path
    database: MageDatabase
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment variables that said so, for a child process that shall find the same."""

    @classmethod
    def locate(cls, environ: Mapping[str, str] = os.environ) -> MageData:
        """By MAGE_REPO_PATH, MAGE_DATA_DIR and MAGE_DATABASE_CONNECTION_URL; raises ConfigurationError.

        Without MAGE_REPO_PATH (Mage sets it in its own processes) the project is `mage_project` in the
        working folder, the working folder itself when that is a Mage project, or the one beside this package.
        """
        project = _project(environ)
        variables = {name: environ[name] for name in _VARIABLES if environ.get(name)}
        variables["MAGE_REPO_PATH"] = str(project)
        return cls(project, _secrets_dir(environ), _database(environ, project), variables)

    def environ_for_child(self) -> dict[str, str]:
        """This process's environment, with Mage's variables as this data was located by."""
        others = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
        return others | dict(self.variables)


def _project(environ: Mapping[str, str]) -> Path:
    if environ.get("MAGE_REPO_PATH"):
        return Path(environ["MAGE_REPO_PATH"]).absolute()
    here = Path.cwd()
    for candidate in (here / _PROJECT, here):
        if (candidate / "metadata.yaml").exists() and (candidate / "pipelines").is_dir():
            return candidate
    return Path(__file__).parents[2] / _PROJECT


def _secrets_dir(environ: Mapping[str, str]) -> Path:
    folder = Path(environ.get("MAGE_DATA_DIR") or _DEFAULT_DATA_DIR) / "secrets"
    return (folder if folder.exists() else from_home(folder)).absolute()


def _database(environ: Mapping[str, str], project: Path) -> MageDatabase:
    url = environ.get("MAGE_DATABASE_CONNECTION_URL")
    if url:
        return _parsed(url)
    for elsewhere in ("AWS_DB_SECRETS_NAME", "AZURE_SECRET_DB_CONN_URL"):
        if environ.get(elsewhere):
            raise ConfigurationError(
                f"{elsewhere} is set, which only Mage itself can follow: "
                "set MAGE_DATABASE_CONNECTION_URL to Mage's database instead."
            )
    user, password, dbname = (environ.get(name) for name in ("DB_USER", "DB_PASS", "DB_NAME"))
    if user and password and dbname:
        port = environ.get("DB_PORT") or "5432"
        if not port.isdecimal():
            raise ConfigurationError(f"DB_PORT {port!r} is not a port.")
        host = environ.get("DB_HOST") or "127.0.0.1"
        return MageDatabase(
            server={"user": user, "password": password, "host": host, "port": int(port), "dbname": dbname}
        )
    return MageDatabase(_variables_dir(environ, project) / "mage-ai.db")


def _variables_dir(environ: Mapping[str, str], project: Path) -> Path:
    folder = environ.get("MAGE_DATA_DIR")
    if not folder:
        # Read by hand: it is one plain line, and nothing else here needs a YAML parser.
        metadata = project / "metadata.yaml"
        text = metadata.read_text() if metadata.exists() else ""
        named = re.search(r"^variables_dir:\s*['\"]?([^'\"#\n]*)", text, re.MULTILINE)
        folder = (named.group(1).strip() if named else "") or _DEFAULT_DATA_DIR
        if "{{" in folder:
            raise ConfigurationError(f"variables_dir in {metadata} is a template: set MAGE_DATA_DIR instead.")
        folder = str(from_home(folder))
    # Mage puts a relative folder inside the project, without the project's name.
    return Path(folder) / project.name if Path(folder).is_absolute() else project / folder


def _parsed(url: str) -> MageDatabase:
    if found := _URL.fullmatch(url):
        parts = {name: unquote(value) for name, value in found.groupdict().items() if value and name != "query"}
        query = parse_qsl(found["query"] or "")
        if parts.pop("driver") == "sqlite":
            return MageDatabase(Path(parts.get("dbname", "")))
        if len(dict(query)) == len(query):
            if "ipv6" in parts:
                parts["host"] = parts.pop("ipv6")
            return MageDatabase(server={**parts, **dict(query)})
    # The URL itself may hold a password: it stays out of the message.
    raise ConfigurationError(
        "MAGE_DATABASE_CONNECTION_URL isn't understood: "
        "it should look like postgresql+psycopg2://USER:PASSWORD@HOST:PORT/DATABASE."
    )
