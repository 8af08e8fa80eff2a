"""Check all that a run needs before its first row: secrets, Postgres, Mage, QuickBooks.

What a run would refuse is refused here by the same code: settings.READERS, resources.opened_warehouse (rolled back),
the client and COUNT(*). Nothing is changed but what a refresh of the access token stores.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from async_extractor.entities import ENTITIES, FIRST_CLASS
from async_extractor.error_mapping import endings
from async_extractor.errors import BackfillError
from async_extractor.events import Events
from async_extractor.limits import no_limits, shared_limits
from async_extractor.mage.location import MageData
from async_extractor.mage.profiles import profiles_held, shown
from async_extractor.mage.secrets import KNOWN_SECRETS, MageSecrets
from async_extractor.mage.triggers import known_triggers
from async_extractor.planning.planner import clock_of
from async_extractor.probe.answers import ProbingClient
from async_extractor.probe.questions import Finding, Probe
from async_extractor.profile_option import with_profile
from async_extractor.qbo.auth.access_tokens import ACCESS_TOKEN, REFRESH_TOKEN
from async_extractor.qbo.auth.lifetimes import look, sentences
from async_extractor.qbo.client import PLANNING, QueryClient, Spent
from async_extractor.qbo.counting import count
from async_extractor.qbo.query import LAST_UPDATED, Query
from async_extractor.request import EARLIEST
from async_extractor.resources import AnyClient, opened_client, opened_warehouse
from async_extractor.settings import READERS, Settings, warehouse_address
from async_extractor.warehouse.connection import Address, Connection, backend_pid
from async_extractor.warehouse.failures import in_one_line
from async_extractor.warehouse.first_connection import connect_first
from async_extractor.warehouse.statements import statement
from async_extractor.windows import UTC

Area = Literal["secrets", "postgres", "mage", "quickbooks"]
# Beyond this a clock is wrong, and not only slow to answer.
CLOCK_SECONDS = 60.0
LITTLE_DISK = 1_000_000_000


@dataclass(frozen=True)
class Line:
    """One thing that was looked at. `error`: a run would fail; `notice`: it wouldn't, and somebody should know."""

    area: Area
    name: str
    severity: Literal["ok", "notice", "error"]
    message: str
    advice: str = ""

    def as_dict(self) -> dict[str, str]:
        return asdict(self)


