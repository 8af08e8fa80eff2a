"""The one place where walks meet the product: its command line and its stages, in processes that can be killed.

`python -m tests.chaos.walks.commands` is the nursery: it has imported everything and forks a process for each command,
since to start Python anew for each would take most of a walk's time.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from async_extractor import BackfillRequest
from async_extractor.backfill import Backfill
from async_extractor.cli import COMMANDS, loaded, main
from async_extractor.entities import ENTITIES
from async_extractor.errors import BackfillError
from async_extractor.mage.secrets import MageSecrets
from tests.chaos.walks.oracle import Promise, Row
from tests.chaos.walks.script import Command, day

CHECKOUT = Path(__file__).parents[3]
SUBCOMMANDS = {"retry-chunk": ["retry"], "quarantine-retry": ["quarantine", "retry"], "retry-mode": ["run"]}
OPTIONS = {
    "retry-mode": ["--mode", "retry"],
    "verify-deep": ["--deep"],
    "repair": ["--repair"],
}


def arguments(command: Command) -> list[str]:
    """The command line of a command. `workers` has none: `stages` has its processes."""
    name, common = command.name, ["--no-limits", "--json"]
    if name in ("resume", "quarantine-retry"):
        return [*SUBCOMMANDS.get(name, [name]), *common]
    if name == "retry":
        return ["retry", command.entity, *common]
    if name == "retry-chunk":
        chosen = ["--chunk", day(command.start), "--filter-field", command.field]
        return ["retry", command.entity, *chosen, *common]
    verb = ["verify"] if name in ("verify", "verify-deep", "repair") else SUBCOMMANDS.get(name, [name])
    chunk = [] if verb == ["verify"] else ["--chunk", command.chunk]
    return [
        *verb, command.entity, "--fecha-inicio", day(command.start), "--fecha-fin", day(command.end),
        "--filter-field", command.field, "--concurrency", str(command.concurrency),
        *chunk, *OPTIONS.get(name, []), *common,
    ]  # fmt: skip


def stage(name: str, command: Command, run_id: int | None = None) -> list[str]:
    """What a process of a run of several workers is given instead of a command line."""
    request = [command.entity, day(command.start), day(command.end), command.chunk, command.concurrency, command.field]
    return ["STAGE", name, json.dumps({"request": request, "run_id": run_id})]


def _stage(name: str, given: Mapping[str, Any]) -> int:
    """As Mage's blocks do it: plan; extract, which takes up the run or the one that goes on for it; the rest.

    Prints the run as JSON.
    """

    async def work() -> int:
        entity, start, end, chunk, concurrency, field = given["request"]
        mode = "resume"
        request = BackfillRequest.parse(entity, start, end, chunk, concurrency, field, mode)
        async with Backfill(request, MageSecrets.locate(), [], limits=False, workers=2) as backfill:
            if name == "plan":
                print(json.dumps({"run_id": await backfill.plan()}))
            elif name == "extract":
                run_id = await backfill.take_up(given["run_id"])
                await backfill.extract(run_id)
                print(json.dumps({"run_id": run_id}))
            else:
                await backfill.validate(given["run_id"])
                result = await backfill.report(given["run_id"])
                print(json.dumps(result.as_dict()))
                return 0 if result.status == "done" else 3
        return 0

    try:
        return asyncio.run(work())
    except BackfillError as error:
        print(f"qbo-backfill: {error}", file=sys.stderr)
        return error.exit_code


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code, negative for a signal; what it printed."""

    code: int
    stdout: str
    stderr: str

    @property
    def runs(self) -> list[int]:
        """The runs that it made, from the JSON on its stdout."""
        found = []
        for line in self.stdout.splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                said = json.loads(line)
                if isinstance(said, dict) and said.get("run_id") is not None:
                    found.append(int(said["run_id"]))
        return found

    @property
    def last_words(self) -> str:
        lines = self.stderr.strip().splitlines()
        return lines[-1] if lines else ""


