"""What a user would write or take instead, each in an environment of its own, on the same rows and the same server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from async_extractor.report.svg import bars
from qbo_simulator.simulator import SimulatorProcess
from tools.bench.outcome import Goal, Part, Table, median
from tools.bench.processes import BenchError, run_measured
from tools.bench.stage import Database, Stage, simulator

HERE = Path(__file__).parent / "instead"
ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".state" / "bench"
OURS = "qbo-backfill"
LATENCY_MS = 300
CONCURRENCY = 8


def python_of(name: str) -> Path:
    """The interpreter of the virtual environment of `<name>.txt`, made the first time; BenchError when it can't be."""
    wanted = (HERE / f"{name}.txt").read_text()
    folder = ENVIRONMENTS / f"{name}-py{sys.version_info.major}{sys.version_info.minor}"
    installed, python = folder / "installed.txt", folder / "bin" / "python"
    if installed.exists() and installed.read_text() == wanted:
        return python
    shutil.rmtree(folder, ignore_errors=True)
    print(f"installing {' '.join(wanted.split())} ...", flush=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "-r",
            str(HERE / f"{name}.txt"),
        ],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise BenchError(
                f"{name} can't be installed here: {(done.stderr.strip() or 'no reason given').splitlines()[-1]}"
            )
    installed.write_text(wanted)
    return python


@dataclass(frozen=True)
class Peer:
    """Somebody else's way. `command` makes it for a work folder; `count` finds how many invoices it loaded."""

    name: str
    command: Callable[[Path, dict[str, str]], list[str]]
    count: str


def _script(name: str) -> Callable[[Path, dict[str, str]], list[str]]:
    return lambda _folder, _environ: [str(python_of(name)), str(HERE / f"{name}.py")]


def _tap_into_target(folder: Path, environ: dict[str, str]) -> list[str]:
    tap, target = python_of("tap_quickbooks"), python_of("target_postgres")
    config = {
        "client_id": environ["QBO_CLIENT_ID"],
        "client_secret": environ["QBO_CLIENT_SECRET"],
        "refresh_token": environ["QBO_REFRESH_TOKEN"],
        "realm_id": environ["QBO_REALM"],
        "user_agent": "somebody@example.com",
        "start_date": "2010-01-01T00:00:00Z",
        "sandbox": "true",
    }
    (folder / "tap.json").write_text(json.dumps(config))
    tap_command = f"{tap} {HERE / 'tap_quickbooks_run.py'} --config {folder / 'tap.json'}"
    catalog = json.loads(run_measured(["bash", "-c", f"{tap_command} --discover"], env=environ).stdout)
    for stream in catalog["streams"]:
        for entry in stream["metadata"]:
            if entry["breadcrumb"] == []:
                entry["metadata"]["selected"] = stream["tap_stream_id"] == "invoices"
    (folder / "catalog.json").write_text(json.dumps(catalog))
    (folder / "target.json").write_text(
        json.dumps({"sqlalchemy_url": environ["DATABASE"], "default_target_schema": "singer", "use_copy": True})
    )
    target_command = f"{target.with_name('target-postgres')} --config {folder / 'target.json'}"
    return [
        "bash", "-c", f"set -o pipefail; {tap_command} --catalog catalog.json | {target_command} >/dev/null",
    ]  # fmt: skip


PEERS = (
    Peer("requests + execute_values", _script("requests_execute_values"), "SELECT count(*) FROM invoices"),
    Peer("python-quickbooks + psycopg2", _script("python_quickbooks_psycopg2"), "SELECT count(*) FROM invoices"),
    Peer("dlt rest_api", _script("dlt_rest_api"), "SELECT count(*) FROM dlt_raw.invoices"),
    Peer("tap-quickbooks | target-postgres", _tap_into_target, "SELECT count(*) FROM singer.invoices"),
)


def run_peer(stage: Stage, peer: Peer, source: SimulatorProcess, database: Database, rows: int) -> dict[str, float]:
    """The peer once, into an empty database; BenchError when it fails or rows are missing."""
    folder = stage.folder / "peer"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ} | {
        "QBO_URL": source.url,
        "QBO_REALM": source.realm_id,
        "QBO_CLIENT_ID": source.client_id,
        "QBO_CLIENT_SECRET": source.client_secret,
        "QBO_REFRESH_TOKEN": source.refresh_token,
        "DATABASE": database.address.url(show_password=True),
        "WORK_FOLDER": str(folder),
        "OAUTHLIB_INSECURE_TRANSPORT": "1",  # the simulator's plain HTTP on loopback
        "RUNTIME__DLTHUB_TELEMETRY": "false",
    }
    command = peer.command(folder, environ)
    before, server = _requests(source), database.cpu_seconds()
    database.checkpoint()
    ran = run_measured(command, env=environ, cwd=folder)
    found = int(database.ask(peer.count)[0][0])
    if found != rows:
        raise BenchError(f"{peer.name} loaded {found:,} of {rows:,} rows")
    return _figures(ran.seconds, ran.cpu_seconds, database.cpu_seconds() - server, _requests(source) - before, rows)


