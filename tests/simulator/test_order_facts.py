"""What is known of the order in which `/query` answers, fact by fact. Each test's docstring quotes its fact."""

from __future__ import annotations

import json

import pytest

from tests.simulator.client import Client, ids, instant, planted, record

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?-0[78]:00"


async def test_names_come_by_fully_qualified_name_in_byte_order() -> None:
    """Default order: names by FullyQualifiedName in byte order (`PG&E` before `Pam`)."""
    async with Client(customers=200, items=100) as client:
        for entity in ("Customer", "Item"):
            names = [
                row["FullyQualifiedName"].encode()
                for row in await client.rows(f"SELECT * FROM {entity} MAXRESULTS 1000")
            ]
            assert len(names) > 80
            assert names == sorted(names)
        named = [{"payload": json.dumps({"Id": str(900_000 + at), "FullyQualifiedName": n, "Active": True})}
                 for at, n in enumerate(["Pam", "PG&E", "pa"])]  # fmt: skip
        await client.control("load", {"entity": "Customer", "replace": True, "records": named})
        rows = await client.rows("SELECT * FROM Customer")
        assert [row["FullyQualifiedName"] for row in rows] == ["PG&E", "Pam", "pa"]


async def test_transactions_come_by_last_update_newest_first() -> None:
    """Default order: transactions by LastUpdatedTime DESC; never by Id."""
    async with Client() as client:
        rows = await client.rows("SELECT * FROM Invoice")
        instants = [instant(row) for row in rows]
        assert instants == sorted(instants, reverse=True)
        identifiers = [int(row["Id"]) for row in rows]
        assert identifiers not in (sorted(identifiers), sorted(identifiers, reverse=True))


async def test_ties_are_not_in_the_order_of_their_ids() -> None:
    """Ties unstable: another statement over the same rows may give them in another order; by a switch, each answer."""
    async with Client(invoices=0) as client:
        await client.control("load", planted("Invoice", 40, "2025-03-03T10:00:00-08:00"))
        first = await ids(client, "SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime")
        assert first != sorted(first, key=int)
        assert first == await ids(client, "SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime")
        other = "SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime > '2025-01-01' ORDERBY MetaData.LastUpdatedTime"
        assert sorted(await ids(client, other)) == sorted(first)
        assert await ids(client, other) != first
        paged = [
            number
            for start in range(1, 41, 7)
            for number in await ids(
                client, f"SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime STARTPOSITION {start} MAXRESULTS 7"
            )
        ]
        assert paged == first
        await client.behave(queries={"ties": "shuffled"})
        again = [await ids(client, "SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime") for _ in range(2)]
        assert again[0] != again[1]
        await client.behave(queries={"ties": "stable"})
        assert await ids(client, other) == await ids(client, "SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime")


@pytest.mark.parametrize(("switch", "status"), [("honoured", 200), ("ignored", 200), ("refused", 400)])
async def test_order_by_id_is_a_switch(switch: str, status: int) -> None:
    """Switchable ORDERBY Id: honoured / silently ignored / rejected. Do not build correctness on it."""
    async with Client() as client:
        await client.behave(queries={"order_by_id": switch})
        reply = await client.query("SELECT * FROM Invoice ORDERBY Id")
        assert reply.status == status
        if status == 200:
            found = [int(row["Id"]) for row in reply.json["QueryResponse"]["Invoice"]]
            assert (found == sorted(found)) == (switch == "honoured")


async def test_ids_are_compared_as_numbers_or_not_at_all() -> None:
    """`Id >` numeric / rejected."""
    async with Client(invoices=0) as client:
        records = planted("Invoice", 0, "") | {"records": [record("9"), record("10"), record("100")]}
        await client.control("load", records)
        assert await client.count("Invoice WHERE Id > '9'") == 2
        await client.behave(queries={"compare_id": "refused"})
        assert (await client.query("SELECT * FROM Invoice WHERE Id > '9'")).status == 400
        assert await ids(client, "SELECT * FROM Invoice WHERE Id = '9'") == ["9"]
        assert await client.count("Invoice WHERE Id IN ('9', '100')") == 2


async def test_an_order_can_be_dropped_without_a_word() -> None:
    """If the order is silently ignored, "max Id of page" as cursor LOSES rows."""
    async with Client() as client:
        await client.behave(queries={"order_by": "ignored"})
        rows = await client.rows("SELECT * FROM Invoice ORDERBY TxnDate")
        assert [instant(row) for row in rows] == sorted((instant(row) for row in rows), reverse=True)
