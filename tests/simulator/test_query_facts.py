"""What is known of `/query`, fact by fact. Each test's docstring quotes its fact."""

from __future__ import annotations

import gzip
import json
import re

from tests.simulator.client import Client, planted

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?-0[78]:00"


async def test_get_and_post_ask_the_same() -> None:
    """Serve /v3/company/{realm}/query by GET and POST application/text; text/plain and form encoding work, JSON not."""
    statement = "SELECT * FROM Item ORDERBY Name MAXRESULTS 3"
    async with Client() as client:
        answers = [await client.query(statement)]
        for kind in ("application/text", "text/plain", "application/text; charset=utf-8"):
            headers = await client.authorized(**{"Content-Type": kind})
            answers.append(
                await client.ask(
                    "POST", f"{client.base}/query?minorversion=75", data=statement.encode(), headers=headers
                )
            )
        answers.append(
            await client.ask(
                "POST", f"{client.base}/query", data={"query": statement}, headers=await client.authorized()
            )
        )
        assert [answer.status for answer in answers] == [200] * 5
        assert len({json.dumps(answer.json["QueryResponse"]) for answer in answers}) == 1
        as_json = await client.ask(
            "POST", f"{client.base}/query", json={"query": statement}, headers=await client.authorized()
        )
        assert (as_json.status, as_json.json["Fault"]["Error"][0]["code"]) == (400, "4000")


async def test_a_page_says_where_it_starts_and_how_many_rows_it_has() -> None:
    """Response: `{"QueryResponse":{"Customer":[...],"startPosition":1,"maxResults":41},"time":"..."}`; maxResults =
    rows actually returned, not the page size asked. Invoice and five others were seen with totalCount in 2026."""
    async with Client() as client:
        body = (await client.query("SELECT * FROM Invoice STARTPOSITION 41 MAXRESULTS 1000")).json
        assert list(body) == ["QueryResponse", "time"]
        page = body["QueryResponse"]
        assert list(page) == ["Invoice", "startPosition", "maxResults", "totalCount"]
        assert page["totalCount"] == 60
        assert "totalCount" not in (await client.query("SELECT * FROM Item")).json["QueryResponse"]
        assert (page["startPosition"], page["maxResults"], len(page["Invoice"])) == (41, 20, 20)
        assert re.fullmatch(STAMP, body["time"])


async def test_an_empty_page_has_no_keys() -> None:
    """Empty page: `{"QueryResponse":{},"time":"..."}`: no entity key, no startPosition/maxResults."""
    async with Client() as client:
        for statement in (
            "SELECT * FROM Invoice STARTPOSITION 61",
            "SELECT * FROM Item WHERE Name = 'none'",
            "SELECT * FROM Vendor",
        ):
            body = (await client.query(statement)).json
            assert body["QueryResponse"] == {}
            assert list(body) == ["QueryResponse", "time"]


async def test_a_count_is_a_count_only() -> None:
    """COUNT: `{"QueryResponse":{"totalCount":41},"time":"..."}`."""
    async with Client() as client:
        body = (await client.query("SELECT COUNT(*) FROM Invoice")).json
        assert body["QueryResponse"] == {"totalCount": 60}


async def test_a_page_is_a_hundred_rows_unless_asked_and_a_thousand_at_most() -> None:
    """Default MAXRESULTS 100; cap 1000; what MAXRESULTS > 1000 does is unclear (error or silent cap)."""
    async with Client(invoices=1_100) as client:
        assert len(await client.rows("SELECT * FROM Invoice")) == 100
        assert len(await client.rows("SELECT * FROM Invoice MAXRESULTS 1000")) == 1000
        assert len(await client.rows("SELECT * FROM Invoice MAXRESULTS 1001")) == 1000
        await client.behave(queries={"over_1000": "refused"})
        refused = await client.query("SELECT * FROM Invoice MAXRESULTS 1001")
        assert (refused.status, refused.json["Fault"]["Error"][0]["code"]) == (400, "4001")


async def test_a_position_of_zero_is_4001() -> None:
    """STARTPOSITION 0 -> 4001 (`value 0 is too small`)."""
    async with Client() as client:
        reply = await client.query("SELECT * FROM Invoice STARTPOSITION 0")
        assert reply.status == 400
        body = reply.json
        assert re.fullmatch(STAMP, body.pop("time"))
        detail = "QueryValidationError: value 0 is too small. Min allowed value is 1"
        error = {"Message": "Invalid query", "Detail": detail, "code": "4001"}
        assert body == {"Fault": {"Error": [error], "type": "ValidationFault"}}


