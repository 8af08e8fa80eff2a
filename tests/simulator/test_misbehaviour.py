"""What QuickBooks was not seen to do and a reader must bear all the same: each a switch."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from random import Random
from typing import Any

import aiohttp
import pytest

from qbo_simulator.envelopes import Answer
from qbo_simulator.fuzz import fuzzed
from tests.simulator.client import Client


async def faulty(client: Client, kind: str, **rule: Any) -> None:
    await client.authorized()
    await client.behave(faults=[{"kind": kind} | rule])


async def test_a_count_says_rows_and_pages_are_empty() -> None:
    async with Client() as client:
        await faulty(client, "empty-page")
        assert await client.count("Invoice") == 60
        page = (await client.query("SELECT * FROM Invoice")).json
        assert (page["QueryResponse"], list(page)) == ({}, ["QueryResponse", "time"])


async def test_a_page_comes_without_its_last_row() -> None:
    async with Client() as client:
        whole = (await client.query("SELECT * FROM Invoice")).json["QueryResponse"]
        await faulty(client, "short-page")
        page = (await client.query("SELECT * FROM Invoice")).json["QueryResponse"]
        assert page == whole | {"Invoice": whole["Invoice"][:-1], "maxResults": 59}


async def test_a_count_says_none() -> None:
    async with Client() as client:
        await faulty(client, "zero-count")
        assert await client.count("Invoice") == 0
        assert len((await client.query("SELECT * FROM Invoice")).json["QueryResponse"]["Invoice"]) == 60


async def test_rows_come_under_another_key() -> None:
    async with Client() as client:
        await faulty(client, "other-key", containing="from invoice")
        assert "InvoiceTxn" in (await client.query("SELECT * FROM Invoice")).json["QueryResponse"]
        assert "Item" in (await client.query("SELECT * FROM Item")).json["QueryResponse"]


async def test_credit_card_payments_have_a_key_of_their_own() -> None:
    """`FROM CreditCardPayment`, rows under `CreditCardPaymentTxn` (Intuit's sample)."""
    async with Client() as client:
        record = {"payload": '{"Id":"1","MetaData":{"CreateTime":"2025-05-05T10:00:00-07:00"}}'}
        await client.control("load", {"entity": "CreditCardPayment", "records": [record]})
        page = (await client.query("SELECT * FROM CreditCardPayment")).json["QueryResponse"]
        assert list(page) == ["CreditCardPaymentTxn", "startPosition", "maxResults"]


async def test_a_page_begins_with_a_byte_order_mark() -> None:
    async with Client() as client:
        await faulty(client, "bom")
        body = (await client.query("SELECT * FROM Invoice")).body
        assert body[:4] == b"\xef\xbb\xbf{"
        assert len(json.loads(body.decode("utf-8-sig"))["QueryResponse"]["Invoice"]) == 60


async def test_a_small_answer_unpacks_to_a_large_one() -> None:
    async with Client() as client:
        await faulty(client, "gzip-bomb", megabytes=50)
        reply = await client.query("SELECT * FROM Invoice", **{"Accept-Encoding": "gzip"})
        assert len(reply.body) < 200_000
        unpacked = gzip.decompress(reply.body)
        assert len(unpacked) > 50_000_000
        assert len(json.loads(unpacked)["QueryResponse"]["Invoice"]) == 60


async def test_a_body_without_end() -> None:
    async with Client() as client:
        await faulty(client, "endless-body")
        with pytest.raises((asyncio.TimeoutError, aiohttp.ClientError)):
            await asyncio.wait_for(client.query("SELECT * FROM Invoice"), 2)


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("whole", lambda told: len(told) == len("2026-05-05T03:09:39-07:00") and told[-3] == ":"),
        ("utc", lambda told: told.endswith("Z")),
        ("naive", lambda told: len(told) in (19, 23)),
        ("milliseconds", lambda told: isinstance(told, int)),
        ("nonsense", lambda told: told == "a moment ago"),
        ("absent", lambda told: told is None),
    ],
)
async def test_the_time_of_an_answer_is_odd(kind: str, shape: Any) -> None:
    async with Client() as client:
        await client.behave(answers={"time": kind})
        for statement in ("SELECT * FROM Invoice", "SELECT COUNT(*) FROM Invoice", "SELECT * FROM Bill"):
            assert shape((await client.query(statement)).json.get("time")), statement


def test_anything_can_be_wrong_with_an_answer() -> None:
    chance = Random(5)
    page = b'{"QueryResponse":{"Invoice":[{"Id":"1","Line":[{"Amount":1.50}]}],"maxResults":1},"time":"x"}'
    found = [fuzzed(Answer(200, page), chance) for _ in range(3_000)]
    assert len({answer.status for answer in found}) > 20
    assert len({answer.body for answer in found}) > 1_000
    assert len({tuple(answer.headers) for answer in found}) > 5
    assert any(b'"Id"' not in answer.body and b"QueryResponse" in answer.body for answer in found)
    assert {fuzzed(Answer(200, page), Random(3)).body for _ in range(5)} == {fuzzed(Answer(200, page), Random(3)).body}


