"""What a command tells others at its end: a command of yours (`--on-end`), and a webhook (the secret NOTIFY_URL).

Neither changes the exit code, which says how the data stands: a scheduler that sees a failure runs again, and what
can't be told isn't mended by reading. What must not be missed goes behind the command: `qbo-backfill run ... && next`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Coroutine, Iterator, Sequence
from subprocess import PIPE
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from async_extractor.cli.many import Job, Outcome, of_company
from async_extractor.errors import BackfillError
from async_extractor.mage.profiles import shown
from async_extractor.mage.secrets import MageSecrets
from async_extractor.settings import checked_webhook
from async_extractor.spoken import say

# The run has ended, and whoever waits for it waits so long more at the most.
COMMAND_SECONDS, WEBHOOK_SECONDS = 60, 10


@contextlib.contextmanager
def telling(jobs: Sequence[Job], command: str) -> Iterator[list[Outcome]]:
    """Tells how the jobs inside have ended, once for each company, by the outcomes that are put into the list.

    One without an outcome ended by the error that left the block.
    """
    outcomes: list[Outcome] = []
    try:
        yield outcomes
    except BaseException as error:
        known = error if isinstance(error, BackfillError) else BackfillError(f"ended by {type(error).__name__}")
        outcomes += [Outcome(job, error=known) for job in jobs if all(one.job is not job for one in outcomes)]
        raise
    finally:
        for profile in dict.fromkeys(one.job.profile for one in outcomes):
            _tell(profile, [one for one in outcomes if one.job.profile == profile], command)


def _tell(profile: str, outcomes: Sequence[Outcome], command: str) -> None:
    told = of_company(profile, outcomes)
    gravest = max(outcomes, key=lambda outcome: outcome.exit_code)
    told = {"text": _line(profile, outcomes), "status": gravest.status, **told}
    url: str | None = None
    try:
        url = checked_webhook(MageSecrets.locate(profile=profile).get("NOTIFY_URL"))
    except BackfillError as error:
        if command:  # otherwise the run has said so
            _failed(f"NOTIFY_URL can't be read ({error})")
    if command:
        asyncio.run(_ended("the command of --on-end", _run(command, told), COMMAND_SECONDS))
    if url:
        asyncio.run(_ended(f"the webhook of NOTIFY_URL ({urlsplit(url).hostname})", _post(url, told), WEBHOOK_SECONDS))


async def _ended(whose: str, telling: Coroutine[None, None, str], seconds: float) -> None:
    """Waits for it, so long at the most, and says why it did not end well. SIGTERM and Ctrl-C end it."""
    task = asyncio.create_task(asyncio.wait_for(telling, seconds))
    signals: list[str] = []
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        signals.append(name)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    try:
        why = await task
    except asyncio.TimeoutError:
        why = f"took more than {seconds} s and was ended"
    except asyncio.CancelledError:
        why = f"was ended by {signals[0]}"
    if why:
        _failed(f"{whose} {why}")


def _line(profile: str, outcomes: Sequence[Outcome]) -> str:
    """The end for people, in a line: what a chat shows of the JSON."""
    well = sum(outcome.exit_code == 0 for outcome in outcomes)
    ends = [f"{one.entity} {one.status}" for one in outcomes if one.exit_code or len(outcomes) == 1]
    rows = sum(one.as_dict().get("rows", {}).get("read", 0) for one in outcomes)
    whole = [f"{well} of {len(outcomes)} entities done"] if len(outcomes) > 1 else []
    return f"QuickBooks backfill, company {shown(profile)}: {', '.join([*whole, *ends])}; {rows:,} rows read"


def _failed(why: str) -> None:
    print(say(f"on end   {why}; the exit code stays the run's"), file=sys.stderr, flush=True)


async def _run(command: str, told: dict[str, Any]) -> str:
    """Why the command did not end well; '' where it did. Its output goes to stderr: stdout is the result's."""
    environ = {
        "QBO_BACKFILL_STATUS": str(told["status"]),
        "QBO_BACKFILL_EXIT_CODE": str(told["exit_code"]),
        "QBO_BACKFILL_PROFILE": str(told["profile"]),
    }
    try:
        # The caller's own command, for his own shell.
        process = await asyncio.create_subprocess_shell(
            command, stdin=PIPE, stdout=sys.stderr.fileno(), env={**os.environ, **environ}, start_new_session=True
        )
    except OSError as error:
        return f"can't be started ({error.strerror})"
    try:
        await process.communicate(json.dumps(told).encode())
    except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    return f"ended with {process.returncode}" if process.returncode else ""


async def _post(url: str, told: dict[str, Any]) -> str:
    """Why the webhook did not take it; '' where it did. The URL is a secret: only its host is told.

    As everywhere, proxies of the environment are not read. A POST that is sent elsewhere would arrive as a GET, or at
    somebody else: a redirect is an answer like others.
    """
    headers = {"Content-Type": "application/json", "User-Agent": "qbo-backfill"}
    try:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(url, data=json.dumps(told), allow_redirects=False) as answer,
        ):
            return "" if answer.status < 300 else f"answered HTTP {answer.status}"
    except (OSError, aiohttp.ClientError, ValueError) as error:
        return f"can't be reached ({type(getattr(error, 'os_error', error)).__name__})"