async def test_what_does_not_parse_is_4000() -> None:
    """400 parse: `{"Fault":{"Error":[{"Message":"Error parsing query","Detail":"QueryParserError: ...","code":"4000"}],
    "type":"ValidationFault"},"time":"...-07:00"}`."""
    async with Client() as client:
        reply = await client.query("SELECT * FROM Invoice WHERE Balance > 0")
        (error,) = reply.json["Fault"]["Error"]
        assert (reply.status, error["Message"], error["code"]) == (400, "Error parsing query", "4000")
        assert error["Detail"].startswith("QueryParserError: Encountered")


async def test_a_compressed_page_is_the_page() -> None:
    """gzip and identity are the same bytes."""
    async with Client() as client:
        statement = "SELECT * FROM Invoice ORDERBY TxnDate MAXRESULTS 1000"
        plain, packed = (
            await client.query(statement),
            await client.query(statement, **{"Accept-Encoding": "gzip, deflate"}),
        )
        assert packed.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert len(packed.body) < len(plain.body) * 0.6
        assert json.loads(gzip.decompress(packed.body))["QueryResponse"] == plain.json["QueryResponse"]


async def test_every_answer_carries_what_support_asks_for() -> None:
    """intuit_tid on every answer; QBO-Version and Service-Time on good ones, on no 400 or 401; chunked + gzip."""
    async with Client() as client:
        good = await client.query("SELECT * FROM Item", **{"Accept-Encoding": "gzip"})
        bad = await client.query("nonsense")
        refused = await client.ask("GET", f"{client.base}/query?query=x")
        token = await client.refresh(secret="wrong")
        assert good.headers["transfer-encoding"] == "chunked"
        assert good.headers["content-encoding"] == "gzip"
        assert good.headers["qbo-version"]
        assert re.fullmatch(r"total=\d+, db=\d+", good.headers["service-time"])
        assert good.headers["content-type"] == "application/json;charset=UTF-8"
        for reply in (bad, refused):
            assert not {"qbo-version", "service-time", "cache-control"} & set(reply.headers)
            assert reply.headers["content-type"] == "application/json"
        tids = [reply.headers["intuit_tid"] for reply in (good, bad, refused, token)]
        assert len(set(tids)) == 4
        assert all(re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{24}", tid) for tid in tids)


async def test_filters_take_z_and_offsets_and_naive_times_as_the_switch_says() -> None:
    """Accept Z/offset filters, treat naive as Pacific; the zone of naive times is undocumented."""
    async with Client(invoices=0) as client:
        await client.control("load", planted("Invoice", 1, "2025-07-01T12:00:00-07:00"))
        for text in (
            "2025-07-01T19:00:00Z",
            "2025-07-01T12:00:00-07:00",
            "2025-07-02T00:30:00+05:30",
            "2025-07-01T12:00:00",
        ):
            assert await client.count(f"Invoice WHERE MetaData.LastUpdatedTime = '{text}'") == 1
        await client.behave(queries={"naive_times": "utc"})
        assert await client.count("Invoice WHERE MetaData.LastUpdatedTime = '2025-07-01T19:00:00'") == 1
        await client.behave(queries={"naive_times": "refused"})
        assert (
            await client.query("SELECT * FROM Invoice WHERE MetaData.CreateTime > '2025-07-01T19:00:00'")
        ).status == 400


async def test_a_plus_that_was_not_encoded_is_refused() -> None:
    """URL-encode `+` as `%2B`."""
    async with Client() as client:
        path = f"{client.base}/query?query=select * from Invoice where MetaData.CreateTime >'2025-01-01T00:00:00"
        lost = await client.ask("GET", f"{path}+05:00'", headers=await client.authorized())
        assert lost.status == 400


async def test_who_does_not_ask_for_json_gets_xml() -> None:
    """`Accept: application/json` (without it XML is possible)."""
    async with Client() as client:
        reply = await client.query("SELECT * FROM Customer MAXRESULTS 2", Accept="*/*")
        assert reply.headers["content-type"].startswith("application/xml")
        assert reply.text.startswith('<?xml version="1.0" encoding="UTF-8" standalone="yes"?><IntuitResponse')
        assert '<QueryResponse startPosition="1" maxResults="2"><Customer domain="QBO" sparse="false">' in reply.text
        await client.behave(answers={"without_accept": "json"})
        assert (await client.query("SELECT * FROM Customer", Accept="*/*")).json["QueryResponse"]["maxResults"]


async def test_some_columns_can_be_asked_for() -> None:
    """Projection is officially unsupported though `SELECT Id` works; connectors send `SELECT *, Sku FROM Item`."""
    async with Client() as client:
        rows = await client.rows("SELECT Id, MetaData.CreateTime FROM Invoice MAXRESULTS 1")
        assert (list(rows[0]), rows[0]["sparse"]) == (["sparse", "Id", "MetaData"], True)
        assert set(rows[0]["MetaData"]) == {"CreateTime"}
        (named,) = await client.rows("SELECT Name, QtyOnHand FROM Item MAXRESULTS 1")
        assert "Id" in named, "the Id comes unasked, as in a recording of 2014"
        assert any("Sku" in row for row in await client.rows("SELECT *, Sku FROM Item"))


async def test_the_company_describes_itself() -> None:
    """/companyinfo, and CompanyInfo as an entity."""
    async with Client() as client:
        reply = await client.ask(
            "GET", f"{client.base}/companyinfo/{client.sim.realm_id}", headers=await client.authorized()
        )
        (row,) = await client.rows("SELECT * FROM CompanyInfo")
        assert reply.json["CompanyInfo"] == row
        assert row["CompanyName"] == "Simulated Company 7"


async def test_one_record_is_read_by_its_id() -> None:
    """400: 610 object not found; 500 "Unsupported Operation" (bad path)."""
    async with Client() as client:
        (row,) = await client.rows("SELECT * FROM Invoice MAXRESULTS 1")
        found = await client.ask("GET", f"{client.base}/invoice/{row['Id']}", headers=await client.authorized())
        missing = await client.ask("GET", f"{client.base}/invoice/1", headers=await client.authorized())
        nowhere = await client.ask("GET", f"{client.base}/nonsense/1", headers=await client.authorized())
        assert found.json["Invoice"] == row
        assert (missing.status, missing.json["Fault"]["Error"][0]["code"]) == (400, "610")
        assert (nowhere.status, nowhere.json["Fault"]["Error"][0]["Message"]) == (400, "Unsupported Operation")


async def test_fractions_of_seconds_may_be_hidden_behind_the_filter() -> None:
    """Whether the server stores sub-second values behind the filter, and so whether bounds are inclusive: open."""
    async with Client(invoices=0) as client:
        when = "2025-07-01T12:00:00-07:00"
        await client.control("load", planted("Invoice", 3, when))

        async def counts() -> list[int]:
            operators = ("=", ">=", "<=", ">", "<")
            return [await client.count(f"Invoice WHERE MetaData.LastUpdatedTime {sign} '{when}'") for sign in operators]

        assert await counts() == [3, 3, 3, 0, 0]
        await client.behave(queries={"hidden_fractions": True})
        assert await counts() == [0, 3, 0, 3, 0]
        assert await client.count("Invoice WHERE MetaData.LastUpdatedTime < '2025-07-01T12:00:01-07:00'") == 3


async def test_sku_may_have_to_be_named() -> None:
    """Item Sku: historically missing from `SELECT *`; probably returned with minor version 75: open."""
    async with Client() as client:
        plain, named = "SELECT * FROM Item MAXRESULTS 1000", "SELECT *, Sku FROM Item MAXRESULTS 1000"
        everything = await client.rows(plain)
        assert any("Sku" in row for row in everything)
        await client.behave(queries={"sku": "named"})
        assert await client.rows(named) == everything
        assert await client.rows(plain) == [{k: v for k, v in row.items() if k != "Sku"} for row in everything]


async def test_a_long_address_may_be_refused() -> None:
    """URL length limit: no documented number found. Keep GET short or POST."""
    async with Client() as client:
        names = ", ".join(f"'{at}'" for at in range(4_000))
        statement = f"SELECT * FROM Invoice WHERE Id IN ({names})"
        assert (await client.query(statement)).status == 200
        await client.behave(answers={"url_characters": 8_000})
        refused = await client.query(statement)
        assert (refused.status, refused.headers["content-type"]) == (414, "text/html")
        headers = await client.authorized(**{"Content-Type": "application/text"})
        assert (await client.ask("POST", f"{client.base}/query", data=statement, headers=headers)).status == 200


async def test_an_edit_may_not_move_the_time() -> None:
    """Whether payment application or QtyOnHand changes always bump Invoice/Item: open."""
    async with Client(items=10) as client:
        await client.behave(edits={"silent": 1})
        statement = "SELECT * FROM Item WHERE Active IN (true, false)"
        before = {row["Id"]: row for row in await client.rows(statement)}
        await client.behave()
        after = {row["Id"]: row for row in await client.rows(statement)}
        (changed,) = (key for key in before if before[key] != after[key])
        assert before[changed]["MetaData"] == after[changed]["MetaData"]
        assert int(after[changed]["SyncToken"]) == int(before[changed]["SyncToken"]) + 1