def run_ours(
    stage: Stage, source: SimulatorProcess, database: Database, rows: int, *, limits: bool
) -> dict[str, float]:
    """`qbo-backfill run` once, start, planning and validation included."""
    before = _requests(source)
    database.checkpoint()
    ran = stage.backfill(source, database, "--concurrency", str(CONCURRENCY), *(() if limits else ("--no-limits",)))
    assert ran.result["rows"]["inserted"] == rows, ran.result["rows"]
    return _figures(
        ran.process.seconds, ran.process.cpu_seconds, ran.server_cpu_seconds, _requests(source) - before, rows
    )


def _figures(seconds: float, cpu: float, server: float, requests: int, rows: int) -> dict[str, float]:
    return {
        "seconds": seconds,
        "client_us_per_row": 1e6 * cpu / rows,
        "server_us_per_row": 1e6 * server / rows,
        "cpu_us_per_row": 1e6 * (cpu + server) / rows,
        "requests": float(requests),
    }


def _requests(source: SimulatorProcess) -> int:
    """Requests to the API so far, without those for tokens."""
    with urlopen(f"{source.url}/_simulator/ledger") as answer:  # noqa: S310 - loopback
        counts: dict[str, int] = json.load(answer)["requests"]
    return sum(count for kind, count in counts.items() if kind != "token")


def measure(stage: Stage, *, rows: int, rounds: int) -> Part:
    """Rounds of ours and each peer, once with latency and limits and once with neither."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    failed: dict[str, str] = {}
    for name, limits, options in (
        (f"{LATENCY_MS} ms and Intuit's limits", True, ("--latency-ms", str(LATENCY_MS))),
        ("neither", False, ()),
    ):
        with simulator(rows, *options, limits=limits) as source:
            for number in range(rounds):
                for peer in (None, *PEERS):
                    label = OURS if peer is None else peer.name
                    if label in failed:
                        continue
                    try:
                        with stage.database() as database:
                            one = (
                                run_ours(stage, source, database, rows, limits=limits)
                                if peer is None
                                else run_peer(stage, peer, source, database, rows)
                            )
                    except BenchError as error:
                        failed[label] = str(error)
                        print(f"peers: {label}: {error}", flush=True)
                        continue
                    found.setdefault(name, {}).setdefault(label, []).append(one)
                    print(f"peers, {name}, round {number + 1}: {label} {one['seconds']:.1f} s", flush=True)
    return _part(rows, rounds, found, failed)


def _part(rows: int, rounds: int, found: dict[str, dict[str, list[dict[str, float]]]], failed: dict[str, str]) -> Part:
    part = Part(
        "peers",
        "What a user would write or take instead",
        f"The same {rows:,} invoices into the same server, medians of {rounds}; each in an environment of its own at "
        "pinned versions (`bench/instead/`), their hosts pointed at the simulator over plain HTTP. Whole commands: "
        f"start, planning and validation included (qbo-backfill at concurrency {CONCURRENCY}; the others read one page "
        "after another). With Intuit's limits nobody can go faster than 500 requests a minute.",
        figures={"rows": rows, "rounds": found, "failed": failed},
    )
    for name, by_label in found.items():
        ours = by_label[OURS]
        table = Table(
            f"With {name}",
            ("", "seconds", "times ours", "client µs/row", "Postgres µs/row", "CPU times ours", "requests"),
        )
        seconds: dict[str, float] = {}
        for label, runs in by_label.items():
            wall = median([theirs["seconds"] / mine["seconds"] for theirs, mine in zip(runs, ours, strict=False)])
            cpu = median(
                [
                    theirs["client_us_per_row"] / mine["client_us_per_row"]
                    for theirs, mine in zip(runs, ours, strict=False)
                ]
            )
            requests = median([run["requests"] for run in runs])
            seconds[label] = median([run["seconds"] for run in runs])
            table.rows.append(
                (
                    label,
                    seconds[label],
                    wall,
                    median([run["client_us_per_row"] for run in runs]),
                    median([run["server_us_per_row"] for run in runs]),
                    cpu,
                    int(requests),
                )
            )
            if label == OURS:
                continue
            if name != "neither":
                part.goals.append(Goal(f"{name}: {label}, its wall time against ours", wall, at_least=8))
                ours_requests = median([run["requests"] for run in ours])
                part.goals.append(Goal(f"{name}: our requests against {label}'s", ours_requests / requests, at_most=1))
            else:
                part.goals.append(Goal(f"{name}: {label}, its processor time a row against ours", cpu, at_least=5))
        part.tables.append(table)
        key = "peers-latency" if name != "neither" else "peers-bare"
        part.charts[key] = bars(f"{rows:,} invoices, whole command", f"seconds, {name}", seconds)
    if failed:
        part.tables.append(Table("Not measured", ("", "why"), list(failed.items())))
    return part


def options(quick: bool) -> dict[str, Any]:
    return {"rows": 5_000, "rounds": 1} if quick else {"rows": 20_000, "rounds": 5}
