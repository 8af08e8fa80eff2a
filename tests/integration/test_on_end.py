"""`--on-end` and NOTIFY_URL: whoever asked is told of a run's end, whatever it is, and the run is what it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from async_extractor.cli import on_end
from qbo_simulator import SimulatorConfig, run_in_thread
from tests.support.commands import CommandLine, store

SMALL = SimulatorConfig(invoices=120, customers=20, items=10)
# Keeps what it gets: a line for the environment, a line for stdin.
KEEP = """
import json, os, sys
own = {name: value for name, value in os.environ.items() if name.startswith("QBO_BACKFILL_")}
with open(sys.argv[1], "a") as kept:
    kept.write(json.dumps([own, json.load(sys.stdin)]) + "\\n")
print("said by the command")
"""


@dataclass
class Hook:
    """A webhook: what it was sent, and what it answers."""

    url: str = ""
    status: int = 200
    got: list[Any] = field(default_factory=list)


@contextmanager
def webhook(status: int = 200) -> Iterator[Hook]:
    hook = Hook(status=status)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            hook.got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(hook.status)
            self.send_header("Location", "/elsewhere")
            self.end_headers()

        def log_message(self, *_what: Any) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hook.url = f"http://127.0.0.1:{server.server_port}/a-secret-path"
        yield hook
        server.shutdown()


@pytest.fixture
def keeping(tmp_path: Path) -> tuple[str, Path]:
    """A command that keeps what it is told, and the file where it does."""
    (tmp_path / "keep.py").write_text(KEEP)
    return f"{sys.executable} {tmp_path / 'keep.py'} {tmp_path / 'kept'}", tmp_path / "kept"


def kept(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_command_and_a_webhook_get_the_result(
    command_line: CommandLine, database: Any, keeping: tuple[str, Path]
) -> None:
    with run_in_thread(SMALL) as simulator, webhook() as hook:
        store(command_line, simulator, database)
        command_line.secrets.set("NOTIFY_URL", hook.url)
        ended = command_line.backfill("invoices", "--on-end", keeping[0])
        refresh_token = simulator.service.consent.refresh_token
    assert ended.code == 0, ended.stderr
    assert ended.result["status"] == "done"  # stdout's last line is still the result
    assert "said by the command" in ended.stderr
    assert "on end" not in ended.stderr
    ((own, told),) = kept(keeping[1])
    assert own == {"QBO_BACKFILL_STATUS": "done", "QBO_BACKFILL_EXIT_CODE": "0", "QBO_BACKFILL_PROFILE": "default"}
    assert (told["profile"], told["status"], told["exit_code"]) == ("default", "done", 0)
    assert told["text"] == "QuickBooks backfill, company default: invoices done; 120 rows read"
    assert told["entities"] == [{**ended.result, "exit_code": 0}]
    assert hook.got == [("/a-secret-path", told)]
    for secret in (refresh_token, hook.url, "a-secret-path", database.password):
        assert secret not in json.dumps(told)


def test_all_entities_are_told_once(command_line: CommandLine, database: Any, keeping: tuple[str, Path]) -> None:
    with run_in_thread(SMALL) as simulator:
        store(command_line, simulator, database)
        ended = command_line.backfill("invoices,customers,items", "--on-end", keeping[0])
    assert ended.code == 0, ended.stderr
    ((_, told),) = kept(keeping[1])
    assert [one["entity"] for one in told["entities"]] == ["invoices", "customers", "items"]
    assert told["text"] == "QuickBooks backfill, company default: 3 of 3 entities done; 150 rows read"
    assert {name: told[name] for name in ended.result} == ended.result


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(
    ("status", "says"),
    [(500, "answered HTTP 500"), (302, "answered HTTP 302"), (None, "can't be reached (ConnectionRefusedError)")],
)
def test_what_cannot_be_told_changes_no_exit_code(
    command_line: CommandLine, database: Any, status: int | None, says: str
) -> None:
    with run_in_thread(SMALL) as simulator, webhook(status or 200) as hook:
        store(command_line, simulator, database)
        command_line.secrets.set("NOTIFY_URL", hook.url if status else "http://127.0.0.1:1/a-secret-path")
        ended = command_line.backfill("items", "--on-end", "exit 7")
    assert ended.code == 0, ended.stderr
    assert "on end   the command of --on-end ended with 7; the exit code stays the run's\n" in ended.stderr
    assert f"on end   the webhook of NOTIFY_URL (127.0.0.1) {says}; the exit code" in ended.stderr
    assert "a-secret-path" not in ended.stderr
    assert len(hook.got) == (1 if status else 0)


def test_a_refused_run_is_told_and_stays_refused(
    command_line: CommandLine, database: Any, keeping: tuple[str, Path]
) -> None:
    with run_in_thread(SMALL) as simulator:
        store(command_line, simulator, database)
        command_line.secrets.set("QBO_REFRESH_TOKEN", "no-such-token")
        ended = command_line.backfill("items", "--on-end", f"{keeping[0]}; exit 0")
    assert ended.code == 4
    ((own, told),) = kept(keeping[1])
    assert (own["QBO_BACKFILL_STATUS"], own["QBO_BACKFILL_EXIT_CODE"]) == ("failed", "4")
    assert "auth login" in told["entities"][0]["error"]


def test_a_stopped_run_is_told(command_line: CommandLine, database: Any, keeping: tuple[str, Path]) -> None:
    slow = SimulatorConfig(invoices=12_000, customers=20, items=10, latency_ms=1000)
    with run_in_thread(slow) as simulator:
        store(command_line, simulator, database)
        arguments = command_line.backfill_arguments("invoices", "--on-end", keeping[0], "--events", "-")
        process = command_line.start(*arguments)
        assert process.stderr is not None
        for line in process.stderr:
            if '"extract_begun"' in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 3
    ((own, told),) = kept(keeping[1])
    assert (own["QBO_BACKFILL_STATUS"], own["QBO_BACKFILL_EXIT_CODE"]) == ("incomplete", "3")
    assert "stopped by SIGTERM" in told["entities"][0]["error"]


@pytest.mark.parametrize(
    "url", ["ftp://somewhere/a-secret-path", "hooks.test/a-secret-path", "http://[foo/a-secret-path"]
)
def test_a_wrong_notify_url_is_refused_before_the_first_row(
    command_line: CommandLine, database: Any, keeping: tuple[str, Path], url: str
) -> None:
    with run_in_thread(SMALL) as simulator:
        store(command_line, simulator, database)
        given = command_line.run("secrets", "set", "NOTIFY_URL", text=url)
        command_line.secrets.set("NOTIFY_URL", url)
        ended = command_line.backfill("items", "--on-end", keeping[0])
    assert (given.code, ended.code) == (2, 4)
    for stderr in (given.stderr, ended.stderr):
        assert "NOTIFY_URL: is not https://HOST/" in stderr
        assert "a-secret-path" not in stderr
        assert "Traceback" not in stderr
    assert kept(keeping[1])[0][0]["QBO_BACKFILL_STATUS"] == "failed"


@contextmanager
def dripping(head: bytes, again: bytes) -> Iterator[str]:
    """A server whose answer's head goes on with this, and never comes to an end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                taken, _ = listening.accept()
                with taken:
                    taken.sendall(head)
                    while True:
                        taken.sendall(again)
                        time.sleep(0.2)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/a-secret-path"


