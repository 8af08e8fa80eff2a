"""What records of the other entities say: made from a row's own numbers, and linked as in real books.

Each function gives a record without its identity, which the table adds. Keys and their order are those of recordings
where there are some (Account, Bill, BillPayment, CreditMemo, Deposit, Estimate, JournalEntry, Payment, Purchase,
PurchaseOrder, Vendor: 2026), else Intuit's samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from qbo_simulator.company import words
from qbo_simulator.company.names import number
from qbo_simulator.times import day_text

Record = dict[str, Any]
HOME = {"value": "USD", "name": "United States Dollar"}


class Books(Protocol):
    """What a record can refer to: rows of other tables by entity."""

    def ref(self, entity: str, at: int) -> Record:
        """`{"value": Id, "name": name of today}` of some live row of a list."""

    def txn(self, entity: str, at: int) -> tuple[str, str]:
        """The Id and the customer's or vendor's position of some transaction."""


@dataclass(frozen=True)
class Row:
    """A row as its record is made: its number, its times, its version."""

    slot: int
    day: int
    created: int
    updated: int
    sync: int


Maker = Callable[[Books, Row, Random], Record]


def money(chance: Random, most: int = 90_000) -> Any:
    return number(f"{chance.randrange(500, most) / 100:.2f}")


def _txn(row: Row, chance: Random) -> Record:
    record: Record = {"TxnDate": day_text(row.day).decode(), "CurrencyRef": HOME}
    if chance.random() < 0.3:
        record["PrivateNote"] = chance.choice(words.NOTES)
    return record


def _expense_lines(books: Books, row: Row, chance: Random) -> list[Record]:
    lines: list[Record] = []
    for at in range(1, chance.randrange(2, 5)):
        if chance.random() < 0.5:
            kind = "AccountBasedExpenseLineDetail"
            detail: Record = {"AccountRef": books.ref("Account", row.slot + at)}
        else:
            kind = "ItemBasedExpenseLineDetail"
            detail = {"ItemRef": books.ref("Item", row.slot + at), "UnitPrice": 10, "Qty": at}
        detail |= {"BillableStatus": "NotBillable", "TaxCodeRef": {"value": "NON"}}
        line = {
            "Id": str(at),
            "LineNum": at,
            "Amount": money(chance),
            "LinkedTxn": [],
            "DetailType": kind,
            kind: detail,
        }
        lines.append(line | {"CustomExtensions": []})
    return lines


def _sale(books: Books, row: Row, chance: Random) -> Record:
    amount = money(chance)
    detail = {"ItemRef": books.ref("Item", row.slot), "UnitPrice": 35, "Qty": 2, "TaxCodeRef": {"value": "NON"}}
    return {
        "CustomField": [],
        "DocNumber": str(1000 + row.slot),
        **_txn(row, chance),
        "Line": [
            {"Id": "1", "LineNum": 1, "Description": chance.choice(words.LINE_TEXTS), "Amount": amount,
             "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail, "CustomExtensions": []},
            {"Amount": amount, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}},
        ],
        "TxnTaxDetail": {"TotalTax": 0},
        "CustomerRef": books.ref("Customer", row.slot * 7),
        "TotalAmt": amount,
        "ApplyTaxAfterDiscount": False,
        "PrintStatus": "NeedToPrint",
        "EmailStatus": "NotSet",
    }  # fmt: skip


def payment(books: Books, row: Row, chance: Random) -> Record:
    """Applies to an invoice, and names its customer."""
    amount = money(chance)
    invoice, customer = books.txn("Invoice", row.slot * 3)
    return {
        "CustomerRef": books.ref("Customer", int(customer)),
        "DepositToAccountRef": {"value": "4"},
        "PaymentMethodRef": books.ref("PaymentMethod", row.slot),
        "PaymentRefNum": str(6000 + row.slot),
        "TotalAmt": amount,
        "UnappliedAmt": 0,
        "ProcessPayment": False,
        **_txn(row, chance),
        "Line": [{"Amount": amount, "LinkedTxn": [{"TxnId": invoice, "TxnType": "Invoice"}]}],
    }


def credit_memo(books: Books, row: Row, chance: Random) -> Record:
    return {"RemainingCredit": 0 if row.sync else money(chance), **_sale(books, row, chance), "Balance": 0}


def sales_receipt(books: Books, row: Row, chance: Random) -> Record:
    paid = {"PaymentMethodRef": books.ref("PaymentMethod", row.slot), "DepositToAccountRef": {"value": "35"}}
    return {**_sale(books, row, chance), "Balance": 0, **paid}


def estimate(books: Books, row: Row, chance: Random) -> Record:
    invoice, _ = books.txn("Invoice", row.slot * 5)
    closed = chance.random() < 0.5
    linked = [{"TxnId": invoice, "TxnType": "Invoice"}] if closed else []
    return {"TxnStatus": "Closed" if closed else "Pending", "LinkedTxn": linked, **_sale(books, row, chance)}


def bill(books: Books, row: Row, chance: Random) -> Record:
    return {
        "DueDate": day_text(row.day + 30).decode(),
        "Balance": 0 if row.sync else money(chance),
        **_txn(row, chance),
        "Line": _expense_lines(books, row, chance),
        "VendorRef": books.ref("Vendor", row.slot * 7),
        "APAccountRef": books.ref("Account", 33),
        "TotalAmt": money(chance),
    }


def bill_payment(books: Books, row: Row, chance: Random) -> Record:
    """Pays a bill of the same vendor."""
    amount = money(chance)
    paid, vendor = books.txn("Bill", row.slot * 3)
    return {
        "VendorRef": books.ref("Vendor", int(vendor)),
        "PayType": "CreditCard" if row.slot % 3 else "Check",
        "TotalAmt": amount,
        "DocNumber": str(row.slot),
        **_txn(row, chance),
        "Line": [{"Amount": amount, "LinkedTxn": [{"TxnId": paid, "TxnType": "Bill"}]}],
    }


def vendor_credit(books: Books, row: Row, chance: Random) -> Record:
    lines = _expense_lines(books, row, chance)
    return {**_txn(row, chance), "Line": lines, "VendorRef": books.ref("Vendor", row.slot), "TotalAmt": money(chance)}


def purchase(books: Books, row: Row, chance: Random) -> Record:
    return {
        "AccountRef": books.ref("Account", 35),
        "PaymentType": chance.choice(["Check", "CreditCard", "Cash"]),
        "EntityRef": {**books.ref("Vendor", row.slot * 5), "type": "Vendor"},
        "TotalAmt": money(chance),
        "PrintStatus": "NotSet",
        **_txn(row, chance),
        "Line": _expense_lines(books, row, chance),
    }


def purchase_order(books: Books, row: Row, chance: Random) -> Record:
    lines = _expense_lines(books, row, chance)
    state: Record = {"EmailStatus": "NotSet", "POStatus": "Closed" if row.sync else "Open", "CustomField": []}
    return {**state, **_txn(row, chance), "Line": lines, "VendorRef": books.ref("Vendor", row.slot),
            "TotalAmt": money(chance)}  # fmt: skip


def journal_entry(books: Books, row: Row, chance: Random) -> Record:
    amount = money(chance)
    lines = [
        {"Id": str(at), "Amount": amount, "DetailType": "JournalEntryLineDetail",
         "JournalEntryLineDetail": {"PostingType": side, "AccountRef": books.ref("Account", row.slot + at)}}
        for at, side in enumerate(("Debit", "Credit"))
    ]  # fmt: skip
    return {"Adjustment": False, "TotalAmt": 0, "DocNumber": f"JE-{row.slot:03d}", **_txn(row, chance), "Line": lines}


def deposit(books: Books, row: Row, chance: Random) -> Record:
    paid, _ = books.txn("Payment", row.slot * 2)
    line = {"Amount": money(chance), "LinkedTxn": [{"TxnId": paid, "TxnType": "Payment", "TxnLineId": "0"}]}
    account = books.ref("Account", 35)
    return {"DepositToAccountRef": account, "TotalAmt": money(chance), **_txn(row, chance), "Line": [line]}


def transfer(books: Books, row: Row, chance: Random) -> Record:
    ends = {"FromAccountRef": books.ref("Account", row.slot), "ToAccountRef": books.ref("Account", row.slot + 1)}
    return {**ends, "Amount": money(chance), **_txn(row, chance)}


def credit_card_payment(books: Books, row: Row, chance: Random) -> Record:
    accounts = {"BankAccountRef": books.ref("Account", 35), "CreditCardAccountRef": books.ref("Account", 41)}
    return {**accounts, "Amount": money(chance), **_txn(row, chance)}


def time_activity(books: Books, row: Row, chance: Random) -> Record:
    who = {"NameOf": "Employee", "EmployeeRef": books.ref("Employee", row.slot)}
    job = {"CustomerRef": books.ref("Customer", row.slot), "ItemRef": books.ref("Item", row.slot)}
    hours = {"Hours": chance.randrange(1, 9), "Minutes": 30, "BillableStatus": "Billable", "HourlyRate": 25}
    return {"TxnDate": day_text(row.day).decode(), **who, **job, **hours}


def inventory_adjustment(books: Books, row: Row, chance: Random) -> Record:
    detail = {"ItemRef": books.ref("Item", row.slot), "QtyDiff": chance.randrange(-9, 9)}
    line = {"Id": "1", "DetailType": "ItemAdjustmentLineDetail", "ItemAdjustmentLineDetail": detail}
    return {"AdjustAccountRef": books.ref("Account", 80), **_txn(row, chance), "Line": [line]}


def reimburse_charge(books: Books, row: Row, chance: Random) -> Record:
    return {"CustomerRef": books.ref("Customer", row.slot), "Amount": money(chance), "HasBeenInvoiced": bool(row.sync)}


def recurring(books: Books, row: Row, chance: Random) -> Record:
    """A template: the record inside; the table puts it into an object under its kind's name."""
    inside = (bill if row.slot % 2 else purchase)(books, row, chance)
    schedule = {"IntervalType": "Monthly", "NumInterval": 1, "DayOfMonth": 1}
    about = {"Name": f"Plantilla {row.slot}", "RecurType": "Automated", "Active": True, "ScheduleInfo": schedule}
    return {"RecurringInfo": about, **inside}


