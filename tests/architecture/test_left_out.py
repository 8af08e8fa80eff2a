"""What a machine can't run is told by name, and is no success where somebody asked for just that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.mark.parametrize(("nothing_left_out", "code"), [("", 0), ("1", 1)])
def test_without_an_engine(nothing_left_out: str, code: int) -> None:
    """The stack's tests on a machine without docker: skipped among all others, failed by `make test-compose`."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/compose/test_stack.py"],
        cwd=CHECKOUT,
        env={**os.environ, "PATH": "/nowhere", "NOTHING_LEFT_OUT": nothing_left_out},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code, ended.stdout
    assert "NOT RUN: docker is not installed" in ended.stdout
    assert "passed" not in ended.stdout
