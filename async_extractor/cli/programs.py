"""`qbo-backfill simulator` and `postgres`: programs of their own, with their own options."""

from __future__ import annotations

import importlib.util
import os
import sys

import typer

from async_extractor.errors import ConfigurationError

# Every option, --help too, is the program's.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def simulator(context: typer.Context) -> None:
    """Serve a simulated QuickBooks Online company; `simulator --help` tells its options."""
    _become("qbo_simulator", context.args)


def postgres(context: typer.Context) -> None:
    """Run a PostgreSQL of the project's own, on loopback: `postgres up`, `down`, `url`."""
    _become("local_postgres", context.args)


def _become(package: str, arguments: list[str]) -> None:
    if importlib.util.find_spec(package) is None:
        raise ConfigurationError(f"{package} isn't installed beside async_extractor: install the whole project.")
    # In this process's place, so that Ctrl-C and a service's SIGTERM reach it and nothing else.
    os.execv(sys.executable, [sys.executable, "-m", package, *arguments])  # noqa: S606 - this interpreter
