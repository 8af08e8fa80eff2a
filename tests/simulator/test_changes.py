"""What can be done to the books of a running simulator, and the oracle that tells the truth of them."""

from __future__ import annotations

import asyncio
import base64
import json
from datetime import datetime
from typing import Any

import pytest

from qbo_simulator import Control, SimulatorConfig, run_in_thread
from qbo_simulator.changes import ControlError
from qbo_simulator.service import Service
from tests.simulator.client import Client

BUSY = {"invoices": 80, "customers": 60, "items": 40}


async def oracle(client: Client, entity: str) -> dict[str, dict[str, Any]]:
    """The current records by Id."""
    return {record["Id"]: record for record in (await client.control(f"oracle/{entity}"))["current"]}


def version(record: dict[str, Any]) -> tuple[str, str]:
    return record["SyncToken"], record["LastUpdatedTime"]


async def test_the_oracle_is_what_queries_answer() -> None:
    async with Client(**BUSY) as client:
        await client.control("edit", {"entity": "Invoice", "edit": 5, "insert": 2, "void": 2, "delete": 3})
        truth = await oracle(client, "Invoice")
        rows = {row["Id"]: row for row in await client.rows("SELECT * FROM Invoice MAXRESULTS 1000")}
        assert {identifier: json.loads(record["payload"]) for identifier, record in truth.items()} == rows
        for identifier, row in rows.items():
            assert version(truth[identifier]) == (row["SyncToken"], row["MetaData"]["LastUpdatedTime"])


async def test_a_balance_moves_the_time_and_not_the_token() -> None:
    """18 of 33 Customers have SyncToken 0 and a LastUpdatedTime after their CreateTime."""
    async with Client(**BUSY) as client:
        before = (await oracle(client, "Customer"))["1"]
        await client.control("edit", {"entity": "Customer", "balance": ["1"]})
        after = (await oracle(client, "Customer"))["1"]
        assert after["SyncToken"] == before["SyncToken"]
        assert after["LastUpdatedTime"] > before["LastUpdatedTime"]
        assert json.loads(after["payload"])["Balance"] != json.loads(before["payload"])["Balance"]


async def test_a_rename_changes_what_old_invoices_say_and_not_their_version() -> None:
    """Invoice 161's CustomerRef.name was another two hours later, under the same SyncToken and LastUpdatedTime."""
    async with Client(**BUSY) as client:
        before = await oracle(client, "Invoice")
        one = json.loads(next(iter(before.values()))["payload"])["CustomerRef"]["value"]
        await client.control("edit", {"entity": "Customer", "rename": {one: "Ñandú Nuevo"}})
        after = await oracle(client, "Invoice")
        assert {key: version(record) for key, record in after.items()} == {k: version(r) for k, r in before.items()}
        changed = [json.loads(after[key]["payload"]) for key in after if after[key] != before[key]]
        assert changed
        assert all("Ñandú Nuevo" in row["CustomerRef"]["name"] for row in changed)
        (customer,) = await client.rows(f"SELECT * FROM Customer WHERE Id = '{one}'")
        assert customer["DisplayName"] == "Ñandú Nuevo"
        rows = await client.rows("SELECT * FROM Customer WHERE Active IN (true, false) MAXRESULTS 1000")
        names = [row["FullyQualifiedName"].encode() for row in rows]
        assert names == sorted(names)


async def test_an_items_new_name_is_in_old_invoices_too() -> None:
    async with Client(**BUSY) as client:
        before = await oracle(client, "Invoice")
        done = await client.control("edit", {"entity": "Item", "rename": 20})
        after = await oracle(client, "Invoice")
        assert len(done["rename"]) == 20
        assert {key: version(record) for key, record in after.items()} == {k: version(r) for k, r in before.items()}
        assert any("Renamed" in record["payload"] for record in after.values())
        strip = lambda text: json.loads(text, object_hook=lambda o: {k: v for k, v in o.items() if k != "name"})  # noqa: E731
        assert all(strip(after[key]["payload"]) == strip(before[key]["payload"]) for key in after)


