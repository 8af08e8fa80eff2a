"""Every entity that QuickBooks lets one query: a table of facts, one row each. docs/entities.md is made from it.

A quirk is a column here, and one branch where it acts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Leaves = Literal["deleted", "inactive", "merged", "stays", "superseded"]
Status = Literal["recordings", "documentation", "assumed"]

# Where the facts are from: how sure that is, and what it is.
SOURCES: dict[str, tuple[Status, str]] = {
    "NGO": ("recordings", "NangoHQ/integration-templates: answers of a sandbox, May 2026"),
    "VCR": ("recordings", "minimul/qbo_api: answers of a sandbox, byte for byte, 2020 to 2022"),
    "RUBY": ("recordings", "ruckus/quickbooks-ruby: answers in XML, 2013 to 2018"),
    "FYL": ("recordings", "fylein/qbo-sdk-py and fyle-qbo-api: answers, 2019 to 2023"),
    "REF": ("documentation", "Intuit's reference of the entity, read in a mirror of February 2026"),
    "CDC": ("documentation", "Intuit's page on change data capture, which names what it leaves out"),
    "TAP": ("documentation", "singer-io/tap-quickbooks: in production, asks for it by LastUpdatedTime"),
    "SEEN": ("recordings", "single answers in other public recordings, 2013 to 2023"),
    "INF": ("assumed", "inferred from how its likes behave"),
}


@dataclass(frozen=True)
class Entity:
    """A kind of QuickBooks record.

    `name` is what people type and the ledger holds; `query_name` is QuickBooks' own in `SELECT * FROM`, and
    `response_name` the key that its records come under. `sources` are keys of SOURCES, `spanish` what else people
    call it.

    * `has_active`: inactive records are left out of a query, and of its COUNT, unless `Active IN (true, false)` is
      asked for.
    * `has_txn_date`: it has a `TxnDate` to filter by. `has_create_time`: likewise `MetaData.CreateTime`.
    * `in_cdc`: change data capture lists it. Where it doesn't, what was deleted is found by counts.
    * `leaves`: what becomes of a record: it is deleted; made inactive; merged into another, and then gone; it stays; or
      it is superseded: no longer listed, and kept in raw.
    * `key`: the keys of the record that tell it from others; several are joined by `/` in the table's `id`.
      `digits`: its Ids are numbers, which can be asked for.
    * `wrapped`: each record stands inside an object under its kind's name: `{"Bill": {"Id": ...}}`.
    * `one_row`: there is one record, and a query of it takes no STARTPOSITION and MAXRESULTS.
    * `volatile`: keys that are other at each reading: no difference, and no reason to write.
    * `custom_fields`: `include=enhancedAllCustomFields` brings more of them.
    * `needs`: what a company needs to have it; empty where every company does.
    * `shows`: the keys that its view in raw_views has as columns, in order.
    """

    name: str
    query_name: str
    sources: tuple[str, ...]
    spanish: tuple[str, ...] = ()
    has_active: bool = False
    has_txn_date: bool = False
    has_create_time: bool = True
    in_cdc: bool = True
    leaves: Leaves = "deleted"
    response_name: str = ""
    key: tuple[str, ...] = ("Id",)
    digits: bool = True
    wrapped: bool = False
    one_row: bool = False
    volatile: tuple[str, ...] = ()
    custom_fields: bool = False
    needs: str = ""
    shows: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "response_name", self.response_name or self.query_name)

    @property
    def table(self) -> str:
        """Its table in schema raw."""
        return f"qb_{self.name}"

    @property
    def id_comment(self) -> str:
        """What the table's `id` holds."""
        if self.key == ("Id",):
            digits = "a string of digits, " if self.digits else ""
            return f"The {self.query_name}'s Id in QuickBooks, {digits}unique within the company."
        return f"{', '.join(self.key)} of the {self.query_name}, joined by /: QuickBooks gives it no Id."

    @property
    def status(self) -> Status:
        """How sure its facts are: by the best of their sources."""
        known = {SOURCES[source][0] for source in self.sources}
        return "recordings" if "recordings" in known else "documentation" if "documentation" in known else "assumed"

    @property
    def kind(self) -> str:
        """What a record of it is, in a word."""
        if self.one_row:
            return "one record"
        return "transaction" if self.has_txn_date else "list"

    @property
    def is_removed(self) -> bool:
        """Whether a record can vanish from QuickBooks."""
        return self.leaves in ("deleted", "merged")


