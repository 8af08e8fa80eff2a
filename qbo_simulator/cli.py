"""The command line: serve a simulated QuickBooks Online company until SIGINT or SIGTERM."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NoReturn

from qbo_simulator import config as defaults
from qbo_simulator import scenarios
from qbo_simulator.behaviour import BehaviourError
from qbo_simulator.config import SimulatorConfig
from qbo_simulator.simulator import Simulator, StartError

_BAD_OPTIONS = 2


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, not the usage: what is wrong and where help is."""
        self.exit(_BAD_OPTIONS, f"qbo_simulator: {message} (--help tells the options)\n")


def _parser() -> _Parser:
    told = "\n".join(f"  {name:<16} {scenarios.about(name)}" for name in scenarios.names())
    parser = _Parser(
        prog="python -m qbo_simulator",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Serve a simulated QuickBooks Online company: OAuth 2.0, the query language, batches, change data\n"
        "capture, Intuit's limits and error bodies, over customers, items and invoices made from a seed.",
        epilog=f"scenarios (join them with commas; a later one goes on top):\n{told}\n\n"
        "What happened is at /_simulator/ledger, the company as it is now at /_simulator/truth/Invoice;\n"
        "docs/simulator.md says what is real, what is assumed, and how to plant data.",
    )
    where = parser.add_argument_group("where it listens")
    where.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    where.add_argument("--port", type=_whole(0, 65_535), default=0, help="port to listen on; 0 is any free one (0)")
    where.add_argument("--tls", metavar="FOLDER", type=Path,
                       help="serve HTTPS; the local authority to trust is written there as authority.crt")  # fmt: skip
    where.add_argument("--proxy-port", type=_whole(0, 65_535), metavar="PORT",
                       help="with --tls: a proxy on loopback that takes Intuit's hosts for this one")  # fmt: skip
    where.add_argument("--ready-file", type=Path, metavar="PATH",
                       help="written when listening: JSON with url, realm_id, client_id, client_secret, "
                       "refresh_token, pid")  # fmt: skip
    company = parser.add_argument_group("the company")
    company.add_argument("--seed", type=int, default=7, help="the same seed and sizes give the same company (7)")
    company.add_argument("--invoices", type=_whole(0, 5_000_000), default=2_500, metavar="N", help="(2500)")
    company.add_argument("--customers", type=_whole(0, 500_000), default=700, metavar="N", help="(700)")
    company.add_argument("--items", type=_whole(0, 500_000), default=300, metavar="N", help="(300)")
    company.add_argument(
        "--everything", action="store_true", help="records of all other entities, too, linked to these"
    )
    company.add_argument("--years", type=_years, default=3.0, metavar="N", help="years the books cover (3)")
    company.add_argument("--end", type=_day, default=date(2026, 1, 1), metavar="DATE",
                         help="the books stop where this day begins, 00:00 UTC (2026-01-01)")  # fmt: skip
    access = parser.add_argument_group("who may read it (invented values; nothing of Intuit's is needed)")
    access.add_argument("--realm-id", default=defaults.REALM_ID, help=f"({defaults.REALM_ID})")
    access.add_argument("--client-id", default=defaults.CLIENT_ID, help=f"({defaults.CLIENT_ID})")
    access.add_argument("--client-secret", default=defaults.CLIENT_SECRET, help=f"({defaults.CLIENT_SECRET})")
    access.add_argument("--refresh-token", default=defaults.REFRESH_TOKEN, help=f"({defaults.REFRESH_TOKEN})")
    access.add_argument("--access-token-seconds", type=_whole(1, 10**6), metavar="N",
                        help="how long an access token lives (3600)")  # fmt: skip
    how = parser.add_argument_group("how it behaves")
    how.add_argument("--scenario", default="calm", metavar="NAMES", help="one or several of those below (calm)")
    how.add_argument("--as", dest="switches", metavar="FILE", type=_switches, default={},
                     help="on top of the scenario, the switches of a JSON file: {\"switches\": {...}}")  # fmt: skip
    how.add_argument("--no-limits", action="store_true", help="count what breaks Intuit's limits, but refuse nothing")
    how.add_argument("--latency-ms", type=_milliseconds, metavar="N", help="milliseconds before each answer")
    how.add_argument("--keep-pages", type=_whole(0, 100_000), default=0, metavar="MB",
                     help="keep so many megabytes of pages, to be served again as they are (0)")  # fmt: skip
    how.add_argument("--log-format", choices=["text", "json", "none"], default="text",
                     help="a line for each request on stderr (text)")  # fmt: skip
    return parser


