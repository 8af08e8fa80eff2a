"""`qbo-backfill check`: all that a run needs, looked at before the first row."""

from __future__ import annotations

import asyncio
import json

import typer
from rich.table import Table
from rich.text import Text

from async_extractor.cli.run import PROFILE
from async_extractor.cli.screen import screen
from async_extractor.cli.verify import MARKS
from async_extractor.errors import ConfigurationError
from async_extractor.mage.location import MageData
from async_extractor.mage.secrets import MageSecrets
from async_extractor.preflight import Line, Preflight

AS_JSON = typer.Option(False, "--json", help="One JSON object on stdout")

HEADINGS = {"secrets": "Secrets", "postgres": "Postgres", "mage": "Mage", "quickbooks": "QuickBooks"}


def check(as_json: bool = AS_JSON, profile: str = PROFILE) -> int:
    """Look at secrets, Postgres, Mage and QuickBooks, and say what a run would trip over. Changes nothing.

    QuickBooks is asked one COUNT(*) an entity. Exit 0: a run can begin; 4: it would fail, and how to mend it.
    """
    lines: list[Line] = []
    tell = lines.append if as_json else Lines()
    preflight = Preflight(MageSecrets.locate(profile=profile), MageData.locate(), profile, tell)
    asyncio.run(preflight.look())
    code = 0 if preflight.ready else ConfigurationError.exit_code
    if as_json:
        told = [line.as_dict() for line in lines]
        print(json.dumps({"ready": preflight.ready, "profile": profile, "exit_code": code, "lines": told}))
    else:
        print(verdict(preflight.lines))
    return code


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
            self._console.print(HEADINGS[line.area], style="bold", markup=False, highlight=False)
        table = Table.grid(padding=(0, 1))
        table.add_column(width=6)
        table.add_column(width=min(24, self._console.width // 3), overflow="fold")
        table.add_column(overflow="fold")
        text = Text(line.message)
        if line.advice:
            text.append(f"\nto do: {line.advice}")
        style = {"ok": "", "notice": "yellow", "error": "bold red"}[line.severity]
        table.add_row(Text(MARKS[line.severity], style), Text(line.name), text)
        self._console.print(table, highlight=False)
