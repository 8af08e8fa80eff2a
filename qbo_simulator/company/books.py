"""A whole company, made from a seed: the same seed and sizes give the same bytes on every machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from random import Random

from qbo_simulator.company.invoices import Invoices
from qbo_simulator.company.names import Customers, Items
from qbo_simulator.company.table import VOIDED, Table, slot_of
from qbo_simulator.times import UTC


@dataclass(frozen=True)
class CompanySize:
    """How large the books are: they cover `years` years and stop where `end` begins (00:00 UTC)."""

    seed: int = 7
    invoices: int = 2_500
    customers: int = 700
    items: int = 300
    years: float = 3.0
    end: date = date(2026, 1, 1)


class Company:
    """The books by entity, and the edits that can be made to them."""

    def __init__(self, size: CompanySize) -> None:
        self.size = size
        end = int(datetime(size.end.year, size.end.month, size.end.day, tzinfo=UTC).timestamp())
        start = end - int(size.years * 365.25 * 86_400)
        self.start, self.end = start, end
        customers = Customers(size.seed, size.customers, start, end)
        items = Items(size.seed, size.items, start, end)
        self.invoices = Invoices(size.seed, size.invoices, start, end, customers, items)
        self.tables: dict[str, Table] = {"Invoice": self.invoices, "Customer": customers, "Item": items}

    def edits(self) -> int:
        """How often a row came, changed or went since the start."""
        return sum(table.edits for table in self.tables.values())

    def pick(self, table: Table, count: int, chance: Random) -> list[int]:
        """Up to `count` different live rows, chosen at random."""
        live = len(table.by_id)
        positions = chance.sample(range(live), min(count, live))
        keys = [table.by_id.slice(at, at + 1)[0] for at in positions]
        return [slot_of(key) for key in keys]

    def edit(self, table: Table, slots: list[int], now: int) -> None:
        for slot in slots:
            table.touch(slot, now)

    def void(self, table: Table, slots: list[int], now: int) -> None:
        """Zero the amounts of transactions; what is void stays so."""
        for slot in slots:
            if not table.flags[slot] & VOIDED:
                table.void(slot, now)

    def delete(self, table: Table, slots: list[int], now: int) -> None:
        for slot in slots:
            table.delete(slot, now)

    def insert(self, table: Table, count: int, now: int) -> list[int]:
        return [table.generate(now) for _ in range(count)]
