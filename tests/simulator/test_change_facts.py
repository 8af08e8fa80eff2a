"""What is known of batches and change data capture, fact by fact. Each test's docstring quotes its fact."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simulator.client import Client, Reply

LONG_AGO = "2011-10-10T09:00:00-07:00"


async def batch(client: Client, *items: dict[str, Any]) -> Reply:
    body = {"BatchItemRequest": list(items)}
    return await client.ask("POST", f"{client.base}/batch", json=body, headers=await client.authorized())


async def changes(client: Client, entities: str, since: str) -> Reply:
    parameters = {"entities": entities, "changedSince": since}
    return await client.ask("GET", f"{client.base}/cdc", params=parameters, headers=await client.authorized())


async def test_a_batch_answers_each_item_under_its_id() -> None:
    """batch/basic.yml: `BatchItemResponse` with `QueryResponse` or `Fault` and `bId` for each item, then `time`."""
    async with Client() as client:
        reply = await batch(
            client,
            {"bId": "a", "Query": "SELECT * FROM Invoice MAXRESULTS 2"},
            {"bId": "b", "Query": "nonsense"},
            {"bId": "c", "Query": "SELECT COUNT(*) FROM Item"},
            {"bId": "d", "operation": "create", "Vendor": {"DisplayName": "x"}},
            {"bId": "e", "Query": "SELECT * FROM Vendor"},
        )
        assert reply.status == 200
        assert list(reply.json) == ["BatchItemResponse", "time"]
        page, fault, count, write, empty = reply.json["BatchItemResponse"]
        assert [item["bId"] for item in (page, fault, count, write, empty)] == list("abcde")
        direct = await client.query("SELECT * FROM Invoice MAXRESULTS 2")
        assert page["QueryResponse"] == direct.json["QueryResponse"]
        assert fault["Fault"]["Error"][0]["code"] == "4000"
        assert set(count["QueryResponse"]) == {"totalCount"}
        assert write["Fault"]["Error"][0]["Message"] == "Unsupported Operation"
        assert empty["QueryResponse"] == {}


async def test_a_batch_holds_thirty_items_at_most() -> None:
    """<= 30 payloads per batch."""
    async with Client() as client:
        item = {"bId": "1", "Query": "SELECT COUNT(*) FROM Item"}
        assert (await batch(client, *[item] * 30)).status == 200
        assert (await batch(client, *[item] * 31)).status == 400
        for nonsense in (b"", b"[]", b"{}", b'{"BatchItemRequest": [1]}', b"\xff"):
            reply = await client.ask("POST", f"{client.base}/batch", data=nonsense, headers=await client.authorized())
            assert (reply.status, reply.json["Fault"]["type"]) == (400, "ValidationFault")


async def test_one_item_of_a_batch_can_fail_inside_a_200() -> None:
    """A Fault inside a 200 batch answer: a reader that skips items without QueryResponse loses the page."""
    async with Client() as client:
        await client.authorized()
        await client.behave(faults=[{"kind": "batch-item", "requests": ["batch"]}])
        items = [{"bId": str(at), "Query": "SELECT * FROM Item"} for at in range(4)]
        reply = await batch(client, *items)
        faults = [item for item in reply.json["BatchItemResponse"] if "Fault" in item]
        assert (reply.status, len(faults), faults[0]["Fault"]["type"]) == (200, 1, "SystemFault")


async def test_changes_tell_what_was_edited_and_what_is_gone() -> None:
    """CDC: stub = {Id, domain, status:"Deleted", MetaData:{LastUpdatedTime}}, deleted after active."""
    async with Client() as client:
        done = await client.control("edit", {"entity": "Invoice", "edit": 2, "insert": 1, "delete": 2})
        reply = await changes(client, "Invoice,Customer", "2026-06-01T00:00:00Z")
        assert list(reply.json) == ["CDCResponse", "time"]
        ((invoices, customers),) = (part["QueryResponse"] for part in reply.json["CDCResponse"])
        assert customers == {}
        assert invoices["maxResults"] == len(invoices["Invoice"])
        gone = [row for row in invoices["Invoice"] if row.get("status") == "Deleted"]
        live = [row for row in invoices["Invoice"] if row.get("status") != "Deleted"]
        assert invoices["Invoice"] == live + gone
        assert {row["Id"] for row in gone} == set(done["delete"])
        assert {row["Id"] for row in live} == set(done["insert"]) | set(done["edit"]) - set(done["delete"])
        assert set(gone[0]) == {"domain", "status", "Id", "MetaData"}
        assert set(gone[0]["MetaData"]) == {"LastUpdatedTime"}


async def test_changes_hold_inactive_names() -> None:
    async with Client() as client:
        await client.control("edit", {"entity": "Customer", "delete": ["1"]})
        reply = await changes(client, "customer", "2026-06-01T00:00:00Z")
        ((page,),) = (part["QueryResponse"] for part in reply.json["CDCResponse"])
        assert [(row["Id"], row["Active"]) for row in page["Customer"]] == [("1", False)]


async def test_changes_are_a_thousand_at_most_and_old_dates_are_taken() -> None:
    """Look-back 30 days, max 1000 objects; changedSince older than 30 days was accepted without error."""
    async with Client(invoices=1_300) as client:
        await client.control("edit", {"entity": "Invoice", "edit": 1_200, "delete": 50})
        for since, switches, found in (
            (LONG_AGO, {}, 1_000),
            (LONG_AGO, {"objects": 2_000}, None),
            (LONG_AGO, {"objects": 2_000, "older": "accepted"}, 1_300),
        ):
            await client.behave(cdc=switches)
            reply = await changes(client, "Invoice", since)
            ((page,),) = (part["QueryResponse"] for part in reply.json["CDCResponse"])
            gone = [row for row in page["Invoice"] if row.get("status") == "Deleted"]
            assert len(page["Invoice"]) == found or (found is None and 1_200 <= len(page["Invoice"]) <= 1_250)
            assert len(gone) == (0 if found == 1_000 else 50), "a full list hides what was deleted"
        await client.behave(cdc={"older": "refused"})
        assert (await changes(client, "Invoice", LONG_AGO)).status == 400
        await client.behave()
        for wrong in (("Nonsense", LONG_AGO), ("Invoice", "soon"), ("Invoice", "")):
            assert (await changes(client, *wrong)).status == 400


async def test_a_poisoned_record_breaks_its_changes_too() -> None:
    """4002: one bad stored e-mail broke a CDC page."""
    async with Client(scenario="poisoned", switches={"cdc": {"older": "accepted"}}) as client:
        assert (await changes(client, "Invoice", LONG_AGO)).status == 500
        assert (await changes(client, "Item", LONG_AGO)).status == 200


async def test_a_client_without_json_gets_xml_here_too() -> None:
    async with Client() as client:
        await client.control("edit", {"entity": "Invoice", "delete": ["130"]})
        headers = await client.authorized(Accept="application/xml")
        parameters = {"entities": "Invoice", "changedSince": "2026-06-01T00:00:00Z"}
        reply = await client.ask("GET", f"{client.base}/cdc", params=parameters, headers=headers)
        assert (
            '<CDCResponse><QueryResponse startPosition="1" maxResults="1"><Invoice domain="QBO" status="Deleted">'
            in reply.text
        )
        assert json.dumps(reply.text)


async def written(client: Client, path: str, body: Any) -> Reply:
    return await client.ask("POST", f"{client.base}/{path}", json=body, headers=await client.authorized())


async def test_a_record_is_created_updated_and_deleted() -> None:
    """`{"Invoice":{...},"time":...}`; a deleted one is a stub with its status."""
    async with Client() as client:
        line = {
            "Amount": 100.0,
            "DetailType": "SalesItemLineDetail",
            "SalesItemLineDetail": {"ItemRef": {"value": "3"}},
        }
        new = (await written(client, "invoice", {"Line": [line], "CustomerRef": {"value": "1"}})).json["Invoice"]
        assert (new["SyncToken"], new["Line"]) == ("0", [line])
        assert await client.rows(f"SELECT * FROM Invoice WHERE Id = '{new['Id']}'") == [new]
        changed = (await written(client, "invoice", {"Id": new["Id"], "SyncToken": "0", "PrivateNote": "x"})).json[
            "Invoice"
        ]
        assert (changed["SyncToken"], changed["PrivateNote"], changed["Line"]) == ("1", "x", [line])
        stale = await written(client, "invoice", {"Id": new["Id"], "SyncToken": "0", "PrivateNote": "y"})
        assert (stale.status, stale.json["Fault"]["Error"][0]["code"]) == (400, "5010")
        gone = (await written(client, "invoice?operation=delete", {"Id": new["Id"], "SyncToken": "1"})).json["Invoice"]
        assert gone == {"domain": "QBO", "status": "Deleted", "Id": new["Id"]}
        assert await client.rows(f"SELECT * FROM Invoice WHERE Id = '{new['Id']}'") == []
        old = (await client.rows("SELECT * FROM Invoice MAXRESULTS 1"))[0]
        void = (await written(client, "invoice?operation=void", {"Id": old["Id"], "SyncToken": old["SyncToken"]})).json
        assert (void["Invoice"]["TotalAmt"], void["Invoice"]["Balance"]) == (0, 0)


async def test_a_name_is_renamed_and_made_inactive_but_not_deleted() -> None:
    async with Client() as client:
        old = (await client.rows("SELECT * FROM Customer WHERE Id = '1'"))[0]
        base = {"Id": "1", "SyncToken": old["SyncToken"]}
        assert (await written(client, "customer?operation=delete", base)).json["Fault"]["Error"][0]["code"] == "500"
        taken = await written(client, "customer", {"DisplayName": old["DisplayName"].upper()})
        error = {
            "Message": "Duplicate Name Exists Error",
            "Detail": "The name supplied already exists. : null",
            "code": "6240",
        }
        assert (taken.status, taken.json["Fault"]["Error"]) == (400, [error])
        new = (await written(client, "customer", base | {"Active": False})).json["Customer"]
        assert new["DisplayName"] == new["FullyQualifiedName"] == old["DisplayName"] + " (deleted)"
        assert await client.rows("SELECT * FROM Customer WHERE Id = '1'") == []
        base["SyncToken"] = new["SyncToken"]
        back = (await written(client, "customer", base | {"Active": True, "DisplayName": "Ñandú 🌵"})).json["Customer"]
        assert await client.rows("SELECT * FROM Customer WHERE FullyQualifiedName = 'ñandú 🌵'") == [back]
        truth = await client.ask("GET", "/_simulator/truth/Customer/1")
        assert truth.json == back


@pytest.mark.parametrize(
    ("path", "body", "code"),
    [
        ("invoice", {"CustomerRef": {"value": "1"}}, "2020"),
        ("customer", {"CompanyName": "x"}, "2020"),
        ("customer", [], "2010"),
        ("invoice?operation=delete", {"Id": "1", "SyncToken": "0"}, "610"),
        ("invoice?operation=merge", {"Id": "1", "SyncToken": "0"}, "500"),
        ("vendor", {"DisplayName": "x"}, "500"),
    ],
)
async def test_a_write_that_can_not_be_is_refused(path: str, body: Any, code: str) -> None:
    async with Client() as client:
        reply = await written(client, path, body)
        assert (reply.status, reply.json["Fault"]["Error"][0]["code"]) == (400, code)


async def test_a_key_that_an_invoice_has_not_is_refused_with_those_it_has() -> None:
    """400 2010 "Request has invalid or unsupported property": `Unrecognized field "BadJson"` and 83 known ones, cut."""
    async with Client() as client:
        reply = await written(client, "invoice", {"BadJson": True})
        error = reply.json["Fault"]["Error"][0]
        assert (reply.status, error["code"]) == (400, "2010")
        assert error["Detail"].startswith('Property Name:Unrecognized field "BadJson" (class com.intuit.schema.fin')
        assert error["Detail"].endswith('"Tag", "TxnApprovalInfo" [truncated]])\n specified is unsupported or invalid')
        assert "element" not in error
        whole = (await client.rows("SELECT * FROM Invoice MAXRESULTS 1"))[0]
        assert (await written(client, "invoice", whole)).status == 200


async def test_writes_are_free() -> None:
    """Core (free) = writes; CorePlus = every GET, query, batch, cdc."""
    async with Client() as client:
        await written(client, "customer", {"DisplayName": "x"})
        await client.count("Customer")
        assert (await client.control("ledger"))["metered_calls"] == 1
