"""The simulated company's records look like QuickBooks' own, and a seed always gives the same ones."""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections import Counter
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any

import pytest

from qbo_simulator.company import Company, CompanySize
from qbo_simulator.company.deflate import deflated, gzipped, stored

SIZE = CompanySize(seed=5, invoices=4_000, customers=600, items=200, years=4)


@lru_cache(maxsize=1)
def company() -> Company:
    return Company(SIZE)


@lru_cache(maxsize=3)
def payloads(entity: str) -> list[bytes]:
    table = company().tables[entity]
    return [table.payload(slot) for slot in table.slots()]


@lru_cache(maxsize=3)
def records(entity: str) -> list[dict[str, Any]]:
    return [json.loads(payload, parse_float=Decimal) for payload in payloads(entity)]


def lines_of(record: dict[str, Any]) -> list[dict[str, Any]]:
    nested = [inner for line in record["Line"] for inner in line.get("GroupLineDetail", {}).get("Line", [])]
    return record["Line"] + nested


def test_a_seed_always_gives_the_same_company() -> None:
    """One digest for every machine and Python: change it only when the company is meant to change."""
    small = Company(CompanySize(seed=1, invoices=300, customers=100, items=60, years=2))
    digest = hashlib.sha256()
    for table in small.tables.values():
        for slot in table.slots():
            digest.update(table.payload(slot))
    assert digest.hexdigest() == "f47d7136747aa8c7568aede1da24ea2630762f569359b219889d36948dc97276"
    assert payloads("Invoice") != [Company(CompanySize(seed=6, invoices=300)).invoices.payload(0)]


def test_a_row_is_the_same_whichever_rows_were_asked_for_before() -> None:
    other = Company(SIZE)
    for entity, table in other.tables.items():
        assert [table.payload(slot) for slot in reversed(list(table.slots()))][::-1] == payloads(entity)


@pytest.mark.parametrize("entity", ["Invoice", "Customer", "Item"])
def test_ids_are_digit_strings_that_are_not_contiguous(entity: str) -> None:
    """`Id` and `SyncToken` are digit strings; domain:"QBO", sparse:false."""
    identifiers = [record["Id"] for record in records(entity)]
    assert all(identifier.isdecimal() for identifier in identifiers)
    assert len(set(identifiers)) == len(identifiers)
    assert int(identifiers[-1]) - int(identifiers[0]) > len(identifiers)
    assert all(record["SyncToken"].isdecimal() for record in records(entity))
    assert {(record["domain"], record["sparse"]) for record in records(entity)} == {("QBO", False)}


@pytest.mark.parametrize("entity", ["Invoice", "Customer", "Item"])
def test_times_lie_in_the_books_and_updates_follow_creations(entity: str) -> None:
    start, end = company().start, company().end
    equal = 0
    for record in records(entity):
        created, updated = (
            datetime.fromisoformat(record["MetaData"][key]) for key in ("CreateTime", "LastUpdatedTime")
        )
        assert start <= created.timestamp() <= updated.timestamp() < end
        equal += created == updated
    assert 0.3 < equal / len(records(entity)) < 0.8


def test_many_rows_share_a_second() -> None:
    """Many rows in one CreateTime second."""
    seconds = Counter(record["MetaData"]["CreateTime"] for record in records("Invoice"))
    assert max(seconds.values()) >= 10
    assert len(seconds) > 2_000


def test_invoices_follow_the_week() -> None:
    weekdays = Counter(
        date.fromisoformat(record["MetaData"]["CreateTime"][:10]).weekday() for record in records("Invoice")
    )
    assert weekdays[2] > 3 * weekdays[5] > 3 * weekdays[6]


def test_an_invoice_weighs_what_real_ones_weigh() -> None:
    """In 2026 an invoice with 1 line is about 1,500 B, and about 310 B more per SalesItemLine."""
    sizes = [len(payload) for payload in payloads("Invoice")]
    assert 3_500 < sum(sizes) / len(sizes) < 5_500
    assert 180_000 < max(sizes) < 300_000
    assert min(sizes) > 900


