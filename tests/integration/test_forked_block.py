"""A block in a process that Mage forked from inside its server's event loop: after the scheduler had died."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.mage

CHECKOUT = Path(__file__).parents[2]

# The server has a loop patched by nest_asyncio, as Mage's is, with work of its own waiting; its child runs a block.
FORKED_INSIDE_A_LOOP = """
import asyncio, os, sys
import nest_asyncio
from async_extractor.mage.stage import in_a_loop

server = os.getpid()

async def serving():
    while True:
        if os.getpid() != server:
            os.write(1, b"the server's work was done by the block's process\\n")
        await asyncio.sleep(0.01)

async def stage():
    connection = await asyncio.start_server(lambda r, w: None, "127.0.0.1", 0)
    connection.close()
    await asyncio.to_thread(os.getpid)
    await asyncio.sleep(0.3)
    return "the block is done"

async def main():
    nest_asyncio.apply()
    task = asyncio.ensure_future(serving())
    await asyncio.sleep(0.05)
    child = os.fork()
    if child == 0:
        os.write(1, in_a_loop(stage).encode() + b"\\n")
        os._exit(0)
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    task.cancel()
    sys.exit(os.waitstatus_to_exitcode(status))

asyncio.run(main())
"""


def test_a_block_forked_inside_the_servers_loop_has_a_loop_of_its_own() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", FORKED_INSIDE_A_LOOP],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (0, "the block is done\n"), ended.stderr
