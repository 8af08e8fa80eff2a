"""Invoices: by far the most rows and bytes, so their records are put together from pre-built pieces.

What stands between an invoice's head and its customer (the lines, the taxes) comes from one of a thousand bodies, built
once. A record is then some joins of bytes, and its body is there in compressed form too.
"""

from __future__ import annotations

from array import array
from datetime import date
from itertools import accumulate
from random import Random
from typing import Any, TypeVar

from qbo_simulator.company.customers import Customers, addresses
from qbo_simulator.company.invoice_bodies import BODIES, MOST_LINES, NO_LINES, Bodies, Body, body_for, edited
from qbo_simulator.company.items import Items
from qbo_simulator.company.table import VOIDED, Table
from qbo_simulator.times import EPOCH_DAY, day_text, pacific, pacific_day

_DAY = 86_400
_CACHED = 50_000
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Invoices(Table):
    entity = "Invoice"

    def __init__(self, seed: int, count: int, start: int, end: int, customers: Customers, items: Items) -> None:
        super().__init__()
        self.seed = seed
        self.bodies = array("H")
        self.customers_of = array("I")
        self.builder = Bodies(seed, items, start // _DAY, end // _DAY)
        self._customers = customers
        self._items = items
        self._built: dict[tuple[int, bool], Body] = {}
        self._references: dict[int, bytes] = {}
        self._stored: dict[int, tuple[dict[str, str], str]] = {}
        self._addresses: dict[tuple[int, str, str | None], bytes] = {}
        customers.on_rename = self._references.clear
        items.on_rename = self._built.clear
        self._next_id = 130
        self._chance = Random(f"{seed}/Invoice")
        for created in moments(count, start, end, self._chance):
            self._grow(created, end)
        self.index()

    def _grow(self, created: int, end: int) -> int:
        """One more invoice, created then."""
        chance = self._chance.random
        luck = chance()
        if luck < 0.6:
            updated, edits = created, 0
        else:
            days = chance() ** 3 * (45 if luck < 0.93 else 400)
            updated = min(created + 60 + int(days * _DAY), max(end - 1, created))
            edits = 1 + int(chance() * 4)
        luck = chance()
        day = pacific_day(created)
        if luck < 0.08:
            day -= int(chance() * 30)
        elif luck < 0.1:
            day += int(chance() * 20)
        slot = self.append(self._next_id, created, updated, day, VOIDED if luck > 0.985 and edits else 0)
        self.syncs[slot] = edits
        # Other kinds of transaction take numbers of the same sequence.
        self._next_id += 1 + (int(chance() * 6) if chance() < 0.4 else 0)
        luck = chance()
        if luck < 1 / 400 or slot == 40:
            body = NO_LINES
        elif luck > 1 - 1 / 3000 or slot == 70:
            body = MOST_LINES
        else:
            body = 2 + int(chance() * (BODIES - 2))
        known = len(self._customers.ids)
        customer = int(chance() ** 1.7 * known) if known else 0
        self.customers_of.append(customer)
        self.bodies.append(body_for(body, self._customers.currency(customer)))
        return slot

    def generate(self, now: int) -> int:
        while self.slot_of_id(str(self._next_id)) is not None:
            self._next_id += 1  # a planted record has it
        slot = self._grow(now, now + 1)
        self.updated[slot], self.syncs[slot], self.flags[slot] = now, 0, 0
        self.enter(slot)
        return slot

    def plant(self, raw: bytes, **columns: Any) -> int:
        self.bodies.append(NO_LINES)
        self.customers_of.append(0)
        return super().plant(raw, **columns)

    def touch(self, slot: int, now: int) -> None:
        """An edit gives an invoice other lines; a void one stays as it is."""
        super().touch(slot, now)
        if not self.flags[slot] & VOIDED:
            self.bodies[slot] = edited(self.bodies[slot])

    def customer_of(self, slot: int) -> int:
        """The slot of the invoice's customer, or of the one that has become of it."""
        return self._customers.survivor(self.customers_of[slot])

    def stock_of(self, slot: int) -> tuple[int, ...]:
        """The slots of the inventory items the invoice sells."""
        return () if slot in self.raw else tuple(self._items.survivor(item) for item in self.body(slot).stock)

    def render(self, slot: int) -> bytes:
        body = self.body(slot)
        return b"".join((*self._head(slot, body), body.middle, *self._tail(slot, body)))

    def around(self, slot: int, body: Body) -> tuple[bytes, bytes]:
        """The record up to its body, and from its body on."""
        return b"".join(self._head(slot, body)), b"".join(self._tail(slot, body))

    def body(self, slot: int) -> Body:
        key = (self.bodies[slot], bool(self.flags[slot] & VOIDED))
        body = self._built.get(key)
        if body is None:
            body = self._built[key] = self.builder.build(*key)
        return body

    def rebuild(self) -> None:
        """Forget the bodies: what they are built from has changed."""
        self._built.clear()
        self.edits += 1

    def _head(self, slot: int, body: Body) -> tuple[bytes, ...]:
        created = pacific(self.created[slot])
        updated = created if self.updated[slot] == self.created[slot] else pacific(self.updated[slot])
        return (
            body.opening, b'"Id":"%d","SyncToken":"%d' % (self.ids[slot], self.syncs[slot]),
            b'","MetaData":{"CreateTime":"', created, b'",', body.modified_by, b'"LastUpdatedTime":"', updated, b'"},',
            body.custom_fields,
            # Numbers on paper are not unique: they start again every 50,000.
            b'"DocNumber":"%d",' % (1000 + slot % 50_000) if body.numbered else b"",
            b'"TxnDate":"', day_text(self.days[slot]), b'",', body.department,
        )  # fmt: skip

    def _tail(self, slot: int, body: Body) -> tuple[bytes, ...]:
        customer = self.customers_of[slot]
        if self._customers.merged:
            customer = self._customers.survivor(customer)
        reference = self._references.get(customer)
        if reference is None:
            reference = self._reference(customer)
        key = (customer, body.bill_form, body.ship_form)
        where = self._addresses.get(key)
        if where is None:
            where = self._where(key)
        due = day_text(self.days[slot] + body.terms_days)
        delivered = b""
        if body.delivered:
            delivered = b',"DeliveryInfo":{"DeliveryType":"Email","DeliveryTime":"%b"}' % pacific(self.updated[slot])
        return (
            reference, body.memo, where, body.before_due, b'"DueDate":"', due, b'",', body.closing, delivered,
            body.ending,
        )  # fmt: skip

    def _reference(self, customer: int) -> bytes:
        known = customer < len(self._customers.ids)
        return _kept(self._references, customer, self._customers.reference(customer) if known else b"")

    def _where(self, key: tuple[int, str, str | None]) -> bytes:
        customer = key[0]
        if customer >= len(self._customers.ids):
            return b""
        stored = self._stored.get(customer)
        if stored is None:
            stored = _kept(self._stored, customer, self._customers.stored_address(customer))
        return _kept(self._addresses, key, addresses(stored, key[1], key[2]))


def _kept(cache: dict[_Key, _Value], key: _Key, value: _Value) -> _Value:
    if len(cache) >= _CACHED:
        cache.clear()
    cache[key] = value
    return value


def moments(count: int, start: int, end: int, chance: Random) -> list[int]:
    """When `count` invoices were created: instants in `[start, end)`, in order.

    Weekdays carry the trade, Saturdays a quarter of it, Sundays next to none, two holidays nothing, and it grows
    over the years. On a month's first day recurring invoices are made in runs that share a second.
    """
    days = range(start // _DAY, max(end // _DAY, start // _DAY + 1))
    weights = []
    for day in days:
        when = date.fromordinal(day + EPOCH_DAY)
        weight = (1.0, 1.1, 1.1, 1.05, 0.9, 0.25, 0.04)[when.weekday()]
        if (when.month, when.day) in ((1, 1), (12, 25)):
            weight = 0.0
        weights.append(weight * (1 + (day - days.start) / 1500) * (6 if when.day == 1 else 1))
    total = sum(weights) or 1.0
    bounds = [round(count * sofar / total) for sofar in accumulate(weights)] if sum(weights) else [count]
    found: list[int] = []
    done = 0
    for day, bound in zip(days, bounds, strict=False):
        todays = bound - done
        done = bound
        if todays <= 0:
            continue
        first_of_month = date.fromordinal(day + EPOCH_DAY).day == 1
        opening = day * _DAY + 57_600  # trade starts at 16:00 UTC, 8 or 9 o'clock Pacific
        seconds: list[int] = []
        while len(seconds) < todays:
            if first_of_month:
                run = min(todays - len(seconds), 1 + int(chance.random() * 60))
            else:
                run = 1 if chance.random() > 0.02 else min(todays - len(seconds), 2 + int(chance.random() * 8))
            second = opening + int(chance.random() * 28_799)
            seconds.extend([second] * run)
        found.extend(sorted(seconds))
    return found
