"""pgAdmin in a container of its own, looking at a warehouse on this machine, photographed as people use it."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_postgres.embedded import PostgresAddress
from tools.evidence.gallery import EvidenceError

# The compose file's.
IMAGE = "dpage/pgadmin4:9"
EMAIL = "owner@example.com"
SERVER = "Backfill"
# Its first start makes its own database.
STARTS_WITHIN_S = 180
_ANSWERS_MS = 60_000


def available() -> bool:
    """Whether an engine answers that has pgAdmin's image."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    return subprocess.run([docker, "image", "inspect", IMAGE], capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def running(warehouse: PostgresAddress) -> Iterator[tuple[str, str]]:
    """pgAdmin's address and its password, until the block ends."""
    port, password, name = _free_port(), secrets.token_urlsafe(16), f"qbo-backfill-evidence-{secrets.token_hex(4)}"
    registered = {
        "Name": SERVER,
        "Group": "Servers",
        "Host": warehouse.host,
        "Port": warehouse.port,
        "MaintenanceDB": warehouse.dbname,
        "Username": warehouse.user,
        "DBRestriction": warehouse.dbname,
        "ConnectionParameters": {"sslmode": "prefer"},
    }
    with tempfile.TemporaryDirectory() as folder:
        servers, secret = Path(folder) / "servers.json", Path(folder) / "password"
        servers.write_text(json.dumps({"Servers": {"1": registered}}))
        secret.write_text(password)
        for path in (Path(folder), servers, secret):
            path.chmod(0o755 if path.is_dir() else 0o644)  # pgAdmin's own user reads them
        settings = {
            "PGADMIN_DEFAULT_EMAIL": EMAIL,
            "PGADMIN_DEFAULT_PASSWORD_FILE": "/run/secrets/password",
            "PGADMIN_LISTEN_ADDRESS": "127.0.0.1",
            "PGADMIN_LISTEN_PORT": str(port),
            "PGADMIN_CONFIG_UPGRADE_CHECK_ENABLED": "False",
        }
        _docker(
            *("run", "--detach", "--rm", "--name", name, "--network", "host"),
            *(part for key, value in settings.items() for part in ("--env", f"{key}={value}")),
            *("--volume", f"{servers}:/pgadmin4/servers.json:ro", "--volume", f"{secret}:/run/secrets/password:ro"),
            IMAGE,
        )
        try:
            _wait(port)
            yield f"http://127.0.0.1:{port}", password
        finally:
            _docker("rm", "--force", "--volumes", name)


