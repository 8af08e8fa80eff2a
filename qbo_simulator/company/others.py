"""The tables of all entities but the three that have modules of their own: made when somebody first asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import msgspec

from qbo_simulator.company import records
from qbo_simulator.company.invoices import Invoices, moments
from qbo_simulator.company.names import NameTable
from qbo_simulator.company.planted import NotMadeUpError
from qbo_simulator.company.records import Maker, Record, Row
from qbo_simulator.company.table import Table
from qbo_simulator.times import pacific, pacific_day

_CACHED = 20_000
# Ids of newer lists.
_NINETEEN_DIGITS = 5_000_000_000_000_000_000


class Tables(dict[str, Table]):
    """A company's tables by entity; one that isn't there yet is made when it is asked for."""

    def __init__(self, made: dict[str, Table], makers: dict[str, Callable[[], Table]]) -> None:
        super().__init__(made)
        self._makers = makers

    def __missing__(self, entity: str) -> Table:
        if entity not in self._makers:
            raise KeyError(entity)
        table = self[entity] = self._makers[entity]()
        return table

    def __contains__(self, entity: object) -> bool:
        return super().__contains__(entity) or entity in self._makers

    def find(self, entity: str) -> Table | None:
        """The table, if the company has one."""
        return self[entity] if entity in self else None  # noqa: SIM401 - get would not make it


class Company(Protocol):
    """What these tables need of the company they belong to."""

    tables: Tables
    seed: int
    start: int
    end: int


@dataclass(frozen=True)
class Facts:
    """How an entity's rows are made: `share` of the company's invoices, `least` at least; names when `named`.

    `moves` is the list whose row a new one moves, `touches` the transaction that gets a new version by it.
    """

    maker: Maker
    share: float = 0.0
    least: int = 3
    named: str = ""
    wrapped: bool = False
    long_ids: bool = False
    moves: str = ""
    touches: str = ""


OTHERS: dict[str, Facts] = {
    "Payment": Facts(records.payment, 0.6, moves="Customer", touches="Invoice"),
    "CreditMemo": Facts(records.credit_memo, 0.03, moves="Customer"),
    "SalesReceipt": Facts(records.sales_receipt, 0.1, moves="Customer"),
    "RefundReceipt": Facts(records.sales_receipt, 0.01, moves="Customer"),
    "Estimate": Facts(records.estimate, 0.15),
    "Bill": Facts(records.bill, 0.3, moves="Vendor"),
    "BillPayment": Facts(records.bill_payment, 0.2, moves="Vendor", touches="Bill"),
    "VendorCredit": Facts(records.vendor_credit, 0.02, moves="Vendor"),
    "Purchase": Facts(records.purchase, 0.4),
    "PurchaseOrder": Facts(records.purchase_order, 0.05),
    "CreditCardPayment": Facts(records.credit_card_payment, 0.02),
    "ReimburseCharge": Facts(records.reimburse_charge, 0.01),
    "JournalEntry": Facts(records.journal_entry, 0.08),
    "Deposit": Facts(records.deposit, 0.2, touches="Payment"),
    "Transfer": Facts(records.transfer, 0.02),
    "InventoryAdjustment": Facts(records.inventory_adjustment, 0.01, moves="Item"),
    "TimeActivity": Facts(records.time_activity, 0.5),
    "RecurringTransaction": Facts(records.recurring, 0.005, wrapped=True),
    "Budget": Facts(records.budget),
    "Attachable": Facts(records.attachable, 0.05, long_ids=True),
    "TaxAgency": Facts(records.tax_agency),
    "TaxPayment": Facts(records.tax_payment, 0.01),
    "ExchangeRate": Facts(records.exchange_rate, least=8),
    "Vendor": Facts(records.vendor, 0.1, 20, named="DisplayName"),
    "Account": Facts(records.account, 0, 90, named="Name"),
    "Class": Facts(records.plain, 0, 8, named="Name", long_ids=True),
    "Department": Facts(records.plain, 0, 6, named="Name"),
    "Employee": Facts(records.employee, 0, 12, named="DisplayName"),
    "Term": Facts(records.term, 0, 5, named="Name"),
    "PaymentMethod": Facts(records.plain, 0, 8, named="Name"),
    "CustomerType": Facts(records.plain, 0, 4, named="Name", long_ids=True),
    "CompanyCurrency": Facts(records.currency, 0, 4, named="Name"),
    "TaxCode": Facts(records.tax_code, 0, 11, named="Name"),
    "TaxRate": Facts(records.tax_rate, 0, 7, named="Name"),
    "JournalCode": Facts(records.plain, 0, 4, named="Name"),
}
_TAX_CODES = ("TAX", "NON", "CustomSalesTax")


class _Made(Table):
    """What both kinds of table share: Ids that no column holds, links to other rows."""

    facts: Facts
    company: Company

    def _give_id(self, slot: int) -> None:
        told: str | None = None
        if self.facts.long_ids:
            told = str(_NINETEEN_DIGITS + 503_624 + self.ids[slot])
        elif self.entity == "TaxCode" and slot < len(_TAX_CODES):
            told = _TAX_CODES[slot]
        elif self.entity != "ExchangeRate":
            return
        self.raw_ids[slot] = told
        if told is not None:
            self._raw_slots[told] = slot

    def row(self, slot: int) -> Row:
        return Row(slot, self.days[slot], self.created[slot], self.updated[slot], self.syncs[slot])

    def identified(self, slot: int, record: Record) -> Record:
        """The record with what all have: Id, version, times; as far as this entity has them."""
        times = {"LastUpdatedTime": pacific(self.updated[slot]).decode()}
        if self.entity != "ExchangeRate":
            times = {"CreateTime": pacific(self.created[slot]).decode(), **times}
        told = self.id_text(slot)
        identity: Record = {"domain": "QBO", "sparse": False} | ({} if told is None else {"Id": told})
        if told not in _TAX_CODES:
            identity["SyncToken"] = str(self.syncs[slot])
        return identity | {"MetaData": times} | record

    def linked(self, slot: int) -> list[tuple[Table, int, bool]]:
        """Rows that a change of this one moves: their table, their slot, and whether they get a new version."""
        found = []
        for entity, touched in ((self.facts.touches, True), (self.facts.moves, False)):
            if entity and len(self.company.tables[entity].by_id):
                table = self.company.tables[entity]
                found.append((table, pick(table, slot * (3 if touched else 7)), touched))
        return found


class OtherNames(NameTable, _Made):
    """A list of names."""

    def __init__(self, entity: str, facts: Facts, company: Company, count: int) -> None:
        self.entity, self.facts, self.company = entity, facts, company
        super().__init__(company.seed, count, company.start, company.end)
        for slot in range(count):
            self._give_id(slot)

    def first_name(self, slot: int) -> str:
        if self.entity == "TaxCode" and slot < len(_TAX_CODES):
            return _TAX_CODES[slot]
        return f"{words_for(self.entity, slot)} {slot}"

    def parent(self, slot: int) -> int | None:  # noqa: ARG002 - none of these stand under one another
        return None

    def record(self, slot: int, chance: Random) -> dict[str, Any]:
        told = {self.facts.named: self.own_name(slot), "FullyQualifiedName": self.name(slot)}
        more = self.facts.maker(Links(self.company), self.row(slot), chance)
        return self.identified(slot, {**told, "Active": self.is_active(slot), **more})

    def generate(self, now: int) -> int:
        slot = super().generate(now)
        self._give_id(slot)
        return slot

    def next_id(self) -> str:
        self._next_id = max(self._next_id, (max(self.ids) if self.ids else 0) + 1)
        return super().next_id()


class Records(_Made):
    """Transactions and whatever else has no unique name."""

    def __init__(self, entity: str, facts: Facts, company: Company, count: int) -> None:
        super().__init__()
        self.entity, self.facts, self.company = entity, facts, company
        self._cache: dict[int, bytes] = {}
        self._chance = Random(f"{company.seed}/{entity}")
        self._next_id = 145
        self.readings = 0
        for created in moments(count, company.start, company.end, self._chance):
            edited = self._chance.random() < 0.3
            span = max(company.end - 1 - created, 0)
            updated = created + int(span * self._chance.random() ** 3) if edited else created
            self._grow(created, updated, int(edited))
        self.index()

    def _grow(self, created: int, updated: int, sync: int) -> int:
        slot = self.append(self._next_id, created, updated, pacific_day(created) - int(self._chance.random() ** 4 * 20))
        self.syncs[slot] = sync
        self._next_id += 1 + int(self._chance.random() * 3)
        self._give_id(slot)
        return slot

    def generate(self, now: int) -> int:
        while self.slot_of_id(str(self._next_id)) is not None:
            self._next_id += 1
        slot = self._grow(now, now, 0)
        self.enter(slot)
        return slot

    def render(self, slot: int) -> bytes:
        payload = self._cache.get(slot)
        if payload is None or self.entity in ("Payment", "Bill", "Attachable"):
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            payload = self._cache[slot] = self._render(slot)
        return payload

    def _render(self, slot: int) -> bytes:
        chance = Random(f"{self.company.seed}/{self.entity}/{slot}/{self.syncs[slot]}")
        record = self.identified(slot, self.facts.maker(Links(self.company), self.row(slot), chance))
        if self.entity == "Attachable":
            # Signed for 15 minutes, and another at each reading.
            self.readings += 1
            for key in ("TempDownloadUri", "ThumbnailTempDownloadUri"):
                record[key] = f"https://files.example.com/{slot}?X-Amz-Expires=900&X-Amz-Signature={self.readings:064x}"
        if self.facts.wrapped:
            record = {"Bill" if slot % 2 else "Purchase": record}
        return msgspec.json.encode(record)

    def touch(self, slot: int, now: int) -> None:
        super().touch(slot, now)
        self._cache.pop(slot, None)

    def move(self, slot: int, now: int) -> None:
        super().move(slot, now)
        self._cache.pop(slot, None)

    def redate(self, slot: int, day: int) -> None:
        super().redate(slot, day)
        self._cache.pop(slot, None)


class OneRecord(Table):
    """CompanyInfo or Preferences: one row, which is there from the company's first day."""

    def __init__(self, entity: str, start: int, make: Callable[[], Record]) -> None:
        super().__init__()
        self.entity = entity
        self._make = make
        self.append(1, start, start, pacific_day(start))
        self.index()

    def render(self, slot: int) -> bytes:
        times = {
            "CreateTime": pacific(self.created[slot]).decode(),
            "LastUpdatedTime": pacific(self.updated[slot]).decode(),
        }
        return msgspec.json.encode(self._make() | {"SyncToken": str(2 + self.syncs[slot]), "MetaData": times})

    def generate(self, now: int) -> int:  # noqa: ARG002
        raise NotMadeUpError(f"a company has one {self.entity}")


