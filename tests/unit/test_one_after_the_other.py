"""Several requests of one command: each is read, unless QuickBooks is away, for which one has waited already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from async_extractor.cli import run
from async_extractor.errors import IncompleteError
from async_extractor.events import Event, Listener
from async_extractor.request import BackfillRequest

REQUESTS = [BackfillRequest.parse(name, "2024-01-01", "2024-01-31") for name in ("items", "invoices", "customers")]
# A real outage is waited for for a quarter of an hour.
OPEN = Event("breaker", "extract", "warning", "circuit breaker open", {"state": "open"})
CLOSED = Event("breaker", "extract", "info", "circuit breaker closed", {"state": "closed"})
PAUSED = Event("throttled", "extract", "warning", "429", {"seconds": 60})
READ = Event("page_loaded", "load", "debug", "a page", {"read": 1})


@pytest.mark.parametrize(
    ("told", "asked"),
    [([], 3), ([OPEN], 1), ([PAUSED], 1), ([OPEN, CLOSED], 3), ([PAUSED, READ], 3)],
    ids=["a chunk failed", "away", "paused", "back again", "paused and read on"],
)
def test_what_an_incomplete_one_means_for_the_others(
    monkeypatch: pytest.MonkeyPatch, told: list[Event], asked: int
) -> None:
    began: list[str] = []

    def fails(request: BackfillRequest, *, listeners: Sequence[Listener], **_: Any) -> int:
        began.append(request.entity.name)
        for event in told:
            for listener in listeners:
                listener(event)
        raise IncompleteError("1 of 1 chunks are not done")

    monkeypatch.setattr(run, "run_request", fails)
    with pytest.raises(IncompleteError) as ended:
        run.run_requests(iter(REQUESTS), as_json=False, limits=True, profile="")
    assert len(began) == asked
    assert ("the rest was not asked" in str(ended.value)) == (asked == 1)