def test_invoices_have_no_lines_or_750_and_bundles_inside() -> None:
    """Nested GroupLineDetail, 0-line (SubTotal only) and 750-line invoices."""
    counts = Counter(sum(1 for line in lines_of(record) if "LineNum" in line) for record in records("Invoice"))
    assert counts[0]
    assert counts[750]
    assert counts[1] > 100
    kinds = Counter(line["DetailType"] for record in records("Invoice") for line in lines_of(record))
    assert set(kinds) == {
        "SalesItemLineDetail",
        "SubTotalLineDetail",
        "DiscountLineDetail",
        "GroupLineDetail",
        "DescriptionOnly",
    }


def test_an_invoices_lines_add_up() -> None:
    for record in records("Invoice"):
        sales = sum(line["Amount"] for line in lines_of(record) if line["DetailType"] == "SalesItemLineDetail")
        (subtotal,) = (line["Amount"] for line in record["Line"] if line["DetailType"] == "SubTotalLineDetail")
        discount = sum(line["Amount"] for line in record["Line"] if line["DetailType"] == "DiscountLineDetail")
        assert sales == subtotal
        assert subtotal - discount + record["TxnTaxDetail"]["TotalTax"] == record["TotalAmt"]


def test_numbers_keep_their_scale() -> None:
    """Amounts are JSON numbers with inconsistent scale (`639.00`, `0`, `22.5`, up to 7 decimals `0.5306667`)."""
    text = b"".join(payloads("Invoice") + payloads("Item"))
    for found in (rb'"Amount":%b', rb'"UnitPrice":%b'):
        assert found % b"0" in text or b"UnitPrice" in found
    scales = {len(str(line["SalesItemLineDetail"]["UnitPrice"]).partition(".")[2])
              for record in records("Invoice") for line in record["Line"]
              if "UnitPrice" in line.get("SalesItemLineDetail", {})}  # fmt: skip
    assert scales >= {0, 1, 2, 7}
    assert all(str(record["TotalAmt"]) == "0" or str(record["TotalAmt"])[-3] == "." for record in records("Invoice"))


def test_texts_are_in_every_script_with_quotes_and_line_breaks() -> None:
    """Unicode/emoji/quotes; names may hold `&`, `'`, `,`, newline in memos; names cannot contain `:` tab newline."""
    everything = b"".join(payloads("Invoice") + payloads("Customer") + payloads("Item")).decode()
    for found in ("🌵", "📦", "花", "Владимир", "é", "'s ", " & ", ", Ltd", '\\"', "\\n", "\\\\", "№"):
        assert found in everything, found
    for record in records("Customer"):
        assert not set(record["DisplayName"]) & set(":\t\n")


def test_keys_are_missing() -> None:
    """`SELECT *` returns all attributes that HAVE a value."""
    for entity, optional in (("Invoice", ["DocNumber", "PrivateNote", "EInvoiceStatus", "FreeFormAddress"]),
                             ("Customer", ["PrimaryPhone", "CompanyName", "ParentRef", "Mobile", "DefaultTaxCodeRef"]),
                             ("Item", ["Sku", "Description", "QtyOnHand", "DeferredRevenue"])):  # fmt: skip
        for key in optional:
            have = sum(key in record for record in records(entity))
            assert 0 < have < len(records(entity)), (entity, key)


def test_keys_that_were_never_seen_come_when_asked_for() -> None:
    """Unknown keys appear inside minor version 75 without notice."""
    books = Company(CompanySize(invoices=50, customers=50, items=10))
    never_seen = (b'"AllowOnlineAffirmPayment"', b'"TaxExemptionReasonId"')
    for wanted in (False, True, False):
        books.use_new_keys(wanted)
        for table, key in zip((books.invoices, books.customers), never_seen, strict=True):
            assert any(key in table.payload(slot) for slot in table.slots()) is wanted


