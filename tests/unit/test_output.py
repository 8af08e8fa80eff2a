"""Streams that are full, closed or of a narrow encoding."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAYS = "from async_extractor.cli import main; main()"
FULL = "stdout can't be written (No space left on device): it is incomplete"


def said(arguments: list[str], redirection: str, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", SAYS, *arguments]
    return subprocess.run(
        ["/bin/sh", "-c", f'"$@" {redirection}', "sh", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_result_that_could_not_be_written_is_told_and_is_no_success() -> None:
    ended = said(["--version"], ">/dev/full")
    assert (ended.returncode, ended.stderr) == (4, f"qbo-backfill: {FULL}\n")


@pytest.mark.parametrize("redirection", ["| head -c 1", ">&-", "2>&-", "2>/dev/full", ">&- 2>&-"])
def test_what_nobody_reads_hurts_nobody(redirection: str) -> None:
    ended = said(["--help"], redirection)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_closed_stdin_is_empty(tmp_path: Path) -> None:
    ended = said(["secrets", "set", "QBO_CLIENT_ID"], "<&-", MAGE_DATA_DIR=str(tmp_path), HOME=str(tmp_path))
    assert ended.returncode in (2, 4)
    assert ended.stderr.count("\n") == 1, ended.stderr


def test_letters_that_the_terminal_lacks_are_spelt_out() -> None:
    ended = said(["run", "--help"], "", PYTHONIOENCODING="ascii")
    assert ended.returncode == 0
    assert "Usage: qbo-backfill run" in ended.stdout.replace("-c", "qbo-backfill")


def test_an_unknown_persons_home_is_a_folder_that_is_not_there(tmp_path: Path) -> None:
    ended = said(["status"], "", MAGE_DATA_DIR="~nosuchuser/x", HOME=str(tmp_path))
    assert ended.returncode == 4
    assert ended.stderr.count("\n") == 1
