"""pgAdmin, looking at a warehouse on this machine, photographed as people use it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from local_postgres.embedded import PostgresAddress
from tools import environments
from tools.demo.processes import stop_process_group
from tools.evidence.gallery import EvidenceError

REQUIREMENTS = Path(__file__).with_name("pgadmin4.txt")
KEPT_IN = Path(__file__).parents[2] / ".state" / "pgadmin"
# The compose file's.
EMAIL = "owner@example.com"
SERVER = "Backfill"
# Its first start makes its own database.
STARTS_WITHIN_S = 180
_ANSWERS_MS = 60_000


@contextlib.contextmanager
def running(warehouse: PostgresAddress) -> Iterator[tuple[str, str]]:
    """pgAdmin's address and its password, until the block ends. EvidenceError where it can't be installed."""
    try:
        python = environments.python_of(REQUIREMENTS, KEPT_IN)
    except environments.InstallError as error:
        raise EvidenceError(str(error)) from None
    port, password = _free_port(), secrets.token_urlsafe(16)
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers, settings, log = folder / "servers.json", folder / "settings.py", folder / "log"
        servers.write_text(json.dumps({"Servers": {"1": registered}}))
        # The last three would ask the internet, or look for keys of language models.
        settings.write_text(
            f"DATA_DIR = {name!r}\nDEFAULT_SERVER_PORT = {port}\n"
            "UPGRADE_CHECK_ENABLED = SHOW_GRAVATAR_IMAGE = LLM_ENABLED = False\n"
        )
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": name,
            "CONFIG_DISTRO_FILE_PATH": str(settings),
            "PGADMIN_SETUP_EMAIL": EMAIL,
            "PGADMIN_SETUP_PASSWORD": password,
        }
        with log.open("wb") as said:
            pgadmin = subprocess.Popen(
                [python.with_name("pgadmin4")], env=environ, stdout=said, stderr=said, start_new_session=True
            )
            try:
                _wait(port, pgadmin, log)
                load = [str(python.with_name("pgadmin4-cli")), "load-servers", str(servers), "--user", EMAIL]
                subprocess.run(load, env=environ, stdout=said, stderr=said, check=True)
                yield f"http://127.0.0.1:{port}", password
            finally:
                stop_process_group(pgadmin.pid)


class PgAdminPages:
    """A logged-in tab, connected to the warehouse."""

    def __init__(self, context: Any, address: str, password: str, warehouse: PostgresAddress) -> None:
        self._page = context.new_page()
        self._resize()
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
        self._warehouse = warehouse.dbname

    def photograph_tables(self, picture: Path) -> None:
        """The tree, opened down to the columns of raw.qb_invoices, and how that table was made."""
        self._resize(2_250, width=1_900)  # the tree has what is on the screen only
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

    def photograph_query(self, sql: str, picture: Path, *, height: int = 900) -> None:
        """A query and its rows in the Query Tool. `photograph_tables` has been called."""
        self._resize(height)
        self._run(sql)
        self._page.screenshot(path=picture)

    def photograph_value(self, sql: str, lines: int, picture: Path) -> None:
        """The JSON in the last column of a query's one row, all its lines, as a double click on it opens it."""
        height = 100 + 18 * lines
        self._resize(height + 150, width=1_330)
        frame = self._run(sql)
        # Where pgAdmin remembers the size that a person has dragged the last one to.
        frame.evaluate(f"window.resizeKeys = {{json: {{width: '600px', height: '{height}px'}}}}")
        frame.locator(".rdg-row .rdg-cell").last.dblclick(position={"x": 20, "y": 10})
        frame.locator(".jsoneditor-div .cm-line").first.wait_for(timeout=_ANSWERS_MS)
        self._page.wait_for_timeout(2_000)
        self._page.screenshot(path=picture)

    def _run(self, sql: str) -> Any:
        """The frame of a new Query Tool that shows the query's rows."""
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
        return frame

    def _give_rows_room(self, frame: Any, *, lines: int) -> None:
        """Drags the bar between query and rows up to the query's last line."""
        top = frame.locator(".cm-scroller").first.bounding_box()["y"]
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

    def _resize(self, height: int = 900, width: int = 1_700) -> None:
        self._page.set_viewport_size({"width": width, "height": height})

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


def _wait(port: int, pgadmin: subprocess.Popen[bytes], log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + STARTS_WITHIN_S
    while True:
        with contextlib.suppress(OSError), opener.open(f"http://127.0.0.1:{port}/misc/ping", timeout=5):
            return
        if pgadmin.poll() is not None or time.monotonic() > deadline:
            said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise EvidenceError(f"pgAdmin didn't start: {said[-1]}")
        time.sleep(0.5)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
