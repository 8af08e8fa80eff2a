"""Progress lines: how far, how fast, how long still."""

from __future__ import annotations

from async_extractor.events import Event
from async_extractor.monitoring.progress import ProgressLines


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
