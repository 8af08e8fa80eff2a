"""What happens is told once, to every listener, and reaches a standard logger with its fields."""

from __future__ import annotations

import logging

import pytest

from async_extractor.events import Event, Events, LogListener


def test_each_listener_gets_each_event_in_order() -> None:
    first: list[Event] = []
    second: list[Event] = []
    events = Events([first.append, second.append])
    events.emit("chunk_done", "load", "chunk 7 done", chunk_id=7, read=1000)
    events.emit("retry", "extract", "trying again", level="warning")
    assert (
        first
        == second
        == [
            Event("chunk_done", "load", "info", "chunk 7 done", {"chunk_id": 7, "read": 1000}),
            Event("retry", "extract", "warning", "trying again", {}),
        ]
    )


def test_without_a_listener_nothing_happens() -> None:
    Events().emit("chunk_done", "load", "chunk 7 done")


def test_listeners_may_come_from_any_iterable_and_are_kept() -> None:
    told: list[Event] = []
    events = Events(listener for listener in [told.append])
    events.emit("planned", "plan", "once")
    events.emit("planned", "plan", "twice")
    assert [event.message for event in told] == ["once", "twice"]


def test_an_event_cant_be_changed_by_a_listener() -> None:
    event = Event("planned", "plan", "info", "run 1")
    with pytest.raises(AttributeError):
        event.message = "another"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("level", "number"),
    [("debug", logging.DEBUG), ("info", logging.INFO), ("warning", logging.WARNING), ("error", logging.ERROR)],
)
def test_a_log_record_has_the_events_level_phase_message_and_fields(
    caplog: pytest.LogCaptureFixture, level: str, number: int
) -> None:
    with caplog.at_level(logging.DEBUG, logger="async_extractor"):
        Events([LogListener()]).emit("chunk_failed", "extract", "100 % of it %s", level=level, chunk_id=3)  # type: ignore[arg-type]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("async_extractor", number)
    assert record.getMessage() == "extract: 100 % of it %s"
    assert (record.event, record.fields) == ("chunk_failed", {"chunk_id": 3})  # type: ignore[attr-defined]


def test_a_logger_of_ones_own_is_used(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mage.block"):
        LogListener(logging.getLogger("mage.block"))(Event("planned", "plan", "info", "run 1"))
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("mage.block", "plan: run 1")]


def test_a_listener_that_fails_is_told_no_more_and_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Event] = []
    calls: list[Event] = []

    def full(event: Event) -> None:
        calls.append(event)
        raise OSError(28, "No space left on device")

    events = Events([full, told.append])
    events.emit("chunk_done", "load", "chunk 7 done")
    events.emit("chunk_done", "load", "chunk 8 done")
    assert (len(calls), len(told)) == (1, 2)
    assert "a listener failed" in caplog.text
