"""What happens when things go wrong, from the command line: a storm of faults, an outage, a kill, damaged rows."""

from __future__ import annotations

import json
import secrets
import signal
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.sql

from async_extractor.mage.secrets import MageSecrets
from local_postgres.embedded import PostgresAddress
from qbo_simulator import SimulatorProcess, run_as_process
from tools.evidence import tables
from tools.evidence.commands import Transcript
from tools.evidence.gallery import EvidenceError, Gallery

Say = Callable[[str], None]

_RANGE = ("--fecha-inicio", "2023-01-01", "--fecha-fin", "2025-12-31")
_COMPANY = ("--years", "3", "--customers", "500", "--items", "200")


@dataclass
class Workshop:
    """A Mage Secrets store and a database of its own, for one company of the simulator."""

    gallery: Gallery
    transcript: Transcript
    warehouse: PostgresAddress
    simulator_url: str

    @classmethod
    def furnish(
        cls, name: str, folder: Path, server: PostgresAddress, gallery: Gallery, simulator: SimulatorProcess
    ) -> Workshop:
        project = folder / name / "mage_project"
        (project / "pipelines").mkdir(parents=True)
        (project / "metadata.yaml").write_text("project_type: standalone\nhelp_improve_mage: false\n")
        environ = {
            "MAGE_REPO_PATH": str(project),
            "MAGE_DATA_DIR": str(folder / name / "data"),
            "QBO_BACKFILL_REPORTS": str(folder / name / "reports"),
        }
        warehouse = _new_database(server, name)
        store = MageSecrets.locate(environ)
        values = {
            "QBO_ENVIRONMENT": "simulator",
            "QBO_SIMULATOR_URL": simulator.url,
            "QBO_REALM_ID": simulator.realm_id,
            "QBO_CLIENT_ID": simulator.client_id,
            "QBO_CLIENT_SECRET": simulator.client_secret,
            "QBO_REFRESH_TOKEN": simulator.refresh_token,
            "POSTGRES_HOST": warehouse.host,
            "POSTGRES_PORT": str(warehouse.port),
            "POSTGRES_DB": warehouse.dbname,
            "POSTGRES_USER": warehouse.user,
            "POSTGRES_PASSWORD": warehouse.password,
        }
        for secret, value in values.items():
            store.set(secret, value)
        gallery.hide([warehouse.password])
        return cls(gallery, Transcript(environ), warehouse, simulator.url)

    @property
    def dsn(self) -> str:
        return self.warehouse.url(show_password=True)

    def select(self, sql: str, **names: str) -> None:
        self.transcript.show(tables.query(self.dsn, sql, **names))

    def expect(self, code: int, *arguments: str) -> None:
        """Runs a command; EvidenceError when it ends otherwise."""
        self.transcript.run(*arguments, code=code)

    def execute(self, sql: str) -> None:
        """Somebody's hand in the database."""
        self.transcript.show(f"{sql};")
        connection = psycopg2.connect(self.dsn)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql)
                self.transcript.show(f"{cursor.rowcount} rows")
        finally:
            connection.close()

    def write(self, name: str, title: str) -> None:
        self.gallery.text(name, title, self.transcript.text())


def go_through(folder: Path, server: PostgresAddress, gallery: Gallery, say: Say) -> None:
    """All of them, one after the other."""
    for name, scenario, invoices, happens in (
        ("storm", "storm", 20_000, _storm),
        ("outage", "calm", 30_000, _outage),
        ("kill", "calm", 30_000, _kill),
        ("again", "calm", 5_000, _again),
        ("damage", "calm", 5_000, _damage),
    ):
        say(f"hardship: {name}")
        more = ("--latency-ms", "250") if name == "kill" else ()
        with run_as_process("--invoices", str(invoices), *_COMPANY, "--scenario", scenario, *more) as simulator:
            happens(Workshop.furnish(name, folder, server, gallery, simulator))


def _storm(shop: Workshop) -> None:
    shop.transcript.note("The simulator's storm: every kind of fault, about one request in ten hit by one of them.")
    shop.expect(0, "run", "invoices", *_RANGE, "--chunk", "P1M", "--concurrency", "8")
    shop.transcript.note("What the run met, as ops.events keeps it:")
    shop.select(tables.EVENT_COUNTS)
    shop.select(tables.EVENTS)
    shop.select(tables.ATTEMPTS)
    shop.transcript.note("Complete all the same:")
    shop.expect(0, "verify", "invoices", *_RANGE)
    shop.write("retries-in-a-storm.txt", "A run through a storm of faults: retries by kind, and the result is complete")


def _outage(shop: Workshop) -> None:
    shop.transcript.note("After ten requests the service answers 503, ten times; then it is back.")
    _switch(shop, {"faults": [{"kind": "unavailable", "after": 10, "times": 10}]})
    shop.expect(0, "run", "invoices", *_RANGE, "--concurrency", "8")
    shop.transcript.note("The circuit breaker's story:")
    shop.select(tables.EVENTS)
    shop.select(tables.TOTALS)
    shop.write("circuit-breaker.txt", "An outage: the circuit breaker opens, probes, and closes by itself")


