"""A plain HTTP client of the simulator, for its own tests."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Any

import aiohttp

from qbo_simulator import Simulator, SimulatorConfig


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """`async with Client(invoices=50) as client:` starts a simulator, gets a token, and asks it things."""

    def __init__(self, **config: Any) -> None:
        self.sim = Simulator(
            SimulatorConfig(**({"limits": False, "invoices": 60, "customers": 30, "items": 25, "years": 1} | config))
        )
        self.token = ""

    async def __aenter__(self) -> Client:
        await self.sim.start()
        self._session = aiohttp.ClientSession(auto_decompress=False)
        self.base = f"{self.sim.url}/v3/company/{self.sim.realm_id}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()
        await self.sim.stop()

    async def ask(self, method: str, path: str, **options: Any) -> Reply:
        """Any request; a path without a host goes to the simulator."""
        url = path if path.startswith("http") else self.sim.url + path
        async with self._session.request(method, url, allow_redirects=False, **options) as response:
            return Reply(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read())

    async def refresh(self, value: str | None = None, *, secret: str | None = None, **headers: str) -> Reply:
        config = self.sim.config
        return await self.ask(
            "POST",
            "/oauth2/v1/tokens/bearer",
            data={"grant_type": "refresh_token", "refresh_token": value or config.refresh_token},
            auth=aiohttp.BasicAuth(config.client_id, secret or config.client_secret),
            headers={"Accept": "application/json"} | headers,
        )

    async def authorized(self, **headers: str) -> dict[str, str]:
        if not self.token:
            reply = await self.refresh(self.sim.service.consent.refresh_token)
            self.token = reply.json["access_token"]
        return {
            "Authorization": f"Bearer {self.token}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
        } | headers

    async def query(self, statement: str, **headers: str) -> Reply:
        url = f"{self.base}/query"
        return await self.ask("GET", url, params={"query": statement}, headers=await self.authorized(**headers))

    async def rows(self, statement: str) -> list[dict[str, Any]]:
        reply = await self.query(statement)
        assert reply.status == 200, reply.text
        pages = reply.json["QueryResponse"]
        return next((value for value in pages.values() if isinstance(value, list)), [])

    async def count(self, statement: str) -> int:
        reply = await self.query(f"SELECT COUNT(*) FROM {statement}")
        return int(reply.json["QueryResponse"]["totalCount"])

    async def control(self, path: str, body: dict[str, Any] | None = None) -> Any:
        reply = await self.ask("GET" if body is None else "POST", f"/_simulator/{path}", json=body)
        assert reply.status == 200, reply.text
        return reply.json

    async def behave(self, **switches: Any) -> None:
        await self.control("faults", {"scenario": "calm", "switches": switches})


def instant(row: dict[str, Any]) -> float:
    return datetime.fromisoformat(row["MetaData"]["LastUpdatedTime"]).timestamp()


def record(identifier: str, when: str = "2025-03-03T10:00:00-08:00") -> dict[str, str]:
    times = {"CreateTime": when, "LastUpdatedTime": when}
    return {"payload": json.dumps({"Id": identifier, "SyncToken": "0", "MetaData": times, "TotalAmt": 1.0})}


def planted(entity: str, count: int, when: str) -> dict[str, Any]:
    return {"entity": entity, "replace": True, "records": [record(str(500 + at), when) for at in range(count)]}


async def ids(client: Client, statement: str) -> list[str]:
    return [row["Id"] for row in await client.rows(statement)]