class Warehouse:
    """What of the warehouse walks look at: raw, whose table and columns are the product's contract, and its ledger."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._alone = asyncio.Lock()  # commands that run side by side are looked at side by side

    async def _fetch(self, query: str, *values: object) -> list[Any]:
        async with self._alone:
            found: list[Any] = await self._connection.fetch(query, *values)
            return found

    async def rows(self, entity: str) -> list[Row]:
        table = next(e.table for e in ENTITIES.values() if e.query_name == entity)
        found = await self._fetch(f"SELECT id, payload::text, deleted_at_utc IS NOT NULL AS marked FROM raw.{table}")
        return [Row(row["id"], row["payload"], row["marked"]) for row in found]

    async def promises(self, command: Command, ended: Ended, began: int) -> list[Promise]:
        """What the runs of a command that ended with 0 vouch for; nothing where it said that there is nothing to do."""
        found = await self._fetch(
            "SELECT entity, filter_field, range_start, range_end, mode FROM ops.runs WHERE run_id = ANY ($1::bigint[])",
            ended.runs,
        )
        deep = {"verify-deep": "deep"}.get(command.name, "changes")
        return [
            Promise(
                ENTITIES[run["entity"]].query_name,
                run["filter_field"],
                run["range_start"],
                run["range_end"],
                began,
                "reprocess" if run["mode"] == "reprocess" else deep,
            )
            for run in found
        ]

    async def quarantined(self, entity: str) -> list[str | None]:
        """The Ids of the entries that stand, as `qbo-backfill quarantine list` has them; None for one without."""
        name = next(e.name for e in ENTITIES.values() if e.query_name == entity)
        rows = await self._fetch("SELECT record_id FROM ops.quarantine WHERE entity = $1 AND resolved_at IS NULL", name)
        return [row["record_id"] for row in rows]

    async def end_sessions(self) -> int:
        """End every session that the product has, as a failing network or an administrator would."""
        ended = await self._fetch(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name LIKE 'qbo-backfill%' AND datname = current_database()"""
        )
        return len(ended)


# Processes


class Running:
    """A process of the nursery's."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self._folder = folder
        self._code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def has_ended(self, code: int) -> None:
        if not self._code.done():
            self._code.set_result(code)

    @property
    def alive(self) -> bool:
        return not self._code.done()

    def signal(self, number: int) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def end(self, seconds: float) -> Ended | None:
        """How it ended; None when it had to be killed after so many seconds."""
        try:
            code = await asyncio.wait_for(asyncio.shield(self._code), seconds)
        except asyncio.TimeoutError:
            self.signal(signal.SIGKILL)
            await self._code
            return None
        return Ended(code, self._text("stdout"), self._text("stderr"))

    def _text(self, name: str) -> str:
        printed = self._folder / name
        # A process that is killed as it begins has opened none.
        return printed.read_text(errors="replace") if printed.exists() else ""


class Nursery:
    """Forks a process for each command. One walk at a time may be `attached`."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.walks.commands"],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )
        self._running: dict[int, Running] = {}
        self._number = 0

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @contextlib.contextmanager
    def attached(self) -> Iterator[None]:
        """Hear of processes that end, in this event loop."""
        assert self._process.stdout is not None
        loop, pipe = asyncio.get_running_loop(), self._process.stdout.fileno()
        loop.add_reader(pipe, self._hear)
        try:
            yield
        finally:
            loop.remove_reader(pipe)
            self._running.clear()

    def start(self, arguments: list[str], environ: Mapping[str, str], folder: Path) -> Running:
        """A process with this command line, in this Mage's environment; what it prints goes into a folder there."""
        self._number += 1
        own = folder / str(self._number)
        own.mkdir()
        order = {"arguments": arguments, "environ": dict(environ), "folder": str(own)}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        while True:
            said = json.loads(self._process.stdout.readline())
            if "code" not in said:
                break
            self._ended(said)
        running = self._running[said["pid"]] = Running(said["pid"], own)
        return running

    def _hear(self) -> None:
        assert self._process.stdout is not None
        # `start` may have read the line since the loop saw it: to wait for the next one would stop the simulator, too.
        if select.select([self._process.stdout], [], [], 0)[0]:
            self._ended(json.loads(self._process.stdout.readline()))

    def _ended(self, said: dict[str, int]) -> None:
        running = self._running.pop(said["pid"], None)
        if running is not None:
            running.has_ended(said["code"])


def serve() -> None:
    """The nursery: an order a line on stdin, the process's number and later its exit code as lines on stdout."""
    for name in COMMANDS:
        loaded(name)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake)
    children: set[int] = set()
    orders = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            for pid in list(children):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    children.discard(pid)
                    _say({"pid": pid, "code": os.waitstatus_to_exitcode(status)})
        if 0 in ready:
            more = os.read(0, 65536)
            if not more:
                for pid in children:
                    os.kill(pid, signal.SIGKILL)
                return
            *whole, orders = (orders + more).split(b"\n")
            for line in whole:
                order = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _become(order)
                children.add(pid)
                _say({"pid": pid})


def _say(words: dict[str, int]) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def _become(order: dict[str, Any]) -> None:
    """The forked process: the command, then its end."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, name in ((1, "stdout"), (2, "stderr")):
            to = os.open(f"{order['folder']}/{name}", os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(to, number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for name in [name for name in os.environ if name.startswith(("MAGE_", "QBO_", "POSTGRES_"))]:
            del os.environ[name]
        os.environ.update(order["environ"])
        given = order["arguments"]
        if given[0] == "STAGE":
            code = _stage(given[1], json.loads(given[2]))
        else:
            sys.argv = ["qbo-backfill", *given]
            try:
                main()
                code = 0
            except SystemExit as exit_:
                code = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException:  # as Python itself would end
        sys.excepthook(*sys.exc_info())
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve()
