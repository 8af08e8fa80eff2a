"""Customers and Items, the name lists: rows that can be made inactive but are never deleted."""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from qbo_simulator.company import words
from qbo_simulator.company.table import INACTIVE, Table
from qbo_simulator.times import day_text, pacific

_CACHED = 50_000


def number(text: str) -> msgspec.Raw:
    """A JSON number with the scale QuickBooks would give it, `639.00` for one."""
    return msgspec.Raw(text.encode())


class NameTable(Table):
    """What customers and items share: unique names, parents, the inactive ones' ` (deleted)`, cached records."""

    is_name_list = True
    first_id = 1
    inactive_share = 0.06

    def __init__(self, seed: int, count: int, start: int, end: int) -> None:
        super().__init__()
        self.seed = seed
        self._cache: dict[int, bytes] = {}
        self._renamed: dict[int, str] = {}
        self.moves: Counter[int] = Counter()  # how often a balance or a stock has changed
        self.on_rename: Callable[[], None] = lambda: None
        chance = Random(f"{seed}/{self.entity}")
        identifier = self.first_id
        span = max(end - start, 1)
        moments = sorted(start + int(span * chance.random() ** 2) for _ in range(count))
        for slot, created in enumerate(moments):
            # A list that was imported: runs of rows of one second.
            if slot and chance.random() < 0.15:
                created = self.created[-1]  # noqa: PLW2901
            updated = created if chance.random() < 0.5 else min(created + int(chance.expovariate(1 / 9e6)), end - 1)
            inactive = slot > 4 and chance.random() < self.inactive_share
            self.append(identifier, created, updated, 0, INACTIVE if inactive else 0)
            self.syncs[-1] = 0 if updated == created else 1 + int(chance.expovariate(0.5))
            identifier += 1 + int(chance.random() < 0.3) * chance.randrange(1, 9)
        self._next_id = identifier
        self.index()

    def base_name(self, slot: int) -> str:
        """The name without parent or suffix; unique among its siblings."""
        return self._renamed.get(slot) or self.first_name(slot)

    @abstractmethod
    def first_name(self, slot: int) -> str:
        """The name a row was given at its beginning."""

    @abstractmethod
    def parent(self, slot: int) -> int | None:
        """The slot of the row this one stands under."""

    def own_name(self, slot: int) -> str:
        return self.base_name(slot) + ("" if self.is_active(slot) else " (deleted)")

    def name(self, slot: int) -> str:
        if slot in self.raw_names:
            return self.raw_names[slot]
        return self._path(slot, self.own_name(slot))

    def path_name(self, slot: int) -> str:
        """The fully qualified name as references have it, without the suffix of inactive ones."""
        if slot in self.raw_names:
            return self.raw_names[slot].removesuffix(" (deleted)")
        return self._path(slot, self.base_name(slot))

    def _path(self, slot: int, own: str) -> str:
        parent = self.parent(slot)
        return own if parent is None else f"{self.path_name(parent)}:{own}"

    def rename_to(self, slot: int, name: str) -> None:
        """Another name. Whatever refers to the row says it from now on, without a new version of its own."""
        before = self.by_name_of(slot)
        self._renamed[slot] = name
        self._cache.clear()
        self._reorder(before)

    def has_children(self, slot: int) -> bool:
        return len(self.by_name_of(slot)) > 1

    def by_name_of(self, slot: int) -> dict[int, str]:
        """The present names of a row and of all below it."""
        family = {slot}
        for other in range(slot + 1, len(self.ids)):
            if self.parent(other) in family:
                family.add(other)
        return {member: self.name(member) for member in family if member not in self.deleted}

    def _reorder(self, before: dict[int, str]) -> None:
        self.edits += 1
        for slot, name in before.items():
            del self.by_name[bisect_left(self.by_name, (name.encode(), slot))]
            insort(self.by_name, (self.name(slot).encode(), slot))

    def render(self, slot: int) -> bytes:
        payload = self._cache.get(slot)
        if payload is None:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            payload = self._cache[slot] = msgspec.json.encode(self.record(slot, self.chance(slot)))
        return payload

    def chance(self, slot: int) -> Random:
        """This row's own seeded source: a row is the same whichever rows were asked for before."""
        return Random(f"{self.seed}/{self.entity}/{slot}")

    @abstractmethod
    def record(self, slot: int, chance: Random) -> dict[str, Any]:
        """The record, made from nothing but the row's own numbers."""

    def identity(self, slot: int) -> dict[str, Any]:
        return {
            "domain": "QBO",
            "sparse": False,
            "Id": str(self.ids[slot]),
            "SyncToken": str(self.syncs[slot]),
            "MetaData": {
                "CreateTime": pacific(self.created[slot]).decode(),
                "LastUpdatedTime": pacific(self.updated[slot]).decode(),
            },
        }

    def touch(self, slot: int, now: int) -> None:
        super().touch(slot, now)
        self._cache.pop(slot, None)

    def move(self, slot: int, now: int) -> None:
        super().move(slot, now)
        self.moves[slot] += 1
        self._cache.pop(slot, None)

    def delete(self, slot: int, now: int) -> None:
        """A name is not deleted in QuickBooks: it becomes inactive."""
        self.set_active(slot, active=False, now=now)

    def generate(self, now: int) -> int:
        slot = self.append(int(self.next_id()), now, now, 0)
        self.enter(slot)
        return slot


