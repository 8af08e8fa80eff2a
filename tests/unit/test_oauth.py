"""One exchange of the refresh token at a time, the rotated one stored before it is needed, and no token in any word.

The store is a dictionary with a lock, shared by as many `AccessTokens` as there would be processes; the
token endpoint is aioresponses. Time is virtual, so an hour's token grows old at once.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from aioresponses import CallbackResult, aioresponses

from async_extractor.errors import ConfigurationError
from async_extractor.events import Event, Events
from async_extractor.qbo.faults import AuthorizationFault, QboFault, TransientFault
from async_extractor.qbo.oauth import ACCESS_TOKEN, REFRESH_TOKEN, AccessTokens
from async_extractor.qbo.token_endpoint import Client
from tests.unit.virtual_time import Clock, VirtualTimePolicy

URL = "https://oauth.platform.intuit.com/oauth2/v1/tokens/bearer"
SECRET = "client-secret-Zx81"
FIRST_REFRESH = "RT1-first-refresh-token-0001"


@pytest.fixture
def event_loop_policy(virtual_policy: VirtualTimePolicy) -> VirtualTimePolicy:
    return virtual_policy


class Store:
    """Secrets in memory behind an exclusive lock; `log` is what was done, in order."""

    def __init__(self) -> None:
        self.values = {REFRESH_TOKEN: FIRST_REFRESH}
        self.log: list[str] = []
        self.refuses_to_store = False
        self.out_of_reach_for = 0
        self.waited_for = threading.Event()
        self.lock = threading.Lock()

    def get(self, name: str) -> str | None:
        return self.values.get(name)

    @contextlib.contextmanager
    def exclusive(self) -> Iterator[Store]:
        assert threading.current_thread() is not threading.main_thread(), "a blocking call on the event loop"
        self.waited_for.set()
        with self.lock:
            self.log.append("locked")
            yield self
            self.log.append("unlocked")

    def put(self, values: dict[str, str]) -> None:
        assert self.lock.locked()
        assert threading.current_thread() is not threading.main_thread(), "a blocking call on the event loop"
        if self.out_of_reach_for > 0:
            self.out_of_reach_for -= 1
            raise ConfigurationError("Mage's database can't be used")
        if self.refuses_to_store:
            raise OSError("disk full")
        self.values.update(values)
        self.log.append("stored " + ", ".join(sorted(values)))


class Intuit:
    """The token endpoint: exchanges the newest refresh token only, and rotates it each time when asked to."""

    def __init__(self, store: Store, endpoint: aioresponses) -> None:
        self.valid_refresh = FIRST_REFRESH
        self.rotates = False
        self.lifetime: object = 3600
        self.asked: list[dict[str, Any]] = []
        self.reached = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()
        self._store = store
        endpoint.post(URL, callback=self._answer, repeat=True)

    async def _answer(self, _url: object, **request: Any) -> CallbackResult:
        self.asked.append(request)
        self._store.log.append("asked")
        number = len(self.asked)
        self.reached.set()
        await self.answers.wait()
        await asyncio.sleep(0.2)
        if request["data"]["refresh_token"] != self.valid_refresh:
            return CallbackResult(status=400, payload={"error": "invalid_grant"})
        if self.rotates:
            self.valid_refresh = f"RT1-rotated-refresh-token-{number:04}"
        return CallbackResult(
            headers={"intuit_tid": "1-tid"},
            payload={
                "token_type": "bearer",
                "expires_in": self.lifetime,
                "access_token": f"eyJhbGciOi.access-token-{number:04}",
                "refresh_token": self.valid_refresh,
                "x_refresh_token_expires_in": 8726400,
            },
        )


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def endpoint() -> Iterator[aioresponses]:
    with aioresponses() as mocked:
        yield mocked


@pytest.fixture
async def intuit(store: Store, endpoint: aioresponses) -> Intuit:
    return Intuit(store, endpoint)


@pytest.fixture
async def process(clock: Clock, store: Store, told: list[Event]) -> AsyncIterator[Callable[[], AccessTokens]]:
    """Makes what a process has: its own AccessTokens on the common store."""
    async with aiohttp.ClientSession() as session:
        yield lambda: AccessTokens(session, URL, Client("client-id", SECRET), store, Events([told.append]))


Process = Callable[[], AccessTokens]


async def test_a_refresh_token_is_exchanged_in_a_form_with_the_apps_credentials(
    process: Process, intuit: Intuit
) -> None:
    assert await process().current() == "eyJhbGciOi.access-token-0001"
    (request,) = intuit.asked
    assert request["data"] == {"grant_type": "refresh_token", "refresh_token": FIRST_REFRESH}
    assert request["auth"].encode() == "Basic " + base64.b64encode(f"client-id:{SECRET}".encode()).decode()
    assert request["headers"]["Accept"] == "application/json"
    assert request["allow_redirects"] is False


async def test_twenty_workers_without_a_token_cause_one_exchange(
    process: Process, intuit: Intuit, store: Store
) -> None:
    tokens = process()
    assert set(await asyncio.gather(*(tokens.current() for _ in range(20)))) == {"eyJhbGciOi.access-token-0001"}
    assert len(intuit.asked) == 1
    # One of them waits for the store; the others hold up no thread.
    assert store.log.count("locked") == 1


async def test_twenty_workers_whose_token_was_refused_cause_one_exchange(process: Process, intuit: Intuit) -> None:
    tokens = process()
    refused = await tokens.current()
    renewed = await asyncio.gather(*(tokens.after_refusal(refused) for _ in range(20)))
    assert set(renewed) == {"eyJhbGciOi.access-token-0002"}
    assert len(intuit.asked) == 2


async def test_a_worker_that_hears_of_the_refusal_late_gets_the_new_token(process: Process, intuit: Intuit) -> None:
    tokens = process()
    refused = await tokens.current()
    renewed = await tokens.after_refusal(refused)
    assert await tokens.after_refusal(refused) == renewed
    assert len(intuit.asked) == 2


async def test_ten_processes_at_once_cause_one_exchange(process: Process, intuit: Intuit) -> None:
    intuit.rotates = True
    found = await asyncio.gather(*(process().current() for _ in range(10)))
    assert set(found) == {"eyJhbGciOi.access-token-0001"}
    assert len(intuit.asked) == 1


async def test_a_token_that_another_process_stored_meanwhile_is_used_after_a_refusal(
    process: Process, intuit: Intuit
) -> None:
    intuit.rotates = True
    ours, theirs = process(), process()
    refused = await ours.current()
    assert await theirs.current() == refused
    renewed = await theirs.after_refusal(refused)
    assert await ours.after_refusal(refused) == renewed
    assert len(intuit.asked) == 2


async def test_while_it_is_valid_a_token_needs_neither_intuit_nor_the_store(
    process: Process, intuit: Intuit, store: Store
) -> None:
    tokens = process()
    await tokens.current()
    before = list(store.log)
    for _ in range(5):
        await tokens.current()
    assert store.log == before


@pytest.mark.parametrize(
    ("lifetime", "last_moment"),
    [(3600, 3600 - 300), (1200, 1200 - 300), (600, 600 - 150), (60, 60 - 15)],
)
async def test_a_token_is_renewed_before_it_ends(
    process: Process, intuit: Intuit, lifetime: int, last_moment: int
) -> None:
    intuit.lifetime = lifetime
    tokens = process()
    first = await tokens.current()
    await asyncio.sleep(last_moment - 1)
    assert await tokens.current() == first
    assert await process().current() == first
    await asyncio.sleep(2)
    assert await tokens.current() != first
    assert len(intuit.asked) == 2


async def test_a_rotated_refresh_token_is_stored_inside_the_lock_and_before_the_access_token_is_given_out(
    process: Process, intuit: Intuit, store: Store
) -> None:
    intuit.rotates = True
    await process().current()
    assert store.log == ["locked", "asked", f"stored {ACCESS_TOKEN}, {REFRESH_TOKEN}", "unlocked"]
    assert store.values[REFRESH_TOKEN] == intuit.valid_refresh != FIRST_REFRESH


async def test_the_next_exchange_uses_the_rotated_token(process: Process, intuit: Intuit, store: Store) -> None:
    intuit.rotates = True
    tokens = process()
    for _ in range(3):
        await tokens.after_refusal(await tokens.current())
    assert [request["data"]["refresh_token"] for request in intuit.asked] == [
        FIRST_REFRESH,
        "RT1-rotated-refresh-token-0001",
        "RT1-rotated-refresh-token-0002",
        "RT1-rotated-refresh-token-0003",
    ]


async def test_a_refresh_token_that_came_back_the_same_is_not_stored_again(
    process: Process, intuit: Intuit, store: Store
) -> None:
    await process().current()
    assert store.log == ["locked", "asked", f"stored {ACCESS_TOKEN}", "unlocked"]


async def test_an_answer_without_a_refresh_token_keeps_the_one_there_is(
    process: Process, endpoint: aioresponses, store: Store
) -> None:
    endpoint.post(URL, payload={"access_token": "eyJ.alone", "expires_in": 3600})
    assert await process().current() == "eyJ.alone"
    assert store.values[REFRESH_TOKEN] == FIRST_REFRESH
    assert await process().current() == "eyJ.alone"


async def test_a_token_that_could_not_be_stored_is_not_used_and_the_lock_is_free_again(
    process: Process, intuit: Intuit, store: Store
) -> None:
    intuit.rotates = True
    store.refuses_to_store = True
    tokens = process()
    with pytest.raises(OSError, match="disk full"):
        await tokens.current()
    store.refuses_to_store = False
    intuit.valid_refresh = FIRST_REFRESH
    assert await tokens.current() == "eyJhbGciOi.access-token-0002"


@pytest.mark.parametrize(
    "stored",
    ["", "not json", "{}", "[]", '{"token":"eyJ.old","expires_at":"soon","early":1,"refresh":"x"}'],
)
async def test_a_stored_access_token_that_cant_be_read_is_renewed(
    process: Process, intuit: Intuit, store: Store, stored: str
) -> None:
    store.values[ACCESS_TOKEN] = stored
    assert await process().current() == "eyJhbGciOi.access-token-0001"


async def test_a_refresh_token_that_somebody_set_anew_makes_the_stored_access_token_void(
    process: Process, intuit: Intuit, store: Store
) -> None:
    await process().current()
    store.values[REFRESH_TOKEN] = intuit.valid_refresh = "RT1-set-by-hand-after-a-reconnect"
    assert await process().current() == "eyJhbGciOi.access-token-0002"


async def test_the_stored_access_token_does_not_hold_the_refresh_token(
    process: Process, intuit: Intuit, store: Store
) -> None:
    await process().current()
    assert FIRST_REFRESH not in store.values[ACCESS_TOKEN]
    assert json.loads(store.values[ACCESS_TOKEN])["token"] == "eyJhbGciOi.access-token-0001"


async def test_a_worker_that_is_cancelled_in_the_exchange_loses_no_rotated_token(
    process: Process, intuit: Intuit, store: Store
) -> None:
    intuit.rotates = True
    intuit.answers.clear()
    tokens = process()
    worker = asyncio.ensure_future(tokens.current())
    await intuit.reached.wait()
    worker.cancel()
    with pytest.raises(asyncio.CancelledError):
        await worker
    intuit.answers.set()
    assert await tokens.current() == "eyJhbGciOi.access-token-0001"
    assert store.values[REFRESH_TOKEN] == intuit.valid_refresh
    assert len(intuit.asked) == 1


async def test_a_loop_that_ends_while_the_lock_is_waited_for_leaves_it_free(
    process: Process, intuit: Intuit, store: Store
) -> None:
    store.lock.acquire()
    worker = asyncio.ensure_future(process().current())
    await asyncio.to_thread(store.waited_for.wait)
    given_up = asyncio.all_tasks() - {asyncio.current_task()}
    for task in given_up:
        task.cancel()
    store.lock.release()
    await asyncio.gather(*given_up, return_exceptions=True)
    assert worker.cancelled()
    assert intuit.asked == []
    assert await process().current() == "eyJhbGciOi.access-token-0001"


async def test_without_a_refresh_token_the_line_says_how_to_get_one(
    process: Process, intuit: Intuit, store: Store
) -> None:
    store.values.clear()
    with pytest.raises(AuthorizationFault) as fault:
        await process().current()
    assert str(fault.value).startswith("QBO_REFRESH_TOKEN is not in Mage Secrets; reauthorise the company: run")
    assert intuit.asked == []
    assert store.log == ["locked", "unlocked"]


REFUSALS = [
    (400, '{"error":"invalid_grant"}', "refuses the refresh token (invalid_grant)", "reauthorise the company"),
    (
        400,
        '{"error_description":"Incorrect or invalid refresh token","error":"invalid_grant"}',
        "refuses the refresh token (invalid_grant)",
        "qbo-backfill secrets set QBO_REFRESH_TOKEN",
    ),
    (401, '{"error":"invalid_client"}', "refuses the app's credentials (invalid_client)", "QBO_CLIENT_SECRET"),
    (403, "<html>Forbidden</html>", "answered HTTP 403", "reauthorise the company"),
    (400, '{"error":"unsupported_grant_type"}', "answered HTTP 400", "reauthorise the company"),
    (302, "", "answered HTTP 302", "reauthorise the company"),
]


@pytest.mark.parametrize(("status", "body", "what", "cure"), REFUSALS)
async def test_a_refusal_is_not_tried_again_and_says_what_to_do(
    process: Process, endpoint: aioresponses, store: Store, status: int, body: str, what: str, cure: str
) -> None:
    endpoint.post(URL, status=status, body=body, headers={"intuit_tid": "1-tid", "Location": "https://evil.com/"})
    with pytest.raises(AuthorizationFault) as fault:
        await process().current()
    assert what in str(fault.value)
    assert cure in str(fault.value)
    assert fault.value.tid == "1-tid"
    assert sum(len(requests) for requests in endpoint.requests.values()) == 1
    assert ACCESS_TOKEN not in store.values


@pytest.mark.parametrize(
    "trouble",
    [
        {"status": 500},
        {"status": 503, "body": "<html>Service Unavailable</html>"},
        {"status": 429},
        {"status": 200, "body": "<html>back soon</html>"},
        {"status": 200, "body": '{"token_type":"bearer"}'},
        {"status": 200, "body": ""},
        {"exception": aiohttp.ClientConnectionError("reset by peer")},
        {"exception": asyncio.TimeoutError()},
        {"exception": OSError("no route")},
    ],
)
async def test_a_passing_trouble_is_tried_three_times(
    process: Process, endpoint: aioresponses, told: list[Event], trouble: dict[str, Any]
) -> None:
    tokens = process()
    for _ in range(5):
        endpoint.post(URL, **trouble)
    with pytest.raises(TransientFault):
        await tokens.current()
    assert sum(len(requests) for requests in endpoint.requests.values()) == 3
    assert [event.name for event in told] == ["token_retry"] * 2


async def test_an_exchange_that_succeeds_at_the_third_try_is_a_success(
    process: Process, endpoint: aioresponses, told: list[Event]
) -> None:
    endpoint.post(URL, status=503)
    endpoint.post(URL, exception=aiohttp.ServerDisconnectedError())
    endpoint.post(URL, payload={"access_token": "eyJ.third", "expires_in": 3600, "refresh_token": FIRST_REFRESH})
    assert await process().current() == "eyJ.third"
    assert [event.name for event in told] == ["token_retry", "token_retry", "token_refreshed"]


async def test_after_a_failure_the_next_worker_tries_again(process: Process, endpoint: aioresponses) -> None:
    tokens = process()
    endpoint.post(URL, status=401, body='{"error":"invalid_client"}')
    with pytest.raises(AuthorizationFault):
        await tokens.current()
    endpoint.post(URL, payload={"access_token": "eyJ.later", "expires_in": 3600})
    assert await tokens.current() == "eyJ.later"


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 429, 500])
async def test_no_secret_is_in_any_word_even_where_intuit_repeats_it(
    process: Process, endpoint: aioresponses, told: list[Event], status: int
) -> None:
    echo = f'{{"error":"invalid_grant","error_description":"{FIRST_REFRESH} of {SECRET}"}}'
    tokens = process()
    for _ in range(3):
        endpoint.post(URL, status=status, body=echo)
    with pytest.raises(QboFault) as fault:
        await tokens.current()
    said = f"{fault.value} {fault.value!r} {told} {tokens!r} {fault.value.__cause__!r}"
    assert FIRST_REFRESH not in said
    assert SECRET not in said


async def test_what_is_told_of_a_refresh_holds_no_token(process: Process, intuit: Intuit, told: list[Event]) -> None:
    intuit.rotates = True
    token = await process().current()
    (event,) = told
    assert event.message == "access token refreshed, the refresh token was rotated and stored"
    assert set(event.fields) == {"seconds_valid", "rotated", "exchange_ms", "stored_ms"}
    assert event.fields["seconds_valid"] == 3600
    assert event.fields["rotated"] is True
    for secret in (token, FIRST_REFRESH, intuit.valid_refresh, SECRET):
        assert secret not in repr(event)


def test_the_apps_credentials_are_not_in_their_repr() -> None:
    assert repr(Client("client-id", SECRET)) == str(Client("client-id", SECRET)) == "Client(...)"
    assert SECRET not in f"{[Client('client-id', SECRET)]}"


async def test_a_rotated_token_is_stored_as_soon_as_a_store_that_was_away_is_back(
    process: Process, intuit: Intuit, store: Store, told: list[Event]
) -> None:
    intuit.rotates = True
    store.out_of_reach_for = 4
    assert await process().current() == "eyJhbGciOi.access-token-0001"
    assert store.values[REFRESH_TOKEN] == intuit.valid_refresh
    assert [event.name for event in told] == ["token_not_stored"] * 4 + ["token_refreshed"]


async def test_a_token_that_somebody_stored_meanwhile_is_not_overwritten(
    process: Process, intuit: Intuit, store: Store
) -> None:
    intuit.rotates = True
    store.out_of_reach_for = 1
    renewal = asyncio.ensure_future(process().current())
    while store.out_of_reach_for:  # noqa: ASYNC110 - it happens in a thread
        await asyncio.sleep(0.01)
    store.values[REFRESH_TOKEN] = "RT1-set-by-hand-after-a-reconnect"
    await renewal
    assert store.values[REFRESH_TOKEN] == "RT1-set-by-hand-after-a-reconnect"


async def test_a_store_that_stays_away_ends_the_run_and_says_how_to_reauthorise(
    process: Process, intuit: Intuit, store: Store
) -> None:
    intuit.rotates = True
    store.out_of_reach_for = 10_000
    with pytest.raises(AuthorizationFault, match=r"could not be stored .* reauthorise the company"):
        await process().current()


async def test_a_rotated_token_that_comes_without_an_access_token_is_kept(
    process: Process, endpoint: aioresponses, store: Store
) -> None:
    endpoint.post(URL, payload={"refresh_token": "RT1-rotated-and-nothing-else"})
    with pytest.raises(TransientFault, match="no access token"):
        await process().current()
    assert store.values[REFRESH_TOKEN] == "RT1-rotated-and-nothing-else"
    endpoint.post(
        URL, payload={"access_token": "eyJ.later", "expires_in": "3600", "x_refresh_token_expires_in": "soon"}
    )
    assert await process().current() == "eyJ.later"


async def test_closing_waits_until_the_answer_under_way_is_stored(
    process: Process, intuit: Intuit, store: Store
) -> None:
    intuit.rotates = True
    tokens = process()
    worker = asyncio.ensure_future(tokens.current())
    await intuit.reached.wait()
    worker.cancel()
    await tokens.close()
    assert store.values[REFRESH_TOKEN] == intuit.valid_refresh != FIRST_REFRESH


async def test_what_intuit_says_of_ends_is_stored_and_a_rotation_begins_a_new_age(
    process: Process, intuit: Intuit, store: Store, clock: Clock
) -> None:
    tokens = process()
    began = clock.wall()
    refused = await tokens.current()
    first = json.loads(store.values[ACCESS_TOKEN])
    assert first["refresh_since"] == pytest.approx(began, abs=1)
    assert first["refresh_ends_at"] == pytest.approx(began + 8726400, abs=1)
    await asyncio.sleep(5000)
    refused = await tokens.after_refusal(refused)
    second = json.loads(store.values[ACCESS_TOKEN])
    assert second["refresh_since"] == first["refresh_since"]
    assert second["refreshed_at"] == pytest.approx(began + 5000, abs=2)
    intuit.rotates = True
    await tokens.after_refusal(refused)
    assert json.loads(store.values[ACCESS_TOKEN])["refresh_since"] > second["refresh_since"] + 4000
