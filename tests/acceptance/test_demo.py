"""`make demo`, and that it notices when something isn't as it should be."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from rich.console import Console

from tools.demo import story
from tools.demo.stack import Company, Stack

CHECKOUT = Path(__file__).parents[2]

pytestmark = [pytest.mark.mage, pytest.mark.timeout(900)]
long = pytest.mark.long


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    stack = Stack(tmp_path_factory.mktemp("demo") / "stack", Company(invoices=1_500, customers=300, items=100))
    try:
        stack.up(lambda _step: None)
        yield stack
    finally:
        stack.down()


@pytest.fixture
async def warehouse(stack: Stack) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(stack.warehouse.url(show_password=True))
    yield connection
    await connection.close()


def silent() -> Console:
    return Console(file=io.StringIO(), width=160)


@pytest.mark.slow
async def test_the_story_is_told_to_its_end(stack: Stack) -> None:
    console = silent()
    await story.tell(stack, console)
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Run 1:" in told
    assert "1,500 rows read again, 1,500 unchanged" in told
    for name in story.NAMES:
        assert f"{name}_once" in told


KEEP_ONE = "CREATE TABLE kept AS SELECT * FROM raw.qb_items ORDER BY id LIMIT 1"
SPOILED_AND_REPAIRED = {
    "a row is missing": (
        "DELETE FROM raw.qb_items WHERE id = (SELECT id FROM kept)",
        "INSERT INTO raw.qb_items SELECT * FROM kept",
    ),
    "a row is different": (
        """UPDATE raw.qb_items r SET payload = r.payload || '{"Name": "another"}' FROM kept WHERE r.id = kept.id""",
        "UPDATE raw.qb_items r SET payload = kept.payload FROM kept WHERE r.id = kept.id",
    ),
}


@long
@pytest.mark.parametrize(("spoil", "repair"), SPOILED_AND_REPAIRED.values(), ids=SPOILED_AND_REPAIRED.keys())
async def test_a_table_that_is_not_as_the_source_fails_the_demo(
    stack: Stack, warehouse: Any, spoil: str, repair: str
) -> None:
    await warehouse.execute(f"{KEEP_ONE}; {spoil}")
    try:
        with pytest.raises(story.DemoError, match="not as at the source: qb_items"):
            await story._compare(stack, warehouse, silent())
    finally:
        await warehouse.execute(f"{repair}; DROP TABLE kept")
    await story._compare(stack, warehouse, silent())


@long
async def test_a_row_that_is_written_again_shows_in_the_proof(stack: Stack, warehouse: Any) -> None:
    before = await story._writes(warehouse, "qb_items")
    assert await story._writes(warehouse, "qb_items") == before
    await warehouse.execute(
        "UPDATE raw.qb_items SET page_size = page_size WHERE id = (SELECT min(id) FROM raw.qb_items)"
    )
    after = await story._writes(warehouse, "qb_items")
    assert after["n_tup_upd"] == before["n_tup_upd"] + 1
    assert after["versions"] != before["versions"]


@long
async def test_a_trigger_that_is_active_afterwards_fails_the_demo(stack: Stack) -> None:
    path = stack.project / "pipelines" / "qb_items_backfill" / "triggers.yaml"
    text = path.read_text()
    path.write_text(text.replace("status: inactive", "status: active"))
    try:
        with pytest.raises(story.DemoError, match="not closed: items_once"):
            await story._closed(stack, silent())
    finally:
        path.write_text(text)


@long
async def test_mage_leaves_nothing_in_the_temporary_folder(stack: Stack) -> None:
    scratch = (stack.folder / "mage.scratch").readlink()
    assert list(scratch.iterdir()) != []
    stack.restart_mage()
    assert not scratch.exists()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone, so that a demo that somebody keeps in this checkout is left alone."""
    subprocess.run(["git", "clone", "--quiet", CHECKOUT, tmp_path / "clone"], check=True)
    return tmp_path / "clone"


def start_demo(clone: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tools.demo"],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": str(clone)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def left_behind(clone: Path) -> list[str]:
    """Changed files, state, and processes."""
    status = subprocess.run(["git", "status", "--short"], cwd=clone, capture_output=True, text=True, check=True)
    commands = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended while we looked
            commands.append(path.read_text(errors="replace"))
    state = [str(path) for path in (clone / ".state").iterdir()]
    return status.stdout.splitlines() + state + [command for command in commands if str(clone) in command]


@long
def test_make_demo_leaves_nothing_behind(clone: Path) -> None:
    demo = start_demo(clone)
    output, _ = demo.communicate()
    assert demo.returncode == 0, output[-3000:]
    assert "30,000 rows read again, 30,000 unchanged" in output
    assert left_behind(clone) == []


@long
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_demo_that_is_interrupted_leaves_nothing_behind(clone: Path, number: signal.Signals, code: int) -> None:
    demo = start_demo(clone)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "qb_invoices_backfill: running" in line:
            break
    demo.send_signal(number)
    demo.communicate()
    assert demo.returncode == code
    assert left_behind(clone) == []


def test_taking_down_what_is_not_up_does_nothing(tmp_path: Path) -> None:
    Stack(tmp_path / "nothing").down()
    assert not (tmp_path / "nothing").exists()
