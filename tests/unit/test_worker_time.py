"""A worker's time is counted once: what it stood still for, and beside it what went on during a load."""

from __future__ import annotations

import time

import pytest

from async_extractor.extraction import timing as worker_time
from async_extractor.extraction.timing import WorkerTime
from async_extractor.qbo.client import Spent


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The one second hand: add to `clock[0]`."""
    now = [100.0]
    monkeypatch.setattr(worker_time.time, "perf_counter", lambda: now[0])
    assert time.perf_counter() == 100.0
    return now


def waited(spent: Spent, clock: list[float], seconds: float) -> WorkerTime:
    account = WorkerTime(spent)
    with account.waiting():
        clock[0] += seconds
    return account


def test_a_page_waited_for_from_its_beginning_counts_whole(clock: list[float]) -> None:
    spent = Spent(requests=1, wait_seconds=1.0, fetch_seconds=2.0, split_seconds=0.5, bytes_read=7)
    cost = waited(spent, clock, 3.5).take()
    assert (cost.wait_seconds, cost.fetch_seconds, cost.split_seconds) == (1.0, 2.0, 0.5)
    assert (cost.overlapped_seconds, cost.requests, cost.bytes_read) == (0.0, 1, 7)


def test_of_a_page_fetched_during_a_load_only_the_end_was_waited_for(clock: list[float]) -> None:
    cost = waited(Spent(wait_seconds=1.0, fetch_seconds=2.0, split_seconds=0.5), clock, 1.0).take()
    assert (cost.wait_seconds, cost.fetch_seconds, cost.split_seconds) == (0.0, 0.5, 0.5)
    assert cost.overlapped_seconds == 2.5


def test_a_page_that_was_there_already_cost_the_worker_nothing(clock: list[float]) -> None:
    cost = waited(Spent(wait_seconds=1.0, fetch_seconds=2.0, split_seconds=0.5), clock, 0.0).take()
    assert cost.wait_seconds + cost.fetch_seconds + cost.split_seconds == 0.0
    assert cost.overlapped_seconds == 3.5


def test_what_was_taken_is_not_counted_again(clock: list[float]) -> None:
    account = waited(Spent(requests=1, fetch_seconds=2.0), clock, 2.0)
    account.take()
    again = account.take()
    assert (again.requests, again.fetch_seconds, again.overlapped_seconds) == (0, 0.0, 0.0)


def test_the_wait_for_a_page_that_failed_counts_too(clock: list[float]) -> None:
    account = WorkerTime(Spent(requests=3, fetch_seconds=4.0))

    def fails() -> None:
        with account.waiting():
            clock[0] += 4.0
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - the one raised above
        fails()
    assert account.take().fetch_seconds == 4.0
