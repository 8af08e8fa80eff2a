"""Paths as people type them, and files that are there whole or not at all."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from async_extractor.paths import from_home, write_whole


def test_a_home_that_is_not_there_is_left_as_it_is_typed() -> None:
    assert from_home("~") == Path.home()
    assert from_home("~nosuchuser/x") == Path("~nosuchuser/x")


def test_a_file_is_replaced_and_nothing_else_left(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("before")
    write_whole(there, "áfter")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert there.read_text(encoding="utf-8") == "áfter"


def test_a_link_stays_and_what_it_points_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "there")
    write_whole(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").read_text() == "new"


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=write_whole, args=(pipe, "said"))
    writing.start()
    assert pipe.read_text() == "said"
    writing.join()
    assert pipe.is_fifo()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, "text")


def test_what_cannot_be_written_leaves_nothing_beside(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(there, "\ud800")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert there.read_text() == "before"