@pytest.mark.parametrize("listed", ["absent", "listed"])
async def test_a_merged_customer_vanishes_and_its_invoices_are_the_others(listed: str) -> None:
    """`qbo.customer.merged.v1` carries `deletedid`; whether change data capture lists it is not known."""
    async with Client(**BUSY, switches={"cdc": {"merged": listed}}) as client:
        before = await oracle(client, "Invoice")
        loser = json.loads(next(iter(before.values()))["payload"])["CustomerRef"]["value"]
        winner = next(key for key in await oracle(client, "Customer") if key != loser)
        await client.control("edit", {"entity": "Customer", "merge": [[loser, winner]]})
        told = await client.control("oracle/Customer")
        assert loser not in {record["Id"] for record in told["current"]}
        assert [(gone["Id"], gone["into"]) for gone in told["gone"]] == [(loser, winner)]
        assert await client.rows(f"SELECT * FROM Customer WHERE Id = '{loser}' AND Active IN (true, false)") == []
        after = await oracle(client, "Invoice")
        assert {key: version(record) for key, record in after.items()} == {k: version(r) for k, r in before.items()}
        owners = {json.loads(record["payload"])["CustomerRef"]["value"] for record in after.values()}
        assert winner in owners
        assert loser not in owners
        reply = await client.ask(
            "GET", f"{client.base}/cdc?entities=Customer&changedSince=2011-01-01", headers=await client.authorized()
        )
        page = reply.json["CDCResponse"][0]["QueryResponse"][0]["Customer"]
        deleted = [row["Id"] for row in page if row.get("status") == "Deleted"]
        assert deleted == ([loser] if listed == "listed" else [])
        assert winner in {row["Id"] for row in page}


async def test_an_invoice_moves_its_customer_and_its_stock() -> None:
    """Customer 8's LastUpdatedTime is Invoice 129's; Rock Fountain's is Invoice 130's CreateTime."""
    async with Client(**BUSY) as client:
        customers, items = await oracle(client, "Customer"), await oracle(client, "Item")
        done = await client.control("edit", {"entity": "Invoice", "insert": 5, "ripple": True})
        invoices = await oracle(client, "Invoice")
        new = [json.loads(invoices[key]["payload"]) for key in done["insert"]]
        for entity, before in (("Customer", customers), ("Item", items)):
            after = await oracle(client, entity)
            moved = {key for key in after if version(after[key]) != version(before[key])}
            assert moved
            assert all(after[key]["SyncToken"] == before[key]["SyncToken"] for key in moved)
            if entity == "Customer":
                assert moved == {row["CustomerRef"]["value"] for row in new}
        assert not await changed_by(client, {"entity": "Invoice", "edit": 5}, "Customer")


async def changed_by(client: Client, asked: dict[str, Any], entity: str) -> set[str]:
    before = await oracle(client, entity)
    await client.control("edit", asked)
    after = await oracle(client, entity)
    return {key for key in after if after[key] != before.get(key)}


async def test_new_and_edited_rows_can_carry_another_date_or_moment() -> None:
    async with Client(**BUSY) as client:
        options = {"txn_date": "2023-05-01", "at": "2024-02-02T02:02:02Z"}
        done = await client.control("edit", {"entity": "Invoice", "insert": 2, **options})
        rows = await client.rows("SELECT * FROM Invoice WHERE TxnDate = '2023-05-01'")
        assert {row["Id"] for row in rows} == set(done["insert"])
        assert {row["MetaData"]["CreateTime"] for row in rows} == {"2024-02-01T18:02:02-08:00"}
        await client.control("edit", {"entity": "Invoice", "edit": done["insert"], "txn_date": "2022-05-01"})
        assert await client.count("Invoice WHERE TxnDate = '2022-05-01'") == 2
        assert await client.count("Invoice WHERE TxnDate = '2023-05-01'") == 0


async def test_thousands_of_changes_at_once() -> None:
    async with Client(invoices=2_500) as client:
        done = await client.control("edit", {"entity": "Invoice", "edit": 1_500, "delete": 1_200, "insert": 1_100})
        assert {kind: len(set(ids)) for kind, ids in done.items()} == {"edit": 1_500, "delete": 1_200, "insert": 1_100}
        told = await client.control("oracle/Invoice")
        assert (len(told["current"]), len(told["gone"])) == (2_400, 1_200)


@pytest.mark.parametrize("how", ["utf8", "control", "nesting", "nul", "surrogate"])
async def test_a_record_can_be_made_unreadable_and_whole_again(how: str) -> None:
    async with Client(**BUSY) as client:
        before = (await oracle(client, "Invoice"))["130"]
        await client.control("edit", {"entity": "Invoice", "spoil": {"130": how}})
        spoilt = (await oracle(client, "Invoice"))["130"]
        raw = spoilt["payload"].encode() if "payload" in spoilt else base64.b64decode(spoilt["payload_base64"])
        page = await client.query("SELECT * FROM Invoice WHERE Id = '130'")
        assert raw in page.body
        assert b'"Spoilt"' in raw
        await client.control("edit", {"entity": "Invoice", "edit": ["130"], "heal": ["130"]})
        after = (await oracle(client, "Invoice"))["130"]
        assert "Spoilt" not in after["payload"]
        assert int(after["SyncToken"]) == int(before["SyncToken"]) + 1


