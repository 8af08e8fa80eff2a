"""What is known of Intuit's limits, fact by fact. Each test's docstring quotes its fact."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from tests.simulator.client import Client, Reply

ITEM = "SELECT * FROM Item MAXRESULTS 1"


async def burst(client: Client, count: int) -> list[Reply]:
    await client.authorized()
    return list(await asyncio.gather(*(client.query(ITEM) for _ in range(count))))


async def test_more_than_ten_in_a_second_are_refused_and_counted() -> None:
    """10 req/s per realm+app; 429 -> wait 60 s."""
    async with Client(limits=True) as client:
        replies = [await client.query(ITEM) for _ in range(15)]
        assert [reply.status for reply in replies] == [200] * 10 + [429] * 5
        ledger = await client.control("ledger")
        assert ledger["violations"]["per_second"] == 5
        assert ledger["worst_second"] == 15
        assert ledger["statuses"] == {"200": 11, "429": 5}
        await asyncio.sleep(1.05)
        assert (await client.query(ITEM)).status == 200


async def test_more_than_ten_in_flight_are_refused_and_counted() -> None:
    """>10 concurrent requests per realm+app -> 429."""
    async with Client(limits=True, latency_ms=200) as client:
        await client.behave(limits={"per_second": 1000})
        replies = await burst(client, 13)
        assert sorted(reply.status for reply in replies) == [200] * 10 + [429] * 3
        ledger = await client.control("ledger")
        assert (ledger["violations"]["in_flight"], ledger["worst_in_flight"], ledger["in_flight"]) == (3, 11, 0)


async def test_more_than_the_minutes_are_refused_and_counted() -> None:
    """500 req/min per realm (sliding)."""
    async with Client(limits=True) as client:
        await client.behave(limits={"per_second": 1000})
        replies = [await client.query(ITEM) for _ in range(503)]
        assert [reply.status for reply in replies] == [200] * 500 + [429] * 3
        ledger = await client.control("ledger")
        assert (ledger["violations"]["per_minute"], ledger["worst_60_seconds"]) == (3, 503)


async def test_a_batch_counts_and_has_a_limit_of_its_own() -> None:
    """batch 40/min per realm+app; batch calls count in the 500/min."""
    async with Client(limits=True) as client:
        await client.behave(limits={"per_second": 1000})
        headers = await client.authorized()
        body: dict[str, Any] = {"BatchItemRequest": [{"bId": "1", "Query": ITEM}]}
        replies = [await client.ask("POST", f"{client.base}/batch", json=body, headers=headers) for _ in range(42)]
        assert [reply.status for reply in replies] == [200] * 40 + [429] * 2
        assert (await client.control("ledger"))["violations"]["batches_per_minute"] == 2


async def test_a_realms_batches_have_a_limit_too() -> None:
    """batch 120/min per realm, since 2025-10-31."""
    async with Client(limits=True) as client:
        await client.behave(limits={"per_second": 1000, "batches_per_minute": 1000})
        headers = await client.authorized()
        body: dict[str, Any] = {"BatchItemRequest": [{"bId": "1", "Query": ITEM}]}
        replies = [await client.ask("POST", f"{client.base}/batch", json=body, headers=headers) for _ in range(121)]
        assert [reply.status for reply in replies] == [200] * 120 + [429]
        assert (await client.control("ledger"))["violations"]["realm_batches_per_minute"] == 1


async def test_a_batchs_items_may_count_singly() -> None:
    """Whether batch-inner queries count singly: open."""
    async with Client(limits=True) as client:
        headers = await client.authorized()
        body: dict[str, Any] = {"BatchItemRequest": [{"bId": str(at), "Query": ITEM} for at in range(10)]}
        ask = {"method": "POST", "path": f"{client.base}/batch", "json": body, "headers": headers}
        assert [(await client.ask(**ask)).status for _ in range(2)] == [200, 200]
        await client.behave(limits={"batch_counts": "each-item"})
        assert (await client.ask("DELETE", "/_simulator/ledger")).status == 200
        assert [(await client.ask(**ask)).status for _ in range(2)] == [200, 429]


async def test_tokens_are_neither_limited_nor_metered() -> None:
    """OAuth calls are not metered."""
    async with Client(limits=True) as client:
        assert [(await client.refresh()).status for _ in range(15)] == [200] * 15
        ledger = await client.control("ledger")
        assert (ledger["metered_calls"], ledger["violations_total"], ledger["refreshes"]) == (0, 0, 15)


@pytest.mark.parametrize(("shape", "kind"), [("json", "application/json"), ("xml", "application/xml;charset=UTF-8")])
@pytest.mark.parametrize("retry_after", ["absent", "present"])
async def test_throttled_comes_as_xml_or_lower_case_json(shape: str, kind: str, retry_after: str) -> None:
    """429 both as XML and as lower-case JSON envelope (code 3001, type SERVICE), with and without Retry-After."""
    async with Client(limits=True) as client:
        await client.behave(limits={"per_second": 1, "body": shape, "retry_after": retry_after})
        reply = [await client.query(ITEM) for _ in range(2)][1]
        assert (reply.status, reply.headers["content-type"]) == (429, kind)
        assert reply.headers.get("retry-after") == ("60" if retry_after == "present" else None)
        message = "message=ThrottleExceeded; errorCode=003001; statusCode=429"
        detail = "The request limit was reached.  Try again later"
        if shape == "json":
            (error,) = reply.json["fault"]["error"]
            assert error == {"message": message, "detail": detail, "code": "3001", "element": None}
            assert reply.json["fault"]["type"] == "SERVICE"
        else:
            fault = f'<Fault type="SERVICE"><Error code="3001"><Message>{message}</Message><Detail>{detail}</Detail>'
            assert fault in reply.text


async def test_a_spent_month_refuses_every_metered_call() -> None:
    """Past 500,000 CorePlus calls per month: 429 on every CorePlus call until next month."""
    async with Client(limits=True) as client:
        await client.behave(limits={"monthly_calls": 3})
        assert [(await client.query(ITEM)).status for _ in range(5)] == [200, 200, 200, 429, 429]
        assert (await client.refresh()).status == 200
        ledger = await client.control("ledger")
        assert (ledger["metered_calls"], ledger["violations"]["monthly_calls"]) == (3, 2)


async def test_without_enforcement_violations_are_still_counted() -> None:
    async with Client(limits=False) as client:
        assert [(await client.query(ITEM)).status for _ in range(15)] == [200] * 15
        assert (await client.control("ledger"))["violations"]["per_second"] == 5


async def test_the_ledger_tells_each_request_but_no_token() -> None:
    async with Client() as client:
        await client.query(ITEM)
        reply = await client.ask("GET", "/_simulator/ledger?log=1")
        token, query = reply.json["log"]
        assert (token["kind"], query["kind"], query["rows"], query["statement"]) == ("token", "query", 1, ITEM)
        assert query["arrived"] >= token["arrived"]
        assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{24}", query["tid"])
        assert client.token not in reply.text
        assert client.sim.config.refresh_token not in reply.text
        assert (await client.ask("DELETE", "/_simulator/ledger")).status == 200
        assert (await client.control("ledger"))["requests"] == {}