class PgAdminPages:
    """A logged-in tab, connected to the warehouse."""

    def __init__(self, context: Any, address: str, password: str, warehouse: PostgresAddress) -> None:
        self._page = context.new_page()
        self._page.set_viewport_size({"width": 1700, "height": 900})
        self._page.goto(f"{address}/login", wait_until="domcontentloaded")
        self._page.wait_for_selector("input[name=email]", timeout=_ANSWERS_MS)
        self._page.fill("input[name=email]", EMAIL)
        self._page.fill("input[name=password]", password)
        self._page.keyboard.press("Enter")
        self._entry("Servers").wait_for(timeout=_ANSWERS_MS)
        self._page.wait_for_timeout(3_000)
        self._open("Servers", SERVER)
        self._entry(SERVER).dblclick(force=True)
        asked = self._page.locator("[role=dialog] input[type=password]")
        asked.wait_for(timeout=_ANSWERS_MS)
        asked.fill(warehouse.password)
        self._page.keyboard.press("Enter")
        self._entry("Databases").wait_for(timeout=_ANSWERS_MS)
        self._page.add_style_tag(content="img[alt^=Gravatar] { display: none }")  # it would be asked of the internet
        self._warehouse = warehouse.dbname

    def photograph_tables(self, picture: Path) -> None:
        """The tree, opened down to the columns of raw.qb_invoices, and how that table was made."""
        self._page.set_viewport_size({"width": 1700, "height": 1250})
        for name, child in (
            ("Databases", self._warehouse),
            (self._warehouse, "Schemas"),
            ("Schemas", "raw"),
            ("raw", "Tables"),
            ("Tables", "qb_invoices"),
            ("qb_invoices", "Columns"),
            ("Columns", "payload jsonb"),
        ):
            self._open(name, child)
        self._entry("qb_invoices").click(force=True)
        self._page.locator(".dock-tab", has_text="SQL").first.click()
        self._page.wait_for_timeout(6_000)
        self._page.screenshot(path=picture)
        self._page.set_viewport_size({"width": 1700, "height": 900})

    def photograph_query(self, sql: str, picture: Path) -> None:
        """A query and its rows in the Query Tool. `photograph_tables` has been called."""
        before = len(self._page.frames)
        self._page.locator('button[aria-label="Query Tool"], button[title="Query Tool"]').first.click()
        deadline = time.monotonic() + _ANSWERS_MS / 1000
        while len(self._page.frames) == before and time.monotonic() < deadline:
            self._page.wait_for_timeout(200)
        frame = self._page.frames[-1]
        editor = frame.locator(".cm-content").first
        editor.wait_for(timeout=_ANSWERS_MS)
        self._page.wait_for_timeout(4_000)
        editor.click()
        self._page.keyboard.insert_text(sql)
        self._page.keyboard.press("F5")
        frame.locator(".rdg-row").first.wait_for(timeout=_ANSWERS_MS)
        self._give_rows_room(frame, lines=sql.count("\n") + 1)
        self._page.wait_for_timeout(6_000)  # until the word of success is gone
        self._page.screenshot(path=picture)

    def _give_rows_room(self, frame: Any, *, lines: int) -> None:
        """Drags the bar between query and rows up to the query's last line."""
        top = frame.locator(".cm-content").first.bounding_box()["y"]
        boxes = [bar.bounding_box() for bar in frame.locator(".dock-divider").all()]
        bar = next((box for box in boxes if box and box["width"] > box["height"]), None)
        if bar is None:
            raise EvidenceError("pgAdmin's query tool has no bar to drag")
        x, y, to = bar["x"] + bar["width"] / 2, bar["y"] + bar["height"] / 2, top + 22 * lines + 20
        self._page.mouse.move(x, y)
        self._page.mouse.down()
        self._page.mouse.move(x, (y + to) / 2, steps=6)
        self._page.mouse.move(x, to, steps=6)
        self._page.mouse.up()

    def _open(self, name: str, child: str) -> None:
        """A double click opens what is closed and closes what is open, and some open by themselves."""
        deadline = time.monotonic() + _ANSWERS_MS / 1000
        while True:
            self._page.wait_for_timeout(1_500)
            if self._shows(child):
                return
            if time.monotonic() > deadline:
                raise EvidenceError(f"pgAdmin shows no {child} below {name}")
            self._entry(name).dblclick(force=True)
            self._page.wait_for_timeout(3_500)

    def _entry(self, name: str) -> Any:
        # The number of children may stand behind the name, and a column's type.
        words = r"\s*".join(re.escape(word) for word in name.split())
        shown = re.compile(rf"^{words}\s*(\(\d+\))?$")
        return self._page.locator(".file-entry").filter(has_text=shown).first

    def _shows(self, name: str) -> bool:
        return bool(self._entry(name).count())


def _docker(*arguments: str) -> str:
    ended = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)
    if ended.returncode:
        raise EvidenceError(f"docker {arguments[0]}: {ended.stderr.strip().splitlines()[-1]}")
    return ended.stdout


def _wait(port: int) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        try:
            with opener.open(f"http://127.0.0.1:{port}/misc/ping", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise EvidenceError(f"pgAdmin didn't answer within {STARTS_WITHIN_S} s") from None
            time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
