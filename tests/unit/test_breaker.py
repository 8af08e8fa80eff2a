"""The course of the circuit breaker's states, second by second, on a clock that needs no waiting."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from async_extractor.events import Event, Events
from async_extractor.qbo.breaker import CircuitBreaker, Pauses, Permit
from async_extractor.qbo.faults import QboFault, ThrottledFault, TransientFault, UnavailableFault
from tests.unit.virtual_time import Clock, VirtualTimePolicy

DOWN = TransientFault("QuickBooks answered HTTP 503", tid="1-abc")


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def breaker(clock: Clock, told: list[Event]) -> CircuitBreaker:
    return CircuitBreaker(Events([told.append]), Pauses(threshold=3))


@pytest.fixture
async def begin() -> AsyncIterator[Callable[..., asyncio.Task[float]]]:
    """Begins a task and lets it run until it waits; what is left of them at the end is cancelled."""
    tasks: list[asyncio.Task[float]] = []

    def start(coroutine: object) -> asyncio.Task[float]:
        task: asyncio.Task[float] = asyncio.ensure_future(coroutine)  # type: ignore[call-overload]
        tasks.append(task)
        return task

    yield start
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def admitted_at(breaker: CircuitBreaker, clock: Clock) -> float:
    await breaker.admit()
    return round(clock.now, 3)


def ended(breaker: CircuitBreaker, fault: QboFault | None = None, *, probe: bool = False) -> None:
    permit = Permit(probe=probe)
    permit.answered(fault)
    breaker.ended(permit)


def left(breaker: CircuitBreaker, *, probe: bool = False) -> None:
    breaker.ended(Permit(probe=probe))


def throttled(retry_after: float | None = None) -> ThrottledFault:
    fault = ThrottledFault("QuickBooks answered HTTP 429")
    fault.retry_after = retry_after
    return fault


def open_up(breaker: CircuitBreaker) -> None:
    for _ in range(3):
        ended(breaker, DOWN)


async def until_refused(
    breaker: CircuitBreaker, probed: Callable[[], None] = lambda: None, fault: QboFault = DOWN
) -> None:
    """Requests that all fail, one after the other, until none is admitted any more."""
    while True:
        probe = await breaker.admit()
        probed()
        ended(breaker, fault, probe=probe)


async def test_while_closed_requests_are_admitted_at_once(breaker: CircuitBreaker, clock: Clock) -> None:
    for _ in range(100):
        assert await admitted_at(breaker, clock) == 0
    assert breaker.state == "closed"


async def test_fewer_failures_than_the_threshold_leave_it_closed(breaker: CircuitBreaker) -> None:
    ended(breaker, DOWN)
    ended(breaker, DOWN)
    assert breaker.state == "closed"


async def test_only_failures_in_a_row_count(breaker: CircuitBreaker) -> None:
    for _ in range(10):
        ended(breaker, DOWN)
        ended(breaker, DOWN)
        ended(breaker)
    assert breaker.state == "closed"


async def test_the_threshold_opens_it_and_requests_wait_for_the_pause(breaker: CircuitBreaker, clock: Clock) -> None:
    open_up(breaker)
    assert breaker.state == "open"
    assert await admitted_at(breaker, clock) == 15
    assert breaker.state == "half-open"


async def test_of_all_that_wait_one_probes_and_the_others_follow_when_it_succeeded(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    open_up(breaker)
    admitted: list[float] = []

    async def request() -> None:
        probe = await breaker.admit()
        admitted.append(round(clock.now, 3))
        await asyncio.sleep(2)
        ended(breaker, probe=probe)

    await asyncio.gather(*(request() for _ in range(10)))
    assert admitted == [15.0] + [17.0] * 9
    assert breaker.state == "closed"


async def test_a_failed_probe_doubles_the_pause_up_to_the_longest(breaker: CircuitBreaker, clock: Clock) -> None:
    open_up(breaker)
    probes = []
    for _ in range(6):
        probes.append(await admitted_at(breaker, clock))
        ended(breaker, DOWN, probe=True)
        assert breaker.state == "open"
    assert probes == [15, 15 + 30, 45 + 60, 105 + 60, 165 + 60, 225 + 60]


async def test_after_an_outage_the_next_one_begins_with_the_first_pause_again(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    open_up(breaker)
    for _ in range(3):
        probe = await breaker.admit()
        ended(breaker, DOWN, probe=probe)
    probe = await breaker.admit()
    ended(breaker, probe=probe)
    before = round(clock.now)
    ended(breaker, DOWN)
    ended(breaker, DOWN)
    assert breaker.state == "closed"
    ended(breaker, DOWN)
    assert await admitted_at(breaker, clock) == before + 15


async def test_when_the_patience_ends_every_waiting_request_fails_with_what_went_wrong(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    open_up(breaker)
    ends: list[float] = []

    async def worker() -> None:
        with pytest.raises(UnavailableFault) as ended:
            await until_refused(breaker)
        ends.append(round(clock.now, 3))
        assert str(ended.value).startswith("QuickBooks has not answered since 20")
        assert "HTTP 503" in str(ended.value)
        assert "can be resumed" in str(ended.value)

    await asyncio.gather(*(worker() for _ in range(5)))
    assert ends == [900] * 5


async def test_the_patience_ends_also_while_a_probe_hangs(breaker: CircuitBreaker, clock: Clock) -> None:
    open_up(breaker)

    async def hanging_probe() -> None:
        await breaker.admit()
        await asyncio.sleep(10_000)

    async def another() -> None:
        await asyncio.sleep(16)
        await breaker.admit()

    probe = asyncio.ensure_future(hanging_probe())
    with pytest.raises(UnavailableFault):
        await another()
    assert clock.now == pytest.approx(900)
    probe.cancel()


async def test_patience_is_counted_from_the_first_opening_not_from_the_last_probe(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    open_up(breaker)
    probes: list[float] = []
    with pytest.raises(UnavailableFault):
        await until_refused(breaker, lambda: probes.append(round(clock.now, 3)))
    assert clock.now == pytest.approx(900)
    assert probes == [15, *range(45, 900, 60)]


async def test_an_outage_that_ends_in_time_gives_the_next_one_its_whole_patience(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    open_up(breaker)
    while clock.now < 800:
        probe = await breaker.admit()
        ended(breaker, DOWN, probe=probe)
    probe = await breaker.admit()
    ended(breaker, probe=probe)
    began = clock.now
    open_up(breaker)
    with pytest.raises(UnavailableFault):
        await until_refused(breaker)
    assert clock.now == pytest.approx(began + 900)


async def test_a_probe_that_is_cancelled_hands_over_to_the_next_at_once(
    breaker: CircuitBreaker, clock: Clock, begin: Callable[..., asyncio.Task[float]]
) -> None:
    open_up(breaker)

    async def probe() -> float:
        await breaker.admit()
        try:
            await asyncio.sleep(10_000)
        except asyncio.CancelledError:
            left(breaker, probe=True)
            raise
        return clock.now

    first = begin(probe())
    await asyncio.sleep(16)
    assert breaker.state == "half-open"
    second = begin(admitted_at(breaker, clock))
    await asyncio.sleep(1)
    assert not second.done()
    first.cancel()
    assert await second == 17
    assert breaker.state == "half-open"


async def test_a_request_that_is_cancelled_while_it_waits_is_not_missed(
    breaker: CircuitBreaker, clock: Clock, begin: Callable[..., asyncio.Task[float]]
) -> None:
    open_up(breaker)
    waiting = [begin(admitted_at(breaker, clock)) for _ in range(3)]
    await asyncio.sleep(1)
    waiting[0].cancel()
    done, _ = await asyncio.wait(waiting[1:], return_when=asyncio.FIRST_COMPLETED)
    assert [task.result() for task in done] == [15]


async def test_requests_that_were_under_way_when_it_opened_neither_lengthen_the_pause_nor_end_the_probe(
    breaker: CircuitBreaker, clock: Clock, begin: Callable[..., asyncio.Task[float]]
) -> None:
    open_up(breaker)
    ended(breaker, DOWN)
    ended(breaker, DOWN)

    async def probe() -> float:
        at = await admitted_at(breaker, clock)
        await asyncio.sleep(100)
        ended(breaker, DOWN, probe=True)
        return at

    first = begin(probe())
    second = begin(admitted_at(breaker, clock))
    await asyncio.sleep(20)
    ended(breaker, DOWN)  # sent before it opened, and failed only now
    left(breaker)
    assert breaker.state == "half-open"
    assert await first == 15
    assert breaker.state == "open"
    assert await second == 115 + 30


async def test_an_answer_to_a_request_that_was_under_way_closes_it(breaker: CircuitBreaker, clock: Clock) -> None:
    open_up(breaker)
    ended(breaker)
    assert await admitted_at(breaker, clock) == 0


@pytest.mark.parametrize("seconds_each", [0.0, 1.0, 20.0])
@pytest.mark.parametrize("workers", [1, 5, 10])
async def test_in_an_outage_of_ten_minutes_a_process_sends_fewer_than_30_requests(
    clock: Clock, workers: int, seconds_each: float
) -> None:
    breaker = CircuitBreaker(Events())
    sent: list[float] = []

    async def worker() -> None:
        while True:
            probe = await breaker.admit()
            if clock.now > 600:
                ended(breaker, probe=probe)
                return
            sent.append(clock.now)
            await asyncio.sleep(seconds_each)
            ended(breaker, DOWN, probe=probe)
            await asyncio.sleep(0.5)

    await asyncio.gather(*(worker() for _ in range(workers)))
    assert 8 < len(sent) < 30


async def test_each_change_of_state_is_told_once_with_its_level(breaker: CircuitBreaker, told: list[Event]) -> None:
    open_up(breaker)
    ended(breaker, DOWN)
    probe = await breaker.admit()
    ended(breaker, DOWN, probe=probe)
    probe = await breaker.admit()
    ended(breaker, probe=probe)
    ended(breaker)
    assert [(event.fields["state"], event.level) for event in told] == [
        ("open", "warning"),
        ("half-open", "warning"),
        ("open", "warning"),
        ("half-open", "warning"),
        ("closed", "info"),
    ]
    assert told[0].message == "circuit breaker open for 15 s after 3 failures in a row: " + str(DOWN)
    assert told[2].message.startswith("circuit breaker open for 30 s")
    assert told[4].message == "circuit breaker closed: QuickBooks answers again after 45 s"


async def test_a_429_pauses_for_as_long_as_it_says_and_one_request_probes_then(
    breaker: CircuitBreaker, clock: Clock, told: list[Event]
) -> None:
    ended(breaker, throttled(7))
    ended(breaker, throttled(3))  # was under way at the same time
    assert await admitted_at(breaker, clock) == 7
    assert breaker.state == "half-open"
    ended(breaker, probe=True)
    assert breaker.state == "closed"
    assert [(event.name, event.message) for event in told] == [("throttled", "429: the company pauses for 7 s")]


async def test_without_a_wish_a_429_pauses_a_minute(breaker: CircuitBreaker, clock: Clock) -> None:
    ended(breaker, throttled())
    assert await admitted_at(breaker, clock) == 60


async def test_pauses_grow_from_the_second_429_whatever_intuit_wishes(breaker: CircuitBreaker, clock: Clock) -> None:
    ended(breaker, throttled(1))
    began = []
    for _ in range(5):
        began.append(await admitted_at(breaker, clock))
        ended(breaker, throttled(1), probe=True)
    assert began == [1, 1 + 5, 6 + 10, 16 + 20, 36 + 40]


async def test_what_was_sent_before_a_429_does_not_end_its_pause(breaker: CircuitBreaker, clock: Clock) -> None:
    ended(breaker, throttled(7))
    ended(breaker)
    assert await admitted_at(breaker, clock) == 7


async def test_an_allowance_is_used_up_after_ten_minutes_without_a_request_taken(
    breaker: CircuitBreaker, clock: Clock
) -> None:
    ended(breaker, throttled(1))
    probes: list[float] = []
    with pytest.raises(UnavailableFault, match=r"429 to all .* over 14 pauses: .* monthly allowance is used up"):
        await until_refused(breaker, lambda: probes.append(clock.now), throttled(1))
    assert clock.now == pytest.approx(600)
    assert len(probes) == 13


async def test_an_outage_after_a_429_has_its_own_patience(breaker: CircuitBreaker, clock: Clock) -> None:
    ended(breaker, throttled(300))
    await breaker.admit()
    for _ in range(3):
        ended(breaker, DOWN, probe=True)
    with pytest.raises(UnavailableFault, match="has not answered since"):
        await until_refused(breaker)
    assert clock.now == pytest.approx(300 + 900)
