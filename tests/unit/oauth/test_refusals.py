"""What Intuit refuses, what it merely fails at, and no token in any word."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from typing import Any

import aiohttp
import pytest
from aioresponses import aioresponses

from async_extractor.events import Event
from async_extractor.qbo.auth.access_tokens import ACCESS_TOKEN, StoredTokens
from async_extractor.qbo.auth.token_endpoint import Client
from async_extractor.qbo.faults import AuthorizationFault, QboFault, TransientFault
from tests.unit.oauth.intuit import FIRST_REFRESH, SECRET, URL, Intuit, Process, Store


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
    # A refused refresh token is noted, so that nobody calls the company connected.
    noted = StoredTokens.read(store.values.get(ACCESS_TOKEN))
    assert (noted is not None) == ("invalid_grant" in body)
    assert noted is None or (noted.token, noted.refused_at is None) == ("", False)


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


@pytest.mark.parametrize(
    "garbled", [b'{"access_token":"a\x86b"}', b"[" * 10_000, b"\xef\xbb\xbf{}"], ids=["no-utf-8", "deep", "bom"]
)
async def test_garbled_answer(process: Process, garbled: bytes) -> None:
    """An answer that can't be decoded is one without tokens: asked again, and no traceback."""
    with aioresponses() as endpoint:
        endpoint.post(URL, body=garbled, repeat=True)
        with pytest.raises(TransientFault, match="an answer without tokens"):
            await process().current()


async def test_refusal_whose_caller_was_stopped(process: Process, intuit: Intuit) -> None:
    """It is waited for and told to nobody: asyncio must not print it as a traceback when it is collected."""
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    intuit.valid_refresh = "another"
    tokens = process()
    caller = asyncio.ensure_future(tokens.current())
    await intuit.reached.wait()
    caller.cancel()
    await asyncio.gather(caller, return_exceptions=True)
    await tokens.close()
    del tokens
    gc.collect()
    assert told == []


async def test_another_process_refreshes_for_long(
    process: Process, intuit: Intuit, store: Store, told: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told that it is waited for; who was told to stop waits no longer, nor does its thread keep it alive."""
    monkeypatch.setattr("async_extractor.qbo.auth.access_tokens.WAITING_SECONDS", 0.1)
    tokens = process()
    with store.lock:
        caller = asyncio.ensure_future(tokens.current())
        while not any(event.name == "token_waits" for event in told):
            await asyncio.to_thread(time.sleep, 0.05)
        caller.cancel()
        await tokens.close()
        waiting = [thread for thread in threading.enumerate() if thread.name == "token-store"]
        assert all(thread.daemon for thread in waiting)
    assert await process().current()
