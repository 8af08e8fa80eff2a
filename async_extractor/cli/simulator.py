"""`qbo-backfill simulator`: the simulated QuickBooks, which is a program of its own with its own options."""

from __future__ import annotations

import importlib.util
import os
import sys

import typer

from async_extractor.errors import ConfigurationError

# Every option, --help too, is the simulator's.
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def simulator(context: typer.Context) -> None:
    """Serve a simulated QuickBooks Online company; `simulator --help` tells its options."""
    if importlib.util.find_spec("qbo_simulator") is None:
        raise ConfigurationError("qbo_simulator isn't installed beside async_extractor: install the whole project.")
    # In this process's place, so that Ctrl-C and a service's SIGTERM reach it and nothing else.
    os.execv(sys.executable, [sys.executable, "-m", "qbo_simulator", *context.args])  # noqa: S606 - this interpreter
