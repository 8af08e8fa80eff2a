"""`qbo-backfill check`: all that a run needs, looked at before the first row."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from async_extractor.cli.options import PROFILE
from async_extractor.cli.screen import screen
from async_extractor.cli.verify import MARKS
from async_extractor.errors import BackfillError, ConfigurationError, RequestError
from async_extractor.mage.location import MageData
from async_extractor.mage.secrets import MageSecrets
from async_extractor.paths import from_home
from async_extractor.preflight import Line, Preflight
from async_extractor.probe.questions import MOST_REQUESTS, Finding
from async_extractor.spoken import say

AS_JSON = typer.Option(False, "--json", help="One JSON object on stdout")
PROBE = typer.Option(
    False, "--probe", help=f"Ask also what is assumed of QuickBooks: about {MOST_REQUESTS} requests that only read"
)
YES = typer.Option(False, "--yes", help="Send them without asking first")
OUT = typer.Option(
    "qbo-probe.json", "--out", metavar="FILE", help="Where --probe writes what it found, without names, amounts or Ids"
)

HEADINGS = {"secrets": "Secrets", "postgres": "Postgres", "mage": "Mage", "quickbooks": "QuickBooks"}
STYLES = {"ok": "", "notice": "yellow", "error": "bold red"}


def check(as_json: bool = AS_JSON, profile: str = PROFILE, probe: bool = PROBE, yes: bool = YES, out: str = OUT) -> int:
    """Look at secrets, Postgres, Mage and QuickBooks, and say what a run would trip over. Changes nothing.

    QuickBooks is asked one COUNT(*) an entity. Exit 0: a run can begin; 4: it would fail, and how to mend it.
    """
    if probe and not yes and not sys.stdin.isatty():
        raise RequestError(
            f"--probe: sends about {MOST_REQUESTS} requests and asks first; without a terminal add --yes"
        )
    lines: list[Line] = []
    tell = lines.append if as_json else Lines()
    preflight = Preflight(MageSecrets.locate(profile=profile), MageData.locate(), profile, tell)
    found, failed = asyncio.run(_look(preflight, probe and (yes or _agreed), quiet=as_json))
    code = 0 if preflight.ready and not failed else ConfigurationError.exit_code
    if found is not None:
        _write(out, found)
    if as_json:
        told = [line.as_dict() for line in lines]
        more = {"probe": found, "probe_error": failed} if probe else {}
        print(json.dumps({"ready": preflight.ready, "profile": profile, "exit_code": code, "lines": told, **more}))
        return code
    if failed:
        print(say(f"The probe: {failed}"))
    print(say(verdict(preflight.lines)))
    return code


async def _look(preflight: Preflight, probe: Any, *, quiet: bool) -> tuple[dict[str, Any] | None, str]:
    """What the probe found, None without one, and why it failed. `probe` is to be called where somebody is asked."""
    await preflight.look()
    if not probe:
        return None, ""
    if not preflight.rows:
        return None, "not made, since QuickBooks can't be asked"
    if callable(probe) and not probe():
        return None, ""
    try:
        return await preflight.probe(_ignore if quiet else Findings()), ""
    except BackfillError as error:
        return None, str(error)


def _agreed() -> bool:
    return bool(
        typer.confirm(
            say(
                f"The probe sends about {MOST_REQUESTS} more requests to this company. They only read, and count among "
                "the app's monthly calls. Go on?"
            ),
            err=True,
        )
    )


def _ignore(_finding: Finding) -> None:
    return


def _write(out: str, found: dict[str, Any]) -> None:
    try:
        from_home(out).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise RequestError(f"out: {out} can't be written ({error.strerror})") from None
    told = f"Written: {out}. It holds no names, amounts or Ids; docs/simulator.md says what it is for."
    print(say(told), file=sys.stderr)


def verdict(lines: list[Line]) -> str:
    """The last line: whether a run can begin."""
    wrong = sum(line.severity == "error" for line in lines)
    noted = sum(line.severity == "notice" for line in lines)
    aside = f" {noted} {'thing' if noted == 1 else 'things'} to note." if noted else ""
    if wrong:
        return f"Not ready: {wrong} {'thing stops' if wrong == 1 else 'things stop'} a run.{aside}"
    return f"Ready: a run can begin.{aside}"


class Lines:
    """Each line as it is found, under its area's heading; folded to the terminal."""

    def __init__(self) -> None:
        self._console = screen()
        self._area = ""

    def __call__(self, line: Line) -> None:
        if line.area != self._area:
            self._area = line.area
            self._console.print(say(HEADINGS[line.area]), style="bold", markup=False, highlight=False)
        width = min(24, self._console.width // 3)
        cells = [Text(say(MARKS[line.severity]), STYLES[line.severity]), Text(say(line.name)), Text(say(line.message))]
        table = Table.grid(padding=(0, 1))
        table.add_column(width=6)
        if len(cells[1]) > width:  # a trigger's name, which somebody types again: it has a line of its own
            cells[1:] = [Text("\n").join(cells[1:])]
        else:
            table.add_column(width=width)
        table.add_column(overflow="fold")
        if line.advice:
            cells[-1].append("\n" + say(f"to do: {line.advice}"))
        table.add_row(*cells)
        self._console.print(table, highlight=False)


class Findings:
    """Each finding of the probe: found beside assumed."""

    def __init__(self) -> None:
        self._console = screen()
        self._begun = False

    def __call__(self, finding: Finding) -> None:
        if not self._begun:
            self._console.print(say("QuickBooks, as it was found (and is assumed)"), style="bold", markup=False)
            self._begun = True
        told = say(finding.found)
        if finding.assumed and finding.assumed != finding.found:
            told += f" ({say(f'assumed: {finding.assumed}')})"
        line = f"{say(finding.question)}: {told}"
        self._console.print(line, markup=False, highlight=False, soft_wrap=False)
