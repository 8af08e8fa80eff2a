"""A whole company, made from a seed: the same seed and sizes give the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from random import Random

from qbo_simulator.company.customers import Customers
from qbo_simulator.company.invoices import Invoices
from qbo_simulator.company.items import Items
from qbo_simulator.company.names import NameTable
from qbo_simulator.company.one_record import company_info, preferences
from qbo_simulator.company.others import OneRecord, OtherNames, Records, Tables, makers_for
from qbo_simulator.company.table import VOIDED, Table, slot_of
from qbo_simulator.times import UTC


@dataclass(frozen=True)
class CompanySize:
    """How large the books are: they cover `years` years and stop where `end` begins (00:00 UTC).

    `everything`: records of all other entities, too, in proportion to the invoices; else these have what is planted.
    """

    seed: int = 7
    invoices: int = 2_500
    customers: int = 700
    items: int = 300
    years: float = 3.0
    end: date = date(2026, 1, 1)
    everything: bool = False


class Company:
    """The books by entity, and what can happen to them.

    `ripple`: an invoice that comes, changes or goes moves its customer (the balance) and its inventory items (the
    quantity on hand), as it does at QuickBooks: LastUpdatedTime, not the SyncToken.
    """

    def __init__(self, size: CompanySize) -> None:
        self.size = size
        end = int(datetime(size.end.year, size.end.month, size.end.day, tzinfo=UTC).timestamp())
        start = end - int(size.years * 365.25 * 86_400)
        self.start, self.end = start, end
        self.customers = Customers(size.seed, size.customers, start, end)
        self.items = Items(size.seed, size.items, start, end)
        self.invoices = Invoices(size.seed, size.invoices, start, end, self.customers, self.items)
        self.seed = size.seed
        makers = makers_for(self, size) if size.everything else {}
        for entity, make in (("CompanyInfo", company_info), ("Preferences", preferences)):
            makers[entity] = partial(OneRecord, entity, start, partial(make, size.seed, start))
        self.tables = Tables({"Invoice": self.invoices, "Customer": self.customers, "Item": self.items}, makers)

    def use_new_keys(self, wanted: bool) -> None:
        """Whether records carry keys that were never seen."""
        if wanted != self.invoices.builder.new_keys:
            self.invoices.builder.new_keys = self.customers.new_keys = wanted
            self.invoices.rebuild()
            self.customers.rebuild()

    def edits(self) -> int:
        """How often a row came, changed or went since the start."""
        return sum(table.edits for table in self.tables.values())

    def pick(self, table: Table, count: int, chance: Random) -> list[int]:
        """Up to `count` different live rows, chosen at random."""
        live = len(table.by_id)
        positions = chance.sample(range(live), min(count, live))
        keys = [table.by_id.slice(at, at + 1)[0] for at in positions]
        return [slot_of(key) for key in keys]

    def insert(self, table: Table, count: int, now: int, *, day: int | None = None, ripple: bool = False) -> list[int]:
        """New rows, created now; with a TxnDate of another day where one is given."""
        slots = [table.generate(now) for _ in range(count)]
        if day is not None:
            for slot in slots:
                table.redate(slot, day)
        self._ripple(table, slots, now, ripple)
        return slots

    def edit(self, table: Table, slots: list[int], now: int, *, day: int | None = None, ripple: bool = False) -> None:
        """An ordinary edit: SyncToken, LastUpdatedTime, contents, and the TxnDate where one is given."""
        for slot in slots:
            table.touch(slot, now)
            if day is not None:
                table.redate(slot, day)
        self._ripple(table, slots, now, ripple)

    def void(self, table: Table, slots: list[int], now: int, *, ripple: bool = False) -> None:
        """Zero the amounts of transactions; what is void stays so."""
        for slot in slots:
            if not table.flags[slot] & VOIDED:
                table.void(slot, now)
        self._ripple(table, slots, now, ripple)

    def delete(self, table: Table, slots: list[int], now: int, *, ripple: bool = False) -> None:
        self._ripple(table, slots, now, ripple)
        for slot in slots:
            table.delete(slot, now)

    def rename(self, table: NameTable, slot: int, name: str, now: int) -> None:
        """Another name: a new version of the row, and none of the invoices that say its name from now on."""
        table.rename_to(slot, name)
        table.touch(slot, now)
        self.names_changed(table)

    def names_changed(self, table: Table) -> None:
        """What invoices say of a customer or an item is another thing from now on."""
        if isinstance(table, NameTable):
            table.on_rename()
        self.invoices.edits += 1

    def merge(self, table: Table, loser: int, winner: int, now: int, *, touch_invoices: bool = False) -> None:
        """The loser vanishes and its invoices are the winner's; whether they get a new version is not known."""
        owned: list[int] = []
        if touch_invoices and table is self.customers:
            raw = self.invoices.raw
            owned = [at for at in self.invoices.slots() if at not in raw and self.invoices.customer_of(at) == loser]
        table.merge(loser, winner, now)
        self.names_changed(table)
        for slot in owned:
            self.invoices.touch(slot, now)

    def _ripple(self, table: Table, slots: Iterable[int], now: int, wanted: bool) -> None:
        if not wanted:
            return
        if isinstance(table, OtherNames | Records):
            self._ripple_to_linked(table, slots, now)
        if table is not self.invoices:
            return
        for slot in slots:
            if slot in table.raw:
                continue  # bytes that were given say nothing of customers and items
            customer = self.invoices.customer_of(slot)
            if customer < len(self.customers.ids) and customer not in self.customers.deleted:
                self.customers.move(customer, now)
            for item in self.invoices.stock_of(slot):
                if item not in self.items.deleted:
                    self.items.move(item, now)

    def _ripple_to_linked(self, table: OtherNames | Records, slots: Iterable[int], now: int) -> None:
        """A payment gives its invoice a new version and moves its customer's balance; a bill moves its vendor's."""
        for slot in slots:
            for other, at, touched in [] if slot in table.raw else table.linked(slot):
                if touched:
                    other.touch(at, now)
                else:
                    other.move(at, now)
