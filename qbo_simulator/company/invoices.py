"""Invoices: by far the most rows and bytes, so their records are put together from pre-built pieces.

What stands between an invoice's head and its customer (the lines, the taxes, the memo) comes from one of a
thousand bodies, built once. A record is then five joins of bytes, and its body is there in compressed form too.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from datetime import date
from itertools import accumulate
from random import Random
from typing import Any

import msgspec

from qbo_simulator.company import words
from qbo_simulator.company.deflate import deflated
from qbo_simulator.company.names import Customers, Items, number, unit_price
from qbo_simulator.company.table import VOIDED, Table
from qbo_simulator.times import EPOCH_DAY, day_text, pacific, pacific_day

BODIES = 997
_NO_LINES = 0
_MOST_LINES = 1
_DAY = 86_400


@dataclass(frozen=True)
class Body:
    """An invoice without what is its own: the bytes before `Id`, between head and customer, and after them."""

    opening: bytes
    custom_fields: bytes
    middle: bytes
    middle_deflated: bytes
    closing: bytes
    numbered: bool
    terms_days: int
    lines: int
    stock: tuple[int, ...]  # the slots of the inventory items it sells


class Invoices(Table):
    entity = "Invoice"

    def __init__(self, seed: int, count: int, start: int, end: int, customers: Customers, items: Items) -> None:
        super().__init__()
        self.seed = seed
        self.bodies = array("H")
        self.customers_of = array("I")
        self._customers = customers
        self._items = items
        self._built: dict[tuple[int, bool], Body] = {}
        self._references: dict[int, bytes] = {}
        self._sold = len(items.ids)  # the items there were at the beginning are those that bodies name
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
            self.bodies.append(_NO_LINES)
        elif luck > 1 - 1 / 3000 or slot == 70:
            self.bodies.append(_MOST_LINES)
        else:
            self.bodies.append(2 + int(chance() * (BODIES - 2)))
        known = len(self._customers.ids)
        self.customers_of.append(int(chance() ** 1.7 * known) if known else 0)
        return slot

    def generate(self, now: int) -> int:
        while self.slot_of_id(str(self._next_id)) is not None:
            self._next_id += 1  # a planted record has it
        slot = self._grow(now, now + 1)
        self.updated[slot], self.syncs[slot], self.flags[slot] = now, 0, 0
        self.enter(slot)
        return slot

    def plant(self, raw: bytes, **columns: Any) -> int:
        self.bodies.append(_NO_LINES)
        self.customers_of.append(0)
        return super().plant(raw, **columns)

    def touch(self, slot: int, now: int) -> None:
        """An edit gives an invoice other lines; a void one stays as it is."""
        super().touch(slot, now)
        if self.bodies[slot] > _MOST_LINES and not self.flags[slot] & VOIDED:
            self.bodies[slot] = 2 + (self.bodies[slot] + 389) % (BODIES - 2)

    def customer_of(self, slot: int) -> int:
        """The slot of the invoice's customer, or of the one that has become of it."""
        return self._customers.survivor(self.customers_of[slot])

    def stock_of(self, slot: int) -> tuple[int, ...]:
        """The slots of the inventory items the invoice sells."""
        return () if slot in self.raw else tuple(self._items.survivor(item) for item in self.body(slot).stock)

    def render(self, slot: int) -> bytes:
        body = self.body(slot)
        return b"".join((body.opening, self.head(slot, body), body.middle, self.tail(slot, body), body.closing))

    def body(self, slot: int) -> Body:
        key = (self.bodies[slot], bool(self.flags[slot] & VOIDED))
        body = self._built.get(key)
        if body is None:
            body = self._built[key] = self._build(*key)
        return body

    def head(self, slot: int, body: Body) -> bytes:
        created = pacific(self.created[slot])
        updated = created if self.updated[slot] == self.created[slot] else pacific(self.updated[slot])
        identifier = b"%d" % self.ids[slot]
        return b"".join((
            b'"domain":"QBO","sparse":false,"Id":"', identifier, b'","SyncToken":"', b"%d" % self.syncs[slot],
            b'","MetaData":{"CreateTime":"', created, b'","LastUpdatedTime":"', updated, b'"},', body.custom_fields,
            # Numbers on paper are not unique: they start again every 50,000.
            b'"DocNumber":"%d",' % (1000 + slot % 50_000) if body.numbered else b"",
            b'"TxnDate":"', day_text(self.days[slot]), b'",',
        ))  # fmt: skip

    def tail(self, slot: int, body: Body) -> bytes:
        customer = self.customer_of(slot)
        reference = self._references.get(customer)
        if reference is None:
            known = customer < len(self._customers.ids)
            reference = self._references[customer] = self._customers.reference(customer) if known else b""
        return reference + b'"DueDate":"' + day_text(self.days[slot] + body.terms_days) + b'",'

    def _build(self, number_of_body: int, voided: bool) -> Body:
        chance = Random(f"{self.seed}/body/{number_of_body}")
        lines = _count_of_lines(number_of_body, chance)
        stock: set[int] = set()
        cents, line_records = self._lines(lines, chance, voided, stock)
        taxed = lines > 0 and chance.random() < 0.35
        tax = round(cents * 0.12) if taxed else 0
        note = chance.choice(words.NOTES)
        paid = chance.random() < 0.7
        if voided:
            note, tax, cents, paid = f"Voided - {note}" if note else "Voided", 0, 0, False
        middle: dict[str, Any] = {"CurrencyRef": {"value": "USD", "name": "United States Dollar"}}
        if chance.random() < 0.3:
            middle["ExchangeRate"] = 1
        if note:
            middle["PrivateNote"] = note
        linked = [{"TxnId": str(chance.randrange(1, 90_000)), "TxnType": "Payment"}] if paid else []
        middle |= {"LinkedTxn": linked, "Line": line_records, "TxnTaxDetail": _tax_detail(taxed, tax, cents)}
        closing: dict[str, Any] = {}
        if chance.random() < 0.6:
            closing["CustomerMemo"] = {"value": chance.choice(words.MEMOS)}
        if chance.random() < 0.7:
            closing["SalesTermRef"] = {"value": "3", "name": "Net 30"}
        total = number(_money(cents + tax))
        closing |= {"TotalAmt": total}
        if chance.random() < 0.3:
            closing["HomeTotalAmt"] = total
        closing |= {
            "ApplyTaxAfterDiscount": False,
            "PrintStatus": chance.choice(["NeedToPrint", "NotSet", "PrintComplete"]),
            "EmailStatus": chance.choice(["NotSet", "NeedToSend", "EmailSent"]),
        }
        if chance.random() < 0.6:
            closing["BillEmail"] = {"Address": f"accounts{number_of_body}@example.com"}
        if chance.random() < 0.3:
            closing["DeliveryInfo"] = {"DeliveryType": "Email"}
        closing["Balance"] = number("0") if paid or voided else total
        if chance.random() < 0.1:
            # New keys arrive inside minor version 75 without notice.
            closing |= {"AllowOnlineAffirmPayment": True, "EInvoiceStatus": "NOT_SENT"}
        opening = {
            "AllowIPNPayment": False,
            "AllowOnlinePayment": False,
            "AllowOnlineCreditCardPayment": chance.random() < 0.5,
            "AllowOnlineACHPayment": chance.random() < 0.5,
        }
        fields = [{"DefinitionId": "1", "Name": "Crew #", "Type": "StringType"}]
        if chance.random() < 0.3:
            fields[0]["StringValue"] = f"{chance.randrange(100, 200)}"
        if chance.random() < 0.2:
            fields.append({"DefinitionId": "2", "Name": "Nº de guía", "Type": "StringType", "StringValue": "001-002"})
        between = msgspec.json.encode(middle)[1:-1] + b","
        return Body(
            opening=msgspec.json.encode(opening)[:-1] + b",",
            custom_fields=b'"CustomField":' + msgspec.json.encode(fields) + b",",
            middle=between,
            middle_deflated=deflated(between),
            closing=msgspec.json.encode(closing)[1:],
            numbered=chance.random() > 0.03,
            terms_days=chance.choice([0, 15, 30, 30, 60]),
            lines=lines,
            stock=tuple(sorted(stock)),
        )

    def _lines(self, count: int, chance: Random, voided: bool, stock: set[int]) -> tuple[int, list[dict[str, Any]]]:
        """The line records, and their sum in cents; the inventory items sold go into `stock`."""
        lines: list[dict[str, Any]] = []
        total = 0
        identifier = 1
        while identifier <= count:
            luck = chance.random()
            if luck < 0.03 and count - identifier > 3 and count < 700:
                members = [self._sale(identifier + at, chance, voided, stock) for at in (1, 2)]
                cents = sum(worth for worth, _ in members)
                detail = {
                    "GroupItemRef": {"value": str(3 + chance.randrange(200)), "name": "Assorted sweets"},
                    "Quantity": chance.randrange(1, 9),
                    "Line": [record for _, record in members],
                }
                lines.append({
                    "Id": str(identifier), "LineNum": identifier, "Description": chance.choice(words.LINE_TEXTS),
                    "Amount": number("0" if voided else _money(cents)),
                    "DetailType": "GroupLineDetail", "GroupLineDetail": detail,
                })  # fmt: skip
                identifier += 3
            elif luck < 0.06:
                cents = 0
                lines.append({
                    "Id": str(identifier), "LineNum": identifier, "Description": chance.choice(words.LINE_TEXTS),
                    "DetailType": "DescriptionOnly", "DescriptionLineDetail": {},
                })  # fmt: skip
                identifier += 1
            else:
                cents, record = self._sale(identifier, chance, voided, stock)
                lines.append(record)
                identifier += 1
            total += cents
        subtotal = number("0" if voided else _money(total))
        lines.append({"Amount": subtotal, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}})
        if count > 1 and chance.random() < 0.06:
            discount = total // 10
            lines.append({
                "Amount": number("0" if voided else _money(discount)),
                "DetailType": "DiscountLineDetail",
                "DiscountLineDetail": {
                    "PercentBased": True, "DiscountPercent": 10,
                    "DiscountAccountRef": {"value": "86", "name": "Discounts given"},
                },
            })  # fmt: skip
            total -= discount
        return total, lines

    def _sale(self, identifier: int, chance: Random, voided: bool, stock: set[int]) -> tuple[int, dict[str, Any]]:
        item = chance.randrange(self._sold) if self._sold else None
        if item is not None and self._items.kind(item) == "Category":
            item = item + 1 if item + 1 < self._sold else None
        if item is not None:
            item = self._items.survivor(item)
            if self._items.kind(item) == "Inventory":
                stock.add(item)
        reference = (
            {"value": "1", "name": "Services"}
            if item is None
            else {"value": str(self._items.ids[item]), "name": self._items.base_name(item)}
        )
        price = unit_price(chance)
        quantity = chance.choice(["1", "2", "4.5", "3", "15", "8", "0.25"])
        cents = round(float(price) * float(quantity) * 100)
        detail: dict[str, Any] = {"ItemRef": reference}
        if not voided:
            detail["UnitPrice"] = number(price)
        detail |= {"Qty": number(quantity), "TaxCodeRef": {"value": chance.choice(["NON", "TAX"])}}
        record: dict[str, Any] = {"Id": str(identifier), "LineNum": identifier}
        if chance.random() < 0.6:
            record["Description"] = chance.choice(words.LINE_TEXTS)
        record |= {
            "Amount": number("0" if voided else _money(cents)),
            "DetailType": "SalesItemLineDetail",
            "SalesItemLineDetail": detail,
        }
        return cents, record


def _count_of_lines(number_of_body: int, chance: Random) -> int:
    if number_of_body == _NO_LINES:
        return 0
    if number_of_body == _MOST_LINES:
        return 750
    return 1 + min(int(chance.expovariate(1 / 8.4)), 60)


def _tax_detail(taxed: bool, tax: int, net: int) -> dict[str, Any]:
    if not taxed:
        return {"TotalTax": 0}
    line = {
        "Amount": number(_money(tax)),
        "DetailType": "TaxLineDetail",
        "TaxLineDetail": {
            "TaxRateRef": {"value": "3"},
            "PercentBased": True,
            "TaxPercent": 12,
            "NetAmountTaxable": number(_money(net)),
        },
    }
    return {"TxnTaxCodeRef": {"value": "2"}, "TotalTax": number(_money(tax)), "TaxLine": [line]}


def _money(cents: int) -> str:
    """`639.00`, but a zero is `0`, as QuickBooks has it."""
    return f"{cents / 100:.2f}" if cents else "0"


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
