"""One query until it is answered: what is asked again and how often, what ends it, and what it is counted as."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import aiohttp
import pytest

from async_extractor.qbo.client import MOST_REFRESHES, Patience, Spent
from async_extractor.qbo.faults import (
    AuthorizationFault,
    PageFault,
    QboFault,
    QueryRefusedFault,
    TransientFault,
    UnavailableFault,
)
from async_extractor.qbo.limits import SPACING
from async_extractor.qbo.query import LONGEST_GET, Query
from tests.unit.client.query_endpoint import ASKED, GOOD, INVOICES, PAGE, PAGE_CANT_BE_SERVED, TOKEN, World


async def test_an_answer_is_its_page_with_the_request_that_brought_it(world: World) -> None:
    world.answer(GOOD)
    answer = await world.fetch()
    assert [bytes(record.raw) for record in answer.page.records] == [b'{"Id":"1","TotalAmt":639.00}']
    assert answer.tid == "1-good"
    assert answer.request_payload == {
        "method": "GET",
        "path": "/v3/company/4620816365/query",
        "minorversion": 75,
        "query": ASKED.text(),
    }
    assert (world.spent.requests, world.spent.retries, world.spent.throttled) == (1, 0, 0)
    assert world.spent.bytes_read == len(PAGE)
    assert world.worth_reading == []


async def test_a_request_carries_the_query_the_version_and_the_token_and_follows_no_redirect(world: World) -> None:
    world.answer(GOOD)
    await world.fetch()
    (call,) = world.requests
    assert call["params"] == {"minorversion": "75", "query": ASKED.text()}
    assert call["headers"] == {
        "Authorization": f"Bearer {TOKEN % 1}",
        "Accept": "application/json",
        "Accept-Encoding": "gzip",
    }
    assert call["auto_decompress"] is False
    assert call["allow_redirects"] is False
    assert call["data"] is None


async def test_a_long_query_goes_in_the_body_of_a_post(world: World) -> None:
    query = Query(INVOICES, (f"Id IN ({', '.join(repr(str(n)) for n in range(1000))})",))
    assert len(query.text()) > LONGEST_GET
    world.answer(GOOD)
    answer = await world.fetch(query)
    (call,) = world.requests
    assert call["data"] == query.text().encode()
    assert call["params"] == {"minorversion": "75"}
    assert call["headers"]["Content-Type"] == "application/text"
    assert answer.request_payload["method"] == "POST"
    assert answer.request_payload["query"] == query.text()


PASSING = {
    "500": {"status": 500},
    "500 in JSON": {"status": 500, "body": '{"Fault":{"Error":[{"Message":"InternalServerError","code":"3100"}]}}'},
    "502 in HTML": {"status": 502, "body": "<html><title>Bad Gateway</title></html>"},
    "503 of nothing": {"status": 503, "body": ""},
    "a page under 500": {"status": 500, "body": PAGE},
    "200 in HTML": {"status": 200, "body": "<html><title>back soon</title></html>"},
    "200 of nothing": {"status": 200, "body": ""},
    "a page that is cut off": {"status": 200, "body": PAGE[:-9]},
    "a page that is no JSON": {"status": 200, "body": PAGE.replace(b"639.00", b"NaN")},
    "a header without end": {
        "exception": aiohttp.ClientResponseError(None, (), status=400, message="Got more than 65536 bytes when reading")
    },
    "a redirect": {"status": 302, "headers": {"Location": "http://evil.example/"}},
    "a timeout": {"exception": asyncio.TimeoutError()},
    "a reset": {"exception": aiohttp.ClientOSError(104, "Connection reset by peer")},
    "a disconnect": {"exception": aiohttp.ServerDisconnectedError()},
    "a body that ends early": {"exception": aiohttp.ClientPayloadError("Response payload is not completed")},
    "no connection": {"exception": aiohttp.ClientConnectionError("Cannot connect")},
    "no route": {"exception": OSError(113, "No route to host")},
}


@pytest.mark.parametrize("trouble", PASSING.values(), ids=PASSING.keys())
async def test_a_passing_trouble_is_asked_again(world: World, trouble: dict[str, Any]) -> None:
    world.answer(trouble, GOOD)
    answer = await world.fetch()
    assert answer.page.rows == 1
    assert (world.spent.requests, world.spent.retries, world.spent.throttled) == (2, 1, 0)
    assert {call["params"]["query"] for call in world.requests} == {ASKED.text()}
    assert world.limiter.state == "closed"


@pytest.mark.parametrize("trouble", PASSING.values(), ids=PASSING.keys())
async def test_a_trouble_that_does_not_pass_ends_the_query_when_its_tries_are_used_up(
    world: World, trouble: dict[str, Any]
) -> None:
    world.answer(*[trouble] * 20)
    with pytest.raises(TransientFault):
        await world.fetch()
    assert (world.spent.requests, world.spent.retries) == (5, 4)


async def test_the_pauses_between_tries_grow_up_to_the_longest(world: World) -> None:
    patience = Patience(tries=7, first_pause=0.5, longest_pause=4.0)
    world.answer(*[{"status": 503}] * 7)
    with pytest.raises(TransientFault):
        await world.client.fetch(ASKED, world.spent, patience)
    sent = [call["at"] for call in world.requests]
    pauses = [b - a for a, b in zip(sent, sent[1:], strict=False)]
    assert len(pauses) == 6
    for pause, least in zip(pauses, (0.5, 1, 2, 4, 4, 4), strict=True):
        assert least <= pause + 0.001
        assert pause <= least + 0.5 + SPACING + 0.001


REFUSALS = {
    "a query that can't be parsed": (400, "4000", QueryRefusedFault),
    "an invalid query": (400, "4001", QueryRefusedFault),
    "nothing there": (404, "", QueryRefusedFault),
    "a company that has ended": (400, "6190", AuthorizationFault),
    "another app's company": (403, "3100", AuthorizationFault),
    "a user who lost the rights": (401, "120", AuthorizationFault),
}


@pytest.mark.parametrize(("status", "code", "kind"), REFUSALS.values(), ids=REFUSALS.keys())
async def test_what_no_retry_can_help_is_asked_once(world: World, status: int, code: str, kind: type[QboFault]) -> None:
    world.answer({"status": status, "body": f'{{"Fault":{{"Error":[{{"code":"{code}"}}]}}}}'}, GOOD)
    with pytest.raises(kind):
        await world.fetch()
    assert world.spent.requests == 1
    assert world.limiter.state == "closed"


async def test_a_page_that_cant_be_served_has_fewer_tries_and_does_not_open_the_breaker(world: World) -> None:
    world.answer(*[{"status": 500, "body": PAGE_CANT_BE_SERVED}] * 60)
    for number in range(1, 11):
        with pytest.raises(PageFault):
            await world.fetch()
        assert world.spent.requests == 3 * number
    assert world.limiter.state == "closed"


@pytest.mark.parametrize("headers", [{"Content-Length": "71"}, {"Transfer-Encoding": "chunked"}])
async def test_undecodable_page_that_arrived_whole(world: World, headers: dict[str, str]) -> None:
    """It is a page fault with its bytes, and no sign of an outage."""
    body = PAGE.replace(b"639.00", b"NaN")
    headers = {**headers, "intuit_tid": "1-odd"}
    world.answer(*[{"status": 200, "body": body, "headers": headers}] * 60)
    for number in range(1, 11):
        with pytest.raises(PageFault, match=r"not a page in JSON and UTF-8 .*\(intuit_tid 1-odd\)") as fault:
            await world.fetch()
        assert (fault.value.body, fault.value.status) == (body, 200)
        assert world.spent.requests == 3 * number
    assert world.limiter.state == "closed"


async def test_gzip_bomb(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that decompresses beyond the bound is a page fault."""
    monkeypatch.setattr("async_extractor.qbo.client.MOST_PAGE_BYTES", 1_000_000)
    bomb = gzip.compress(bytes(1_000_001))
    world.answer(*[{"status": 200, "body": bomb, "headers": {"Content-Encoding": "gzip"}}] * 3)
    with pytest.raises(PageFault, match="more than 1,000,000 bytes"):
        await world.fetch()
    assert world.limiter.state == "closed"


