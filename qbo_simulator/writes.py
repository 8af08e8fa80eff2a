"""Creating, updating, deleting and voiding records, as far as other clients' batches need it.

The simulator is for reading; what is written is kept as it was sent, with what the service adds, and none of the
accounting (no balances, no payments) is worked out.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from qbo_simulator.company import Company
from qbo_simulator.company.table import INACTIVE, Table
from qbo_simulator.planting import plant
from qbo_simulator.query.properties import NAME_LISTS
from qbo_simulator.times import day_text, pacific, pacific_day

_SUFFIX = " (deleted)"
_NAMED_BY = {"Customer": "DisplayName", "Item": "Name"}
_NEEDED = {"Customer": "DisplayName", "Item": "Name", "Invoice": "Line"}

# The first ones QuickBooks named itself, in its order, when it refused another one (a sandbox, 2020-09-29); its list of
# 83 was cut there, and the others are those that records and Intuit's reference show.
_INVOICE_KEYS = (
    "DocNumber HomeTotalAmt TotalAmt TxnSource AllowOnlinePayment RecurringInfo EmailStatus callToAction AutoDocNumber "
    "ECloudStatusTimeStamp TaxFormNum TxnDate FOB ClassRef AllowOnlineACHPayment DepositToAccountRef InvoiceEx "
    "AllowOnlineCreditCardPayment CurrencyRef InvoiceLink PONumber ShipDate PaymentMethodRef TrackingNum TxnTaxDetail "
    "CustomerRef ShipFromAddr BillAddr EInvoiceStatus Id RecurDataRef ApplyTaxAfterDiscount DepartmentRef SalesRepRef "
    "ExchangeRate domain invoiceStatusLog TaxFormType BillEmailBcc LessCIS CustomerMemo TxnStatus HomeBalance "
    "PrintStatus ConvenienceFeeDetail DiscountRate DeliveryInfo FreeFormAddress AllowIPNPayment CustomField "
    "PaymentDetailsMessage TransactionLocationType MetaData LinkedTxn status RemitToRef PrivateNote ShipMethodRef "
    "PaymentRefNum Tag TxnApprovalInfo"
)
_CUT_THERE = (
    "Line Balance Deposit DueDate SalesTermRef BillEmail BillEmailCc ShipAddr SyncToken sparse GlobalTaxCalculation "
    "AttachableRef ARAccountRef DiscountAmt FinanceCharge TemplateRef TaxExemptionRef ProjectRef CustomExtensions "
    "AllowOnlineAffirmPayment AllowOnlinePayPalPayment CheckPayment CreditCardPayment PaymentType PayeeRef"
)
_KNOWN = frozenset([*_INVOICE_KEYS.split(), *_CUT_THERE.split()])


class WriteFault(Exception):  # noqa: N818 - QuickBooks' own word
    """A write QuickBooks refuses, by its code."""

    def __init__(self, code: str, message: str, detail: str, element: str | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.message = message
        self.detail = detail
        self.element = element


def write(company: Company, entity: str, operation: str, body: Any, now: int) -> bytes:
    """Carry out one write; the record, or the stub, that the answer holds. WriteFault changes nothing."""
    table = company.tables.find(entity)
    if table is None or entity not in _NEEDED or operation not in ("create", "update", "delete", "void"):
        raise WriteFault("500", "Unsupported Operation", "Operation is not supported")
    if not isinstance(body, dict):
        raise WriteFault("2010", "Request has invalid or unsupported property", "The request's body is no object")
    if entity == "Invoice":
        _refuse_unknown(body)
    if operation == "create" or (operation == "update" and "Id" not in body):
        return _create(table, body, now)
    slot = _current(table, body)
    if operation == "update":
        return _update(table, slot, body, now)
    if entity in NAME_LISTS:
        raise WriteFault("500", "Unsupported Operation", f"Operation {operation} is not supported for {entity}")
    if operation == "void":
        company.void(table, [slot], now)
        return table.payload(slot)
    stub = {"domain": "QBO", "status": "Deleted", "Id": table.id_text(slot)}
    table.delete(slot, now)
    return msgspec.json.encode(stub)


def _refuse_unknown(body: dict[str, Any]) -> None:
    unknown = next((name for name in body if name not in _KNOWN), None)
    if unknown is not None:
        listed = ", ".join(f'"{name}"' for name in _INVOICE_KEYS.split())
        raise WriteFault(
            "2010",
            "Request has invalid or unsupported property",
            f'Property Name:Unrecognized field "{unknown}" (class com.intuit.schema.finance.v3.Invoice), not marked as '
            f"ignorable (83 known properties: {listed} [truncated]])\n specified is unsupported or invalid",
        )


def _current(table: Table, body: dict[str, Any]) -> int:
    """The row that is meant, if its SyncToken is the present one."""
    slot = table.slot_of_id(str(body.get("Id", "")))
    if slot is None:
        detail = (
            "Object Not Found : Something you're trying to use has been made inactive. Check the fields with accounts, "
            "customers, items, vendors or employees."
        )
        raise WriteFault("610", "Object Not Found", detail, "")
    present = json.loads(table.payload(slot)).get("SyncToken")
    if str(body.get("SyncToken")) != present:
        detail = "Stale Object Error : You and somebody else were working on this at the same time."
        raise WriteFault("5010", "Stale Object Error", detail, "")
    return slot


def _create(table: Table, body: dict[str, Any], now: int) -> bytes:
    needed = _NEEDED[table.entity]
    if not body.get(needed):
        detail = f"Required parameter {needed} is missing in the request"
        raise WriteFault(
            "2020", "Required param missing, need to supply the required value for the API", detail, needed
        )
    said = {name: value for name, value in body.items() if value not in (None, "") and name not in ("Id", "SyncToken")}
    stamp = pacific(now).decode()
    identity = {
        "domain": "QBO",
        "sparse": False,
        "Id": table.next_id(),
        "SyncToken": "0",
        "MetaData": {"CreateTime": stamp, "LastUpdatedTime": stamp},
    }
    if table.entity in NAME_LISTS:
        name = free_name(table, str(said[_NAMED_BY[table.entity]]), None)
        record = said | identity | {"FullyQualifiedName": name, "Active": said.get("Active", True) is not False}
    else:
        record = identity | {"TxnDate": day_text(pacific_day(now)).decode()} | said | identity
    payload = msgspec.json.encode(record)
    plant(table, {"payload": payload}, now)
    return payload


def rename_raw(table: Table, slot: int, name: str, now: int) -> None:
    """Rename a row that is kept as bytes."""
    named_by = "DisplayName" if b'"DisplayName"' in table.payload(slot) else "Name"
    _update(table, slot, {named_by: name}, now, named_by)


def _update(table: Table, slot: int, body: dict[str, Any], now: int, named_by: str = "") -> bytes:
    record = json.loads(table.payload(slot), parse_float=_verbatim)
    changed = {name: value for name, value in body.items() if value is not None and name not in _KEPT}
    record |= changed
    if table.entity in NAME_LISTS:
        named_by = named_by or _NAMED_BY[table.entity]
        active = record.get("Active", True) is not False
        plain = str(record[named_by]).removesuffix(_SUFFIX)
        record[named_by] = free_name(table, plain if active else plain + _SUFFIX, slot)
        parent, colon, _ = str(record.get("FullyQualifiedName", "")).rpartition(":")
        record["FullyQualifiedName"] = parent + colon + record[named_by]
        table.rename(slot, record["FullyQualifiedName"])
        table.flags[slot] = table.flags[slot] & ~INACTIVE | (0 if active else INACTIVE)
    table.keep(slot, msgspec.json.encode(record))
    table.touch(slot, now)
    return table.payload(slot)


_KEPT = frozenset(["Id", "SyncToken", "MetaData", "domain", "sparse"])


def free_name(table: Table, name: str, own: int | None) -> str:
    """The name, if no other row has it: QuickBooks compares them without case. WriteFault 6240."""
    for taken, slot in table.by_name:
        if slot != own and taken.decode().lower() == name.lower():
            detail = "The name supplied already exists. : null"
            raise WriteFault("6240", "Duplicate Name Exists Error", detail)
    return name


def _verbatim(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())
