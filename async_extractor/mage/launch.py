"""`python -m async_extractor.mage.launch PROJECT [options of mage start]`: `mage start`, with two faults of its mended.

Mage 0.9.80 starts blocks from a queue whose process ends as soon as the queue is empty. A block that is queued just
then, while the process is alive but no longer looks, waits until another one is queued: on a quiet Mage for good,
with its run RUNNING and the block QUEUED. Here the scheduler looks after that at each of its ticks.

A date without quotes in triggers.yaml is no JSON for its database: that trigger, and those of all other pipelines that
changed in the same tick, are dropped without a word on its page. Here dates become text, and each file stands alone.
"""

from __future__ import annotations

import sys
import traceback
from datetime import date
from pathlib import Path
from typing import Any

from async_extractor.mage import core_dumps
from async_extractor.spoken import say


def start(project: Path, *options: str) -> None:
    """Mage's server and scheduler for this project, until they are stopped. None of them leaves a core dump."""
    core_dumps.forbid()
    from mage_ai.settings.repo import set_repo_path  # noqa: PLC0415 - Mage itself, which takes seconds

    # As `mage start` does: Mage's database is chosen by it when the modules below are imported.
    set_repo_path(str(project.absolute()))
    from mage_ai.cli.main import app  # noqa: PLC0415
    from mage_ai.data_preparation.models.triggers import Trigger  # noqa: PLC0415
    from mage_ai.orchestration.db import db_connection  # noqa: PLC0415
    from mage_ai.orchestration.db.models.schedules import PipelineSchedule  # noqa: PLC0415
    from mage_ai.orchestration.queue.process_queue import ProcessQueue  # noqa: PLC0415

    mend(ProcessQueue)
    mend_triggers(Trigger, PipelineSchedule, db_connection)
    app(["start", str(project), *options], prog_name="mage")


def mend(process_queue: Any) -> None:
    """Makes Mage's queue start its process again when there is a job and the process is gone."""
    clean_up_jobs = process_queue.clean_up_jobs

    def clean_up_and_go_on(self: Any) -> None:
        clean_up_jobs(self)
        if self.status == "active" and not self.queue.empty() and not self.is_worker_pool_alive():
            self.start_worker_pool()

    process_queue.clean_up_jobs = clean_up_and_go_on


def mend_triggers(trigger: Any, pipeline_schedule: Any, db_connection: Any) -> None:
    """Makes Mage read unquoted dates as text, and take each pipeline's triggers over whatever another's file holds."""
    post_init, batch = trigger.__post_init__, pipeline_schedule.create_or_update_batch

    def with_dates_as_text(self: Any) -> None:
        self.variables = dates_as_text(self.variables)
        post_init(self)

    def file_by_file(triggers: list[Any]) -> None:
        for pipeline in dict.fromkeys(one.pipeline_uuid for one in triggers):
            try:
                batch([one for one in triggers if one.pipeline_uuid == pipeline])
            except Exception:  # whatever it is: it is told, and the other pipelines' triggers are taken over
                told = say(f"the triggers of {pipeline} can't be taken over; see its triggers.yaml")
                print(f"[ERROR] {told}", file=sys.stderr)
                traceback.print_exc()
                db_connection.session.rollback()

    trigger.__post_init__ = with_dates_as_text
    pipeline_schedule.create_or_update_batch = staticmethod(file_by_file)


def dates_as_text(value: Any) -> Any:
    """The same, with each date and time in it as ISO text."""
    if isinstance(value, dict):
        return {name: dates_as_text(one) for name, one in value.items()}
    if isinstance(value, list):
        return [dates_as_text(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


if __name__ == "__main__":
    start(Path(sys.argv[1]), *sys.argv[2:])
