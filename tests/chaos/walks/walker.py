"""Walking: each step of a walk in turn, the oracle after each, and in the end `run` alone for whatever was left."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import asyncpg

from local_postgres.embedded import PostgresAddress
from qbo_simulator.envelopes import Answer
from tests.chaos.walks import oracle
from tests.chaos.walks.books import Books
from tests.chaos.walks.commands import Ended, Nursery, Running, Warehouse, arguments, stage
from tests.chaos.walks.oracle import Broken
from tests.chaos.walks.script import WITH_RANGE, Change, Command, Cut, How, Pass, Walk
from tests.support.commands import CommandLine
from tests.support.databases import execute

# A command takes a second or two; one that takes so long won't come to an end.
PATIENCE = 90.0
# Milliseconds that an answer takes where two commands are to overlap.
SIDE_BY_SIDE = 30
TEMPLATE = "walks_template"
_numbers = itertools.count(1)


@dataclass
class Walked:
    """What happened, a line each, and what was broken."""

    walk: Walk
    trace: list[str] = field(default_factory=list)
    broken: list[Broken] = field(default_factory=list)
    steps: int = 0

    def found(self, broken: list[Broken], by: str) -> None:
        """What was found broken after this command."""
        broken = [replace(one, by=by) for one in broken]
        self.broken += broken
        for one in broken[:5]:
            self.trace.append(f"    BROKEN {one}")
        if len(broken) > 5:
            self.trace.append(f"    BROKEN and {len(broken) - 5} more")

    @property
    def kinds(self) -> set[tuple[str, str]]:
        """How, and by which command."""
        return {(one.how, one.by) for one in self.broken}

    def told(self) -> str:
        return "\n".join([*self.trace, self.walk.told()])


class Ground:
    """Where walks take place: a Postgres server, a Mage with its secrets, and the nursery. For one walk at a time."""

    def __init__(self, server: PostgresAddress, mage: Path, nursery: Nursery) -> None:
        self.server = server
        self._mage = mage
        self.nursery = nursery

    @classmethod
    @contextlib.contextmanager
    def prepared(cls, server: PostgresAddress, mage: CommandLine) -> Iterator[Ground]:
        """`mage` is a Mage of the ground's own; its folder is copied for each walk."""
        home = Path(mage.environ["MAGE_DATA_DIR"]).parent
        nursery = Nursery()
        try:
            execute(server, f"DROP DATABASE IF EXISTS {TEMPLATE}", f"CREATE DATABASE {TEMPLATE}")
            for name, value in secrets(Books(Walk()).simulator.address(), server, TEMPLATE).items():
                mage.secrets.set(name, value or "http://127.0.0.1:1")
            ended = mage.run("status")  # makes the schemas
            assert ended.code == 0, ended.stderr
            yield cls(server, home, nursery)
        finally:
            nursery.close()

    @contextlib.asynccontextmanager
    async def fresh(self, books: Books) -> AsyncIterator[tuple[Warehouse, Mapping[str, str], Path]]:
        """An empty warehouse and a Mage that knows it and these books; the folder for what processes print."""
        name = f"walk_{os.getpid()}_{next(_numbers)}"
        execute(self.server, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
        folder = Path(tempfile.mkdtemp(prefix="walk-"))
        try:
            shutil.copytree(self._mage, folder, dirs_exist_ok=True)
            mage = CommandLine({"MAGE_REPO_PATH": str(folder / "mage_project"), "MAGE_DATA_DIR": str(folder / "data")})
            mage.secrets.set("POSTGRES_DB", name)
            mage.secrets.set("QBO_SIMULATOR_URL", books.simulator.url)
            output = folder / "output"
            output.mkdir()
            connection = await asyncpg.connect(
                host=self.server.host,
                port=self.server.port,
                user=self.server.user,
                password=self.server.password,
                database=name,
            )
            try:
                yield Warehouse(connection), mage.environ, output
            finally:
                await connection.close()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            execute(self.server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def secrets(simulator: Mapping[str, Any], server: PostgresAddress, database: str) -> dict[str, str]:
    return {
        "QBO_CLIENT_ID": simulator["client_id"],
        "QBO_CLIENT_SECRET": simulator["client_secret"],
        "QBO_REALM_ID": simulator["realm_id"],
        "QBO_REFRESH_TOKEN": simulator["refresh_token"],
        "QBO_ENVIRONMENT": "simulator",
        "QBO_SIMULATOR_URL": simulator["url"],
        "POSTGRES_HOST": server.host,
        "POSTGRES_PORT": str(server.port),
        "POSTGRES_DB": database,
        "POSTGRES_USER": server.user,
        "POSTGRES_PASSWORD": server.password,
    }


async def take(walk: Walk, ground: Ground, *, on: bool = False) -> Walked:
    """Walk it. What is broken ends the walk, since what follows from it says little new; `on` goes on."""
    walked = Walked(walk)
    books = Books(walk)
    async with books.simulator, ground.fresh(books) as (warehouse, environ, output):
        with ground.nursery.attached():
            walker = Walker(books, warehouse, ground.nursery, environ, output, walked)
            for step in walk.steps:
                await walker.step(step)
                if walked.broken and not on:
                    return walked
            await walker.finish()
    return walked


class Walker:
    def __init__(
        self,
        books: Books,
        warehouse: Warehouse,
        nursery: Nursery,
        environ: Mapping[str, str],
        output: Path,
        walked: Walked,
    ) -> None:
        self._books = books
        self._warehouse = warehouse
        self._nursery = nursery
        self._environ = environ
        self._output = output
        self._walked = walked
        self._ranges: dict[tuple[str, str, str, str], Command] = {}
        self._owed: dict[tuple[str, str, str, str], Command] = {}
        self._tasks: list[asyncio.Future[Any]] = []

    async def step(self, step: Change | Pass | Command) -> None:
        self._walked.steps += 1
        if isinstance(step, Change):
            self._tell(self._books.change(step))
        elif isinstance(step, Pass):
            self._books.let_pass(step.hours)
            self._tell(f"{step.hours:g} hours pass")
        else:
            await self._command(step)

    async def finish(self) -> None:
        """`run` alone, for every range whose last command didn't say that it is done, gets there."""
        for command in list(self._owed.values()):
            alone = Command("run", *command.range)
            self._tell(f"  in the end: {alone!r}")
            code = await self._one(alone, in_the_end=True)
            if code != 0 and not self._walked.broken:
                entity, *range_ = command.range
                told = f"`run` of {' '.join(range_)} alone ends with {code} in the end"
                self._walked.found([Broken("not reached", entity, "-", told)], "run in the end")

    def _tell(self, line: str) -> None:
        self._walked.trace.append(line)

    async def _command(self, command: Command) -> None:
        """A command with all that befalls it and the one beside it."""
        books, begun = self._books, self._books.requests
        running: dict[Command, list[Running]] = {command: []}
        beside: list[asyncio.Future[int]] = []

        def at_request(number: int, asked: str) -> Answer | None:
            at = number - begun
            for when, change in command.during:
                if when == at:
                    self._tell(f"    at request {at}: {books.change(change)}")
            if command.beside is not None and command.beside_at == at:
                self._tell(f"    at request {at} begins beside it: {command.beside!r}")
                running[command.beside] = []
                beside.append(asyncio.ensure_future(self._one(command.beside, running[command.beside])))
            for one, processes in running.items():
                answer = self._cut(one.cut, at, asked, processes)
                if answer is not None:
                    return answer
            return None

        self._tell(repr(command.alone()))
        books.at_request = at_request
        # A process needs a tenth of a second to begin; without this the first would be done by then.
        books.answer_after(SIDE_BY_SIDE if command.beside or command.name == "workers" else 0)
        try:
            await self._one(command, running[command])
            await asyncio.gather(*beside)
        finally:
            books.as_usual()
        await asyncio.gather(*self._tasks)
        self._tasks.clear()

    def _cut(self, cut: Cut | None, at: int, asked: str, processes: list[Running]) -> Answer | None:
        """What befalls a command at this request; the answer that takes the place of the right one."""
        if cut is None or cut.at > at:
            return None
        if cut.how == "empty":
            return self._books.empty(asked)
        if cut.at < at:
            return None
        self._tell(f"    at request {at}: {cut.how}")
        if cut.how == "refuse":
            return self._books.refused()
        if cut.how == "lapse":
            return self._books.lapsed()
        asyncio.get_running_loop().call_later(cut.milliseconds / 1000, self._end, cut.how, processes)
        return None

    def _end(self, how: How, processes: list[Running]) -> None:
        if how == "terminate":
            self._tasks.append(asyncio.ensure_future(self._warehouse.end_sessions()))
        for one in processes if how != "terminate" else []:
            one.signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)

    async def _one(self, command: Command, running: list[Running] | None = None, *, in_the_end: bool = False) -> int:
        """One command from its start to its end, and the oracle on it. Its exit code."""
        running = [] if running is None else running
        began = self._books.moment
        if command.name == "workers":
            ended = await self._workers(command, running)
        else:
            ended = await self._process(arguments(command), running)
        by = f"{command.name} {command.field}" if command.name in WITH_RANGE else command.name
        await self._judge(command, ended, began, f"{by} in the end" if in_the_end else by)
        return -1 if ended is None else ended.code

    async def _process(self, arguments: list[str], running: list[Running]) -> Ended | None:
        process = self._nursery.start(arguments, self._environ, self._output)
        running.append(process)
        return await process.end(PATIENCE)

    async def _workers(self, command: Command, running: list[Running]) -> Ended | None:
        """A plan, two workers of which the first may be killed, and the end that the other one makes of it."""
        planned = await self._process(stage("plan", command), running)
        if planned is None or planned.code != 0:
            return planned
        running.clear()
        first = asyncio.ensure_future(self._process(stage("extract", command, planned.runs[0]), running))
        second = await self._process(stage("extract", command, planned.runs[0]), [])
        await first
        if second is None or second.code != 0:
            return second
        return await self._process(stage("finish", command, second.runs[-1]), [])

    async def _judge(self, command: Command, ended: Ended | None, began: int, by: str) -> None:
        books, warehouse, walked = self._books, self._warehouse, self._walked
        entity = command.entity
        if ended is None:
            walked.found([Broken("hang", entity, "-", f"it had not ended after {PATIENCE:.0f} s")], by)
            return
        words = f": {ended.last_words}" if ended.code else ""
        self._tell(f"    {command.name} ends with {ended.code}{words}")
        if ended.code == 1:
            walked.trace += [f"      {line}" for line in ended.stderr.splitlines()[-60:]]
            walked.found([Broken("crash", entity, "-", ended.last_words)], by)
        if ended.code == 2 and command.name != "retry-chunk":  # of which the ledger may have no chunk
            walked.found([Broken("refused", entity, "-", ended.last_words)], by)
        if ended.code == 0:
            for promise in await warehouse.promises(command, ended, began):
                rows, aside = await warehouse.rows(promise.entity), await warehouse.quarantined(promise.entity)
                walked.found(oracle.kept(promise, books, rows, aside), by)
        for name in books.history:
            walked.found(oracle.sound(name, books, await warehouse.rows(name)), by)
        self._note(command, ended.code)

    def _note(self, command: Command, code: int) -> None:
        """Which ranges are owed: those of which the last word wasn't `done`."""
        if command.name in WITH_RANGE:
            self._ranges[command.range] = command
            self._owed.pop(command.range, None)
        if code not in (0, 2):  # bad parameters change nothing
            # One that takes its range from the ledger may have begun with any of them.
            begun = {command.range: command} if command.name in WITH_RANGE else self._ranges
            self._owed.update(begun)
