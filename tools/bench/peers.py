"""What a user would write or take instead, each in an environment of its own, on the same rows and the same server."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from async_extractor.report.svg import bars
from qbo_simulator.simulator import SimulatorProcess
from tools import environments
from tools.bench.outcome import Goal, Part, Table, median, medians
from tools.bench.processes import BenchError, run_measured
from tools.bench.stage import Database, Stage, simulator

HERE = Path(__file__).parent / "instead"
ENVIRONMENTS = Path(__file__).resolve().parents[2] / ".state" / "bench"
OURS = "qbo-backfill"
LARGE = 200_000
CONCURRENCY = 10


def python_of(name: str) -> Path:
    """The interpreter of the virtual environment of `<name>.txt`, made the first time; BenchError when it can't be."""
    try:
        return environments.python_of(HERE / f"{name}.txt", ENVIRONMENTS)
    except environments.InstallError as error:
        raise BenchError(str(error)) from None


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


# Of those that read one page after another none is quicker, and none has less to do for a row.
BEST = Peer("requests + execute_values", _script("requests_execute_values"), "SELECT count(*) FROM invoices")
PEERS = (
    BEST,
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


@dataclass(frozen=True)
class Setting:
    """A company of so many invoices, and who reads it how often. Without latency there are no limits either."""

    rows: int
    latency_ms: int
    peers: Sequence[Peer]
    rounds: int

    @property
    def name(self) -> str:
        if not self.latency_ms:
            return f"{self.rows:,} rows, neither latency nor limits"
        return f"{self.rows:,} rows, {self.latency_ms:,} ms an answer and Intuit's limits"


def measure(stage: Stage, *, settings: Sequence[Setting]) -> Part:
    """Rounds of ours and of each peer in turn."""
    part = Part(
        "peers",
        "What a user would write or take instead",
        "The same invoices into the same server, medians; each in an environment of its own at pinned versions "
        "(`tools/bench/instead/`), their hosts pointed at the simulator over plain HTTP. Whole commands: start, "
        f"planning and validation included (qbo-backfill at concurrency {CONCURRENCY}; the others read one page after "
        "another). With Intuit's limits nobody can go faster than 500 requests a minute.",
        figures={"settings": []},
    )
    failed: dict[str, str] = {}
    for setting in settings:
        found: dict[str, list[dict[str, float]]] = {}
        limits = setting.latency_ms > 0
        with simulator(setting.rows, "--latency-ms", str(setting.latency_ms), limits=limits) as source:
            for number in range(setting.rounds):
                for peer in (None, *setting.peers):
                    label = OURS if peer is None else peer.name
                    if label in failed:
                        continue
                    try:
                        with stage.database() as database:
                            one = (
                                run_ours(stage, source, database, setting.rows, limits=limits)
                                if peer is None
                                else run_peer(stage, peer, source, database, setting.rows)
                            )
                    except BenchError as error:
                        failed[label] = str(error)
                        print(f"peers: {label}: {error}", flush=True)
                        continue
                    found.setdefault(label, []).append(one)
                    print(f"peers, {setting.name}, round {number + 1}: {label} {one['seconds']:.1f} s", flush=True)
        _add(part, setting, found)
    part.figures["failed"] = failed
    if failed:
        part.tables.append(Table("Not measured", ("", "why"), list(failed.items())))
    return part


def _add(part: Part, setting: Setting, found: dict[str, list[dict[str, float]]]) -> None:
    """Adds one setting's goals, table and chart. Ratios are made within a round."""
    ours = found[OURS]
    part.figures["settings"].append({"rows": setting.rows, "latency_ms": setting.latency_ms, "runs": found})
    table = Table(
        f"{setting.name[0].upper()}{setting.name[1:]}",
        ("", "seconds", "times ours", "client µs/row", "Postgres µs/row", "client's CPU times ours", "requests"),
    )
    for label, runs in found.items():
        of_ours = {
            name: median([theirs[name] / mine[name] for theirs, mine in zip(runs, ours, strict=False)])
            for name in ("seconds", "client_us_per_row")
        }
        middle = medians(runs)
        table.rows.append(
            (
                label,
                middle["seconds"],
                of_ours["seconds"],
                middle["client_us_per_row"],
                middle["server_us_per_row"],
                of_ours["client_us_per_row"],
                int(middle["requests"]),
            )
        )
        if label == BEST.name and setting.rows >= LARGE:
            if setting.latency_ms:
                least = 3.0 if setting.latency_ms < 1_000 else 8.0
                goal = Goal(f"{setting.name}: {label}, its wall time against ours", of_ours["seconds"], at_least=least)
            else:
                what = f"{setting.name}: {label}, its processor time a row against ours"
                goal = Goal(what, of_ours["client_us_per_row"], at_least=5)
            part.goals.append(goal)
    part.tables.append(table)
    if len(setting.peers) > 1:
        key = "peers-latency" if setting.latency_ms else "peers-bare"
        seconds = {label: median([run["seconds"] for run in runs]) for label, runs in found.items()}
        part.charts[key] = bars("Whole command", f"seconds, {setting.name}", seconds)


def options(quick: bool) -> dict[str, Any]:
    if quick:
        return {"settings": (Setting(5_000, 300, PEERS, 1), Setting(5_000, 0, PEERS, 1))}
    small, large = 20_000, LARGE
    return {
        "settings": (
            Setting(small, 300, PEERS, 3),
            Setting(small, 0, PEERS, 3),
            Setting(small, 1_000, [BEST], 1),
            Setting(small, 3_000, [BEST], 1),
            Setting(large, 0, [BEST], 3),
            Setting(large, 300, [BEST], 1),
            Setting(large, 1_000, [BEST], 1),
            Setting(large, 3_000, [BEST], 1),
        )
    }