def _switches(path: str) -> dict[str, Any]:
    try:
        told = json.loads(Path(path).read_bytes())
        switches = told["switches"]
        if not isinstance(switches, dict):
            raise TypeError
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{path} can't be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise argparse.ArgumentTypeError(f"{path} is no JSON object with switches") from error
    return switches


def _whole(low: int, high: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return whole


def _years(text: str) -> float:
    try:
        years = float(text)
    except ValueError:
        years = -1
    if not 0 < years <= 40:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of years up to 40")
    return years


def _milliseconds(text: str) -> float:
    try:
        milliseconds = float(text)
    except ValueError:
        milliseconds = -1
    if not 0 <= milliseconds <= 600_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of milliseconds up to 600000")
    return milliseconds


def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a date like 2026-01-01") from error
    if not 2000 <= day.year <= 2037:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 2000 and 2037")
    return day


def _config(options: argparse.Namespace) -> SimulatorConfig:
    return SimulatorConfig(
        host=options.host,
        port=options.port,
        seed=options.seed,
        invoices=options.invoices,
        everything=options.everything,
        customers=options.customers,
        items=options.items,
        years=options.years,
        end=options.end,
        realm_id=options.realm_id,
        client_id=options.client_id,
        client_secret=options.client_secret,
        refresh_token=options.refresh_token,
        scenario=options.scenario,
        switches=options.switches,
        limits=not options.no_limits,
        latency_ms=options.latency_ms,
        keep_pages_mb=options.keep_pages,
        access_token_seconds=options.access_token_seconds,
        tls_folder=options.tls,
        proxy_port=options.proxy_port,
    )


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry = getattr(record, "entry", None)
        if entry is None:
            return json.dumps({"message": record.getMessage()})
        return json.dumps({name: getattr(entry, name) for name in entry.__struct_fields__})


def _set_up_log(style: str) -> None:
    logger = logging.getLogger("qbo_simulator")
    logger.propagate = False
    if style == "none":
        logger.disabled = True
        return
    sink = logging.StreamHandler(sys.stderr)
    sink.setFormatter(_JsonLines() if style == "json" else logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.addHandler(sink)
    logger.setLevel(logging.INFO)


async def _serve(simulator: Simulator, ready_file: Path | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await simulator.start()
    try:
        rows = ", ".join(
            f"{len(table):,} {table.entity.lower()}s" for table in simulator.service.company.tables.values()
        )
        proxy = "" if simulator.proxy_url is None else f", HTTPS proxy {simulator.proxy_url}"
        about = f"{rows}, scenario {simulator.config.scenario}{proxy}"
        print(f"QuickBooks Online simulator ready at {simulator.url} ({about})", flush=True)
        if ready_file is not None:
            _write_ready_file(ready_file, simulator)
        await stopped.wait()
    finally:
        await simulator.stop()


def _write_ready_file(ready_file: Path, simulator: Simulator) -> None:
    """Whole or not at all, and for its owner only: it holds credentials, if invented ones."""
    partial = ready_file.with_name(f".{ready_file.name}.{os.getpid()}")
    try:
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(simulator.address()))
        partial.replace(ready_file)
    except OSError as error:
        raise StartError(f"can't write the ready file {ready_file}: {error.strerror or error}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit 0 after SIGINT or SIGTERM; 2 when an option can't be."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.proxy_port is not None and options.tls is None:
        parser.error("--proxy-port needs --tls")
    _set_up_log(options.log_format)
    try:
        simulator = Simulator(_config(options))
        asyncio.run(_serve(simulator, options.ready_file))
    except BehaviourError as error:
        parser.error(f"{'--scenario or --as' if options.switches else '--scenario'}: {error}")
    except StartError as error:
        parser.error(str(error))
    return 0