def budget(books: Books, row: Row, chance: Random) -> Record:
    detail = [{"BudgetDate": day_text(row.day + 30 * at).decode(), "Amount": money(chance),
               "AccountRef": books.ref("Account", at)} for at in range(12)]  # fmt: skip
    return {"Name": f"Budget {row.slot}", "BudgetType": "ProfitAndLoss", "BudgetEntryType": "Monthly", "Active": True,
            "BudgetDetail": detail}  # fmt: skip


def attachable(books: Books, row: Row, chance: Random) -> Record:
    invoice, _ = books.txn("Invoice", row.slot * 11)
    linked = {"EntityRef": {"value": invoice, "type": "Invoice"}, "IncludeOnSend": False}
    file = {
        "FileName": f"recibo-{row.slot}.pdf",
        "ContentType": "application/pdf",
        "Size": chance.randrange(9_000, 90_000),
    }
    return {**file, "AttachableRef": [linked]}


def tax_agency(books: Books, row: Row, chance: Random) -> Record:  # noqa: ARG001 - all are called alike
    return {"TaxTrackedOnPurchases": False, "TaxTrackedOnSales": True, "DisplayName": f"Agency {row.slot}"}


def tax_payment(books: Books, row: Row, chance: Random) -> Record:
    paid = {"PaymentDate": day_text(row.day).decode(), "PaymentAmount": money(chance), "Refund": False}
    return {"PaymentAccountRef": books.ref("Account", 35), **paid}


