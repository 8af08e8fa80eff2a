"""One page of all runs of a warehouse, newest first, with how each entity stands by its last one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from async_extractor.checks import CheckResult
from async_extractor.report.company import GRAVEST
from async_extractor.report.compose import environment, typed_range
from async_extractor.report.document import Block, Command, Paragraph, Report, Section, Table, Tone
from async_extractor.report.figures import RunFigures
from async_extractor.report.files import stem
from async_extractor.report.texts import Texts, exact
from async_extractor.report.verdict import Verdict, verdict
from async_extractor.warehouse.connection import Connection
from async_extractor.warehouse.statements import statement
from async_extractor.windows import UTC

# A page of more is no longer read, and each of its runs is summed up from its chunks.
MOST_RUNS = 500
# So many commands for the first screen; the others stand in their runs' reports.
MOST_COMMANDS = 5


async def gather_runs(connection: Connection) -> list[RunFigures]:
    """What the page needs of each run, whatever its company; the newest first."""
    rows = await connection.fetch(statement("newest_runs"), MOST_RUNS)
    checks: dict[int, list[CheckResult]] = {}
    for row in await connection.fetch(statement("validations_of_runs"), [row["run_id"] for row in rows]):
        checks.setdefault(row["run_id"], []).append(CheckResult.load(row))
    return [
        RunFigures(
            {**dict(row), "settings": json.loads(row["settings"])}, [], checks.get(row["run_id"], []), [], [], [], 0
        )
        for row in rows
    ]


def compose_index(runs: Sequence[RunFigures], folder: Path, lang: str, now: datetime | None = None) -> Report:
    """The page, in `en` or `es`. A run is linked where the folder holds its report."""
    texts, now = Texts(lang), now or datetime.now(UTC)
    verdicts = {figures.run["run_id"]: verdict(figures, texts) for figures in runs}
    last: dict[tuple[str, str], Mapping[str, Any]] = {}
    for figures in runs:
        last.setdefault((figures.run["realm_id"], figures.run["entity"]), figures.run)
    tones = [verdicts[run["run_id"]].tone for run in last.values()]
    tone: Tone = min(tones, key=GRAVEST.index, default="note")
    well = sum(one in ("good", "look") for one in tones)
    blocks = [block for run in last.values() for block in verdicts[run["run_id"]].what_to_do]
    commands = list(dict.fromkeys(block for block in blocks if isinstance(block, Command)))[:MOST_COMMANDS]
    what_to_do: list[Block] = [Paragraph(f"{texts('what_to_do')}:"), *commands]
    key = "no_runs" if not runs else "index_complete" if well == len(last) else "index_incomplete"
    return Report(
        lang=texts.lang,
        title=texts("index_title"),
        tone=tone,
        verdict=texts(key),
        why=texts("index_why", well=well, entities=len(last)),
        facts=[(texts("runs"), texts.number(len(runs))), (texts("date_of_page"), f"{now:%Y-%m-%d %H:%M} UTC")],
        counts="",
        what_to_do=what_to_do if commands else [Paragraph(texts("nothing_to_do"))],
        sections=[Section("runs", texts("runs"), [_table(runs, verdicts, folder, texts)])] if runs else [],
        contents=texts("contents"),
        made=texts("made", version=metadata.version("async-extractor"), moment=exact(now)),
    )


def _table(runs: Sequence[RunFigures], verdicts: Mapping[int, Verdict], folder: Path, texts: Texts) -> Table:
    heads = ("run_number", "began", "company", "entity", "range", "read_column", "result")
    pages = [f"{stem(figures.run)}.html" for figures in runs]
    return Table(
        texts("runs_caption", most=MOST_RUNS),
        [texts(name) for name in heads],
        [
            (
                str(figures.run["run_id"]),
                f"{figures.run['started_at'].astimezone(UTC):%Y-%m-%d %H:%M}",
                f"{figures.run['realm_id']}, {environment(figures, texts).partition(' (')[0]}",
                texts.word(figures.run["entity"]),
                typed_range(figures.window, texts),
                texts.number(figures.run["rows_read"]),
                verdicts[figures.run["run_id"]].headline,
            )
            for figures in runs
        ],
        numbers=frozenset((5,)),
        tones=[verdicts[figures.run["run_id"]].tone for figures in runs],
        links=[page if (folder / page).exists() else "" for page in pages],
    )