def _sale(name: str, query_name: str, *facts: object, **quirks: object) -> Entity:
    """A transaction with a customer: change data capture has it, and it takes custom fields."""
    return _transaction(name, query_name, *facts, custom_fields=True, **quirks)


def _transaction(name: str, query_name: str, sources: object, spanish: object, **quirks: object) -> Entity:
    return _entity(name, query_name, sources, spanish, has_txn_date=True, **quirks)


def _names(name: str, query_name: str, sources: object, spanish: object, **quirks: object) -> Entity:
    """A list of names: made inactive rather than deleted."""
    return _entity(name, query_name, sources, spanish, has_active=True, **{"leaves": "inactive", **quirks})


def _entity(name: str, query_name: str, sources: object, spanish: object, **quirks: object) -> Entity:
    words = tuple(word.strip() for word in str(spanish).split(","))
    return Entity(name, query_name, tuple(str(sources).split()), words, **quirks)  # type: ignore[arg-type]


_CURRENCY = "multicurrency turned on"
_BILLS = "the Essentials plan or a larger one"
_PLUS = "the Plus plan or a larger one"
# What most sales, most expenses, and most lists of names show.
_SALE = "DocNumber TxnDate CustomerRef CurrencyRef TotalAmt Balance"
_EXPENSE = "DocNumber TxnDate VendorRef CurrencyRef TotalAmt"
_PLAIN = "Name FullyQualifiedName ParentRef Active"