@pytest.mark.parametrize(
    "answer", [(b"HTTP/1.1 200 OK\r\nX: ", b"x"), (b"", b"HTTP/1.1 100 Continue\r\n\r\n")], ids=["head", "continue"]
)
def test_a_webhook_that_never_ends_its_answer_is_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: tuple[bytes, bytes]
) -> None:
    monkeypatch.setattr(on_end, "WEBHOOK_SECONDS", 1)
    with dripping(*answer) as url:
        asyncio.run(on_end._ended("the webhook", on_end._post(url, {}), on_end.WEBHOOK_SECONDS))
    told = capsys.readouterr().err
    assert told == "on end   the webhook took more than 1 s and was ended; the exit code stays the run's\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_and_the_run_stays_done(
    command_line: CommandLine, database: Any, tmp_path: Path, number: signal.Signals
) -> None:
    began = tmp_path / "began"
    os.mkfifo(began)
    with run_in_thread(SMALL) as simulator:
        store(command_line, simulator, database)
        arguments = command_line.backfill_arguments("items", "--on-end", f"echo $$ > {began}; exec sleep 60")
        process = command_line.start(*arguments)
        shell = int(began.read_text())
        process.send_signal(number)
        _, stderr = process.communicate()
    assert process.returncode == 0
    assert f"on end   the command of --on-end was ended by {number.name}; the exit code stays the run's" in stderr
    with pytest.raises(ProcessLookupError):
        os.killpg(shell, 0)
