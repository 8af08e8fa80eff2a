"""A stage of a run inside a block of Mage's: an event loop of its own, Mage's log, and what fails in a line there."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from async_extractor.codes import code_of
from async_extractor.errors import BackfillError
from async_extractor.events import Event, Listener, LogListener, Phase
from async_extractor.monitoring.progress import ProgressLines
from async_extractor.spoken import say, speak, spoken

Variables = Mapping[str, Any]
Result = TypeVar("Result")

# The block that runs once for each worker.
EXTRACT = "qb_extract"
# Keys that Mage's logger writes itself.
_MAGES_OWN_FIELDS = {"level", "message", "timestamp", "uuid", "error", "error_stack", "error_stacktrace", "log_level"}


def text_of(variables: Variables, name: str) -> str:
    """A variable as text without blanks around it; '' where it isn't given."""
    value = variables.get(name)
    return "" if value is None else str(value).strip()


def in_a_block(variables: Variables, phase: Phase, stage: Callable[[list[Listener]], Awaitable[Result]]) -> Result:
    """One stage with an event loop of its own. What a person can act on is one line of Mage's log, and is raised.

    Both in the language that the variable `lang` names.
    """
    speak(text_of(variables, "lang"))
    lang, mages = spoken(), listener_of(variables)

    def listener(event: Event) -> None:
        mages(replace(event, message=say(event.message, lang)))

    try:
        return in_a_loop(lambda: stage([listener, ProgressLines(listener)]))
    except BackfillError as error:
        failure = type(error)(say(str(error), lang))
        name = type(error).__name__
        listener(Event(name, phase, "error", f"{code_of(name)} {error}"))
        _tell_mage(variables, str(failure))
    # Raised out here, it carries no frames of the event loop into Mage's log and database.
    raise failure


def _tell_mage(variables: Variables, line: str) -> None:
    """Put the line where Mage shows why a block failed, for a dynamic block and its children.

    Mage 0.9.80 does so itself, but changes what it has read of the block's metrics in place: where there were any
    before, as these have them, its database layer sees no change.
    """
    run_id, block = variables.get("pipeline_run_id"), variables.get("block_uuid")
    if run_id is None or block is None:
        return
    if variables.get("dynamic_block_index") is not None:
        block = f"{EXTRACT}:{block}"  # a child is given its own name only
    from mage_ai.orchestration.db.models.schedules import BlockRun  # noqa: PLC0415 - only inside Mage

    found = BlockRun.get(pipeline_run_id=run_id, block_uuid=block)
    if found is not None and found.metrics:
        found.update(metrics={**found.metrics, "error": {"error": line, "errors": [line], "message": line}})


def in_a_loop(run: Callable[[], Awaitable[Result]]) -> Result:
    """In a thread and an event loop of its own, because in this one there may be a loop already.

    Mage's notebook ("play" on the Edit page) runs blocks inside a loop, which can't wait for another one. And a
    scheduler that died, as it does when its database restarts, is forked anew from inside the server's loop: there
    `asyncio.run`, which Mage has patched by nest_asyncio, would go on with the server's loop, in both processes.
    """
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(_in_a_new_loop, run).result()


def _in_a_new_loop(run: Callable[[], Awaitable[Result]]) -> Result:
    async def main() -> Result:
        return await run()

    async def end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()

    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(end())
        loop.close()


def listener_of(variables: Variables) -> Listener:
    logger = variables.get("logger")
    if logger is None or isinstance(logger, logging.Logger):  # `mage run` and the notebook give none
        return LogListener(logger)

    def to_mage(event: Event) -> None:
        fields = {f"event_{name}" if name in _MAGES_OWN_FIELDS else name: value for name, value in event.fields.items()}
        plain = json.loads(json.dumps(fields, default=str))
        getattr(logger, event.level)(
            event.message, **{**plain, "event": event.name, "code": event.code, "phase": event.phase}
        )

    return to_mage
