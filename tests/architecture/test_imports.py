"""Which room may import which: the contracts of import-linter in pyproject.toml."""

from __future__ import annotations

from pathlib import Path

from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

CHECKOUT = Path(__file__).parents[2]


def test_imports_keep_to_the_contracts() -> None:
    """What is broken, and by which line, is in the test's output."""
    assert lint_imports(str(CHECKOUT / "pyproject.toml"), no_cache=True) == EXIT_STATUS_SUCCESS