class Preflight:
    """Looks at one company's set-up, line by line; `tell` gets each as it is found."""

    def __init__(self, secrets: MageSecrets, data: MageData, profile: str, tell: Callable[[Line], None]) -> None:
        self._secrets = secrets
        self._data = data
        self._profile = profile
        self._tell = tell
        self._events = Events([])
        self.lines: list[Line] = []
        #: Rows of each entity that QuickBooks has counted.
        self.rows: dict[str, int] = {}
        self._usable = False
        #: QuickBooks' clock less this machine's, in seconds.
        self.clock_difference: float | None = None

    @property
    def ready(self) -> bool:
        """Whether a run could begin."""
        return bool(self.lines) and not any(line.severity == "error" for line in self.lines)

    async def look(self) -> None:
        """All of it, whatever is wrong on the way."""
        self._look_at_secrets()
        settings = self._read(lambda: Settings.read(self._secrets, self._profile))
        address = self._read(lambda: warehouse_address(self._secrets))
        if address is None:
            self._add("postgres", "connection", "error", "not looked at: the POSTGRES_* secrets come first")
        else:
            self._usable = await self._look_at_postgres(address, settings)
        self._look_at_mage()
        if settings is None:
            self._add("quickbooks", "connection", "error", "not asked: the secrets come first")
        else:
            await self._look_at_quickbooks(settings)

    def _add(
        self, area: Area, name: str, severity: Literal["ok", "notice", "error"], message: str, advice: str = ""
    ) -> None:
        told, to_do = (with_profile(text, self._profile) for text in (message, advice))
        self.lines.append(Line(area, name, severity, told, to_do))
        self._tell(self.lines[-1])

    @contextlib.contextmanager
    def _refusals(self, area: Area, name: str) -> Iterator[None]:
        """What a run would be refused with is a line."""
        try:
            yield
        except BackfillError as error:
            self._add(area, name, "error", str(error))

    @staticmethod
    def _read(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except BackfillError:  # told already, by the secret's own line
            return None

    # Secrets

    def _look_at_secrets(self) -> None:
        self._add("secrets", "where", "ok", f"{self._secrets.where}; project {self._data.project}")
        own: set[str] = set()
        with self._refusals("secrets", "store"):
            own = set(self._secrets.names())
        for name, known in KNOWN_SECRETS.items():
            with self._refusals("secrets", name):
                if name in READERS:
                    READERS[name](self._secrets)
                if name in own:
                    self._add("secrets", name, "ok", "stored")
                elif self._secrets.get(name):
                    self._add("secrets", name, "ok", "stored for all profiles")
                elif os.environ.get(variable := name.replace("POSTGRES_", "PG")) and variable != name:
                    self._add("secrets", name, "ok", f"not set; the environment's {variable} is taken")
                elif not known.required and name not in ("QBO_SIMULATOR_URL", ACCESS_TOKEN, "POSTGRES_PASSWORD_NEXT"):
                    self._add("secrets", name, "ok", "not set, and needn't be")
        with self._refusals("secrets", "profiles"):
            self._look_for_the_same_company()

    def _look_for_the_same_company(self) -> None:
        """Within a database a second profile of a company is refused; in another one nobody would know."""
        realm_id = self._secrets.get("QBO_REALM_ID")
        others = [name for name in profiles_held() if name != self._profile]
        same = [shown(o) for o in others if MageSecrets.locate(profile=o).get("QBO_REALM_ID") == realm_id]
        if realm_id and same:
            names = ", ".join(same)
            also = f"this company is {names}, too; in two databases it has two budgets, which break Intuit's limits"
            self._add("secrets", "profiles", "notice", also, "keep one of them, or run them one after the other")

    # Postgres

    async def _look_at_postgres(self, address: Address, settings: Settings | None) -> bool:
        """Whether a run could use it."""
        before = len(self.lines)
        with self._refusals("postgres", "connection"):
            connection = await connect_first(address)
            try:
                with in_one_line(f"Postgres at {address}: "):
                    await self._tell_server(address, connection)
            finally:
                await connection.close(timeout=5)
        if any(line.severity == "error" for line in self.lines[before:]):
            return False
        if settings is None:
            self._add("postgres", "schema", "error", "not tried: the QBO_* secrets come first")
            return False
        with self._refusals("postgres", "schema"):
            with endings(settings):
                async with opened_warehouse(settings, self._events, trial=True):
                    pass
            self._add("postgres", "schema", "ok", f"{settings.raw_schema} and ops can be filled, for this company")
        return self.lines[-1].severity == "ok"

    async def _tell_server(self, address: Address, connection: Connection) -> None:
        facts = await connection.fetchrow(statement("session_facts"))
        direct = await backend_pid(connection) == connection.get_server_pid()
        pooled = "no pooler" if direct else "behind a pooler that keeps sessions"
        self._add("postgres", "connection", "ok", f"{address} answers: Postgres {facts['version']}, {pooled}")
        local = address.host.startswith("/") or address.host in ("localhost", "127.0.0.1", "::1")
        if facts["tls"]:
            self._add("postgres", "tls", "ok", f"{facts['tls']}, POSTGRES_SSLMODE {address.sslmode}")
        elif local or not direct:
            self._add("postgres", "tls", "ok", "none on this machine" if local else "up to the pooler, not known")
        else:
            self._add(
                "postgres",
                "tls",
                "notice",
                "none: rows and password proofs cross the network in the clear",
                "switch it on at the server, then `qbo-backfill secrets set POSTGRES_SSLMODE`: require or verify-full",
            )
        self._tell_disk(facts["folder"] if local else None, facts["bytes"])

    def _tell_disk(self, folder: str | None, used: int) -> None:
        size = f"the database has {used / 1e6:,.0f} MB"
        free = None
        if folder:
            with contextlib.suppress(OSError):  # another user's, or a container's own
                free = shutil.disk_usage(folder).free
        if free is None:
            self._add("postgres", "disk", "ok", f"{size}; how much is free, only the server knows")
        elif free < LITTLE_DISK:
            self._add("postgres", "disk", "notice", f"{size}, {free / 1e6:,.0f} MB are free", "free some space")
        else:
            self._add("postgres", "disk", "ok", f"{size}, {free / 1e9:,.1f} GB are free")

    # Mage

    def _look_at_mage(self) -> None:
        project = self._data.project
        if (project / "metadata.yaml").exists():
            self._add("mage", "project", "ok", str(project))
        else:
            self._add(
                "mage",
                "project",
                "notice",
                f"{project} is no Mage project; commands don't need one, pipelines do",
                "name it in MAGE_REPO_PATH, or `qbo-backfill mage install PATH`",
            )
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            self._add("mage", "version", "ok", f"mage-ai {importlib.metadata.version('mage-ai')}")
        with self._refusals("mage", "triggers"):
            known = known_triggers(self._data)
            can_fire = [trigger for trigger in known if trigger.in_file == "active" and not trigger.used_up]
            told_ = f"{len(can_fire)} of {len(known)} one-time triggers will fire"
            self._add("mage", "triggers", "ok", told_)
            for trigger in known:
                if trigger.in_file == "active" and trigger.used_up:
                    self._add(
                        "mage",
                        trigger.name,
                        "notice",
                        "is active, has had its run, and won't start again",
                        f"qbo-backfill triggers rearm {trigger.name}",
                    )
                for name in trigger.unquoted:
                    self._add(
                        "mage",
                        trigger.name,
                        "notice",
                        f"{name} is a date without quotes, for which Mage may drop the trigger",
                        f"write it in quotes in {trigger.file}",
                    )

    # QuickBooks

    async def _look_at_quickbooks(self, settings: Settings) -> None:
        stored = look(self._secrets.get(REFRESH_TOKEN), self._secrets.get(ACCESS_TOKEN), time.time())
        for sentence in sentences(stored):
            name, _, rest = sentence.partition(": ")
            self._add("quickbooks", name, "ok" if stored["connected"] else "notice", rest)
        where = f"company {settings.realm_id}, {settings.environment}, {settings.endpoints.api}"
        with self._refusals("quickbooks", "connection"):
            async with self._client(settings, QueryClient) as client:
                with endings(settings, planning=True):
                    await client.authorise()
                self._add("quickbooks", "access", "ok", f"Intuit gives an access token; {where}")
                for name in FIRST_CLASS:
                    if not await self._count(client, settings, name) and not self.rows:
                        break  # what is away, or refused, is so for all
        if self.clock_difference is not None:
            self._tell_clock(self.clock_difference)

    @contextlib.asynccontextmanager
    async def _client(self, settings: Settings, kind: type[AnyClient]) -> AsyncIterator[AnyClient]:
        """The company's client; within its budget where Postgres can tell it, else one request at a time."""
        limits = (
            shared_limits(settings.warehouse, settings.realm_id, self._events)
            if self._usable
            else no_limits(self._events)
        )
        async with opened_client(settings, self._secrets, self._events, limits, PLANNING, kind) as client:
            yield client

    async def probe(self, tell: Callable[[Finding], None]) -> dict[str, Any]:
        """After `look`: what this company's QuickBooks does. BackfillError when it stops answering."""
        settings = Settings.read(self._secrets, self._profile)
        with endings(settings, planning=True):
            async with self._client(settings, ProbingClient) as client:
                probe = Probe(client, self.rows, tell)
                await probe.ask_all()
        return {**probe.as_dict(), "clock_difference_seconds": self.clock_difference}

    async def _count(self, client: QueryClient, settings: Settings, name: str) -> bool:
        """Everything that a run could read of it: the same conditions, so the same refusals. Whether it was counted."""
        query = Query(ENTITIES[name], (LAST_UPDATED.at_least(EARLIEST),))
        began = time.time()
        try:
            with endings(settings, planning=True):
                counted = await count(client, query, Spent(), PLANNING)
                self.rows[name] = counted.rows
                clock = clock_of(counted)
        except BackfillError as error:
            self._add("quickbooks", name, "error", str(error))
            return name in self.rows
        middle = datetime.fromtimestamp((began + time.time()) / 2, UTC)
        self.clock_difference = (clock - middle).total_seconds()
        self._add("quickbooks", name, "ok", f"{counted.rows:,} rows can be read")
        return True

    def _tell_clock(self, difference: float) -> None:
        if abs(difference) <= CLOCK_SECONDS:
            self._add("quickbooks", "clock", "ok", f"QuickBooks' clock is {difference:+.1f} s from this machine's")
            return
        self._add(
            "quickbooks",
            "clock",
            "notice",
            f"QuickBooks' clock is {difference:+,.0f} s from this machine's, by which tokens are renewed",
            "set this machine's clock (NTP)",
        )
