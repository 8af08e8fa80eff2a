"""What a command tells others at its end: a command of yours (`--on-end`), and a webhook (the secret NOTIFY_URL).

Neither changes the exit code, which says how the data stands: a scheduler that sees a failure runs again, and what
can't be told isn't mended by reading. What must not be missed goes behind the command: `qbo-backfill run ... && next`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from async_extractor.cli.many import Job, Outcome, of_company
from async_extractor.errors import BackfillError
from async_extractor.mage.profiles import shown
from async_extractor.mage.secrets import MageSecrets

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
        url = MageSecrets.locate(profile=profile).get("NOTIFY_URL")
    except BackfillError as error:
        if command:  # otherwise the run has said so
            _failed(f"whether NOTIFY_URL is set can't be read ({error})")
    if command and (why := _run(command, told)):
        _failed(f"the command of --on-end {why}")
    if url and (why := _post(url.strip(), told)):
        _failed(f"the webhook of NOTIFY_URL {why}")


def _line(profile: str, outcomes: Sequence[Outcome]) -> str:
    """The end for people, in a line: what a chat shows of the JSON."""
    well = sum(outcome.exit_code == 0 for outcome in outcomes)
    ends = [f"{one.entity} {one.status}" for one in outcomes if one.exit_code or len(outcomes) == 1]
    rows = sum(one.as_dict().get("rows", {}).get("read", 0) for one in outcomes)
    whole = [f"{well} of {len(outcomes)} entities done"] if len(outcomes) > 1 else []
    return f"QuickBooks backfill, company {shown(profile)}: {', '.join([*whole, *ends])}; {rows:,} rows read"


def _failed(why: str) -> None:
    print(f"on end   {why}; the exit code stays the run's", file=sys.stderr, flush=True)


def _run(command: str, told: dict[str, Any]) -> str:
    """Why the command did not end well; '' where it did. Its output goes to stderr: stdout is the result's."""
    environ = {
        "QBO_BACKFILL_STATUS": str(told["status"]),
        "QBO_BACKFILL_EXIT_CODE": str(told["exit_code"]),
        "QBO_BACKFILL_PROFILE": str(told["profile"]),
    }
    process = subprocess.Popen(  # noqa: S602 - the caller's own command, for his own shell
        command,
        shell=True,
        stdin=subprocess.PIPE,
        stdout=sys.stderr.fileno(),
        env={**os.environ, **environ},
        start_new_session=True,
        text=True,
    )
    try:
        process.communicate(json.dumps(told), COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return f"was ended after {COMMAND_SECONDS} s"
    return f"ended with {process.returncode}" if process.returncode else ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A POST that is sent elsewhere would arrive as a GET, or at somebody else."""

    def redirect_request(self, *_request: Any) -> None:
        """None: the answer is taken as it is."""


def _post(url: str, told: dict[str, Any]) -> str:
    """Why the webhook did not take it; '' where it did. The URL is a secret: only its host is told."""
    body = json.dumps(told).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", "User-Agent": "qbo-backfill"})  # noqa: S310 - settings.py has looked at its scheme
    try:
        # As everywhere: proxies of the environment are not read.
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=WEBHOOK_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        return f"({urlsplit(url).hostname}) answered HTTP {error.code}"
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"({urlsplit(url).hostname}) can't be reached ({type(reason).__name__})"
