"""The table of entities against what is known of them, written down here a second time."""

from __future__ import annotations

import pytest

from async_extractor.entities import ENTITIES, FIRST_CLASS, SOURCES, Entity
from tools.docs import entity_document


def words(text: str) -> set[str]:
    return set(text.split())


# What has Active; what has a TxnDate to filter by; what change data capture leaves out.
ACTIVE = words("""
Customer Item Vendor Account Class Department Employee Term PaymentMethod CustomerType CompanyCurrency Budget
TaxCode TaxRate JournalCode
""")
DATED = words("""
Invoice Payment CreditMemo SalesReceipt RefundReceipt Estimate Bill BillPayment VendorCredit Purchase
PurchaseOrder
JournalEntry Deposit Transfer TimeActivity CreditCardPayment InventoryAdjustment
""")
NOT_IN_CDC = {"JournalCode", "TimeActivity", "TaxAgency", "TaxCode", "TaxRate", "ExchangeRate"}
OTHERS = words("""
Attachable CompanyInfo Preferences ReimburseCharge TaxPayment TaxAgency RecurringTransaction ExchangeRate
""")


def test_all_that_can_be_queried_is_there() -> None:
    assert {entity.query_name for entity in ENTITIES.values()} == ACTIVE | DATED | OTHERS
    assert tuple(ENTITIES)[:3] == FIRST_CLASS


@pytest.mark.parametrize("entity", ENTITIES.values(), ids=list(ENTITIES))
def test_a_row_says_what_is_known(entity: Entity) -> None:
    name = entity.query_name
    assert (entity.has_active, entity.has_txn_date) == (name in ACTIVE, name in DATED)
    assert entity.in_cdc == (name not in NOT_IN_CDC)
    assert set(entity.sources) <= SOURCES.keys()


def test_the_odd_ones_are_odd() -> None:
    assert {e.query_name: e.response_name for e in ENTITIES.values() if e.response_name != e.query_name} == {
        "CreditCardPayment": "CreditCardPaymentTxn"
    }
    assert [e.query_name for e in ENTITIES.values() if e.wrapped] == ["RecurringTransaction"]
    assert {e.query_name for e in ENTITIES.values() if e.one_row} == {"CompanyInfo", "Preferences"}
    assert {e.query_name: e.volatile for e in ENTITIES.values() if e.volatile} == {
        "Attachable": ("TempDownloadUri", "ThumbnailTempDownloadUri")
    }
    assert {e.query_name: e.key for e in ENTITIES.values() if e.key != ("Id",)} == {
        "ExchangeRate": ("SourceCurrencyCode", "TargetCurrencyCode", "AsOfDate")
    }
    assert {e.query_name for e in ENTITIES.values() if not e.digits} == {"TaxCode", "ExchangeRate"}
    assert {e.query_name for e in ENTITIES.values() if e.leaves == "merged"} == {
        "Customer",
        "Item",
        "Vendor",
        "Account",
    }


def test_the_document_is_the_tables() -> None:
    written = entity_document.DOCUMENT.read_text(encoding="utf-8")
    assert written == entity_document.describe(), "run `python -m tools.docs.entity_document`"
