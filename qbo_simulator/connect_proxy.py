"""An HTTPS proxy on loopback that takes Intuit's host names for the simulator, and knows no other.

Clients that have Intuit's addresses built in reach the simulator unmodified, with `HTTPS_PROXY` and the local
authority's certificate. Nothing leaves the machine: every other host is refused.
"""

from __future__ import annotations

import asyncio
import contextlib

from qbo_simulator.tls import INTUIT_HOSTS


class ConnectProxy:
    """Tunnels `CONNECT <Intuit host>:443` to the simulator's TLS port."""

    def __init__(self, port: int, simulator_port: int) -> None:
        self._port = port
        self._simulator_port = simulator_port
        self._server: asyncio.Server | None = None
        self._tunnels: set[asyncio.Task[None]] = set()
        self.refused: list[str] = []

    async def start(self) -> str:
        """Listen; the proxy's URL."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for tunnel in self._tunnels:
                tunnel.cancel()
            await asyncio.gather(*self._tunnels, return_exceptions=True)
            await self._server.wait_closed()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # streams call this in a task
        self._tunnels.add(task)
        try:
            await self._tunnel(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            writer.transport.abort()  # the client went away; its tunnel goes too
        finally:
            self._tunnels.discard(task)
            writer.close()

    async def _tunnel(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").splitlines()[0]
        method, target, *_ = [*request.split(" "), "", ""]
        host, _, port = target.rpartition(":")
        if method != "CONNECT" or host.lower() not in INTUIT_HOSTS or port != "443":
            self.refused.append(target)
            writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            return
        to_reader, to_writer = await asyncio.open_connection("127.0.0.1", self._simulator_port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await writer.drain()
        try:
            await asyncio.gather(_pour(reader, to_writer), _pour(to_reader, writer))
        finally:
            to_writer.close()


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(65_536):
        sink.write(data)
        await sink.drain()
    with contextlib.suppress(OSError):  # the other side may have closed already
        sink.write_eof()