CODES = ("EUR", "CAD", "GBP", "JPY", "MXN", "COP", "BRL", "AUD")


def exchange_rate(books: Books, row: Row, chance: Random) -> Record:  # noqa: ARG001
    day = row.created // 86_400
    return {"AsOfDate": day_text(day).decode(), "SourceCurrencyCode": CODES[row.slot % len(CODES)],
            "TargetCurrencyCode": "USD", "Rate": number(f"{chance.uniform(0.01, 1.4) + row.sync:.6f}")}  # fmt: skip


# Lists of names: what stands in a record beside its name.


def vendor(books: Books, row: Row, chance: Random) -> Record:  # noqa: ARG001
    return {"Balance": money(chance), "AcctNum": str(30_000 + row.slot), "Vendor1099": False, "CurrencyRef": HOME}


def account(books: Books, row: Row, chance: Random) -> Record:  # noqa: ARG001
    kind = (("Asset", "Bank"), ("Liability", "Accounts Payable"), ("Revenue", "Income"), ("Expense", "Expense"))
    classification, account_type = kind[row.slot % 4]
    balance = money(chance)
    return {"SubAccount": False, "Classification": classification, "AccountType": account_type,
            "CurrentBalance": balance, "CurrentBalanceWithSubAccounts": balance, "CurrencyRef": HOME}  # fmt: skip


def employee(books: Books, row: Row, chance: Random) -> Record:  # noqa: ARG001
    return {"BillableTime": False, "GivenName": words.FIRST_NAMES[row.slot % len(words.FIRST_NAMES)]}


def term(books: Books, row: Row, chance: Random) -> Record:  # noqa: ARG001
    return {"Type": "STANDARD", "DiscountPercent": 0, "DueDays": 15 * row.slot, "DiscountDays": 0}


def tax_code(books: Books, row: Row, chance: Random) -> Record:  # noqa: ARG001
    return {"Description": "Tax", "Taxable": row.slot % 2 == 0, "TaxGroup": True}


def tax_rate(books: Books, row: Row, chance: Random) -> Record:  # noqa: ARG001
    return {"RateValue": number(f"{chance.randrange(1, 20)}.00"), "AgencyRef": {"value": "1"}, "SpecialTaxType": "NONE"}


def currency(books: Books, row: Row, chance: Random) -> Record:  # noqa: ARG001
    return {"Code": CODES[row.slot % len(CODES)]}


def plain(books: Books, row: Row, chance: Random) -> Record:  # noqa: ARG001
    return {}