class Links:
    """Live rows that records refer to, by a number that each record chooses for itself."""

    def __init__(self, company: Company) -> None:
        self._tables = company.tables

    def ref(self, entity: str, at: int) -> Record:
        table = self._tables[entity]
        if not table.ids:
            return {"value": "1"}
        slot = table.survivor(at % first_rows(table))
        name = table.path_name(slot) if isinstance(table, NameTable) else ""
        return {"value": table.id_text(slot), "name": name}

    def txn(self, entity: str, at: int) -> tuple[str, str]:
        table = self._tables[entity]
        if not table.ids:
            return "1", "0"
        slot = at % first_rows(table)
        party = table.customer_of(slot) if isinstance(table, Invoices) else slot * 7
        return table.id_text(slot) or "", str(party)


def first_rows(table: Table) -> int:
    """How many rows a table had at the company's beginning: what refers to them stays as it is when others come."""
    return table.__dict__.setdefault("first_rows", len(table.ids))  # type: ignore[no-any-return]


def pick(table: Table, at: int) -> int:
    """A live row, for a number."""
    slot = table.survivor(at % first_rows(table))
    while slot in table.deleted:
        slot = (slot + 1) % len(table.ids)
    return slot


def words_for(entity: str, slot: int) -> str:
    """A name's first words."""
    if entity in ("Vendor", "Employee"):
        return _PEOPLE[slot % len(_PEOPLE)]
    return {"CompanyCurrency": records.CODES[slot % len(records.CODES)]}.get(entity, entity)


_PEOPLE = ("Norton Lumber", "Ellis Equipment", "Señal Eléctrica", "O'Hara Tools", "Brosnahan Insurance", "Café Águila")


def makers_for(company: Any, size: Any) -> dict[str, Callable[[], Table]]:
    """How each table is made, when it is."""

    def maker(entity: str, facts: Facts) -> Callable[[], Table]:
        count = max(facts.least, int(size.invoices * facts.share))
        kind = OtherNames if facts.named else Records
        return lambda: kind(entity, facts, company, count)

    return {entity: maker(entity, facts) for entity, facts in OTHERS.items()}
