"""python-quickbooks' objects, page by page, into Postgres by psycopg2. Its hosts are pointed at the simulator."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import psycopg2
import requests
from psycopg2.extras import execute_values
from quickbooks import QuickBooks
from quickbooks.exceptions import QuickbooksException
from quickbooks.objects.invoice import Invoice

API = os.environ["QBO_URL"]
token = requests.post(
    f"{API}/oauth2/v1/tokens/bearer",
    auth=(os.environ["QBO_CLIENT_ID"], os.environ["QBO_CLIENT_SECRET"]),
    data={"grant_type": "refresh_token", "refresh_token": os.environ["QBO_REFRESH_TOKEN"]},
    timeout=60,
).json()["access_token"]
QuickBooks.sandbox_api_url_v3 = f"{API}/v3"
auth = SimpleNamespace(
    environment="sandbox",
    access_token=token,
    refresh_token=os.environ["QBO_REFRESH_TOKEN"],
    client_id=os.environ["QBO_CLIENT_ID"],
)
client = QuickBooks(
    auth_client=auth,
    refresh_token=os.environ["QBO_REFRESH_TOKEN"],
    company_id=os.environ["QBO_REALM"],
    minorversion=75,
)
connection = psycopg2.connect(os.environ["DATABASE"])
cursor = connection.cursor()
cursor.execute("CREATE TABLE IF NOT EXISTS invoices (id text PRIMARY KEY, payload jsonb NOT NULL)")
position = 1
while True:
    statement = f"SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime STARTPOSITION {position} MAXRESULTS 1000"
    while True:
        try:
            page = Invoice.query(statement, qb=client)
            break
        except QuickbooksException as error:
            if "hrottl" not in str(error) and "3001" not in str(error):
                raise
            time.sleep(60)
    if page:
        execute_values(
            cursor,
            "INSERT INTO invoices (id, payload) VALUES %s ON CONFLICT (id) DO UPDATE SET payload = excluded.payload",
            [(invoice.Id, invoice.to_json()) for invoice in page],
            page_size=1000,
        )
        connection.commit()
    if len(page) < 1000:
        break
    position += 1000
