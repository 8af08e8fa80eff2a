"""Which properties of an entity a query may filter and order by, and what their values are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qbo_simulator.query.grammar import QueryFault

Kind = Literal["id", "text", "number", "day", "instant", "boolean"]


@dataclass(frozen=True)
class Property:
    """`path` leads to the value in a record; a reference's value is its `value`."""

    name: str
    kind: Kind
    path: tuple[str, ...]


def _properties(**kinds: str) -> dict[str, Property]:
    shared = {
        "id": Property("Id", "id", ("Id",)),
        "metadata.createtime": Property("MetaData.CreateTime", "instant", ("MetaData", "CreateTime")),
        "metadata.lastupdatedtime": Property("MetaData.LastUpdatedTime", "instant", ("MetaData", "LastUpdatedTime")),
    }
    for kind, names in kinds.items():
        for name in names.split():
            if kind == "reference":
                shared[name.lower()] = Property(name, "text", (name, "value"))
            elif kind == "email":
                shared[name.lower()] = Property(name, "text", (name, "Address"))
            else:
                shared[name.lower()] = Property(name, kind, (name,))  # type: ignore[arg-type]
    return shared


PROPERTIES: dict[str, dict[str, Property]] = {
    "Invoice": _properties(
        text="DocNumber",
        number="TotalAmt Balance",
        day="TxnDate DueDate",
        reference="CustomerRef SalesTermRef",
    ),
    "Customer": _properties(
        text="DisplayName FullyQualifiedName GivenName MiddleName FamilyName CompanyName PrintOnCheckName",
        number="Balance BalanceWithJobs",
        boolean="Active Job Taxable",
        reference="ParentRef",
        email="PrimaryEmailAddr",
    ),
    "Item": _properties(
        text="Name FullyQualifiedName Type Sku Description",
        number="UnitPrice PurchaseCost QtyOnHand",
        boolean="Active Taxable TrackQtyOnHand SubItem",
        reference="ParentRef",
    ),
    "CompanyInfo": _properties(text="CompanyName LegalName Country"),
    "ExchangeRate": _properties(text="SourceCurrencyCode", day="AsOfDate"),
}
# It has no CreateTime.
del PROPERTIES["ExchangeRate"]["metadata.createtime"]

# These exist but can't be filtered on; integrators met 4001 for them.
_NOT_QUERYABLE = frozenset(["classref", "customertyperef", "departmentref", "line", "billaddr", "shipaddr"])

# Entities every company has, in which this company has no rows but planted ones. Only what all entities share can be
# filtered.
EMPTY_ENTITIES = [
    "Account", "Attachable", "Bill", "BillPayment", "Budget",
    "Class", "CompanyCurrency", "CreditMemo", "CreditCardPayment", "Department",
    "Deposit", "Employee", "Estimate", "ExchangeRate", "JournalCode",
    "JournalEntry", "Payment", "PaymentMethod", "Preferences", "Purchase",
    "PurchaseOrder", "RefundReceipt", "SalesReceipt", "TaxAgency", "TaxCode",
    "TaxRate", "Term", "TimeActivity", "Transfer", "Vendor",
    "VendorCredit", "CustomerType", "RecurringTransaction", "TaxPayment", "InventoryAdjustment", "ReimburseCharge",
]  # fmt: skip
NAME_LISTS = frozenset([
    "Account", "Class", "CompanyCurrency", "Customer", "CustomerType", "Department", "Employee", "Item", "JournalCode",
    "PaymentMethod", "TaxCode", "TaxRate", "Term", "Vendor",
])  # fmt: skip
# Recordings of 2026: pages of these carry totalCount, pages of the others don't.
WITH_TOTAL_COUNT = frozenset(["Bill", "BillPayment", "Deposit", "Invoice", "JournalEntry", "PurchaseOrder"])
# More custom fields than the first three come with `include=enhancedAllCustomFields`.
WITH_CUSTOM_FIELDS = frozenset([
    "CreditMemo", "Customer", "Estimate", "Invoice", "PurchaseOrder", "RefundReceipt", "SalesReceipt",
])  # fmt: skip
# Intuit's page on change data capture leaves these out.
NOT_IN_CDC = frozenset(["JournalCode", "TaxAgency", "TaxCode", "TaxRate", "TimeActivity"])
# Rows come under another key than the name they are asked for by.
RESPONSE_KEYS = {"CreditCardPayment": "CreditCardPaymentTxn"}

_ENTITIES = {name.lower(): name for name in (*PROPERTIES, *EMPTY_ENTITIES)}
_FOR_EMPTY = _properties(
    text="Name DisplayName FullyQualifiedName GivenName FamilyName CompanyName DocNumber AccountType Classification",
    number="TotalAmt Balance",
    day="TxnDate DueDate",
    boolean="Active",
)


def entity_name(written: str) -> str:
    """The entity's own spelling. QueryFault 4001 when there is none of that name."""
    name = _ENTITIES.get(written.lower())
    if name is None:
        raise QueryFault("4001", f"QueryValidationError: invalid context declaration: {written}")
    return name


def property_of(entity: str, written: str) -> Property:
    """The property a statement names. QueryFault 4001 when the entity has none, or it can't be queried."""
    lowered = written.lower()
    found = PROPERTIES.get(entity, _FOR_EMPTY).get(lowered)
    if found is not None:
        return found
    if lowered in _NOT_QUERYABLE:
        raise QueryFault("4001", f"QueryValidationError: property '{written}' is not queryable")
    raise QueryFault("4001", f"QueryValidationError: Property {written} not found for Entity {entity}")
