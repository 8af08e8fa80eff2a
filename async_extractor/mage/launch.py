"""`python -m async_extractor.mage.launch PROJECT [options of mage start]`: `mage start`, with one fault of its mended.

Mage 0.9.80 starts blocks from a queue whose process ends as soon as the queue is empty. A block that is queued just
then, while the process is alive but no longer looks, waits until another one is queued: on a quiet Mage for good,
with its run RUNNING and the block QUEUED. Here the scheduler looks after that at each of its ticks.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from async_extractor.mage import core_dumps


def start(project: Path, *options: str) -> None:
    """Mage's server and scheduler for this project, until they are stopped. None of them leaves a core dump."""
    core_dumps.forbid()
    from mage_ai.settings.repo import set_repo_path  # noqa: PLC0415 - Mage itself, which takes seconds

    # As `mage start` does: Mage's database is chosen by it when the modules below are imported.
    set_repo_path(str(project.absolute()))
    from mage_ai.cli.main import app  # noqa: PLC0415
    from mage_ai.orchestration.queue.process_queue import ProcessQueue  # noqa: PLC0415

    mend(ProcessQueue)
    app(["start", str(project), *options], prog_name="mage")


def mend(process_queue: Any) -> None:
    """Makes Mage's queue start its process again when there is a job and the process is gone."""
    clean_up_jobs = process_queue.clean_up_jobs

    def clean_up_and_go_on(self: Any) -> None:
        clean_up_jobs(self)
        if self.status == "active" and not self.queue.empty() and not self.is_worker_pool_alive():
            self.start_worker_pool()

    process_queue.clean_up_jobs = clean_up_and_go_on


if __name__ == "__main__":
    start(Path(sys.argv[1]), *sys.argv[2:])
