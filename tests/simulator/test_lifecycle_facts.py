"""What is known of inactive, deleted and voided records, fact by fact. Each test's docstring quotes its fact."""

from __future__ import annotations

import json

from tests.simulator.client import Client, instant

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?-0[78]:00"


async def test_inactive_names_are_hidden_unless_asked_for() -> None:
    """Hide inactive Customers/Items by default (rows and COUNT), suffix ` (deleted)`."""
    async with Client(customers=100, items=100) as client:
        for entity, name in (("Customer", "DisplayName"), ("Item", "Name")):
            everyone = await client.rows(f"SELECT * FROM {entity} WHERE Active IN (true, false) MAXRESULTS 1000")
            inactive = [row for row in everyone if not row["Active"]]
            assert len(everyone) == 100
            assert inactive
            assert all(row[name].endswith(" (deleted)") for row in inactive)
            assert await client.count(entity) == 100 - len(inactive)
            assert await client.count(f"{entity} WHERE Active IN (true,false)") == 100
            assert await client.count(f"{entity} WHERE Active = false") == len(inactive)
            assert len(await client.rows(f"SELECT * FROM {entity} MAXRESULTS 1000")) == 100 - len(inactive)


async def test_names_are_never_deleted_but_become_inactive() -> None:
    """Name-list rows are never hard-deleted."""
    async with Client() as client:
        (before,) = await client.rows("SELECT * FROM Customer WHERE Id = '1'")
        done = await client.control("edit", {"entity": "Customer", "delete": ["1"]})
        assert done == {"delete": ["1"]}
        (row,) = await client.rows("SELECT * FROM Customer WHERE Id = '1' AND Active = false")
        assert (row["Active"], row["DisplayName"]) == (False, before["DisplayName"] + " (deleted)")
        assert int(row["SyncToken"]) == int(before["SyncToken"]) + 1
        assert instant(row) > instant(before)


async def test_deleted_invoices_vanish_and_voided_ones_stay_with_nothing() -> None:
    """Deleted invoices vanish from query and COUNT at once. Voided: TotalAmt=0, Balance=0, all line Amounts 0,
    PrivateNote starts with Voided, SyncToken+1, LastUpdatedTime moves, LinkedTxn [], UnitPrice dropped."""
    async with Client() as client:
        rows = await client.rows("SELECT * FROM Invoice")
        before = next(row for row in rows if row["TotalAmt"] and len(row["Line"]) > 2)
        gone = next(row["Id"] for row in rows if row is not before)
        await client.control("edit", {"entity": "Invoice", "void": [before["Id"]], "delete": [gone]})
        assert await client.count("Invoice") == 59
        assert await client.rows(f"SELECT * FROM Invoice WHERE Id = '{gone}'") == []
        (after,) = await client.rows(f"SELECT * FROM Invoice WHERE Id = '{before['Id']}'")
        assert (after["TotalAmt"], after["Balance"], after["LinkedTxn"]) == (0, 0, [])
        assert after["PrivateNote"].startswith("Voided")
        assert int(after["SyncToken"]) == int(before["SyncToken"]) + 1
        assert instant(after) > instant(before)
        assert after["MetaData"]["CreateTime"] == before["MetaData"]["CreateTime"]
        assert all(line.get("Amount", 0) == 0 for line in after["Line"])
        assert len(after["Line"]) == len(before["Line"])
        assert "UnitPrice" not in json.dumps(after)
