"""Processes that ask a simulator as much as they may (bench.sender), killed and replaced as a measurement wants it."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import signal
import subprocess
import sys
import tempfile
import urllib.parse
import urllib.request
from dataclasses import asdict
from pathlib import Path
from typing import Any

from async_extractor.warehouse.connection import Address, connect
from async_extractor.warehouse.schema import bring_up_to_date
from local_postgres.embedded import PostgresAddress
from qbo_simulator.simulator import SimulatorProcess
from tools.bench.processes import BenchError


class Senders:
    """So many processes of one company on one Postgres. `what` is `count` or `pages`.

    Each takes the shared budget, or, where `postgres` names a role that may not, the part that is safe.
    A context manager: none is left when it is over.
    """

    def __init__(self, simulator: SimulatorProcess, postgres: PostgresAddress, count: int, what: str = "count") -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="bench-senders-")
        self._config = Path(self._folder.name) / "config.json"
        self._config.touch(0o600)
        self._config.write_text(
            json.dumps(
                {
                    "simulator": asdict(simulator),
                    "postgres": asdict(postgres),
                    "what": what,
                    "access_token": access_token(simulator),
                }
            )
        )
        # All start together; a spare one is ready for when one of them is killed.
        self.running = [self._start() for _ in range(count)]
        self._spare = self._start()
        for process in self.running:
            self._wait_until_ready(process)
        for process in self.running:
            process.send_signal(signal.SIGUSR1)

    def __enter__(self) -> Senders:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (*self.running, self._spare):
            process.kill()
            process.communicate()
        self._folder.cleanup()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tools.bench.sender", str(self._config)], stdout=subprocess.PIPE, text=True
        )

    @staticmethod
    def _wait_until_ready(process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise BenchError("a sender ended before it was ready; why, it says above")

    def kill_one(self, chance: random.Random) -> None:
        """SIGKILL, then the spare one takes its place and another is started.

        So what is measured is what a kill costs the others and the quota, and not how long Python takes to start.
        """
        self._wait_until_ready(self._spare)
        number = chance.randrange(len(self.running))
        killed, self.running[number] = self.running[number], self._spare
        killed.kill()
        self.running[number].send_signal(signal.SIGUSR1)
        killed.communicate()
        self._spare = self._start()

    def stop(self) -> list[int]:
        """Ends them; how many requests each of the living ones was answered."""
        for process in self.running:
            process.send_signal(signal.SIGTERM)
        return [int(process.communicate(timeout=60)[0] or 0) for process in self.running]


def prepare(postgres: PostgresAddress) -> None:
    """The warehouse's schemas, once for all the processes."""

    async def migrate() -> None:
        connection = await connect(warehouse_address(asdict(postgres)))
        await bring_up_to_date(connection)
        await connection.close()

    asyncio.run(migrate())


def warehouse_address(postgres: dict[str, Any]) -> Address:
    """A PostgresAddress as a dict, as the extractor takes it."""
    return Address(postgres["host"], postgres["port"], postgres["dbname"], postgres["user"], postgres["password"])


def access_token(simulator: SimulatorProcess) -> str:
    """One for all the processes: what is measured here is not the token."""
    form = urllib.parse.urlencode({"grant_type": "refresh_token", "refresh_token": simulator.refresh_token})
    credentials = base64.b64encode(f"{simulator.client_id}:{simulator.client_secret}".encode()).decode()
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{simulator.url}/oauth2/v1/tokens/bearer", form.encode(), {"Authorization": f"Basic {credentials}"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
        return str(json.load(answer)["access_token"])


def control(simulator: SimulatorProcess, what: str, body: dict[str, Any] | None = None) -> Any:
    """The simulator's control interface: reads `what`, or with a body changes it."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310 - loopback
        f"{simulator.url}/_simulator/{what}", data, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
        return json.load(answer)