async def test_the_clock_is_the_books_too() -> None:
    async with Client(**BUSY) as client:
        moments = []
        for offset in (-86_400, 86_400):
            await client.control("clock", {"offset_seconds": offset})
            await client.control("edit", {"entity": "Invoice", "edit": ["130"]})
            told = (await oracle(client, "Invoice"))["130"]["LastUpdatedTime"]
            moments.append(datetime.fromisoformat(told).timestamp())
        assert 172_700 < moments[1] - moments[0] < 172_900


def test_changes_are_made_in_the_simulators_own_loop_too() -> None:
    service = Service(SimulatorConfig(**BUSY))
    done = service.change("Invoice", insert=2, delete=["130"])
    told = service.oracle("Invoice")
    assert set(done["insert"]) < {record["Id"] for record in told["current"]}
    assert [gone["Id"] for gone in told["gone"]] == ["130"]
    with pytest.raises(ControlError, match="no entity 'Bill'"):
        service.change("Bill", insert=1)
    service.adopt({"edits": {"merge": 3, "insert": 2}})
    for _ in range(30):
        service.query("SELECT * FROM Customer")  # down to one customer, and on


def test_a_busy_scenario_moves_the_whole_books() -> None:
    with run_in_thread(SimulatorConfig(limits=False, scenario="busy", **BUSY)) as sim:
        control = Control(sim.url)
        before = {record["Id"]: record["LastUpdatedTime"] for record in control.oracle("Customer")["current"]}
        for _ in range(20):
            sim.service.query("SELECT * FROM Invoice")
        after = {record["Id"]: record["LastUpdatedTime"] for record in control.oracle("Customer")["current"]}
        assert sum(after[key] != before[key] for key in before) >= 3
        control.behave("calm", edits={"merge": 1, "rename": 2, "balance": 1})
        asyncio.run(_page(sim))
        assert {"Customer merge", "Customer rename", "Customer balance"} <= set(sim.service.ledger.edits)


async def _page(sim: Any) -> None:
    sim.service.query("SELECT * FROM Customer")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"entity": "Invoice", "rename": 1}, "only names can be renamed, inactive or merged, not Invoice"),
        ({"entity": "Customer", "merge": [["1"]]}, "merge must be a number or a list of [loser, winner] Ids"),
        ({"entity": "Customer", "merge": [["1", "0"]]}, "no Customer with Id 0"),
        ({"entity": "Invoice", "spoil": {"130": "so"}}, "spoil names a record by Id and how: utf8"),
        ({"entity": "Invoice", "insert": 1, "txn_date": "soon"}, "txn_date is no date: 'soon'"),
        ({"entity": "Invoice", "insert": 1, "at": "soon"}, "at is no timestamp: 'soon'"),
    ],
)
async def test_what_makes_no_sense_is_one_line(asked: dict[str, Any], told: str) -> None:
    async with Client(**BUSY) as client:
        reply = await client.ask("POST", "/_simulator/edit", json=asked)
        assert (reply.status, reply.text.count("\n")) == (400, 1)
        assert told in reply.text


async def test_a_taken_name_and_a_parent_are_refused() -> None:
    async with Client(customers=200) as client:
        rows = await client.rows("SELECT * FROM Customer MAXRESULTS 1000")
        parent = next(row["ParentRef"]["value"] for row in rows if "ParentRef" in row)
        other = next(row for row in rows if row["Id"] != parent and "ParentRef" not in row)
        for asked, told in (
            ({"rename": {parent: other["FullyQualifiedName"]}}, "The name supplied already exists"),
            ({"merge": [[parent, other["Id"]]]}, f"Customer {parent} has others below it and can't be merged"),
        ):
            reply = await client.ask("POST", "/_simulator/edit", json={"entity": "Customer"} | asked)
            assert (reply.status, told in reply.text) == (400, True), reply.text
        below = [row for row in rows if row.get("ParentRef", {}).get("value") == parent]
        await client.control("edit", {"entity": "Customer", "rename": {parent: "Zzz"}})
        (moved,) = await client.rows(f"SELECT * FROM Customer WHERE Id = '{below[0]['Id']}'")
        assert moved["FullyQualifiedName"] == f"Zzz:{below[0]['DisplayName']}"
        assert moved["SyncToken"] == below[0]["SyncToken"]
