"""The floor: records from memory by plain COPY straight into an empty table like raw.qb_invoices, with its primary key.

`python -m tools.bench.copy_floor CONFIG.json` reads the records first, then measures the COPY alone. It has as
many connections as the backfill that it is compared with, one COPY and one transaction each; no staging, no HTTP, no
ledger, and none of the columns that only spare later work (created_utc, txn_date, digest, totals). Prints one JSON
object.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import aiohttp

from async_extractor.entities import ENTITIES
from async_extractor.qbo.client import request_json
from async_extractor.qbo.query import LAST_UPDATED, MOST_ROWS, Query
from async_extractor.qbo.split import Record, split_page
from async_extractor.warehouse.connection import Address, connect
from async_extractor.warehouse.schema import bring_up_to_date
from tools.bench.processes import cpu_seconds

COLUMNS = (
    "id",
    "payload",
    "extract_window_start_utc",
    "extract_window_end_utc",
    "page_number",
    "page_size",
    "request_payload",
    "last_updated_utc",
    "sync_token",
    "run_id",
)
START, END = datetime(2010, 1, 1, tzinfo=timezone.utc), datetime(2026, 2, 1, tzinfo=timezone.utc)


async def everything(simulator: dict[str, Any]) -> list[Record]:
    """All the company's invoices, in order of their last update."""
    entity = ENTITIES["invoices"]
    records: list[Record] = []
    async with aiohttp.ClientSession() as session:
        grant = {"grant_type": "refresh_token", "refresh_token": simulator["refresh_token"]}
        auth = aiohttp.BasicAuth(simulator["client_id"], simulator["client_secret"])
        async with session.post(f"{simulator['url']}/oauth2/v1/tokens/bearer", data=grant, auth=auth) as answer:
            token = (await answer.json())["access_token"]
        while True:
            query = Query(entity, (LAST_UPDATED.at_least(START),), LAST_UPDATED, len(records) + 1)
            async with session.get(
                f"{simulator['url']}/v3/company/{simulator['realm_id']}/query",
                params={"minorversion": "75", "query": query.text()},
                headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
            ) as answer:
                page = split_page(entity, await answer.read())
            records += page.records
            if page.rows < MOST_ROWS:
                return records


async def copy_all(address: Address, records: list[Record], connections: int) -> dict[str, float]:
    """COPY on so many connections at once, each in one transaction."""
    opened = [await connect(address) for _ in range(connections)]
    request = request_json(
        {
            "method": "GET",
            "path": "/v3/company/4620816365000007770/query",
            "minorversion": 75,
            "query": Query(
                ENTITIES["invoices"], (LAST_UPDATED.at_least(START), LAST_UPDATED.before(END)), LAST_UPDATED
            ).text(),
        }
    )
    rows = [
        (r.id, bytes(r.raw), START, END, 1 + number // MOST_ROWS, MOST_ROWS, request, r.last_updated, r.sync_token, 1)
        for number, r in enumerate(records)
    ]
    share = -(-len(rows) // connections)
    server = [connection.get_server_pid() for connection in opened]
    before = sum(map(cpu_seconds, server))
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(
        *(
            connection.copy_records_to_table(
                "qb_invoices", schema_name="raw", records=rows[share * n : share * (n + 1)], columns=COLUMNS
            )
            for n, connection in enumerate(opened)
        )
    )
    spent = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu, "rows": len(rows)}
    spent["server_cpu_seconds"] = sum(map(cpu_seconds, server)) - before
    for connection in opened:
        await connection.close()
    return spent


async def main(config: dict[str, Any]) -> dict[str, float]:
    postgres = config["postgres"]
    address = Address(postgres["host"], postgres["port"], postgres["dbname"], postgres["user"], postgres["password"])
    connection = await connect(address)
    await bring_up_to_date(connection)
    await connection.execute("CHECKPOINT")
    await connection.close()
    return await copy_all(address, await everything(config["simulator"]), config["connections"])


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.loads(Path(sys.argv[1]).read_text())))))