async def test_harmful_transaction_id(world: World) -> None:
    """Intuit's transaction id is made printable, of a page, too."""
    world.answer({"body": PAGE, "headers": {"intuit_tid": "1-\x00\x1b[31m" + "x" * 9000}})
    answer = await world.fetch()
    assert answer.tid.isprintable()
    assert len(answer.tid) == 100


async def test_header_that_is_too_long_is_told(world: World) -> None:
    """The fault says what was wrong with the answer, and header limits are those of other HTTP clients."""
    world.answer(*[PASSING["a header without end"]] * 5)
    with pytest.raises(TransientFault, match="Got more than 65536 bytes"):
        await world.fetch()
    assert world.requests[0]["max_field_size"] == world.requests[0]["max_line_size"] == 65_536


async def test_a_page_that_is_served_at_the_third_try_is_a_page(world: World) -> None:
    world.answer(*[{"status": 504}] * 2, GOOD)
    assert (await world.fetch()).page.rows == 1


async def test_halves_of_a_page_that_cant_be_served_are_given_up_sooner(world: World) -> None:
    world.answer(*[{"status": 504}] * 60)
    with pytest.raises(PageFault):
        await world.client.fetch(ASKED, world.spent, world.client.patience.when_splitting())
    assert world.spent.requests == 2