ENTITIES: dict[str, Entity] = {
    entity.name: entity
    for entity in (
        _sale("invoices", "Invoice", "NGO VCR FYL TAP CDC", "facturas", shows=f"{_SALE} DueDate"),
        _names("customers", "Customer", "NGO VCR FYL TAP CDC", "clientes", leaves="merged", custom_fields=True,
               shows="DisplayName CompanyName FullyQualifiedName PrimaryEmailAddr.Address PrimaryPhone.FreeFormNumber "
                     "CurrencyRef Balance Active"),
        _names("items", "Item", "NGO FYL TAP CDC", "artículos, productos, productos y servicios", leaves="merged",
               shows="Name FullyQualifiedName Sku Type UnitPrice PurchaseCost QtyOnHand Active"),
        # Sales
        _transaction("payments", "Payment", "NGO VCR TAP CDC", "pagos, cobros",
                     shows="PaymentRefNum TxnDate CustomerRef CurrencyRef TotalAmt UnappliedAmt"),
        _sale("credit_memos", "CreditMemo", "NGO TAP CDC", "notas de crédito",
              note="RemainingCredit changes when it is applied.", shows=f"{_SALE} RemainingCredit"),
        _sale("sales_receipts", "SalesReceipt", "VCR TAP CDC", "recibos de venta, ventas", shows=_SALE),
        _sale("refund_receipts", "RefundReceipt", "RUBY TAP CDC", "reembolsos, recibos de reembolso", shows=_SALE),
        _sale("estimates", "Estimate", "NGO TAP CDC", "cotizaciones, estimaciones",
              note="LastUpdatedTime also moves with the SyncToken unchanged.",
              shows="DocNumber TxnDate CustomerRef CurrencyRef TotalAmt TxnStatus"),
        # Expenses
        _transaction("bills", "Bill", "NGO TAP CDC", "facturas de proveedor, facturas por pagar", needs=_BILLS,
                     shows=f"{_EXPENSE} Balance DueDate"),
        _transaction("bill_payments", "BillPayment", "NGO TAP CDC", "pagos de facturas, pagos a proveedores",
                     needs=_BILLS, shows=f"{_EXPENSE} PayType"),
        _transaction("vendor_credits", "VendorCredit", "SEEN TAP CDC", "créditos de proveedor", needs=_BILLS,
                     shows=f"{_EXPENSE} Balance"),
        _transaction("purchases", "Purchase", "NGO TAP CDC", "gastos, compras, cheques, checks, expenses",
                     note="Checks, credit card charges and cash expenses are Purchases.",
                     shows="DocNumber TxnDate EntityRef AccountRef CurrencyRef TotalAmt PaymentType"),
        _transaction("purchase_orders", "PurchaseOrder", "NGO TAP CDC", "órdenes de compra", custom_fields=True,
                     needs=_PLUS, shows=f"{_EXPENSE} POStatus"),
        _transaction("credit_card_payments", "CreditCardPayment", "REF CDC", "pagos de tarjeta",
                     response_name="CreditCardPaymentTxn", needs="an edition with credit card payments",
                     note="Records come under CreditCardPaymentTxn.",
                     shows="TxnDate BankAccountRef CreditCardAccountRef CurrencyRef Amount"),
        _entity("reimburse_charges", "ReimburseCharge", "REF INF", "cargos reembolsables, reimbursable charges",
                needs=_PLUS, note="No TxnDate to filter by is documented.",
                shows="CustomerRef Amount HasBeenInvoiced"),
        # Books
        _transaction("journal_entries", "JournalEntry", "NGO TAP CDC", "asientos, asientos contables",
                     shows="DocNumber TxnDate CurrencyRef TotalAmt PrivateNote"),
        _transaction("deposits", "Deposit", "NGO TAP CDC", "depósitos",
                     shows="TxnDate DepositToAccountRef CurrencyRef TotalAmt"),
        _transaction("transfers", "Transfer", "NGO TAP CDC", "transferencias, traspasos",
                     shows="TxnDate FromAccountRef ToAccountRef Amount"),
        _transaction("inventory_adjustments", "InventoryAdjustment", "REF INF", "ajustes de inventario",
                     needs="the US Plus or Advanced plan", note="No query of it is documented.",
                     shows="DocNumber TxnDate AdjustAccountRef"),
        _transaction("time_activities", "TimeActivity", "TAP CDC REF", "horas, actividades, registros de tiempo",
                     in_cdc=False, needs=_BILLS, note="Can be deleted, and change data capture has none of it.",
                     shows="TxnDate NameOf EmployeeRef VendorRef CustomerRef ItemRef Hours Minutes HourlyRate "
                           "Description"),
        _entity("recurring_transactions", "RecurringTransaction", "REF CDC",
                "recurrentes, transacciones recurrentes", wrapped=True, needs=_BILLS,
                note="Each record stands inside an object under its kind: {\"Bill\": {\"Id\": ...}}.",
                shows="RecurringInfo.Name RecurringInfo.RecurType RecurringInfo.Active "
                      "RecurringInfo.ScheduleInfo.NextDate CustomerRef VendorRef CurrencyRef TotalAmt"),
        _entity("budgets", "Budget", "SEEN TAP CDC REF", "presupuestos", has_active=True, needs=_PLUS,
                shows="Name BudgetType StartDate EndDate Active"),
        # Lists
        _names("vendors", "Vendor", "NGO VCR TAP CDC", "proveedores", leaves="merged",
               note="A balance that changes moves LastUpdatedTime and not the SyncToken.",
               shows="DisplayName CompanyName AcctNum PrimaryEmailAddr.Address CurrencyRef Balance Active"),
        _names("accounts", "Account", "NGO TAP CDC", "cuentas, cuentas contables, plan de cuentas", leaves="merged",
               note="By default ordered by Name.",
               shows="AcctNum Name FullyQualifiedName Classification AccountType AccountSubType CurrencyRef "
                     "CurrentBalance Active"),
        _names("classes", "Class", "FYL TAP CDC", "clases", needs=_PLUS, note="Ids of 19 digits.", shows=_PLAIN),
        _names("departments", "Department", "SEEN TAP CDC", "departamentos, ubicaciones, locations", needs=_PLUS,
               shows=_PLAIN),
        _names("employees", "Employee", "VCR TAP CDC", "empleados",
               shows="DisplayName GivenName FamilyName EmployeeNumber HiredDate ReleasedDate Active"),
        _names("terms", "Term", "SEEN TAP CDC", "términos, condiciones de pago",
               shows="Name Type DueDays DiscountPercent Active"),
        _names("payment_methods", "PaymentMethod", "SEEN TAP CDC", "formas de pago, métodos de pago",
               shows="Name Type Active"),
        _names("customer_types", "CustomerType", "SEEN TAP CDC", "tipos de cliente", note="Ids of 19 digits.",
               shows="Name Active"),
        _names("company_currencies", "CompanyCurrency", "SEEN REF CDC", "monedas, divisas, currencies",
               needs=_CURRENCY, shows="Code Name Active"),
        _names("tax_codes", "TaxCode", "RUBY REF TAP CDC", "códigos de impuesto, impuestos", in_cdc=False, digits=False,
               note="US companies have the Ids TAX, NON and CustomSalesTax, and no SyncToken there.",
               shows="Name Description Taxable Active"),
        _names("tax_rates", "TaxRate", "SEEN TAP CDC", "tasas de impuesto", in_cdc=False,
               shows="Name Description RateValue AgencyRef Active"),
        _entity("tax_agencies", "TaxAgency", "TAP CDC", "agencias tributarias", in_cdc=False, leaves="stays",
                note="ORDERBY was seen not to work: what is read doesn't rely on it.", shows="DisplayName"),
        _names("journal_codes", "JournalCode", "REF CDC", "códigos de diario", in_cdc=False,
               needs="a company in France", shows="Name Type Description Active"),
        _entity("tax_payments", "TaxPayment", "REF INF", "pagos de impuestos", needs="a company outside the US",
                note="TxnDate can't be filtered by.",
                shows="PaymentDate PaymentAccountRef PaymentAmount Description"),
        _entity("exchange_rates", "ExchangeRate", "FYL REF", "tipos de cambio", has_create_time=False, in_cdc=False,
                leaves="superseded", key=("SourceCurrencyCode", "TargetCurrencyCode", "AsOfDate"), digits=False,
                needs=_CURRENCY,
                note="No Id and no CreateTime: the table's id is EUR/USD/2026-05-05. A query lists the rates in "
                "effect; raw keeps those of the days before.",
                shows="SourceCurrencyCode TargetCurrencyCode AsOfDate Rate"),
        _entity("attachables", "Attachable", "VCR FYL REF CDC", "adjuntos, archivos adjuntos, attachments",
                volatile=("TempDownloadUri", "ThumbnailTempDownloadUri"), shows="FileName ContentType Size Note",
                note="Its signed links live 15 minutes, and are others at each reading."),
        # The company
        _entity("company_info", "CompanyInfo", "VCR REF", "empresa, compañía, datos de la empresa, company",
                leaves="stays", one_row=True, note="Read when the range holds its last edit.",
                shows="CompanyName LegalName Country Email.Address CompanyStartDate"),
        _entity("preferences", "Preferences", "REF RUBY", "preferencias, settings, configuración", leaves="stays",
                one_row=True, note="Read when the range holds its last edit.",
                shows="CurrencyPrefs.HomeCurrency.value CurrencyPrefs.MultiCurrencyEnabled"),
    )
}  # fmt: skip

# The course's own, which have a pipeline each, and a table in every warehouse.
FIRST_CLASS = ("invoices", "customers", "items")

# What can't be queried, and why.
NOT_QUERYABLE = {
    "Entitlements": "an endpoint of its own, in XML only: what the plan includes, no books",
    "TaxClassification": "an endpoint of its own, without MetaData: Intuit's list, the same for every company",
    "TaxService": "write only: it makes TaxCodes, TaxRates and TaxAgencies",
    "CustomFieldDefinition": "GraphQL, Intuit's Premium API, with a scope of its own",
    "Reports": "endpoints of their own (ProfitAndLoss, GeneralLedger ...): computed from what is read here",
}
