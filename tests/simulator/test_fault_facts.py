"""What is known of QuickBooks' error answers, fact by fact, and the scenarios that bring them."""

from __future__ import annotations

import gzip
import json
import time
import zlib
from typing import Any

import aiohttp
import pytest

from qbo_simulator import scenarios
from tests.simulator.client import Client

ITEM = "SELECT * FROM Item MAXRESULTS 5"


async def struck(client: Client, kind: str, statement: str = ITEM, **headers: str) -> Any:
    await client.authorized()
    await client.behave(faults=[{"kind": kind, "times": 1}])
    return await client.query(statement, **headers)


async def test_an_expired_token_is_told_by_the_gateway() -> None:
    """401 gateway: lower-case envelope; time is epoch milliseconds (number); header WWW-Authenticate: Bearer
    realm="Intuit", error="invalid_token"; Detail leaks the token."""
    async with Client() as client:
        await client.authorized()
        await client.control("tokens", {"expire_access": True})
        reply = await client.query(ITEM)
        assert reply.status == 401
        assert reply.headers["www-authenticate"] == 'Bearer realm="Intuit", error="invalid_token"'
        body = reply.json
        assert abs(body["time"] - time.time() * 1000) < 60_000
        assert body["fault"]["type"] == "AUTHENTICATION"
        (error,) = body["fault"]["error"]
        assert error["message"] == "message=AuthenticationFailed; errorCode=003200; statusCode=401"
        assert (error["code"], error["detail"]) == ("3200", f"Token expired: {client.token}")
        assert set(body) == {
            "warnings", "intuitObject", "fault", "report", "queryResponse", "batchItemResponse",
            "attachableResponse", "syncErrorResponse", "requestId", "time", "status", "cdcresponse",
        }  # fmt: skip


async def test_another_companys_realm_is_forbidden() -> None:
    """403: lower-case envelope, code 3100, type SERVICE, detail null: wrong environment/realm/scope."""
    async with Client() as client:
        reply = await client.ask("GET", "/v3/company/1/query?query=x", headers=await client.authorized())
        (error,) = reply.json["fault"]["error"]
        assert (reply.status, error["code"], error["detail"]) == (403, "3100", None)
        assert reply.json["fault"]["type"] == "SERVICE"


@pytest.mark.parametrize(
    ("kind", "status", "content_type", "told"),
    [
        ("unauthorized", 401, "application/json", '"code":"3200"'),
        (
            "unauthorized-xml",
            401,
            "application/xml;charset=UTF-8",
            '<Fault type="AuthenticationFault"><Error code="100">',
        ),
        ("forbidden", 403, "application/json", '"code":"3100"'),
        ("throttle", 429, "application/json", "ThrottleExceeded"),
        ("user-rights-lost", 500, "application/json", '"type":"AuthorizatonFault"'),
        ("company-status", 400, "application/json", '"code":"6190"'),
        ("system-fault", 500, "application/json", '"code":"10000"}],"type":"SystemFault"'),
        ("internal-error", 500, "application/json", "message=InternalServerError; errorCode=003100"),
        ("bad-gateway", 502, "text/html", "<h1>502 Bad Gateway</h1>"),
        ("unavailable", 503, "text/html", "Service"),
        ("empty-503", 503, "text/plain", ""),
        ("gateway-timeout", 504, "application/xml;charset=UTF-8", '<Error code="6002">'),
        ("fault-in-200", 200, "application/json;charset=UTF-8", '"Fault":{"Error":[{"Message":"An application error'),
        ("html-in-200", 200, "text/html", "back soon"),
    ],
)
async def test_each_error_has_the_shape_it_was_seen_in(kind: str, status: int, content_type: str, told: str) -> None:
    """Inject 401 lower-case envelope, 403/3100, 500/10000, 502/503 HTML, 504 XML, 200-with-Fault, 200-with-HTML."""
    async with Client() as client:
        reply = await struck(client, kind)
        assert (reply.status, reply.headers["content-type"]) == (status, content_type)
        assert told in reply.text
        assert reply.headers["intuit_tid"]
        assert (await client.query(ITEM)).status == 200
        assert (await client.control("ledger"))["faults"] == {kind: 1}


async def test_a_connection_can_be_reset_and_a_body_cut() -> None:
    """resets, truncated gzip."""
    async with Client(invoices=500) as client:
        await client.authorized()
        await client.behave(faults=[{"kind": "reset"}])
        with pytest.raises(aiohttp.ClientError):
            await client.query(ITEM)
        page = "SELECT * FROM Invoice MAXRESULTS 500"
        with pytest.raises(aiohttp.ClientPayloadError):
            await struck(client, "truncated", page)
        cut = await struck(client, "truncated-gzip", page, **{"Accept-Encoding": "gzip"})
        assert cut.status == 200
        with pytest.raises((EOFError, zlib.error)):
            gzip.decompress(cut.body)
        assert (await client.query(page)).status == 200


async def test_a_body_can_trickle() -> None:
    """slow bodies up to 120 s; requests over 120 s time out."""
    async with Client() as client:
        await client.behave(latency={"body_seconds": 0.4})
        began = time.monotonic()
        reply = await client.query(ITEM)
        assert len(reply.json["QueryResponse"]["Item"]) == 5
        assert time.monotonic() - began >= 0.4


