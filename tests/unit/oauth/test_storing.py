"""A rotated refresh token is stored before it is needed, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
import json

import pytest
from aioresponses import aioresponses

from async_extractor.errors import ConfigurationError
from async_extractor.events import Event
from async_extractor.qbo.auth.access_tokens import ACCESS_TOKEN, REFRESH_TOKEN
from async_extractor.qbo.faults import AuthorizationFault, TransientFault
from tests.unit.oauth.intuit import FIRST_REFRESH, URL, Intuit, Process, Store
from tests.unit.virtual_time import Clock


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
        await tokens.current(await tokens.current())
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


async def test_a_store_that_is_full_is_met_before_intuit_is_asked(
    process: Process, intuit: Intuit, store: Store
) -> None:
    """The new token would be lost, and the old one is dead then."""
    store.is_full = True
    with pytest.raises(ConfigurationError, match="disk is full"):
        await process().current()
    assert intuit.asked == []


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
    refused = await tokens.current(refused)
    second = json.loads(store.values[ACCESS_TOKEN])
    assert second["refresh_since"] == first["refresh_since"]
    assert second["refreshed_at"] == pytest.approx(began + 5000, abs=2)
    intuit.rotates = True
    await tokens.current(refused)
    assert json.loads(store.values[ACCESS_TOKEN])["refresh_since"] > second["refresh_since"] + 4000