async def test_a_401_refreshes_the_token_once_and_sends_the_same_again_without_a_pause(world: World) -> None:
    world.answer({"status": 401, "body": f'{{"fault":{{"error":[{{"detail":"Token expired: {TOKEN % 1}"}}]}}}}'}, GOOD)
    assert (await world.fetch()).page.rows == 1
    assert world.tokens.refused == [TOKEN % 1]
    assert [call["headers"]["Authorization"] for call in world.requests] == [
        f"Bearer {TOKEN % 1}",
        f"Bearer {TOKEN % 2}",
    ]
    assert world.clock.now < 1
    assert (world.spent.requests, world.spent.retries) == (2, 1)


async def test_tokens_that_are_refused_one_after_the_other_end_the_run(world: World) -> None:
    world.answer(*[{"status": 401}] * 60)
    with pytest.raises(AuthorizationFault, match="refuses one fresh access token after the other"):
        await world.fetch()
    assert world.spent.requests == MOST_REFRESHES + 1
    assert world.tokens.refused == [TOKEN % number for number in range(1, MOST_REFRESHES + 1)]


async def test_a_refresh_that_is_refused_ends_the_run_at_once(world: World) -> None:
    world.answer({"status": 401}, GOOD)
    world.tokens.refresh_troubles = [AuthorizationFault("Intuit refuses the refresh token (invalid_grant)")]
    with pytest.raises(AuthorizationFault, match="invalid_grant"):
        await world.fetch()
    assert world.spent.requests == 1


async def test_a_token_endpoint_that_is_down_for_a_while_is_not_taken_for_a_refusal(world: World) -> None:
    world.answer(*[{"status": 401}] * 3, GOOD)
    world.tokens.refresh_troubles = [TransientFault("Intuit's token endpoint answered HTTP 503")] * 2
    assert (await world.fetch()).page.rows == 1


async def test_without_a_token_nothing_is_sent(world: World) -> None:
    world.tokens.troubles = [AuthorizationFault("QBO_REFRESH_TOKEN is not in Mage Secrets")]
    with pytest.raises(AuthorizationFault):
        await world.fetch()
    assert world.spent.requests == 0
    assert world.requests == []


async def test_a_token_that_is_not_to_be_had_for_a_moment_is_waited_for(world: World) -> None:
    world.tokens.troubles = [TransientFault("Intuit's token endpoint can't be reached")] * 2
    world.answer(GOOD)
    assert (await world.fetch()).page.rows == 1
    assert (world.spent.requests, world.spent.retries) == (1, 0)


async def test_the_connection_can_be_made_sure_of_before_the_first_query(world: World) -> None:
    await world.client.authorise()
    world.tokens.troubles = [AuthorizationFault("invalid_client")]
    with pytest.raises(AuthorizationFault):
        await world.client.authorise()
    assert world.requests == []


async def test_what_was_spent_is_counted_also_when_the_query_fails_and_begins_again_when_taken(world: World) -> None:
    world.answer({"status": 400, "body": "no such thing"}, GOOD)
    with pytest.raises(QueryRefusedFault):
        await world.fetch()
    taken = world.spent.take()
    assert (taken.requests, taken.bytes_read) == (1, len("no such thing"))
    assert world.spent == Spent()
    await world.fetch()
    assert world.spent.requests == 1


async def test_each_retry_is_told_with_its_query_and_intuits_transaction_id(world: World) -> None:
    world.answer({"status": 503, "headers": {"intuit_tid": "1-sick"}}, {"exception": asyncio.TimeoutError()}, GOOD)
    await world.fetch()
    assert [(event.name, event.level, event.fields["attempt"]) for event in world.worth_reading] == [
        ("retry", "warning", 1),
        ("retry", "warning", 2),
    ]
    assert world.worth_reading[0].message == "trying again (1): QuickBooks answered HTTP 503 (intuit_tid 1-sick)"
    assert world.worth_reading[0].fields["query"] == ASKED.text()
    assert world.worth_reading[0].fields["intuit_tid"] == "1-sick"
    assert world.worth_reading[1].message == "trying again (2): QuickBooks gave no answer in time"


@pytest.mark.parametrize("status", [200, 400, 401, 403, 429, 500, 504])
async def test_a_token_that_quickbooks_repeats_is_in_no_event_and_no_fault(world: World, status: int) -> None:
    token = TOKEN % 1
    body = f'{{"fault":{{"error":[{{"message":"Bearer {token}","detail":"Token: {token}","code":"1"}}]}}}}'
    world.answer(*[{"status": status, "body": body}] * 30)
    with pytest.raises(QboFault) as fault:
        await world.fetch()
    said = f"{world.told} {fault.value} {fault.value!r} {fault.value.__context__!r}"
    assert token not in said
    assert token[:24] not in said


async def test_a_token_endpoint_that_stays_down_is_an_outage_and_no_refusal(world: World) -> None:
    world.answer(*[{"status": 401}] * 60)
    world.tokens.refresh_troubles = [TransientFault("Intuit's token endpoint answered HTTP 503")] * 60
    with pytest.raises(UnavailableFault, match="token endpoint"):
        await world.client.fetch(ASKED, world.spent, Patience())
