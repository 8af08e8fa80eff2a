"""Runs in python-quickbooks' own environment: asks as its README shows, prints what it got as one JSON object."""

from __future__ import annotations

import json
import os
import warnings
from datetime import datetime, timedelta, timezone

from intuitlib.client import AuthClient
from intuitlib.enums import Scopes
from intuitlib.exceptions import AuthClientError
from quickbooks import QuickBooks
from quickbooks.batch import batch_create, batch_delete, batch_update
from quickbooks.cdc import change_data_capture
from quickbooks.exceptions import ObjectNotFoundException, QuickbooksException
from quickbooks.objects.customer import Customer
from quickbooks.objects.invoice import Invoice
from quickbooks.objects.item import Item

warnings.simplefilter("ignore", DeprecationWarning)
auth = AuthClient(
    client_id=os.environ["CLIENT_ID"],
    client_secret=os.environ["CLIENT_SECRET"],
    environment="sandbox",
    redirect_uri="http://localhost:8000/callback",
)
client = QuickBooks(
    auth_client=auth, refresh_token=os.environ["REFRESH_TOKEN"], company_id=os.environ["REALM_ID"], minorversion=75
)
found: dict[str, object] = {
    "authorization_url": auth.get_authorization_url([Scopes.ACCOUNTING]),
    "token_endpoint": auth.token_endpoint,
    "refresh_token": client.refresh_token,
    "expires_in": auth.expires_in,
}

# List, page by page, as its README shows.
everyone: list[Customer] = []
while page := Customer.query(
    f"SELECT * FROM Customer WHERE Active IN (true, false) STARTPOSITION {len(everyone) + 1} MAXRESULTS 100", qb=client
):
    everyone += page
found["customers"] = {row.Id: [row.DisplayName, row.Active, row.SyncToken] for row in everyone}
found["default_page"] = len(Customer.all(qb=client))
found["first_ten"] = len(Item.all(max_results=10, qb=client))
found["counts"] = [entity.count(qb=client) for entity in (Customer, Item, Invoice)]
found["count_where"] = Customer.count("Active IN (true, false)", qb=client)

# Where, choose, filter, order.
some = everyone[3]
found["filtered"] = [row.Id for row in Customer.filter(DisplayName=some.DisplayName, qb=client)]
quoted = [row.DisplayName for row in everyone if "'" in row.DisplayName and row.Active][:3]
found["quoted"] = [[row.DisplayName for row in Customer.filter(DisplayName=name, qb=client)] for name in quoted]
found["chosen"] = sorted(row.Id for row in Customer.choose(["1", everyone[5].Id], field="Id", qb=client))
ordered = Invoice.where("TotalAmt > '500'", order_by="TxnDate DESC", max_results=50, qb=client)
found["ordered"] = [[str(row.TxnDate), float(row.TotalAmt)] for row in ordered]
invoice = Invoice.get(int(ordered[0].Id), qb=client)
found["read"] = [
    invoice.Id == ordered[0].Id,
    len(invoice.Line),
    invoice.CustomerRef.name == ordered[0].CustomerRef.name,
]

# Change data capture.
changed = change_data_capture([Invoice, Customer], datetime.now(timezone.utc) - timedelta(days=1), qb=client)
found["changed"] = sorted(row.Id for row in changed.Invoice._object_list)
found["changed_customers"] = hasattr(changed, "Customer")

# Batches: create, update, delete; one of them refused.
customers = []
for name in ("Batch Ñandú", "Batch 🌵", some.DisplayName):
    customer = Customer()
    customer.DisplayName = name
    customers.append(customer)
created = batch_create(customers, qb=client)
found["batch_created"] = [row.DisplayName for row in created.successes]
found["batch_refused"] = [[error.code, error.Message] for fault in created.faults for error in fault.Error]
for row in created.successes:
    row.CompanyName = "Batch & Co."
updated = batch_update(created.successes, qb=client)
found["batch_updated"] = [[row.CompanyName, row.SyncToken] for row in updated.successes]
deleted = batch_delete([Invoice.get(int(row.Id), qb=client) for row in ordered[:2]], qb=client)
found["batch_deleted"] = [len(deleted.successes), len(deleted.faults)]
found["count_after"] = Invoice.count(qb=client)

# What goes wrong.
try:
    Invoice.get(999_999_999, qb=client)
except ObjectNotFoundException as error:
    found["not_found"] = error.error_code
try:
    Invoice.query("SELECT * FROM Invoice WHERE Nonsense = '1'", qb=client)
except QuickbooksException as error:
    found["refused"] = [error.error_code, error.detail]
stranger = AuthClient(os.environ["CLIENT_ID"], "wrong", "http://localhost:8000/callback", "sandbox")
try:
    stranger.refresh(refresh_token=os.environ["REFRESH_TOKEN"])
except AuthClientError as error:
    found["stranger"] = [error.status_code, bool(error.intuit_tid), json.loads(error.content)]
print(json.dumps(found))
