"""Mage's queue of blocks: one that is queued while the queue's process is ending is started all the same."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.mage

CHECKOUT = Path(__file__).parents[2]

# The process that empties the queue has found it empty and is about to end when a job is queued.
QUEUED_JUST_THEN = """
import sys, time
from pathlib import Path
from mage_ai.orchestration.queue.config import QueueConfig
from mage_ai.orchestration.queue.process_queue import ProcessQueue
from async_extractor.mage import launch as mage_launch

class Ending:
    alive = True
    def is_alive(self):
        return self.alive

done = Path(sys.argv[1])
if sys.argv[2] == "mended":
    mage_launch.mend(ProcessQueue)
queue = ProcessQueue(QueueConfig(concurrency=1))
queue.start()
queue.worker_pool_proc = ending = Ending()
queue.enqueue("block_run_1", done.touch)
while queue.queue.empty():  # a thread of its own puts the job there; before, Mage takes it for one that is gone
    time.sleep(0.01)
ending.alive = False
deadline = time.monotonic() + float(sys.argv[3])
while not done.exists() and time.monotonic() < deadline:
    queue.clean_up_jobs()  # the scheduler's tick
    time.sleep(0.2)
queue.stop()
"""


@pytest.mark.slow_after(1)
@pytest.mark.parametrize(("version", "wait_seconds", "done"), [("mended", 180, True), ("mages own", 5, False)])
def test_a_block_that_is_queued_while_the_queues_process_ends(
    tmp_path: Path, version: str, wait_seconds: int, done: bool
) -> None:
    """The second case is Mage's own: when it is done there, too, the mending can go."""
    ended = subprocess.run(
        [sys.executable, "-c", QUEUED_JUST_THEN, str(tmp_path / "done"), version, str(wait_seconds)],
        cwd=CHECKOUT,
        env={"MAGE_DATA_DIR": str(tmp_path), "PATH": "", "HOME": str(tmp_path), "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        timeout=260,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert (tmp_path / "done").exists() is done
