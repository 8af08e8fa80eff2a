"""Progress of one run or several: bars on a terminal, lines elsewhere. On stderr: stdout is the result alone."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import replace

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from async_extractor.cli.many import Outcome
from async_extractor.events import Event, Listener
from async_extractor.mage.profiles import shown
from async_extractor.monitoring.progress import ProgressLines
from async_extractor.spoken import say


def progress(runs: int = 1) -> ProgressBars | PlainLines:
    """For so many runs, as stderr is."""
    console = Console(stderr=True)
    return ProgressBars(console, runs) if console.is_terminal else PlainLines()


class PlainLines:
    """Events as lines on stderr, for logs and pipes."""

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *exc: object) -> None:
        sys.stderr.flush()

    def __call__(self, event: Event) -> None:
        if event.level != "debug":
            print(f"{say(event.phase):8} {say(event.message)}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[list[Listener]]:
        """Listeners of one run; several runs' lines begin with their names, one alone has lines of its rate, too."""
        if name:
            yield [lambda event: self(_named(name, event))]
        else:
            yield [self, ProgressLines(self)]

    def ended(self, outcome: Outcome, *, several_companies: bool) -> None:
        """A run's end, where no event of its own tells it."""
        if outcome.error is not None:
            self(Event("ended", "report", "warning", ending(outcome, several_companies=several_companies)))


class ProgressBars:
    """A bar a run, of its chunks with rows and rate, and one for all where there are several; warnings stand above."""

    def __init__(self, console: Console, runs: int = 1) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[what]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._all: TaskID | None = None
        if runs > 1:
            self._all = self._progress.add_task(say("all"), total=runs, what=say("entities"))

    @property
    def renderable(self) -> RenderableType:
        """The bars as they stand."""
        return self._progress.get_renderable()

    def __enter__(self) -> ProgressBars:
        self._progress.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    @contextlib.contextmanager
    def of(self, name: str) -> Iterator[list[Listener]]:
        """Listeners of one run. Its bar goes when it has ended, where there are others: they must fit on a screen."""
        bar = _Bar(self._progress, name)
        try:
            yield [bar]
        finally:
            if name:
                bar.remove()

    def ended(self, outcome: Outcome, *, several_companies: bool) -> None:
        """A run's end: a line where no event of its own tells it."""
        if self._all is not None:
            self._progress.advance(self._all)
        if outcome.error is not None:
            told = ending(outcome, several_companies=several_companies)
            self._progress.console.print(told, highlight=False, markup=False)


class _Bar:
    def __init__(self, bars: Progress, name: str) -> None:
        self._progress, self._name, self._rows = bars, name, 0
        self._task = bars.add_task(name or say("planning"), total=None, what=self._what())

    def remove(self) -> None:
        self._progress.remove_task(self._task)

    def _what(self) -> str:
        return say(f"chunks, {self._rows:,} rows")

    def __call__(self, event: Event) -> None:
        if event.name == "planned":
            self._progress.update(self._task, description=self._name or say("loading"), total=event.fields["chunks"])
        elif event.name == "extract_begun":
            left = event.fields["chunks"]
            self._progress.update(self._task, total=left or 1, completed=0 if left else 1)
        elif event.name == "page_loaded":
            self._rows += event.fields["read"]
            self._progress.update(self._task, what=self._what())
        elif event.name == "chunk_done":
            self._progress.advance(self._task)
        told = ("run_finished",) if self._name else ("planned", "run_finished", "validated")
        if event.name in told or event.level in ("warning", "error"):
            event = _named(self._name, event) if self._name else event
            self._progress.console.print(f"{say(event.phase):8} {say(event.message)}", highlight=False, markup=False)


def name_of(profile: str, entity: str, *, several_companies: bool) -> str:
    """A run among others: its entity, and its company where there are several."""
    return f"{shown(profile)} {entity}" if several_companies else entity


def ending(outcome: Outcome, *, several_companies: bool) -> str:
    """How a run ended that says so by an error."""
    name = name_of(outcome.job.profile, outcome.entity, several_companies=several_companies)
    return f"{name}: {say(outcome.status)}: {say(outcome.why)}"


def _named(name: str, event: Event) -> Event:
    return replace(event, message=f"{name}: {say(event.message)}")
