"""A quarter of all answers is broken, in every way that answers have been seen to break, and the result is exact."""

from __future__ import annotations

from typing import Any

import pytest

from async_extractor.qbo.client import Patience
from qbo_simulator import Simulator, SimulatorConfig
from tests.support.backfilling import Recorder, backfill, in_raw, secrets_for, simulate, truth

KINDS = [
    "unauthorized",
    "system-fault",
    "internal-error",
    "bad-gateway",
    "unavailable",
    "empty-503",
    "gateway-timeout",
    "reset",
    "truncated",
    "truncated-gzip",
    "fault-in-200",
    "html-in-200",
    "throttle",
]
# The pauses between tries are shortened, their number is not.
QUICK = Patience(first_pause=0.01, longest_pause=0.1)


def one_in(rate: float, *kinds: str) -> dict[str, Any]:
    """Answers broken at `rate` in all, each kind as often."""
    limits = {"body": "mixed", "retry_after": "present", "retry_after_seconds": 0}
    return {"limits": limits, "faults": [{"kind": kind, "rate": rate / len(kinds)} for kind in kinds]}


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
async def test_every_kind_of_fault_at_a_quarter_of_all_answers_changes_nothing(database: Any, seed: int) -> None:
    config = SimulatorConfig(seed=seed, invoices=6_000, customers=2_500, years=1, limits=False)
    async with Simulator(config) as simulator:
        secrets = secrets_for(simulator, database)
        await simulate(simulator, "faults", {"switches": one_in(0.25, *KINDS)})
        sent = 0
        for entity in ("invoices", "customers"):
            result = await backfill(secrets, entity, chunk="P1M", patience=QUICK)
            for _ in range(3):
                if result.status == "done":
                    break
                result = await backfill(secrets, entity, patience=QUICK)
            assert result.status == "done", f"seed {seed}: {result.error}"
            assert await in_raw(database, entity) == await truth(simulator, entity), f"seed {seed}"
            sent += result.requests["sent"]
        ledger = simulator.service.ledger.summary(log=False)
        assert sum(ledger["faults"].values()) > 0.15 * sent
        # 134 chunks each; a third more for the broken, and the halving of pages that broke four times in a row.
        assert sent < 2 * (3 * 134 + 10), ledger


@pytest.mark.slow_after(3)
@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_of_fault_alone_is_survived(database: Any, kind: str) -> None:
    async with Simulator(SimulatorConfig(seed=5, invoices=1_500, years=1, limits=False)) as simulator:
        await simulate(simulator, "faults", {"switches": one_in(0.25, kind)})
        secrets = secrets_for(simulator, database)
        result = await backfill(secrets, "invoices", "2024-12-01", "2026-01-31", chunk="P1M", patience=QUICK)
        if result.status != "done":
            result = await backfill(secrets, "invoices", "2024-12-01", "2026-01-31", patience=QUICK)
        assert result.status == "done", result.error
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


async def test_a_hung_socket_is_given_up_and_asked_again(database: Any) -> None:
    impatient = Patience(first_pause=0.01, request_seconds=3.0)
    async with Simulator(SimulatorConfig(seed=5, invoices=1_500, years=1, limits=False)) as simulator:
        slow = {"faults": [{"kind": "slow-body", "body_seconds": 30, "after": 2, "times": 2}]}
        await simulate(simulator, "faults", {"switches": slow})
        result = await backfill(secrets_for(simulator, database), "invoices", patience=impatient)
        assert result.status == "done", result.error
        assert result.requests["retried"] >= 2  # a busy machine may be slow, too
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")


@pytest.mark.parametrize(
    "field", ["last_updated", *(pytest.param(field, marks=pytest.mark.slow) for field in ("created", "txn_date"))]
)
@pytest.mark.parametrize("code", ["10000", "4002"])
async def test_a_poisoned_record_is_set_aside_by_its_id_and_all_others_arrive(
    database: Any, field: str, code: str
) -> None:
    recorder = Recorder()
    async with Simulator(SimulatorConfig(seed=6, invoices=2_200, years=1, limits=False)) as simulator:
        expected = await truth(simulator, "invoices")
        poisoned = sorted(expected)[100:2000:900]
        switches = {"poison": {"ids": {"Invoice": poisoned}, "code": code}}
        await simulate(simulator, "faults", {"switches": switches})
        secrets = secrets_for(simulator, database)
        result = await backfill(
            secrets, "invoices", filter_field=field, patience=QUICK, listeners=[recorder], concurrency=2
        )
        assert result.status == "done", result.error
        assert result.rows["quarantined"] == len(poisoned)
        raw = await in_raw(database, "invoices")
        assert result.rows["read"] == len(raw), "a record of a page that was halved was counted twice"
        assert expected.keys() - raw.keys() == set(poisoned)
        assert raw == {i: record for i, record in expected.items() if i not in poisoned}
        assert {event.fields["record_id"] for event in recorder.named("quarantined")} == set(poisoned)
        # Found once when it is read, and once more when the counts are compared.
        assert result.requests["sent"] < 2 * 150 * len(poisoned)


async def test_an_outage_is_no_poison_the_chunk_fails_and_is_resumed(database: Any) -> None:
    async with Simulator(SimulatorConfig(seed=6, invoices=2_200, years=1, limits=False)) as simulator:
        secrets = secrets_for(simulator, database)
        broken = {"faults": [{"kind": "system-fault", "rate": 1, "after": 3}]}
        await simulate(simulator, "faults", {"switches": broken})
        result = await backfill(secrets, "invoices", patience=QUICK)
        assert result.status == "incomplete"
        assert result.rows["quarantined"] == 0
        assert result.requests["sent"] < 60
        await simulate(simulator, "faults", {"scenario": "calm"})
        assert (await backfill(secrets, "invoices")).status == "done"
        assert await in_raw(database, "invoices") == await truth(simulator, "invoices")