class Customers(NameTable):
    entity = "Customer"

    def first_name(self, slot: int) -> str:
        parent = self.parent(slot)
        if parent is not None:
            job = words.JOBS[slot % len(words.JOBS)]
            return f"{job} {slot}"
        number_of_kind, kind = divmod(slot, 3)
        first = words.FIRST_NAMES[number_of_kind * 7 % len(words.FIRST_NAMES)]
        last = words.LAST_NAMES[number_of_kind * 11 // 3 % len(words.LAST_NAMES)]
        trade = words.TRADES[number_of_kind * 5 % len(words.TRADES)]
        ending = words.ENDINGS[number_of_kind % len(words.ENDINGS)]
        number_text = "" if slot < 90 else f" {slot}"
        if kind == 0:
            return f"{first} {last}{number_text}" if slot >= 90 else f"{first} {last} {chr(65 + slot % 26)}."
        if kind == 1:
            return f"{last} {trade}{ending}{number_text or ' ' + str(slot)}"
        return f"{first}'s {trade}{number_text or ' ' + str(slot)}"

    def parent(self, slot: int) -> int | None:
        if slot > 20 and slot % 9 == 4:
            return self.survivor(slot // 2 - (slot // 2) % 9)
        return None

    def record(self, slot: int, chance: Random) -> dict[str, Any]:
        parent = self.parent(slot)
        name = self.own_name(slot)
        address = self._address(slot, chance)
        cents = chance.randrange(0, 900_000) if chance.random() < 0.4 else 0
        cents += 1_250 * self.moves[slot]
        balance = f"{cents / 100:.2f}" if cents else "0"
        record: dict[str, Any] = {"Taxable": chance.random() < 0.5}
        if chance.random() < 0.85:
            record["BillAddr"] = address
        if chance.random() < 0.5:
            record["ShipAddr"] = address
        if chance.random() < 0.15:
            record["Notes"] = chance.choice(words.NOTES[3:])
        record |= {"Job": parent is not None, "BillWithParent": parent is not None and chance.random() < 0.5}
        if parent is not None:
            record |= {"ParentRef": {"value": str(self.ids[parent])}, "Level": 1}
        record |= {
            "Balance": number(balance),
            "BalanceWithJobs": number(balance),
            "CurrencyRef": {"value": "USD", "name": "United States Dollar"},
            "PreferredDeliveryMethod": chance.choice(["Print", "Email", "None"]),
            "IsProject": False,
            "ClientEntityId": "0",
        }
        record |= self.identity(slot)
        given, _, family = self.base_name(slot).partition(" ")
        if chance.random() < 0.8:
            record |= {"GivenName": given, "FamilyName": family[:25]}
        if slot % 3:
            record["CompanyName"] = self.base_name(slot)
        record |= {
            "FullyQualifiedName": self.name(slot),
            "DisplayName": name,
            "PrintOnCheckName": self.base_name(slot),
            "Active": self.is_active(slot),
            "V4IDPseudonym": f"{chance.getrandbits(96):024x}",
        }
        if chance.random() < 0.8:
            record["PrimaryPhone"] = {"FreeFormNumber": f"(555) 555-{chance.randrange(10_000):04d}"}
        if chance.random() < 0.8:
            record["PrimaryEmailAddr"] = {"Address": f"customer{slot}@example.com"}
        if chance.random() < 0.2:
            record["WebAddr"] = {"URI": f"http://customer{slot}.example.com"}
        if chance.random() < 0.1:
            # New keys arrive inside minor version 75 without notice.
            record["TaxExemptionReasonId"] = str(chance.randrange(1, 16))
        return record

    def _address(self, slot: int, chance: Random) -> dict[str, str]:
        city, region, code = chance.choice(words.CITIES)
        located = chance.random() < 0.6
        return {
            "Id": str(2 * slot + 2),
            "Line1": f"{chance.randrange(1, 9999)} {chance.choice(words.STREETS)}",
            "City": city,
            "CountrySubDivisionCode": region,
            "PostalCode": code,
            "Lat": f"{chance.uniform(-3, 45):.7f}" if located else "INVALID",
            "Long": f"{chance.uniform(-123, -70):.7f}" if located else "INVALID",
        }

    def reference(self, slot: int) -> bytes:
        """What an invoice says of its customer: the reference and the addresses."""
        address = msgspec.json.encode(self._address(slot, self.chance(slot)))
        name = self.path_name(slot)
        return b'"CustomerRef":%b,"BillAddr":%b,"ShipAddr":%b,' % (
            msgspec.json.encode({"value": str(self.ids[slot]), "name": name}),
            address,
            address,
        )


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
        if self.kind(slot) in ("Category", "Group") or slot % 3:
            return None
        return slot - slot % 20

    def record(self, slot: int, chance: Random) -> dict[str, Any]:
        kind = self.kind(slot)
        parent = self.parent(slot)
        record: dict[str, Any] = {"Name": self.own_name(slot)}
        if kind != "Category" and chance.random() < 0.7:
            record["Description"] = chance.choice(words.LINE_TEXTS)
        record["Active"] = self.is_active(slot)
        if parent is not None:
            record |= {
                "SubItem": True,
                "ParentRef": {"value": str(self.ids[parent]), "name": self.base_name(parent)},
                "Level": 1,
            }
        record["FullyQualifiedName"] = self.name(slot)
        if kind == "Category":
            return record | {"Type": kind} | self.identity(slot)
        record |= {"Taxable": chance.random() < 0.5, "UnitPrice": number(unit_price(chance)), "Type": kind}
        if kind == "Group":
            members = [
                {
                    "ItemRef": {"value": str(self.ids[other]), "name": self.base_name(other)},
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
        record["IncomeAccountRef"] = {"value": "79", "name": "Sales of Product Income"}
        if kind == "Inventory":
            record |= {
                "PurchaseDesc": chance.choice(words.LINE_TEXTS),
                "PurchaseCost": number(unit_price(chance)),
                "ExpenseAccountRef": {"value": "80", "name": "Cost of Goods Sold"},
                "AssetAccountRef": {"value": "81", "name": "Inventory Asset"},
                "TrackQtyOnHand": True,
                "QtyOnHand": chance.randrange(-3, 400) - self.moves[slot],
                "InvStartDate": day_text(self.created[slot] // 86_400).decode(),
            }
        else:
            record |= {"PurchaseCost": 0, "TrackQtyOnHand": False}
        if chance.random() < 0.3:
            record["Sku"] = f"SKU-{slot:05d}/é"
        return record | self.identity(slot)


def unit_price(chance: Random) -> str:
    """Prices come with no, one, two or up to seven decimals."""
    scale = chance.choice(["", "", "0", "00", "x", "xxxxx"])
    if not scale:
        return str(chance.randrange(1, 400))
    if scale == "x":
        return f"{chance.randrange(1, 4000) / 10:.1f}"
    if scale == "xxxxx":
        return f"{chance.uniform(0.1, 9):.7f}"
    return f"{chance.randrange(1, 900)}.{'0' * len(scale)}"
