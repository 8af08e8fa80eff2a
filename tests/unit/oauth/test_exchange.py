"""One exchange of the refresh token at a time, over all workers and processes."""

from __future__ import annotations

import asyncio
import base64

import pytest

from tests.unit.oauth.intuit import FIRST_REFRESH, SECRET, Intuit, Process, Store


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
    renewed = await asyncio.gather(*(tokens.current(refused) for _ in range(20)))
    assert set(renewed) == {"eyJhbGciOi.access-token-0002"}
    assert len(intuit.asked) == 2


async def test_a_worker_that_hears_of_the_refusal_late_gets_the_new_token(process: Process, intuit: Intuit) -> None:
    tokens = process()
    refused = await tokens.current()
    renewed = await tokens.current(refused)
    assert await tokens.current(refused) == renewed
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
    renewed = await theirs.current(refused)
    assert await ours.current(refused) == renewed
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
