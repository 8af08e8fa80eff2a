"""Workers in network namespaces of their own, as on machines of their own: they share Postgres and Mage's data."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import in_raw, truth
from tests.support.commands import COMMAND, CommandLine, Ended, store

BRIDGE, NET = f"qb{os.getpid() % 100_000}", "10.231.77"
HERE = f"{NET}.1"
# Names without dots, as Compose services have them.
HOSTS = f"127.0.0.1 localhost\n{HERE} quickbooks warehouse\n"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


def can_make_namespaces() -> bool:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"{BRIDGE}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        ip("netns", "del", name)
    return made


pytestmark = pytest.mark.skipif(
    not can_make_namespaces(), reason="NOT RUN: needs root and ip(8) to make network namespaces"
)


@pytest.fixture
def namespaces() -> Iterator[list[str]]:
    """Three, on one bridge with this machine, each with its own address and /etc/hosts."""
    names = [f"{BRIDGE}-{number}" for number in range(3)]
    folders = [Path("/etc/netns") / name for name in names]
    with contextlib.ExitStack() as undo:
        ip("link", "add", BRIDGE, "type", "bridge")
        undo.callback(ip, "link", "del", BRIDGE)
        ip("addr", "add", f"{HERE}/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        for number, (name, folder) in enumerate(zip(names, folders, strict=True)):
            folder.mkdir(parents=True)
            undo.callback(shutil.rmtree, folder)
            (folder / "hosts").write_text(HOSTS)
            ip("netns", "add", name)
            undo.callback(ip, "netns", "del", name)
            ip("link", "add", f"{BRIDGE}{number}", "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", f"{BRIDGE}{number}", "master", BRIDGE, "up")
            ip("-n", name, "addr", "add", f"{NET}.{10 + number}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names


@contextlib.asynccontextmanager
async def on_the_bridge(host: str, port: int) -> AsyncIterator[int]:
    """A port of the bridge that leads to a server on loopback."""

    async def pump(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection(host, port)
        await asyncio.gather(pump(reader, forth), pump(back, writer))

    server = await asyncio.start_server(connected, HERE, 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def run(namespace: str, command_line: CommandLine, *arguments: str) -> Ended:
    others = {n: v for n, v in os.environ.items() if not n.startswith(("MAGE_", "QBO_", "POSTGRES_"))}
    process = await asyncio.create_subprocess_exec(
        *("ip", "netns", "exec", namespace),
        *COMMAND,
        *arguments,
        env={**others, **command_line.environ},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate()
    return Ended(process.returncode or 0, stdout.decode(), stderr.decode())


@pytest.mark.slow
async def test_workers_on_machines_of_their_own_do_each_chunk_once_inside_the_limits(
    namespaces: list[str], command_line: CommandLine, database: Any
) -> None:
    switches = {"tokens": {"rotate_after_seconds": 0, "reuse": "revokes-all"}}
    config = SimulatorConfig(invoices=1_500, latency_ms=100, switches=switches)
    async with Simulator(config) as simulator, contextlib.AsyncExitStack() as stack:
        store(command_line, simulator, database)
        quickbooks = await stack.enter_async_context(on_the_bridge("127.0.0.1", int(simulator.url.rpartition(":")[2])))
        warehouse = await stack.enter_async_context(on_the_bridge(database.host, database.port))
        for name, value in (
            ("QBO_SIMULATOR_URL", f"http://quickbooks:{quickbooks}"),
            ("POSTGRES_HOST", "warehouse"),
            ("POSTGRES_PORT", str(warehouse)),
        ):
            command_line.secrets.set(name, value)
        dates = ["--fecha-inicio", "2023-01-01", "--fecha-fin", "2025-12-31"]
        arguments = ["run", "invoices", *dates, "--chunk", "week", "--concurrency", "4", "--json"]
        ended = await asyncio.gather(*(run(name, command_line, *arguments) for name in namespaces))
        assert [one.code for one in ended] == [0, 0, 0], [one.stderr[-500:] for one in ended]
        ledger = simulator.service.ledger.summary()
        connection = await asyncpg.connect(database.dsn)
        done = await connection.fetch(
            "SELECT chunk_id, count(DISTINCT run_id) AS runs, count(*) AS times FROM ops.attempts GROUP BY chunk_id"
        )
        runs = await connection.fetchval("SELECT count(DISTINCT run_id) FROM ops.attempts")
        await connection.close()
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
    assert {(row["runs"], row["times"]) for row in done} == {(1, 1)}
    assert runs == 3
    assert ledger["violations_total"] == 0
    assert ledger["refreshes"] == 1
