"""What many write first: requests, json, execute_values. Pages by STARTPOSITION, one after another."""

from __future__ import annotations

import json
import os
import time

import psycopg2
import requests
from psycopg2.extras import execute_values

API, REALM = os.environ["QBO_URL"], os.environ["QBO_REALM"]
token = requests.post(
    f"{API}/oauth2/v1/tokens/bearer",
    auth=(os.environ["QBO_CLIENT_ID"], os.environ["QBO_CLIENT_SECRET"]),
    data={"grant_type": "refresh_token", "refresh_token": os.environ["QBO_REFRESH_TOKEN"]},
    timeout=60,
).json()["access_token"]
session = requests.Session()
session.headers.update({"Authorization": f"Bearer {token}", "Accept": "application/json"})
connection = psycopg2.connect(os.environ["DATABASE"])
cursor = connection.cursor()
cursor.execute("CREATE TABLE IF NOT EXISTS invoices (id text PRIMARY KEY, payload jsonb NOT NULL)")
position = 1
while True:
    statement = f"SELECT * FROM Invoice ORDERBY MetaData.LastUpdatedTime STARTPOSITION {position} MAXRESULTS 1000"
    while True:
        answer = session.get(
            f"{API}/v3/company/{REALM}/query", params={"query": statement, "minorversion": "75"}, timeout=120
        )
        if answer.status_code != 429:
            break
        time.sleep(60)
    answer.raise_for_status()
    page = answer.json()["QueryResponse"].get("Invoice", [])
    if page:
        execute_values(
            cursor,
            "INSERT INTO invoices (id, payload) VALUES %s ON CONFLICT (id) DO UPDATE SET payload = excluded.payload",
            [(record["Id"], json.dumps(record)) for record in page],
            page_size=1000,
        )
        connection.commit()
    if len(page) < 1000:
        break
    position += 1000
