"""How fast the simulator serves invoices: `python -m qbo_simulator.bench [INVOICES] [PAGES]`.

A plain HTTP client in this process reads pages of 1,000 over one connection from a simulator in another, and throws
them away. What counts is rows per second of the server's own processor time: what one core can serve.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

from qbo_simulator.simulator import SimulatorProcess, run_as_process

PAGE = 1_000
_WINDOW = "SELECT * FROM Invoice WHERE MetaData.LastUpdatedTime >= '2000-01-01T00:00:00Z'"


def _processor_seconds(pid: int) -> float:
    """User and system time of a process, from Linux's /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_megabytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def _token(connection: http.client.HTTPConnection, process: SimulatorProcess) -> str:
    client = base64.b64encode(f"{process.client_id}:{process.client_secret}".encode()).decode()
    headers = {"Authorization": f"Basic {client}", "Content-Type": "application/x-www-form-urlencoded"}
    connection.request(
        "POST",
        "/oauth2/v1/tokens/bearer",
        f"grant_type=refresh_token&refresh_token={process.refresh_token}",
        headers,
    )
    return str(json.loads(connection.getresponse().read())["access_token"])


def measure(invoices: int, pages: int) -> Iterator[str]:
    """Lines that say what was measured."""
    options = ["--invoices", str(invoices), "--customers", "5000", "--items", "1000", "--years", "10"]
    began = time.perf_counter()
    with run_as_process(*options, "--no-limits", "--log-format", "none") as process:
        started = time.perf_counter() - began
        yield f"{invoices:,} invoices ready in {started:.1f} s, {_resident_megabytes(process.pid):.0f} MB"
        address = urlsplit(process.url)
        connection = http.client.HTTPConnection(str(address.hostname), address.port)
        token = _token(connection, process)
        starts = [1 + at * PAGE % max(invoices - PAGE, 1) for at in range(pages)]
        for encoding in ("identity", "gzip"):
            headers = {"Authorization": f"Bearer {token}", "Accept": "application/json", "Accept-Encoding": encoding}
            sent = 0
            busy, wall = _processor_seconds(process.pid), time.perf_counter()
            for start in starts:
                statement = f"{_WINDOW} ORDERBY MetaData.LastUpdatedTime STARTPOSITION {start} MAXRESULTS {PAGE}"
                connection.request(
                    "GET", f"/v3/company/{process.realm_id}/query?query={quote(statement)}", headers=headers
                )
                sent += len(connection.getresponse().read())
            busy, wall = _processor_seconds(process.pid) - busy, time.perf_counter() - wall
            rows = pages * PAGE
            speed = f"{rows / busy:,.0f} rows per second of one core ({rows / wall:,.0f} by the clock)"
            yield f"{encoding:<9} {rows:,} rows, {sent / rows:,.0f} bytes a row: {speed}"
        yield f"afterwards {_resident_megabytes(process.pid):.0f} MB"


def main() -> int:
    numbers = [int(argument) for argument in sys.argv[1:3]]
    invoices, pages = [*numbers, *(100_000, 200)[len(numbers) :]]
    for line in measure(invoices, pages):
        print(line, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
