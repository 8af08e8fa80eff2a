"""Whatever happens to the books, queries, counts, change data capture and the oracle tell of the same ones."""

from __future__ import annotations

import contextlib
import json
from datetime import datetime
from random import Random
from typing import Any

import pytest

from qbo_simulator import SimulatorConfig
from qbo_simulator.changes import ControlError
from qbo_simulator.service import Service

ENTITIES = ("Invoice", "Customer", "Item")
ROOM = {"cdc": {"objects": 100_000, "merged": "listed"}}
BOTH = " WHERE Active IN (true, false)"


def rows(service: Service, statement: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while True:
        page = json.loads(service.query(f"{statement} STARTPOSITION {len(found) + 1} MAXRESULTS 1000").body)
        if not page["QueryResponse"]:
            return found
        found += next(value for value in page["QueryResponse"].values() if isinstance(value, list))


def change_something(service: Service, chance: Random) -> None:
    entity = chance.choice(ENTITIES)
    names = entity != "Invoice"
    kinds = ["insert", "edit", "balance", "silent", "delete", "heal"]
    kinds += ["rename", "inactivate", "activate", "merge"] if names else ["void"]
    kind = chance.choice(kinds)
    service.clock.offset = chance.choice([-86_400, 0, 0, 86_400])
    asked: dict[str, Any] = {kind: chance.choice([1, 1, 2, 5, 30] if kind != "merge" else [1, 2])}
    if kind in ("insert", "edit") and not names and chance.random() < 0.5:
        asked["txn_date"] = f"202{chance.randrange(3, 6)}-0{chance.randrange(1, 9)}-11"
    if kind == "merge":
        asked["touch_invoices"] = chance.random() < 0.5
    with contextlib.suppress(ControlError):  # there are no two rows to merge
        service.change(entity, ripple=chance.random() < 0.5, **asked)


def instant(told: str) -> float:
    return datetime.fromisoformat(told).timestamp()


def check(service: Service, began: float) -> None:
    customers = {record["Id"]: json.loads(record["payload"]) for record in service.oracle("Customer")["current"]}
    for entity in ENTITIES:
        told = service.oracle(entity)
        truth = {record["Id"]: record for record in told["current"]}
        read = rows(service, f"SELECT * FROM {entity}" + (BOTH if entity != "Invoice" else ""))
        assert {row["Id"]: row for row in read} == {key: json.loads(one["payload"]) for key, one in truth.items()}
        assert len(read) == len(truth), "a row came twice"
        for row in read:
            one = truth[row["Id"]]
            assert (row["SyncToken"], row["MetaData"]["LastUpdatedTime"]) == (one["SyncToken"], one["LastUpdatedTime"])
        gone = {one["Id"] for one in told["gone"]}
        assert not gone & set(truth)
        assert len(gone) == len(told["gone"])
        changed = json.loads(service.changes(entity, "2026-01-15").body)["CDCResponse"][0]["QueryResponse"][0]
        listed = changed.get(entity, [])
        assert {row["Id"] for row in listed if row.get("status") == "Deleted"} == gone
        moved = {
            key for key, one in truth.items() if datetime.fromisoformat(one["LastUpdatedTime"]).timestamp() > began
        }
        assert {row["Id"] for row in listed if row.get("status") != "Deleted"} == moved
        if entity != "Invoice":
            names = [row["FullyQualifiedName"].encode() for row in read]
            assert names == sorted(names)
            assert len(set(names)) == len(names)
    for row in rows(service, "SELECT * FROM Invoice"):
        owner = customers[row["CustomerRef"]["value"]]
        assert owner["FullyQualifiedName"].removesuffix(" (deleted)") == row["CustomerRef"]["name"]


@pytest.mark.slow_after(2)
@pytest.mark.parametrize("seed", range(8))
def test_all_ways_of_asking_agree(seed: int) -> None:
    service = Service(SimulatorConfig(seed=seed, invoices=150, customers=90, items=60, switches=ROOM))
    chance = Random(seed)
    began = instant("2026-01-15T00:00:00+00:00")
    service.adopt(service.switches | {"cdc": ROOM["cdc"] | {"older": "accepted"}})
    for turn in range(60):
        change_something(service, chance)
        if turn % 6 == 5:
            check(service, began)


async def test_vendors_are_renamed_and_merged_though_they_were_planted() -> None:
    service = Service(SimulatorConfig(invoices=0, customers=0, items=0))
    from qbo_simulator.company.planted import PlantedTable
    from qbo_simulator.planting import plant

    table = service.company.tables["Vendor"] = PlantedTable("Vendor", is_name_list=True)
    for at in range(3):
        record = {"DisplayName": f"Vendor {at}", "Active": True, "Id": str(at), "SyncToken": "0"}
        plant(table, {"payload": json.dumps(record).encode()}, service.now())
    service.change("Vendor", rename={"1": "Otra"}, merge=[["2", "0"]])
    names = {row["Id"]: (row["DisplayName"], row["SyncToken"]) for row in rows(service, "SELECT * FROM Vendor")}
    assert names == {"0": ("Vendor 0", "1"), "1": ("Otra", "1")}
    assert [(gone["Id"], gone["into"]) for gone in service.oracle("Vendor")["gone"]] == [("2", "0")]