def _kill(shop: Workshop) -> None:
    shop.transcript.note("A backfill by the month, killed (SIGKILL) when some of its chunks are done.")
    arguments = ("run", "invoices", *_RANGE, "--chunk", "P1M", "--concurrency", "4")
    process = shop.transcript.start(*arguments)
    _wait_for(lambda: _count(shop, "SELECT count(*) FROM ops.chunks WHERE status = 'done'") >= 12, process)
    process.send_signal(signal.SIGKILL)
    shop.transcript.ended(process)
    shop.transcript.note("The resume point: what is done, what was in hand, what is left.")
    shop.select(
        "SELECT status, count(*) AS chunks, min(window_start) AS first_utc, max(window_end) AS last_utc "
        "FROM ops.chunks GROUP BY status ORDER BY 3"
    )
    shop.expect(0, "status")
    shop.transcript.note("Resumed; only chunks that were not done are read.")
    shop.expect(0, "resume")
    shop.transcript.note("Each chunk's attempts: those of run 1 that were done have no second one.")
    shop.select(tables.ATTEMPTS)
    twice = _count(
        shop,
        "SELECT count(*) FROM ops.attempts a JOIN ops.attempts b USING (chunk_id) "
        "WHERE a.outcome = 'done' AND b.outcome = 'done' AND a.attempt < b.attempt",
    )
    if twice:
        raise EvidenceError(f"{twice} chunks were done twice")
    shop.expect(0, "verify", "invoices", *_RANGE)
    shop.write("killed-and-resumed.txt", "A killed run, its resume point, and the resumed run")


def _again(shop: Workshop) -> None:
    shop.expect(0, "run", "invoices", *_RANGE, "--chunk", "P1Y")
    shop.transcript.note("Before: rows, a hash of all payloads, a hash of all row versions (xmin).")
    shop.select(tables.FINGERPRINT, table="qb_invoices")
    before = tables.fetch(shop.dsn, tables.FINGERPRINT.format(table="qb_invoices"))
    shop.transcript.note("The same range once more: everything is done, nothing is asked for.")
    shop.expect(0, "run", "invoices", *_RANGE, "--chunk", "P1Y")
    shop.transcript.note("One chunk read again, then the whole range.")
    shop.expect(
        0, "reprocess", "invoices", "--fecha-inicio", "2024-01-01", "--fecha-fin", "2024-12-31", "--chunk", "P1Y"
    )
    shop.expect(0, "reprocess", "invoices", *_RANGE, "--chunk", "P1Y")
    shop.transcript.note("After: the same rows, and not one of them was written again.")
    shop.select(tables.FINGERPRINT, table="qb_invoices")
    shop.select(tables.TOTALS)
    if tables.fetch(shop.dsn, tables.FINGERPRINT.format(table="qb_invoices")) != before:
        raise EvidenceError("reprocessing changed raw.qb_invoices")
    shop.write("idempotency.txt", "Idempotency: a range read again leaves the same rows and the same row versions")


def _damage(shop: Workshop) -> None:
    shop.expect(0, "run", "invoices", *_RANGE)
    shop.transcript.note("Somebody deletes 50 rows and alters one.")
    ids = "SELECT id FROM raw.qb_invoices ORDER BY id::bigint LIMIT 50 OFFSET 1000"
    shop.execute(f"DELETE FROM raw.qb_invoices WHERE id IN ({ids})")
    one = "SELECT id FROM raw.qb_invoices ORDER BY id::bigint LIMIT 1 OFFSET 2000"
    shop.execute(
        f"UPDATE raw.qb_invoices SET payload = jsonb_set(payload, '{{DocNumber}}', '\"altered\"') WHERE id = ({one})"
    )
    shop.transcript.note("Found:")
    shop.expect(3, "verify", "invoices", *_RANGE)
    shop.transcript.note("Repaired:")
    shop.expect(0, "verify", "invoices", *_RANGE, "--repair")
    shop.expect(0, "verify", "invoices", *_RANGE, "--deep")
    shop.write("damage-found-and-repaired.txt", "Deleted and altered rows, found and repaired by the commands")


def _switch(shop: Workshop, switches: dict[str, Any]) -> None:
    request = urllib.request.Request(  # noqa: S310 - always http, on loopback
        f"{shop.simulator_url}/_simulator/faults",
        json.dumps({"switches": switches}).encode(),
        {"Content-Type": "application/json"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(request, timeout=30).close()


def _wait_for(happened: Callable[[], bool], process: Any) -> None:
    deadline = time.monotonic() + 300
    while not happened():
        if process.poll() is not None or time.monotonic() > deadline:
            raise EvidenceError("the run that was to be killed ended before")
        time.sleep(0.05)


def _count(shop: Workshop, sql: str) -> int:
    try:
        _, rows = tables.fetch(shop.dsn, sql)
    except psycopg2.errors.UndefinedTable:
        return 0
    return int(rows[0][0])


def _new_database(server: PostgresAddress, name: str) -> PostgresAddress:
    """A database and the role that owns it."""
    password = secrets.token_urlsafe(24)
    role = psycopg2.sql.Identifier(name)
    connection = psycopg2.connect(server.url(show_password=True))
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(
            psycopg2.sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, psycopg2.sql.Literal(password))
        )
        cursor.execute(psycopg2.sql.SQL("CREATE DATABASE {} OWNER {}").format(role, role))
    finally:
        connection.close()
    return PostgresAddress(server.host, server.port, name, password, name)
