"""What is known of `include=enhancedAllCustomFields`."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.simulator.client import Client


async def ask(client: Client, statement: str, include: str) -> list[dict[str, Any]]:
    path = f"{client.base}/query?query={quote(statement)}{include}"
    answer = await client.ask("GET", path, headers=await client.authorized(Accept="application/json"))
    (records,) = (value for value in json.loads(answer.body)["QueryResponse"].values() if isinstance(value, list))
    return records


async def test_custom_fields_beyond_the_first_three_come_only_when_asked_for() -> None:
    """Plain answers give the three legacy fields; more need the parameter, and not every entity takes it."""
    include = "&include=enhancedAllCustomFields"
    async with Client(switches={"answers": {"custom_fields": 5}}) as client:
        for entity, more in (("Invoice", 5), ("Customer", 5), ("Item", 0)):
            statement = f"SELECT * FROM {entity} ORDERBY Id"
            plain, whole = await ask(client, statement, ""), await ask(client, statement, include)
            assert await ask(client, statement, "&include=invoiceLink") == plain
            assert len(plain) == len(whole) > 0
            for before, after in zip(plain, whole, strict=True):
                few = before.get("CustomField", [])
                assert len(few) <= 3
                assert after.get("CustomField", [])[: len(few)] == few
                assert len(after.get("CustomField", [])) == len(few) + more
