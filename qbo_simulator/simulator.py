"""Starting a simulator: in this event loop, in a thread of its own, or as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from aiohttp import web

from qbo_simulator.api_routes import Api
from qbo_simulator.config import SimulatorConfig
from qbo_simulator.connect_proxy import ConnectProxy
from qbo_simulator.control_routes import ControlRoutes
from qbo_simulator.oauth_routes import OAuthRoutes
from qbo_simulator.service import Service
from qbo_simulator.tls import server_context

# Characters. Intuit documents no limit; a switch sets one.
_LONGEST_URL = 1_000_000


class StartError(Exception):
    """Why the simulator can't serve: one line."""


class Simulator:
    """`async with Simulator(SimulatorConfig(...)) as sim:` serves at `sim.url` until the block ends."""

    def __init__(self, config: SimulatorConfig | None = None) -> None:
        self.config = config or SimulatorConfig()
        self.service = Service(self.config)
        self.url = ""
        self.proxy_url: str | None = None
        self._runner: web.AppRunner | None = None
        self._proxy: ConnectProxy | None = None

    @property
    def realm_id(self) -> str:
        return self.config.realm_id

    async def start(self) -> None:
        """StartError when an address can't be listened on, or the TLS folder can't be written to."""
        tls = self._tls()
        application = web.Application(client_max_size=256 * 1024 * 1024)
        for part in (Api, OAuthRoutes, ControlRoutes):
            application.add_routes(part(self.service).routes())
        self._runner = web.AppRunner(
            application, access_log=None, handle_signals=False, shutdown_timeout=1.0, max_line_size=_LONGEST_URL
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.config.host, self.config.port, ssl_context=tls, backlog=512)
        try:
            await site.start()
        except OSError as error:
            await self.stop()
            where = f"{self.config.host}:{self.config.port}"
            raise StartError(f"can't listen on {where}: {error.strerror or error}") from error
        host, port = self._runner.addresses[0][:2]
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        if self.config.proxy_port is not None:
            self._proxy = ConnectProxy(self.config.proxy_port, port)
            try:
                self.proxy_url = await self._proxy.start()
            except OSError as error:
                await self.stop()
                where = f"127.0.0.1:{self.config.proxy_port}"
                raise StartError(f"can't listen on {where}: {error.strerror or error}") from error

    def _tls(self) -> ssl.SSLContext | None:
        folder = self.config.tls_folder
        if folder is None:
            return None
        try:
            return server_context(folder)
        except OSError as error:
            raise StartError(f"can't write to the TLS folder {folder}: {error.strerror or error}") from error

    async def stop(self) -> None:
        if self._proxy is not None:
            await self._proxy.stop()
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Simulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def address(self) -> dict[str, object]:
        """All that a client has to know, as the ready file has it."""
        return {
            "url": self.url,
            "realm_id": self.config.realm_id,
            "client_id": self.config.client_id,
            "client_secret": self.config.client_secret,
            "refresh_token": self.config.refresh_token,
            "pid": os.getpid(),
        } | ({} if self.proxy_url is None else {"proxy_url": self.proxy_url})


@contextlib.contextmanager
def run_in_thread(config: SimulatorConfig | None = None) -> Iterator[Simulator]:
    """A running simulator with an event loop and a thread of its own, for callers without a loop."""
    simulator = Simulator(config)
    started = threading.Event()
    failure: list[BaseException] = []
    loop = asyncio.new_event_loop()

    def serve() -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_until_complete(simulator.start())
        except StartError as error:
            failure.append(error)
            started.set()
            return
        loop.call_soon(started.set)
        loop.run_forever()
        loop.run_until_complete(simulator.stop())
        loop.run_until_complete(loop.shutdown_asyncgens())

    thread = threading.Thread(target=serve, name="qbo-simulator", daemon=True)
    thread.start()
    started.wait()
    if failure:
        thread.join()
        loop.close()
        raise failure[0]
    try:
        yield simulator
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@dataclass(frozen=True)
class SimulatorProcess:
    """A simulator that runs as a process of its own."""

    url: str
    realm_id: str
    client_id: str
    client_secret: str
    refresh_token: str
    pid: int
    proxy_url: str | None = None


@contextlib.contextmanager
def run_as_process(*options: str, wait_seconds: float = 60.0) -> Iterator[SimulatorProcess]:
    """`python -m qbo_simulator` with these options, ended with the block. RuntimeError when it does not come up."""
    with tempfile.TemporaryDirectory(prefix="qbo-simulator-") as folder:
        ready, output = Path(folder) / "ready.json", Path(folder) / "output"
        with output.open("wb") as sink:
            process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
                [sys.executable, "-m", "qbo_simulator", *options, "--ready-file", str(ready)],
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        try:
            deadline = time.monotonic() + wait_seconds
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    told = output.read_text(errors="replace").strip()
                    raise RuntimeError(f"the simulator did not start: {told or 'no word from it'}")
                time.sleep(0.02)
            yield SimulatorProcess(**json.loads(ready.read_text()))
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
