"""A process that needs a valid access token all the time: `python -m tools.bench.token_user TOKEN_URL API REALM`.

Its Mage Secrets are those of its environment. It asks QuickBooks with each token that it is given, and writes what it
sees as JSON lines: `refreshed` with the milliseconds of the exchange and of the storing, `used`, or `fault`.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

import aiohttp

from async_extractor.events import Event, Events
from async_extractor.mage.secrets import MageSecrets
from async_extractor.qbo.auth.access_tokens import AccessTokens
from async_extractor.qbo.auth.token_endpoint import Client
from async_extractor.qbo.faults import QboFault


def tell(what: str, **more: object) -> None:
    print(json.dumps({"what": what, **more}), flush=True)


def listener(event: Event) -> None:
    if event.name == "token_refreshed":
        tell("refreshed", **event.fields)


async def use(token_url: str, api: str, realm_id: str) -> int:
    """Uses tokens until it is killed; ends with 4 when there is none to be had."""
    secrets = MageSecrets.locate()
    client = Client(secrets.require("QBO_CLIENT_ID"), secrets.require("QBO_CLIENT_SECRET"))
    async with aiohttp.ClientSession() as session:
        while True:
            # A run's beginning: nothing is known but what the store has.
            tokens = AccessTokens(session, token_url, client, secrets, Events([listener]))
            for _ in range(20):
                try:
                    token = await tokens.current()
                    status = await ask(session, f"{api}/v3/company/{realm_id}/query", token)
                    if status == 401:
                        await tokens.current(token)
                except QboFault as fault:
                    tell("fault", message=str(fault))
                    return 4
                tell("used", status=status)
                await asyncio.sleep(random.uniform(0, 0.2))  # noqa: S311 - as chunks come


async def ask(session: aiohttp.ClientSession, url: str, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    async with session.get(url, params={"query": "SELECT COUNT(*) FROM Item"}, headers=headers) as answer:
        await answer.read()
        return answer.status


if __name__ == "__main__":
    sys.exit(asyncio.run(use(*sys.argv[1:])))