def test_foreign_customers_have_invoices_in_their_currency() -> None:
    currencies = {record["Id"]: record["CurrencyRef"]["value"] for record in records("Customer")}
    assert set(currencies.values()) == {"USD", "CAD", "EUR", "AUD"}
    foreign = 0
    for record in records("Invoice"):
        code = record["CurrencyRef"]["value"]
        if len(record["Line"]) in (1, 751):
            continue  # the two special bodies
        assert code == currencies[record["CustomerRef"]["value"]]
        foreign += code != "USD"
        if code != "USD":
            home = record["TotalAmt"] * record["ExchangeRate"]
            assert abs(record["HomeTotalAmt"] - home) < Decimal("0.01")
    assert foreign > 50


def test_items_are_categories_bundles_stock_and_services() -> None:
    """Types in use: Inventory, Service, NonInventory, Category (few keys, no accounts), Group (ItemGroupDetail)."""
    kinds = {record["Type"]: record for record in records("Item")}
    assert set(kinds) == {"Inventory", "Service", "NonInventory", "Category", "Group"}
    assert not any("AccountRef" in key for key in kinds["Category"])
    assert kinds["Group"]["ItemGroupDetail"]["ItemGroupLine"]
    assert {"AssetAccountRef", "QtyOnHand", "InvStartDate"} <= set(kinds["Inventory"])


@pytest.mark.parametrize("entity", ["Customer", "Item"])
def test_names_are_unique_and_children_stand_under_their_parents(entity: str) -> None:
    rows = {record["Id"]: record for record in records(entity)}
    own = "DisplayName" if entity == "Customer" else "Name"
    names = [record["FullyQualifiedName"] for record in rows.values()]
    assert len(set(names)) == len(names)
    children = [record for record in rows.values() if "ParentRef" in record]
    assert len(children) > 20
    for child in children:
        parent = rows[child["ParentRef"]["value"]]
        path = parent["FullyQualifiedName"].removesuffix(" (deleted)")
        assert child["FullyQualifiedName"] == f"{path}:{child[own]}"
        assert child["Level"] == parent.get("Level", 0) + 1
    assert {child["Level"] for child in children} == {1, 2}
    if entity == "Customer":
        assert {child["IsProject"] for child in children if "IsProject" in child} == {True, False}


def test_invoices_name_customers_and_items_that_exist() -> None:
    customers = {
        record["Id"]: record["FullyQualifiedName"].removesuffix(" (deleted)") for record in records("Customer")
    }
    items = {record["Id"] for record in records("Item")}
    for record in records("Invoice"):
        assert customers[record["CustomerRef"]["value"]] == record["CustomerRef"]["name"]
        sold = [
            line["SalesItemLineDetail"]["ItemRef"]["value"]
            for line in lines_of(record)
            if "SalesItemLineDetail" in line
        ]
        assert set(sold) <= items


def test_a_million_invoices_are_not_held() -> None:
    """Rows are columns of numbers: about 80 bytes each, whatever a record weighs."""
    import tracemalloc

    tracemalloc.start()
    small = Company(CompanySize(invoices=20_000, customers=100, items=50))
    held, _ = tracemalloc.get_traced_memory()
    for slot in range(0, 20_000, 3):
        small.invoices.payload(slot)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held / 20_000 < 130
    assert after - held < 20_000_000  # the thousand bodies, and no more with more rows


def test_compressed_pieces_are_one_gzip_file() -> None:
    body, head = b"lines " * 5_000, b"h" * 70_000
    plain = head + body + b"t" + body
    pieces = [stored(head), deflated(body), stored(b"t"), deflated(body)]
    assert gzip.decompress(gzipped(pieces, zlib.crc32(plain), len(plain))) == plain
    assert len(deflated(body)) < len(body) / 50
