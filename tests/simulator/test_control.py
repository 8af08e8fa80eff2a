"""The simulator's own control: planting records byte for byte, editing, asking for the truth."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any

import pytest

from tests.simulator.client import Client, Reply

WHEN = "2025-05-05T10:00:00-07:00"


def served(reply: Reply) -> bytes:
    """The records of a page of invoices, as they were sent."""
    body = reply.body
    return body[len(b'{"QueryResponse":{"Invoice":[') : body.rindex(b'],"startPosition"')]


RAW = {
    "a NUL": rb'{"Id":"1","MetaData":{"LastUpdatedTime":"2025-05-05T10:00:00-07:00"},"DocNumber":"a\u0000b"}',
    "a lone surrogate": rb'{"Id":"2","PrivateNote":"\ud800"}',
    "no Id": b'{"MetaData":{"LastUpdatedTime":"2025-05-05T10:00:00-07:00"},"TotalAmt":639.00}',
    "no object": b"[1, 2]",
    "a number": b"12345678901234567890.10",
    "a twenty-digit Id": b'{"Id":"12345678901234567890","TotalAmt":1e400}',
    "spaces and line breaks": b'{ "Id" : "3",\n\t"TotalAmt" : 639.00 }',
    "a key twice": b'{"Id":"4","Id":"4","TotalAmt":0.10}',
    "bytes that are no UTF-8": b'{"Id":"5","DocNumber":"\xff\xfe"}',
    "no JSON at all": b"{]",
    "five megabytes": b'{"Id":"6","PrivateNote":"' + b"x" * 5_000_000 + b'"}',
    "deeply nested": b'{"Id":"7","x":' + b"[" * 400 + b"]" * 400 + b"}",
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_a_planted_record_is_served_byte_for_byte(raw: bytes, encoding: str) -> None:
    async with Client(invoices=5) as client:
        record = {"payload_base64": base64.b64encode(raw).decode(), "created": WHEN, "updated": WHEN}
        await client.control("load", {"entity": "Invoice", "replace": True, "records": [record]})
        window = f"MetaData.LastUpdatedTime >= '{WHEN}' AND MetaData.LastUpdatedTime < '2025-05-05T10:00:01-07:00'"
        reply = await client.query(f"SELECT * FROM Invoice WHERE {window}", **{"Accept-Encoding": encoding})
        if "content-encoding" in reply.headers:  # short answers are not compressed
            reply.body = gzip.decompress(reply.body)
        assert reply.status == 200
        assert served(reply) == raw
        assert await client.count(f"Invoice WHERE {window}") == 1
        assert await client.count("Invoice WHERE TotalAmt = '639'") == (1 if b"639.00" in raw else 0)
        truth = await client.ask("GET", "/_simulator/truth/Invoice?framing=length")
        head, _, rest = truth.body.partition(b"\n")
        assert rest == raw + b"\n"
        assert int(head.split(b"\t")[1]) == len(raw)


async def test_planted_records_stand_beside_the_companys_own() -> None:
    async with Client(invoices=50) as client:
        raw = b'{"Id":"99","SyncToken":"0","MetaData":{"CreateTime":"%b","LastUpdatedTime":"%b"}}' % (
            WHEN.encode(),
            WHEN.encode(),
        )
        reply = await client.ask(
            "POST",
            "/_simulator/load?entity=Invoice",
            data=raw + b"\n\n" + raw.replace(b"99", b"98"),
            headers={"Content-Type": "application/x-ndjson"},
        )
        assert reply.json == {"planted": 2, "rows": 52}
        page = await client.query(
            "SELECT * FROM Invoice ORDERBY TxnDate MAXRESULTS 1000", **{"Accept-Encoding": "gzip"}
        )
        rows = json.loads(gzip.decompress(page.body))["QueryResponse"]["Invoice"]
        assert len(rows) == 52
        assert {"98", "99"} < {row["Id"] for row in rows}


async def test_an_edit_of_a_planted_record_changes_its_token_and_time_only() -> None:
    async with Client(invoices=0) as client:
        times = json.dumps({"CreateTime": WHEN, "LastUpdatedTime": WHEN}, separators=(",", ":"))
        raw = '{"Id":"9","x":[1.50, 2],"SyncToken":"7","MetaData":' + times + "}"
        await client.control("load", {"entity": "Invoice", "records": [{"payload": raw}]})
        await client.control("edit", {"entity": "Invoice", "edit": ["9"], "at": 1_700_000_000 + 10**8})
        after = served(await client.query("SELECT * FROM Invoice")).decode()
        moved = json.loads(after)["MetaData"]["LastUpdatedTime"]
        assert after == raw.replace('"7"', '"8"').replace(f'Time":"{WHEN}"}}', f'Time":"{moved}"}}')
        assert moved != WHEN


async def test_thousands_of_rows_can_share_a_second() -> None:
    async with Client(invoices=0) as client:
        records = [{"payload": json.dumps({"Id": str(at)}), "created": WHEN, "updated": WHEN} for at in range(5_000)]
        await client.control("load", {"entity": "Invoice", "records": records})
        assert await client.count(f"Invoice WHERE MetaData.CreateTime = '{WHEN}'") == 5_000
        read = set()
        for start in range(1, 5_001, 1_000):
            rows = await client.rows(
                f"SELECT * FROM Invoice WHERE MetaData.CreateTime = '{WHEN}' STARTPOSITION {start} MAXRESULTS 1000"
            )
            read |= {row["Id"] for row in rows}
        assert len(read) == 5_000


async def test_the_truth_is_what_is_served() -> None:
    async with Client(invoices=300, customers=120, items=60) as client:
        await client.control("edit", {"entity": "Invoice", "edit": 20, "insert": 5, "void": 5, "delete": 5})
        for entity, rows in (("Invoice", 300), ("Customer", 120), ("Item", 60)):
            where = "" if entity == "Invoice" else "WHERE Active IN (true, false) "
            page = await client.query(f"SELECT * FROM {entity} {where}MAXRESULTS 1000")
            records = page.json["QueryResponse"][entity]
            truth = (await client.ask("GET", f"/_simulator/truth/{entity}")).body.splitlines()
            assert len(truth) == rows
            assert [json.loads(line) for line in truth] == sorted(records, key=lambda row: int(row["Id"]))
            assert all(line in page.body for line in truth)
        gone = (await client.ask("GET", "/_simulator/truth/Invoice?deleted=1")).json["deleted"]
        assert len(gone) == 5
        assert (await client.ask("GET", f"/_simulator/truth/Invoice/{gone[0]}")).status == 404
        first = json.loads(truth[0])
        assert (await client.ask("GET", f"/_simulator/truth/Item/{first['Id']}")).body == truth[0]


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("edit", {"entity": "Bill", "edit": 1}, "no entity 'Bill'; there are Invoice, Customer, Item"),
        ("edit", {"entity": "Invoice", "edit": -1}, "edit must be a number of rows or a list of Ids"),
        ("edit", {"entity": "Invoice", "edit": ["0"]}, "no Invoice with Id 0"),
        ("edit", {"entity": "Invoice", "remove": 1}, "unknown edit 'remove'"),
        ("edit", {"entity": "Item", "void": 1}, "only transactions can be voided, not Item"),
        ("load", {"entity": "Invoice", "records": [1]}, "each record must be an object"),
        ("load", {"entity": "Invoice", "records": [{}]}, "each record must have payload"),
        (
            "load",
            {"entity": "Invoice", "records": [{"payload": "{}", "updated": "soon"}]},
            "updated is no timestamp: 'soon'",
        ),
        ("load", {"entity": "Invoice", "records": [{"payload": "{}", "date": "x"}]}, "unknown key 'date' of a record"),
        ("load", {"entity": "Invoice", "records": [{"payload_base64": "!"}]}, "a record's payload can't be read"),
        (
            "load",
            {"entity": "Invoice", "records": [{"payload": '{"Id":"130"}'}]},
            "there is a Invoice with Id 130 already",
        ),
        ("clock", {"offset_seconds": "1"}, "offset_seconds must be a number"),
    ],
)
async def test_a_request_that_makes_no_sense_is_one_clear_line(path: str, body: dict[str, Any], told: str) -> None:
    async with Client() as client:
        reply = await client.ask("POST", f"/_simulator/{path}", json=body)
        assert reply.status == 400
        assert told in reply.text
        assert reply.text.count("\n") == 1


async def test_the_simulator_describes_itself() -> None:
    async with Client() as client:
        about = await client.control("")
        assert about["rows"] == {"Invoice": 60, "Customer": 30, "Item": 25}
        assert about["scenarios"]["calm"].startswith("Everything as documented")
