"""What was tried in the load and in splitting, each against the plain way, in turn: processor time a row."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from async_extractor.entities import ENTITIES
from async_extractor.qbo.split import Record, split_page
from async_extractor.report.svg import bars
from async_extractor.warehouse.connection import Address, Connection, connect
from async_extractor.warehouse.raw_table import STAGED, digest_of, rows_of
from async_extractor.warehouse.schema import bring_up_to_date
from async_extractor.warehouse.statements import statement
from tools.bench.copy_floor import COLUMNS, END, START, everything
from tools.bench.outcome import Part, Table, median
from tools.bench.processes import cpu_seconds
from tools.bench.stage import Database, Stage, simulator

PAGE = 1_000
TABLE = "qb_invoices"


@dataclass(frozen=True)
class Way:
    """One way to load a page: what is set up on the connection, the merge, and pages a transaction."""

    name: str
    setup: tuple[str, ...] = ()
    merge: Callable[[str], str] = lambda text: text
    pages: int = 1
    durable: bool = False
    before: tuple[str, ...] = ()
    straight: bool = True  # what raw doesn't have yet goes into it by COPY, without staging
    digests: bool = True  # what raw has byte by byte isn't sent


def _with_text(merge: str) -> str:
    return merge.replace("record_image_ne(ROW(n.payload), ROW(t.payload))", "n.payload::text <> t.payload::text")


AS_IT_IS = Way("as it is")
WAYS = (
    AS_IT_IS,
    Way("without digests", digests=False),
    Way(
        "staging compressed, without digests",
        ("ALTER TABLE staging ALTER payload SET STORAGE EXTENDED, RESET (toast_tuple_target)",),
        digests=False,
    ),
    Way("payloads compared as text, without digests", merge=_with_text, digests=False),
    Way("5 pages a transaction", pages=5),
    Way("synchronous_commit on for each page", durable=True),
    Way("temp_buffers and work_mem as Postgres' defaults", ("SET work_mem = '4MB'", "SET temp_buffers = '8MB'")),
    Way("wal_compression on", ("SET wal_compression = on",)),
    Way("what is new through staging too", straight=False),
    Way("raw with fillfactor 80", before=(f"ALTER TABLE raw.{TABLE} SET (fillfactor = 80)",)),
    Way(
        "raw without its CHECKs",
        before=(
            f"""DO $$ DECLARE c name; BEGIN
                  FOR c IN SELECT conname FROM pg_constraint WHERE conrelid = 'raw.{TABLE}'::regclass AND contype = 'c'
                  LOOP EXECUTE format('ALTER TABLE raw.{TABLE} DROP CONSTRAINT %I', c); END LOOP; END $$""",
        ),
    ),
)


async def _load(connection: Connection, way: Way, pages: Sequence[Sequence[Record]], request: bytes) -> None:
    merge = way.merge(statement("merge_page", table=TABLE))
    for begin in range(0, len(pages), way.pages):
        async with connection.transaction():
            if not way.durable:
                await connection.execute("SET LOCAL synchronous_commit = off")
            staged = 0
            for page in pages[begin : begin + way.pages]:
                known = await _copy_straight(connection, page, request, way.digests) if way.straight else page
                rows = rows_of(known)
                if not way.digests:
                    rows = [(*row[:6], None, *row[7:]) for row in rows]
                if rows:
                    await connection.copy_records_to_table("staging", records=rows, columns=STAGED)
                staged += len(rows)
            if staged:
                await connection.fetchrow(merge, START, END, 1, PAGE, request, 1, END)


async def _copy_straight(connection: Connection, page: Sequence[Record], request: bytes, digests: bool) -> list[Record]:
    """Copies what raw has not; what it has otherwise is left to be merged."""
    found = await connection.fetch(statement("known_in_raw", table=TABLE), [record.id for record in page])
    there = {row["id"]: row["digest"] for row in found}
    rows = sorted(
        (
            r.id,
            r.raw,
            START,
            END,
            1,
            PAGE,
            request,
            r.last_updated,
            r.sync_token,
            1,
            digest_of(r.raw) if digests else None,
        )
        for r in page
        if r.id not in there
    )
    if rows:
        columns = (*COLUMNS, "digest")
        await connection.copy_records_to_table(TABLE, schema_name="raw", records=rows, columns=columns)
    return [r for r in page if r.id in there and not (digests and there[r.id] == digest_of(r.raw))]


async def _both_passes(database: Database, way: Way, records: list[Record]) -> dict[str, float]:
    """Server time a row of the first load and of the second over unchanged data, and WAL bytes a row."""
    where = database.address
    connection = await connect(Address(where.host, where.port, where.dbname, where.user, where.password))
    await bring_up_to_date(connection)
    for text in (*way.before, statement("create_staging"), statement("keep_staging_plain"), *way.setup):
        await connection.execute(text)
    pages = [records[begin : begin + PAGE] for begin in range(0, len(records), PAGE)]
    request = json.dumps({"method": "GET", "path": "/v3/company/1/query", "query": "SELECT * FROM Invoice"}).encode()
    server = connection.get_server_pid()
    found: dict[str, float] = {}
    # Only one checkpoint: after it the first to read a page sets its hint bits, and with data checksums (Postgres 18's
    # default) that logs the page, whoever reads.
    database.checkpoint()
    for name in ("first", "second"):
        began, wal, wall = cpu_seconds(server), database.wal_bytes(), time.perf_counter()
        await _load(connection, way, pages, request)
        found[f"{name}_us_per_row"] = 1e6 * (cpu_seconds(server) - began) / len(records)
        found[f"{name}_wall_us_per_row"] = 1e6 * (time.perf_counter() - wall) / len(records)
        found[f"{name}_wal_per_row"] = (database.wal_bytes() - wal) / len(records)
    await connection.close()
    return found


def _splitting(records: list[Record]) -> list[tuple[str, float]]:
    """Milliseconds of the processor for a page of 1,000, best of many."""
    body = b'{"QueryResponse":{"Invoice":[' + b",".join(bytes(r.raw) for r in records[:PAGE]) + b"]}}"
    packed = gzip.compress(body, 6)
    return [
        ("split_page, as it is", _milliseconds(lambda: split_page(ENTITIES["invoices"], body))),
        ("json.loads, then json.dumps of each record", _milliseconds(lambda: _by_json(body))),
        ("msgspec to Python objects, then encoded again", _milliseconds(lambda: _by_objects(body))),
        ("body.decode('utf-8') alone", _milliseconds(lambda: body.decode("utf-8"))),
        ("gzip by zlib", _milliseconds(lambda: zlib.decompress(packed, wbits=31))),
    ]


def _by_json(body: bytes) -> list[str]:
    return [json.dumps(record) for record in json.loads(body)["QueryResponse"]["Invoice"]]


def _by_objects(body: bytes) -> list[bytes]:
    return [msgspec.json.encode(record) for record in msgspec.json.decode(body)["QueryResponse"]["Invoice"]]


def _milliseconds(work: Callable[[], object], times: int = 15) -> float:
    work()
    best = float("inf")
    for _ in range(times):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return 1e3 * best


def measure(stage: Stage, *, rows: int, rounds: int) -> Part:
    with simulator(rows) as source:
        records = asyncio.run(everything(asdict(source)))
    found: dict[str, list[dict[str, float]]] = {way.name: [] for way in WAYS}
    for number in range(rounds):
        for way in WAYS:
            with stage.database() as database:
                found[way.name].append(asyncio.run(_both_passes(database, way, records)))
        print(f"tuning, round {number + 1} of {rounds}", flush=True)
    splitting = _splitting(records)
    part = Part(
        "tuning",
        "What was tried",
        f"{rows:,} invoices from memory over one connection, medians of {rounds} rounds in turn: the server process's "
        "own time a row, for the first load and for the second over unchanged data, against the way it is.",
        figures={"rows": rows, "ways": found, "splitting_ms": dict(splitting)},
    )
    table = Table("The load", ("", "first µs/row", "against", "second µs/row", "against", "WAL bytes/row first"))
    first: dict[str, float] = {}
    for name, runs in found.items():
        against = [
            median([run[key] / plain[key] for run, plain in zip(runs, found[AS_IT_IS.name], strict=True)])
            for key in ("first_us_per_row", "second_us_per_row")
        ]
        middle = {key: median([run[key] for run in runs]) for key in runs[0]}
        first[name] = middle["second_us_per_row"]
        table.rows.append(
            (
                name,
                middle["first_us_per_row"],
                against[0],
                middle["second_us_per_row"],
                against[1],
                middle["first_wal_per_row"],
            )
        )
    part.tables = [table, Table("A page of 1,000 invoices in Python", ("", "ms of the processor"), [*splitting])]
    part.charts = {"tuning-second": bars("Second run over unchanged data", "Postgres µs a row", first)}
    return part


def options(quick: bool) -> dict[str, Any]:
    return {"rows": 5_000, "rounds": 1} if quick else {"rows": 20_000, "rounds": 5}
