"""The quota is used in full and never passed: minutes of real processes against Intuit's strict windows."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from async_extractor.qbo.limits import IN_FLIGHT, PIPELINES
from tools.bench.budget import SHARE, measure_one

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.mark.parametrize(("processes", "kill_every"), [(1, None), (3, None), (6, None), (6, 3.0)])
def test_with_demand_above_the_quota_it_is_used_in_full_without_a_429(
    database: Any, processes: int, kill_every: float | None
) -> None:
    measured = measure_one(database, processes, 125, kill_every=kill_every)
    assert measured.throttled == 0
    assert sum(measured.violations.values()) == 0
    assert measured.share >= SHARE or kill_every
    assert measured.share >= 0.93


def test_slow_answers_and_kills_never_bring_an_eleventh_request_in_flight(database: Any) -> None:
    measured = measure_one(database, 3, 60, kill_every=2, latency_ms=2000)
    assert measured.worst_in_flight <= IN_FLIGHT
    assert measured.throttled == 0
    assert measured.sent > 60 * IN_FLIGHT / 2 * 0.5


def test_two_companies_at_once_use_each_ones_quota_in_full(database: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda seed: measure_one(database, 2, 125, seed=seed), (1, 2)))
    for measured in both:
        assert measured.throttled == 0
        assert measured.share >= SHARE


@pytest.mark.parametrize("latency_ms", [50, 2000])
def test_none_of_three_pipelines_waits_while_another_takes_two_turns(database: Any, latency_ms: float) -> None:
    measured = measure_one(database, PIPELINES, 90, latency_ms=latency_ms)
    assert measured.throttled == 0
    assert measured.fairness is not None
    assert measured.fairness.waits > 300
    assert measured.fairness.overtaken == 0
    assert min(measured.by_process) >= 0.9 * max(measured.by_process)


def test_three_pipelines_that_cant_share_the_gate_still_use_the_quota_without_a_429(database: Any) -> None:
    measured = measure_one(database, PIPELINES, 125, shared=False)
    assert measured.throttled == 0
    assert sum(measured.violations.values()) == 0
    assert measured.share >= SHARE
