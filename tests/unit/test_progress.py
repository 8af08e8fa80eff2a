"""Progress lines: how far, how fast, how long still."""

from __future__ import annotations

import io

from rich.console import Console

from async_extractor.cli.many import Job, Outcome
from async_extractor.cli.progress import ProgressBars
from async_extractor.errors import ConfigurationError
from async_extractor.events import Event
from async_extractor.monitoring.progress import ProgressLines
from async_extractor.request import BackfillRequest


class Log:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, event: Event) -> None:
        assert event.name == "progress"
        self.lines.append(event.message)


def follow(*, source_count: int | None, between: float = 10.0) -> list[str]:
    """Four chunks of 1,000 rows, each 30 s."""
    now, log = [0.0], Log()
    lines = ProgressLines(log, between, lambda: now[0])
    lines(Event("extract_begun", "extract", "info", "", {"chunks": 4, "source_count": source_count}))
    lines(Event("chunk_started", "extract", "info", "", {}))
    for _ in range(4):
        now[0] += 30
        lines(Event("page_loaded", "load", "debug", "", {"read": 1_000}))
        lines(Event("chunk_done", "load", "info", "", {}))
    return log.lines


def test_the_time_left_is_by_rows_where_they_were_counted() -> None:
    assert follow(source_count=8_000) == [
        "1 of 4 chunks, 1,000 rows, 33 rows/s, about 4 min left",
        "2 of 4 chunks, 2,000 rows, 33 rows/s, about 3 min left",
        "3 of 4 chunks, 3,000 rows, 33 rows/s, about 2 min left",
        "4 of 4 chunks, 4,000 rows, 33 rows/s",
    ]


def test_and_by_chunks_where_they_were_not() -> None:
    assert follow(source_count=None)[0] == "1 of 4 chunks, 1,000 rows, 33 rows/s, about 2 min left"


def test_lines_are_not_closer_than_asked_but_the_last_is_told() -> None:
    assert [line.split(" chunks")[0] for line in follow(source_count=None, between=100)] == ["4 of 4"]


def drawn(bars: ProgressBars) -> str:
    """The bars as they are on the terminal now."""
    console = Console(width=100, file=io.StringIO())
    console.print(bars.renderable)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_each_entity_at_work_has_a_bar_and_all_of_them_have_one() -> None:
    console = Console(width=100, file=io.StringIO(), force_terminal=True)
    bars = ProgressBars(console, 3)
    with bars.of("acme invoices") as first, bars.of("globex items") as second:
        for event in (
            Event("planned", "plan", "info", "", {"chunks": 4}),
            Event("extract_begun", "extract", "info", "", {"chunks": 4, "source_count": 100}),
            Event("page_loaded", "load", "debug", "", {"read": 1_000}),
            Event("chunk_done", "load", "info", "", {}),
            Event("token_refused", "auth", "warning", "a warning", {}),
        ):
            first[0](event)
        second[0](Event("page_loaded", "load", "debug", "", {"read": 7}))
        shown = drawn(bars)
    names = ("all", "acme invoices", "globex items")
    lines = {name: next(line for line in shown.splitlines() if line.startswith(name)) for name in names}
    assert "0/3" in lines["all"]
    assert "1/4 chunks, 1,000 rows" in lines["acme invoices"]
    assert "chunks, 7 rows" in lines["globex items"]
    assert "acme invoices: a warning" in console.file.getvalue()  # type: ignore[attr-defined]
    request = BackfillRequest.parse("items", "2024-01-01", "2024-01-31")
    failed = Outcome(Job("globex", request), error=ConfigurationError("its token is dead"))
    bars.ended(failed, several_companies=True)
    shown = drawn(bars)
    assert "1/3" in shown
    assert "acme" not in shown
    assert "globex items: failed: its token is dead" in console.file.getvalue()  # type: ignore[attr-defined]


def test_one_run_alone_keeps_its_bar_to_the_end() -> None:
    bars = ProgressBars(Console(width=100, file=io.StringIO(), force_terminal=True))
    with bars.of("") as listeners:
        assert "planning" in drawn(bars)
        listeners[0](Event("planned", "plan", "info", "", {"chunks": 4}))
    assert "loading" in drawn(bars)
    assert "all" not in drawn(bars)
