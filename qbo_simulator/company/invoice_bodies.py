"""What an invoice says that is not its own: lines, taxes, memo and flags, as one of a thousand bodies built once.

The keys, their order and which of them come together are those of recordings of 2020 to 2026; a feature that few
companies use is in every so-many-th body, so that a company of some thousand invoices shows them all.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from qbo_simulator.company import words
from qbo_simulator.company.customers import CURRENCIES
from qbo_simulator.company.deflate import deflated
from qbo_simulator.company.items import Items
from qbo_simulator.company.names import number, unit_price
from qbo_simulator.times import day_text

BODIES = 997
NO_LINES = 0
MOST_LINES = 1
FOREIGN = 907  # bodies from here on are in another currency; which one is the body's number modulo 3
_USERS = ("9341450000000021", "9341450000000021", "9341450000000034", "0")

_CLASS = {"value": "3600000000001530078", "name": "Proyectos:Norte"}

# Forms of BillAddr and ShipAddr, and FreeFormAddress (None: the key is missing, as in recordings before 2024).
_ADDRESSES: tuple[tuple[str, str | None, bool | None], ...] = (
    ("lines4", "plain", True), ("lines4", "plain", True), ("lines4", "plain", True), ("lines3", "plain", True),
    ("lines4", "plain", True), ("lines3", "plain", True), ("plain", "plain", True), ("plain", "plain", None),
    ("plain", None, False), ("lines4", None, False), ("lines2", "lines2", True), ("plain", "plain", None),
    ("country", "country", True), ("lines4", "lines3", True), ("bare", "bare", True), ("unlocated", "unlocated", True),
    ("lines5", "lines2", False),
)  # fmt: skip


@dataclass(frozen=True)
class Body:
    """An invoice without what is its own, in the pieces that stand between what is."""

    opening: bytes
    modified_by: bytes
    custom_fields: bytes
    department: bytes
    middle: bytes
    middle_deflated: bytes
    memo: bytes
    bill_form: str
    ship_form: str | None
    before_due: bytes
    closing: bytes
    delivered: bool
    ending: bytes
    numbered: bool
    terms_days: int
    lines: int
    stock: tuple[int, ...]  # the slots of the inventory items it sells


def body_for(number_of_body: int, currency: int | None) -> int:
    """The body in a customer's currency (None: the company's own) that stands for one chosen without regard to it."""
    if number_of_body <= MOST_LINES:
        return number_of_body
    if currency is None:
        return 2 + (number_of_body - 2) % (FOREIGN - 2)
    base = FOREIGN + number_of_body % 30 * 3
    return base + (currency - base) % 3


def edited(number_of_body: int) -> int:
    """The body an invoice has after an edit: other lines, the same currency."""
    if number_of_body <= MOST_LINES:
        return number_of_body
    if number_of_body >= FOREIGN:
        return FOREIGN + (number_of_body - FOREIGN + 21) % (BODIES - FOREIGN)
    return 2 + (number_of_body - 2 + 389) % (FOREIGN - 2)


class Bodies:
    """Builds bodies from a seed; `sold` items, those there were at the beginning, are what they sell."""

    def __init__(self, seed: int, items: Items, first_day: int, last_day: int) -> None:
        self.new_keys = False
        self._seed = seed
        self._items = items
        self._sold = len(items.ids)
        self._days = (first_day, max(last_day, first_day + 1))

    def build(self, number_of_body: int, voided: bool) -> Body:
        chance = Random(f"{self._seed}/body/{number_of_body}")
        facts = _Facts(number_of_body, chance, voided)
        facts.service_day = day_text(chance.randrange(*self._days)).decode()
        stock: set[int] = set()
        cents, line_records = self._lines(facts, stock)
        taxed = facts.lines > 0 and chance.random() < 0.35
        tax = round(cents * facts.tax_percent / 100) if taxed else 0
        note = chance.choice(words.NOTES)
        paid = chance.random() < 0.7
        if voided:
            note, tax, cents, paid = f"Voided - {note}" if note else "Voided", 0, 0, False
        middle: dict[str, Any] = {"CurrencyRef": {"value": facts.currency[0], "name": facts.currency[1]}}
        if facts.foreign or chance.random() < 0.3:
            middle["ExchangeRate"] = number(facts.currency[2])
        home = "ExchangeRate" in middle
        if note:
            middle["PrivateNote"] = note
        linked = [{"TxnId": str(chance.randrange(1, 90_000)), "TxnType": "Payment"}] if paid else []
        if facts.linked is not None and not voided:
            linked.append({"TxnId": str(facts.source), "TxnType": facts.linked})
        middle |= {"LinkedTxn": linked, "Line": line_records}
        middle["TxnTaxDetail"] = _tax_detail(facts, taxed, tax, cents)
        total, at_home = _amounts(cents + tax, facts.currency[2])
        bill_form, ship_form, free_form = _ADDRESSES[number_of_body % len(_ADDRESSES)]
        between = _inner(middle)
        return Body(
            opening=b"{" + _inner(self._opening(facts)),
            modified_by=_inner({"LastModifiedByRef": {"value": chance.choice(_USERS)}})
            if chance.random() < 0.8
            else b"",
            custom_fields=_inner({"CustomField": _custom_fields(chance)}),
            department=_inner({"DepartmentRef": {"value": "1", "name": "Quito – Norte"}} if facts.every(41) else {}),
            middle=between,
            middle_deflated=deflated(between),
            memo=_inner({"CustomerMemo": {"value": chance.choice(words.MEMOS)}} if chance.random() < 0.75 else {}),
            bill_form=bill_form,
            ship_form=ship_form,
            before_due=_inner(_before_due(facts, free_form)),
            closing=_inner(self._closing(facts, total, at_home if home else None, paid))[:-1],
            delivered=facts.email_status == "EmailSent",
            ending=(b"," + _inner(self._ending(facts)))[:-1] + b"}",
            numbered=chance.random() > 0.03,
            terms_days=chance.choice([0, 15, 30, 30, 60]),
            lines=facts.lines,
            stock=tuple(sorted(stock)),
        )

    def _opening(self, facts: _Facts) -> dict[str, Any]:
        chance = facts.chance
        opening: dict[str, Any] = {
            "AllowIPNPayment": False,
            "AllowOnlinePayment": False,
            "AllowOnlineCreditCardPayment": chance.random() < 0.3,
            "AllowOnlineACHPayment": chance.random() < 0.3,
        }
        if facts.every(61):
            opening["InvoiceLink"] = (
                f"https://connect.example.com/t/scs-v1-{chance.getrandbits(256):064x}?locale=en_US&cta=v3invoicelink"
            )
        if facts.every(19):
            opening["EInvoiceStatus"] = chance.choice(["Sent", "Viewed", "Paid"])
        if self.new_keys and facts.number % 2:
            # Never seen: what comes inside minor version 75 without notice.
            opening["AllowOnlineAffirmPayment"] = True
        return opening | {"domain": "QBO", "sparse": False}

    def _closing(self, facts: _Facts, total: str, at_home: str | None, paid: bool) -> dict[str, Any]:
        chance = facts.chance
        closing: dict[str, Any] = {}
        if facts.inclusive is not None:
            closing["GlobalTaxCalculation"] = facts.inclusive
        if facts.every(71):
            closing |= {
                "ShipMethodRef": {"value": "UPS", "name": "UPS"},
                "ShipDate": facts.service_day,
                "TrackingNum": f"1Z{chance.randrange(10**8):08d}",
            }
        closing["TotalAmt"] = number(total)
        if at_home is not None:
            closing["HomeTotalAmt"] = number(at_home)
        if facts.inclusive is None:
            closing["ApplyTaxAfterDiscount"] = False
        closing |= {"PrintStatus": facts.print_status, "EmailStatus": facts.email_status}
        if chance.random() < 0.75:
            closing["BillEmail"] = {"Address": f"accounts{facts.number}@example.com"}
            if facts.every(73):
                closing["BillEmailCc"] = {"Address": "copies@example.com"}
                closing["BillEmailBcc"] = {"Address": "archive@example.com"}
        closing["Balance"] = number("0" if paid or facts.voided else total)
        if at_home is not None and (facts.foreign or facts.every(5)):
            closing["HomeBalance"] = number("0" if paid or facts.voided else at_home)
        return closing

    def _ending(self, facts: _Facts) -> dict[str, Any]:
        """What follows DeliveryInfo."""
        ending: dict[str, Any] = {}
        if facts.every(31):
            ending["Deposit"] = 0
        if facts.every(37):
            ending["TaxExemptionRef"] = {}
        if facts.every(89):
            ending["RecurDataRef"] = {"value": str(facts.source)}
        if facts.every(97):
            ending["ProjectRef"] = {"value": str(39_000_000 + facts.number)}
        return ending

    def _lines(self, facts: _Facts, stock: set[int]) -> tuple[int, list[dict[str, Any]]]:
        """The line records, and their sum in cents; the inventory items sold go into `stock`."""
        chance, count, voided = facts.chance, facts.lines, facts.voided
        lines: list[dict[str, Any]] = []
        total = 0
        identifier = 1
        while identifier <= count:
            luck = chance.random()
            if luck < 0.03 and count - identifier > 3 and count < 700:
                members = [self._sale(identifier + at, facts, stock) for at in (1, 2)]
                cents = sum(worth for worth, _ in members)
                detail = {
                    "GroupItemRef": {"value": str(3 + chance.randrange(200)), "name": "Assorted sweets"},
                    "Quantity": chance.randrange(1, 9),
                    "Line": [record for _, record in members],
                }
                lines.append({
                    "Id": str(identifier), "LineNum": identifier, "Description": chance.choice(words.LINE_TEXTS),
                    "Amount": number("0" if voided else money(cents)),
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
                cents, record = self._sale(identifier, facts, stock)
                lines.append(record)
                identifier += 1
            total += cents
        subtotal = number("0" if voided else money(total))
        lines.append({"Amount": subtotal, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}})
        if count > 1 and chance.random() < 0.06:
            discount = total // 10
            account = {"value": "86", "name": "Discounts given"}
            by_percent = {"PercentBased": True, "DiscountPercent": 10, "DiscountAccountRef": account}
            lines.append({
                "Amount": number("0" if voided else money(discount)),
                "DetailType": "DiscountLineDetail",
                "DiscountLineDetail": by_percent if chance.random() < 0.8 else {"PercentBased": False}
                | {"DiscountAccountRef": account},
            })  # fmt: skip
            total -= discount
        return total, lines

    def _sale(self, identifier: int, facts: _Facts, stock: set[int]) -> tuple[int, dict[str, Any]]:
        chance = facts.chance
        price = unit_price(chance)
        quantity = chance.choice(["1", "2", "4.5", "3", "15", "8", "0.25"])
        cents = round(float(price) * float(quantity) * 100)
        record: dict[str, Any] = {"Id": str(identifier), "LineNum": identifier}
        if chance.random() < 0.6:
            record["Description"] = chance.choice(words.LINE_TEXTS)
        record["Amount"] = number("0" if facts.voided else money(cents))
        if facts.linked in ("Estimate", "TimeActivity") and not facts.voided:
            record["LinkedTxn"] = [{"TxnId": str(facts.source), "TxnType": facts.linked}]
        reference, account = self._sold_item(chance, stock)
        detail: dict[str, Any] = {"ServiceDate": facts.service_day} if facts.dated else {}
        if facts.inclusive is not None:
            detail["TaxInclusiveAmt"] = number(money(0 if facts.voided else round(cents * 1.1)))
        detail |= {"ItemRef": reference} | facts.line_class
        if not facts.voided and chance.random() > 0.02:  # else an amount and nothing more
            detail["UnitPrice"] = number(price)
            if chance.random() > 0.02:
                detail["Qty"] = number(quantity)
        if facts.every(59):
            detail["MarkupInfo"] = {"PercentBased": False, "Value": number("103.55"), "MarkUpIncomeAccountRef": account}
        if facts.modern and not facts.voided:
            detail["ItemAccountRef"] = account
        detail["TaxCodeRef"] = {"value": chance.choice(["NON", "TAX"]) if facts.inclusive is None else "5"}
        detail |= facts.line_tax_class
        record |= {"DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail}
        if facts.modern:
            record["CustomExtensions"] = []
        return cents, record

    def _sold_item(self, chance: Random, stock: set[int]) -> tuple[dict[str, str], dict[str, str]]:
        """References to an item and to its account."""
        items = self._items
        item = chance.randrange(self._sold) if self._sold else None
        if item is not None and items.kind(item) == "Category":
            item = item + 1 if item + 1 < self._sold else None
        if item is None:
            identifier, name = words.INCOME_ACCOUNTS[0]
            return {"value": "1", "name": "Services"}, {"value": identifier, "name": name}
        item = items.survivor(item)
        if items.kind(item) == "Inventory":
            stock.add(item)
        identifier, name = items.income_account(item)
        reference = {"value": str(items.ids[item]), "name": items.base_name(item)}
        return reference, {"value": identifier, "name": name}


class _Facts:
    """What is decided of a body before it is written."""

    def __init__(self, number_of_body: int, chance: Random, voided: bool) -> None:
        self.number = number_of_body
        self.chance = chance
        self.voided = voided
        self.lines = _count_of_lines(number_of_body, chance)
        self.foreign = number_of_body >= FOREIGN
        home = ("USD", "United States Dollar", "1")
        self.currency = CURRENCIES[number_of_body % 3] if self.foreign else home
        self.inclusive = None
        if self.foreign and number_of_body % 2:
            self.inclusive = chance.choice(["TaxExcluded", "TaxInclusive", "NotApplicable"])
        self.modern = number_of_body % 10 != 3  # accounts and extensions of lines came after 2022
        self.linked = {2: "Estimate", 5: "TimeActivity", 7: "StatementCharge", 9: "ReimburseCharge"}.get(
            number_of_body % 23
        )
        self.source = 1 + number_of_body * 7 % 500
        self.dated = self.linked == "TimeActivity" or number_of_body % 17 == 6
        self.service_day = ""
        self.line_class = {"ClassRef": _CLASS} if self.every(43) else {}
        self.line_tax_class: dict[str, Any] = {"TaxClassificationRef": {}} if self.every(37) else {}
        self.tax_percent = chance.choice([12, 8, 7.1])
        self.print_status = chance.choice(["NeedToPrint", "NeedToPrint", "NotSet", "PrintComplete"])
        self.email_status = chance.choice(["NotSet", "NotSet", "NotSet", "NeedToSend", "EmailSent"])

    def every(self, count: int) -> bool:
        """Whether this body is one of those that have a feature few companies use."""
        return self.number % count == count // 3


def _count_of_lines(number_of_body: int, chance: Random) -> int:
    if number_of_body == NO_LINES:
        return 0
    if number_of_body == MOST_LINES:
        return 750
    return 1 + min(int(chance.expovariate(1 / 8.4)), 60)


def _before_due(facts: _Facts, free_form: bool | None) -> dict[str, Any]:
    found: dict[str, Any] = {} if free_form is None else {"FreeFormAddress": free_form}
    if facts.every(7):
        found["ShipFromAddr"] = {"Id": "107", "Line1": "123 Sierra Way", "Line2": "San Pablo, CA  87999"}
    elif facts.every(67):
        place = {"City": "San Pablo", "Country": "USA", "CountrySubDivisionCode": "CA", "PostalCode": "87999"}
        found["ShipFromAddr"] = {"Id": "107", "Line1": "123 Sierra Way"} | place | {"Lat": "INVALID", "Long": "INVALID"}
    if facts.every(47):
        found["ClassRef"] = _CLASS
    if facts.chance.random() < 0.75:
        found["SalesTermRef"] = {"value": "3", "name": "Net 30"} if facts.inclusive is None else {"value": "7"}
    return found


def _custom_fields(chance: Random) -> list[dict[str, str]]:
    if chance.random() < 0.6:
        return []
    fields = [{"DefinitionId": "1", "Name": "Crew #", "Type": "StringType"}]
    if chance.random() < 0.3:
        fields[0]["StringValue"] = f"{chance.randrange(100, 200)}"
    if chance.random() < 0.2:
        fields.append({"DefinitionId": "2", "Name": "Nº de guía", "Type": "StringType", "StringValue": "001-002"})
    return fields


def _tax_detail(facts: _Facts, taxed: bool, tax: int, net: int) -> dict[str, Any]:
    if not taxed:
        if facts.every(37):
            # Sales tax worked out by QuickBooks: the rates are there though nothing is taxed.
            nothing = [_tax_line("3", 4, "0", "0"), _tax_line("5", 1, "0", "0")]
            return {"TxnTaxCodeRef": {"value": "3"}, "TotalTax": 0, "TaxLine": nothing}
        return {"TotalTax": 0}
    line = _tax_line("3", facts.tax_percent, money(tax), money(net))
    detail: dict[str, Any] = {} if facts.inclusive is not None else {"TxnTaxCodeRef": {"value": "2"}}
    return detail | {"TotalTax": number(money(tax)), "TaxLine": [line]}


def _tax_line(rate: str, percent: float, tax: str, net: str) -> dict[str, Any]:
    detail = {
        "TaxRateRef": {"value": rate},
        "PercentBased": True,
        "TaxPercent": percent,
        "NetAmountTaxable": number(net),
    }
    return {"Amount": number(tax), "DetailType": "TaxLineDetail", "TaxLineDetail": detail}


def _amounts(cents: int, rate: str) -> tuple[str, str]:
    """A total, and what it is at home."""
    return money(cents), money(round(cents * float(rate)))


def _inner(record: dict[str, Any]) -> bytes:
    """A record's keys and values with a comma behind each, to stand in another one."""
    return msgspec.json.encode(record)[1:-1] + b"," if record else b""


def money(cents: int) -> str:
    """`639.00`, but a zero is `0`, as QuickBooks has it."""
    return f"{cents / 100:.2f}" if cents else "0"