async def test_whatever_is_wrong_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    async with Client() as client:
        await faulty(client, "fuzz")
        arrived = 0
        for _ in range(200):
            try:
                arrived += bool((await client.query("SELECT * FROM Invoice")).status)
            except aiohttp.ClientError:
                continue  # what is wrong with it is more than this client takes
        assert arrived > 100
        await faulty(client, "fuzz", requests=["token"])
        for _ in range(20):
            with contextlib.suppress(aiohttp.ClientError):
                await client.refresh(client.sim.service.consent.refresh_token)
        assert "Error handling request" not in caplog.text


async def test_a_header_is_long() -> None:
    async with Client() as client:
        await client.authorized()
        await client.behave(answers={"header_bytes": 7_000})
        assert len((await client.query("SELECT * FROM Item")).headers["content-security-policy"]) == 7_000


async def test_every_request_is_refused_for_a_second() -> None:
    async with Client() as client:
        await client.authorized()
        await client.behave(limits={"retry_after": "present", "retry_after_seconds": 1}, faults=[{"kind": "throttle"}])
        for _ in range(3):
            reply = await client.query("SELECT * FROM Item")
            assert (reply.status, reply.headers["retry-after"]) == (429, "1")


async def test_a_statement_may_stand_in_the_address_of_a_post() -> None:
    """`POST /query?query=...` with an empty body is answered 200."""
    async with Client() as client:
        headers = await client.authorized()
        for body in (None, b""):
            reply = await client.ask(
                "POST", f"{client.base}/query", params={"query": "SELECT * FROM Item"}, data=body, headers=headers
            )
            assert (reply.status, len(reply.json["QueryResponse"]["Item"])) == (200, 25 - hidden(client))


def hidden(client: Client) -> int:
    items = client.sim.service.company.items
    return sum(not items.is_active(slot) for slot in items.slots())


async def test_wrong_addresses_and_ids_are_told_as_seen() -> None:
    """`customer/1/5` is 400, code 500; `customer/1.5` is 400, code 2030, element Id, and no `time`."""
    async with Client() as client:
        headers = await client.authorized()
        lost = await client.ask("GET", f"{client.base}/customer/1/5", headers=headers)
        (error,) = lost.json["Fault"]["Error"]
        assert (lost.status, error["code"], error["Message"]) == (400, "500", "Unsupported Operation")
        assert error["Detail"].startswith("Operation Could not find resource for relative : /v3/company/")
        wrong = await client.ask("GET", f"{client.base}/customer/1.5", headers=headers)
        error = {"Message": "Invalid ID", "Detail": "Id should be a valid number. Supplied value:1.5"}
        error |= {"code": "2030", "element": "Id"}
        assert (wrong.status, wrong.json) == (400, {"Fault": {"Error": [error], "type": "ValidationFault"}})
        empty = await client.query("SELECT * FROM Customer WHERE Id = ''")
        assert (empty.status, empty.json["Fault"]["Error"][0]["code"]) == (400, "2030")


async def test_accounts_are_ordered_by_their_own_name() -> None:
    """92 accounts of May 2026, sub-accounts among them."""
    async with Client() as client:
        names = (("1", "Zoo", "Zoo"), ("2", "Ants", "Zoo:Ants"), ("3", "Bees", "Bees"))
        records = [
            {"payload": json.dumps({"Id": i, "Name": name, "FullyQualifiedName": path, "Active": True})}
            for i, name, path in names
        ]
        await client.control("load", {"entity": "Account", "records": records})
        assert [row["Name"] for row in await client.rows("SELECT * FROM Account")] == ["Ants", "Bees", "Zoo"]


@pytest.mark.parametrize(("exceptions", "status", "rows"), [("refused", 400, 0), ("empty", 200, 0), ("listed", 200, 1)])
async def test_five_entities_are_not_in_change_data_capture(exceptions: str, status: int, rows: int) -> None:
    """Intuit's page: all but JournalCode, TimeActivity, TaxAgency, TaxCode, TaxRate."""
    async with Client(switches={"cdc": {"exceptions": exceptions}}) as client:
        record = {"payload": '{"Id":"1"}'}
        await client.control("load", {"entity": "TimeActivity", "records": [record]})
        reply = await client.ask(
            "GET", f"{client.base}/cdc?entities=TimeActivity&changedSince=2026-01-01", headers=await client.authorized()
        )
        assert reply.status == status
        assert reply.body.count(b'"Id":"1"') == rows
