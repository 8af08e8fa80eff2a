"""Which room may import which: the contracts of import-linter in pyproject.toml."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

from async_extractor.cli import COMMANDS, Commands, loaded

CHECKOUT = Path(__file__).parents[2]


def test_imports_keep_to_the_contracts() -> None:
    """What is broken, and by which line, is in the test's output."""
    assert lint_imports(str(CHECKOUT / "pyproject.toml"), no_cache=True) == EXIT_STATUS_SUCCESS


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_a_command_that_reads_nothing_brings_nothing_along_to_read_with(arguments: list[str]) -> None:
    """So that it answers at once. What loads each command is in the next test."""
    heavy = ("aiohttp", "asyncpg", "cryptography", "jinja2", "pydantic", "sqlalchemy", "async_extractor.backfill")
    code = (
        "import sys; from async_extractor.cli import main\n"
        f"try: main()\nfinally: print('LOADED', *(name for name in {heavy} if name in sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_s_line_in_the_help_is_its_own_help_s_first(name: str) -> None:
    command = loaded(name)
    assert command.name == name
    first = (command.help or "").split("\n\n")[0]
    assert " ".join(first.split()) == COMMANDS[name][1]
    assert hasattr(command, "commands") is isinstance(command, Commands)
