"""Items: stock, services, bundles, and the categories they stand under."""

from __future__ import annotations

from random import Random
from typing import Any

from qbo_simulator.company import words
from qbo_simulator.company.names import NameTable, number, unit_price
from qbo_simulator.times import day_text


class Items(NameTable):
    entity = "Item"
    first_id = 3
    inactive_share = 0.08

    def kind(self, slot: int) -> str:
        if slot % 20 == 0:
            return "Category"
        if slot % 20 == 7:
            return "Group"
        return ("Service", "Inventory", "NonInventory", "Service", "Inventory")[slot % 5]

    def first_name(self, slot: int) -> str:
        kind = self.kind(slot)
        if kind == "Category":
            return f"Category {chr(65 + slot // 20 % 26)}{slot // 520 or ''}"
        if kind == "Group":
            return f"Bundle {slot}: {words.GOODS[slot % len(words.GOODS)]}".replace(":", " –")
        if kind == "Service":
            return f"{words.WORK[slot % len(words.WORK)]} {slot}"
        goods = words.GOODS[slot * 3 % len(words.GOODS)]
        return f"{goods}{words.GRADES[slot // 3 % len(words.GRADES)]} {slot}"

    def parent(self, slot: int) -> int | None:
        if self.kind(slot) == "Category":
            # Every fifth category is inside the one before it.
            return self.survivor(slot - 20) if slot % 100 == 40 else None
        if self.kind(slot) == "Group" or slot % 3:
            return None
        return self.survivor(slot - slot % 20)

    def income_account(self, slot: int) -> tuple[str, str]:
        """The Id and the whole name of the account its sales go to."""
        return words.INCOME_ACCOUNTS[slot % len(words.INCOME_ACCOUNTS)]

    def record(self, slot: int, chance: Random) -> dict[str, Any]:
        kind = self.kind(slot)
        parent = self.parent(slot)
        record: dict[str, Any] = {"Name": self.own_name(slot)}
        if kind not in ("Category", "Group") and chance.random() < 0.3:
            record["Sku"] = f"SKU-{slot:05d}/é"
        if kind != "Category" and chance.random() < 0.7:
            record["Description"] = chance.choice(words.LINE_TEXTS)
        record["Active"] = self.is_active(slot)
        if parent is not None:
            record |= {
                "SubItem": True,
                "ParentRef": {"value": str(self.ids[parent]), "name": self.path_name(parent)},
                "Level": self.level(slot),
            }
        record["FullyQualifiedName"] = self.name(slot)
        if kind == "Category":
            return record | {"Type": kind} | self.identity(slot)
        taxed_in = chance.random() < 0.06  # sales taxes of other countries
        record["Taxable"] = chance.random() < 0.5
        if taxed_in:
            record["SalesTaxIncluded"] = False
        record |= {"UnitPrice": number(unit_price(chance)), "Type": kind}
        if kind == "Group":
            members = [
                {
                    "ItemRef": {"value": str(self.ids[other]), "name": self.base_name(other), "type": self.kind(other)},
                    "Qty": chance.randrange(1, 9),
                }
                for other in (slot - 1, slot - 2, slot - 3)
                if other >= 0
            ]
            return (
                record
                | {"ItemGroupDetail": {"ItemGroupLine": members}, "PrintGroupedItems": False, "UnitPrice": 0}
                | self.identity(slot)
            )
        return record | self._accounts(slot, chance, kind, taxed_in) | self.identity(slot)

    def _accounts(self, slot: int, chance: Random, kind: str, taxed_in: bool) -> dict[str, Any]:
        income = self.income_account(slot)
        record: dict[str, Any] = {"IncomeAccountRef": {"value": income[0], "name": income[1]}}
        bought = kind == "Inventory" or chance.random() < 0.1
        if bought:
            record["PurchaseDesc"] = chance.choice(words.LINE_TEXTS)
        if taxed_in:
            record["PurchaseTaxIncluded"] = False
        record["PurchaseCost"] = number(unit_price(chance)) if bought else 0
        if bought:
            record["ExpenseAccountRef"] = {"value": "80", "name": "Cost of Goods Sold"}
        if kind == "Inventory":
            record["AssetAccountRef"] = {"value": "81", "name": "Inventory Asset"}
        if bought and chance.random() < 0.1:
            record["PrefVendorRef"] = {"value": "56", "name": "Norton Lumber and Building Materials"}
        record["TrackQtyOnHand"] = kind == "Inventory"
        if chance.random() < 0.08:
            record["DeferredRevenue"] = False
        if kind == "Inventory":
            record["QtyOnHand"] = chance.randrange(-3, 400) - self.moves[slot]
            if chance.random() < 0.1:
                record["ReorderPoint"] = 10
            record["InvStartDate"] = day_text(self.created[slot] // 86_400).decode()
        if chance.random() < 0.04:
            record["ClassRef"] = {"value": "3600000000001530078", "name": "Proyectos:Norte"}
        if taxed_in:
            record["SalesTaxCodeRef"] = {"value": "5", "name": "GST"}
            if bought:
                record["PurchaseTaxCodeRef"] = {"value": "6", "name": "GST on purchases"}
        if chance.random() < 0.04:
            record["TaxClassificationRef"] = {"value": "EUC-09020802-V1-00120000", "name": "General goods"}
        return record