async def test_rows_and_lines_cost_time() -> None:
    """Latency model: base 30-300 ms plus per-row and per-line cost, so that 1000 fat invoices are slow."""
    async with Client() as client:
        await client.authorized()
        await client.behave(latency={"base_ms": [20, 20], "row_ms": 5, "line_ms": 1})
        began = time.monotonic()
        await client.query("SELECT COUNT(*) FROM Invoice")
        counted = time.monotonic()
        rows = await client.rows("SELECT * FROM Invoice MAXRESULTS 60")
        lines = sum(1 for row in rows for line in row["Line"] if "LineNum" in line)
        assert counted - began >= 0.02
        assert time.monotonic() - counted >= (20 + 60 * 5 + lines) / 1000


async def test_a_poisoned_record_fails_its_page_and_only_that() -> None:
    """One poisoned record fails the whole page (10000 on any Invoice query; 4002 "Error processing query", type
    Service)."""
    async with Client() as client:
        rows = await client.rows("SELECT * FROM Invoice ORDERBY TxnDate")
        poisoned = rows[7]["Id"]
        await client.behave(poison={"ids": {"Invoice": [poisoned]}})
        whole = await client.query("SELECT * FROM Invoice ORDERBY TxnDate")
        assert (whole.status, whole.json["Fault"]["Error"][0]["code"]) == (500, "10000")
        assert await client.count("Invoice") == 60
        assert len(await client.rows("SELECT * FROM Invoice ORDERBY TxnDate STARTPOSITION 1 MAXRESULTS 7")) == 7
        assert len(await client.rows("SELECT * FROM Invoice ORDERBY TxnDate STARTPOSITION 9")) == 52
        assert (await client.query(f"SELECT * FROM Invoice WHERE Id = '{poisoned}'")).status == 500
        await client.behave(poison={"ids": {"Invoice": [poisoned]}, "code": "4002"})
        reply = await client.query(f"SELECT * FROM Invoice WHERE Id = '{poisoned}'")
        fault = reply.json["Fault"]
        assert (reply.status, fault["Error"][0]["code"], fault["type"]) == (400, "4002", "Service")


async def test_a_busy_company_drifts_under_a_reader() -> None:
    """Mutate data during the run (edits that move rows, inserts, deletes, voids) so that offset paging drifts."""
    async with Client(invoices=600, scenario="busy") as client:
        read: list[str] = []
        start = 1
        while page := await client.rows(
            f"SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime STARTPOSITION {start} MAXRESULTS 20"
        ):
            read += [row["Id"] for row in page]
            start += len(page)
        listed = await client.ask("GET", "/_simulator/truth/Invoice")
        truth = {json.loads(line)["Id"] for line in listed.body.splitlines()}
        assert truth - set(read), "a row was lost though the reader saw page after page"
        edits = (await client.control("ledger"))["edits"]
        assert edits["Invoice edit"] >= 30
        assert edits["Invoice insert"]


async def test_a_storm_is_seeded() -> None:
    """storm (every kind of fault, seeded)."""

    async def statuses(seed: int) -> list[int]:
        async with Client(seed=seed, scenario="storm") as client:
            found = []
            while not client.token:
                reply = await client.refresh()
                client.token = reply.json["access_token"] if reply.status == 200 else ""
            for _ in range(120):
                try:
                    found.append((await client.query("SELECT COUNT(*) FROM Item")).status)
                except aiohttp.ClientError:
                    found.append(0)
            return found

    first = await statuses(3)
    assert first == await statuses(3)
    assert first != await statuses(4)
    assert set(first) & {401, 429, 500, 502, 503, 504}


async def test_an_outage_begins_and_ends() -> None:
    async with Client(scenario="outage") as client:
        statuses = [(await client.query(ITEM)).status for _ in range(40)]
        assert statuses == [200] * 10 + [503] * 20 + [200] * 10


@pytest.mark.parametrize("name", [name for name in scenarios.names() if name not in ("storm", "monthly-block")])
async def test_every_scenario_serves(name: str) -> None:
    async with Client(scenario=name) as client:
        assert await client.count("Invoice") == 60
        assert scenarios.about(name).endswith(".")


async def test_scenarios_are_composed_with_commas() -> None:
    async with Client(scenario="busy,poisoned , rotation-strict") as client:
        how = await client.control("faults")
        assert (how["edits"]["touch"], how["tokens"]["rotate_after_seconds"]) == (1, 0)
        assert how["poison"]["count"] == {"Invoice": 2, "Customer": 1}


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"scenario": "windy"}, "no scenario 'windy'"),
        ({"switches": {"limit": {}}}, "unknown field `limit`"),
        ({"switches": {"limits": {"body": "yaml"}}}, "Invalid enum value 'yaml'"),
        ({"switches": {"faults": [{"kind": "gremlins"}]}}, "Invalid enum value 'gremlins'"),
        ({"behaviour": {}}, "unknown key 'behaviour'"),
        ([], "the body must be a JSON object"),
    ],
)
async def test_a_switch_that_is_not_there_is_one_clear_line(body: Any, told: str) -> None:
    async with Client() as client:
        reply = await client.ask("POST", "/_simulator/faults", json=body)
        assert reply.status == 400
        assert told in reply.text
        assert reply.text.count("\n") == 1
