"""Customers: people and firms, jobs under them, projects, some of them in another currency."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from qbo_simulator.company import words
from qbo_simulator.company.names import NameTable, number

# What a foreign customer and its invoices are in, and what one unit is worth at home.
CURRENCIES = (
    ("CAD", "Canadian Dollar", "0.7312"),
    ("EUR", "Euro", "1.0912"),
    ("AUD", "Australian Dollar", "0.65334"),
)


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
        """Every ninth is a job; every third of those is a job's phase, two levels down."""
        if slot <= 20 or slot % 9 != 4:
            return None
        above = slot // 2 - (slot // 2) % 9
        if slot % 27 == 22 and above > 40:
            job = above + 4
            above = job if job % 27 != 22 else job - 9
        return self.survivor(above)

    def currency(self, slot: int) -> int | None:
        """Which of CURRENCIES; None is the company's own."""
        return slot // 29 % 3 if slot % 29 == 17 else None

    def record(self, slot: int, chance: Random) -> dict[str, Any]:
        parent = self.parent(slot)
        address = self._address(slot, chance)
        record: dict[str, Any] = {"Taxable": chance.random() < 0.5}
        if chance.random() < 0.85:
            form = "country" if slot % 13 == 6 else "unlocated" if slot % 17 == 6 else "bare" if slot % 43 == 6 else ""
            record["BillAddr"] = _form(address, form)
        if chance.random() < 0.15:
            record["Notes"] = chance.choice(words.NOTES[3:])
        if chance.random() < 0.5:
            record["ShipAddr"] = _form(address, "country" if slot % 37 == 6 else "unlocated" if slot % 19 == 6 else "")
        is_project = parent is not None and slot % 2 == 0
        record |= {"Job": parent is not None, "BillWithParent": is_project or (parent is not None and slot % 3 == 0)}
        if parent is not None:
            record |= {"ParentRef": {"value": str(self.ids[parent])}, "Level": self.level(slot)}
        if chance.random() < 0.06:
            record["SalesTermRef"] = {"value": "3"} if slot % 2 else {"value": "3", "name": "Net 30"}
        if chance.random() < 0.04:
            record["PaymentMethodRef"] = {"value": "2"} if slot % 2 else {"value": "2", "name": "Check"}
        balance = self._balance(slot, chance)
        currency = self.currency(slot)
        code, currency_name = ("USD", "United States Dollar") if currency is None else CURRENCIES[currency][:2]
        record |= {
            "Balance": number(balance),
            "BalanceWithJobs": number(balance),
            "CurrencyRef": {"value": code, "name": currency_name},
            "PreferredDeliveryMethod": chance.choice(["Print", "Print", "Email", "None"]),
        }
        if chance.random() < 0.03:
            record["ResaleNum"] = f"R-{slot:06d}"
        if chance.random() < 0.04:
            record["CustomerTypeRef"] = {"value": "5000000000000000020"} | ({"name": "Retail"} if slot % 2 else {})
        if slot % 10 != 3:  # rows of before 2021 have neither
            record |= {"IsProject": is_project, "ClientEntityId": "0"}
        return record | self.identity(slot) | self._names(slot, chance) | self._contacts(slot, chance)

    def _names(self, slot: int, chance: Random) -> dict[str, Any]:
        given, _, family = self.base_name(slot).partition(" ")
        names: dict[str, Any] = {}
        titled = chance.random() < 0.05
        if titled:
            names["Title"] = chance.choice(["Mr.", "Sra.", "Dr."])
        if chance.random() < 0.8:
            names["GivenName"] = given
            if chance.random() < 0.06:
                names["MiddleName"] = chance.choice(["Q.", "de la"])
            names["FamilyName"] = family[:25]
        if titled:
            names["Suffix"] = chance.choice(["Jr.", "III"])
        names["FullyQualifiedName"] = self.name(slot)
        if slot % 3:
            names["CompanyName"] = self.base_name(slot)
        names |= {
            "DisplayName": self.own_name(slot),
            "PrintOnCheckName": self.base_name(slot),
            "Active": self.is_active(slot),
        }
        if slot % 10 != 3:
            names["V4IDPseudonym"] = f"002098{chance.getrandbits(128):032x}"
        return names

    def _contacts(self, slot: int, chance: Random) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for kind, share in (("PrimaryPhone", 0.8), ("AlternatePhone", 0.04), ("Mobile", 0.12), ("Fax", 0.09)):
            if chance.random() < share:
                found[kind] = {"FreeFormNumber": f"(555) 555-{chance.randrange(10_000):04d}"}
        if chance.random() < 0.8:
            found["PrimaryEmailAddr"] = {"Address": f"customer{slot}@example.com"}
        if chance.random() < 0.2:
            found["WebAddr"] = {"URI": f"http://customer{slot}.example.com"}
        if chance.random() < 0.1:
            found["DefaultTaxCodeRef"] = {"value": "2"}
        if self.new_keys and slot % 10 == 5:
            # Never seen: what comes inside minor version 75 without notice.
            found["TaxExemptionReasonId"] = str(chance.randrange(1, 16))
        return found

    def _balance(self, slot: int, chance: Random) -> str:
        cents = chance.randrange(0, 900_000) if chance.random() < 0.4 else 0
        cents += 1_250 * self.moves[slot]
        return f"{cents / 100:.2f}" if cents else "0"

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
        """`CustomerRef` as an invoice has it, with the name of today."""
        reference = {"value": str(self.ids[slot]), "name": self.path_name(slot)}
        return b'"CustomerRef":' + msgspec.json.encode(reference) + b","

    def stored_address(self, slot: int) -> tuple[dict[str, str], str]:
        """The customer's address, and the name that was written above it on paper."""
        return self._address(slot, self.chance(slot)), self.first_name(slot)


def addresses(stored: tuple[dict[str, str], str], bill_form: str, ship_form: str | None) -> bytes:
    """`BillAddr` and `ShipAddr` as an invoice has them."""
    bill = b'"BillAddr":' + msgspec.json.encode(_form(stored[0], bill_form, stored[1])) + b","
    if ship_form is None:
        return bill
    return bill + b'"ShipAddr":' + msgspec.json.encode(_form(stored[0], ship_form, stored[1])) + b","


def _form(address: dict[str, str], form: str, name: str = "") -> dict[str, str]:
    """The address as it is stored: by its parts, or line by line as it was typed into an invoice."""
    if form in ("", "plain"):
        return address
    if form == "bare":
        return {"Id": address["Id"]}
    place = {key: address[key] for key in ("CountrySubDivisionCode", "PostalCode")}
    located = {key: address[key] for key in ("Lat", "Long")}
    if form == "country":
        lines = {"Line1": address["Line1"], "Line2": "Of. 21", "City": address["City"], "Country": "USA"}
        return {"Id": address["Id"]} | lines | place | located
    if form == "unlocated":
        return {"Id": address["Id"], "Line1": address["Line1"], "City": address["City"]} | place
    town = f"{address['City']}, {place['CountrySubDivisionCode']}  {place['PostalCode']}"
    texts = {
        "lines2": [name, address["Line1"]],
        "lines3": [name, address["Line1"], town],
        "lines4": ["Cuentas por pagar", name, address["Line1"], town],
        "lines5": ["Cuentas por pagar", name, address["Line1"], town, "USA"],
    }[form]
    lines = {f"Line{at}": text for at, text in enumerate(texts, 1)}
    # Line by line it is a record of its own.
    return {"Id": str(1_000_000 + int(address["Id"]))} | lines | ({} if form == "lines2" else located)
