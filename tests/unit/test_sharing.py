"""Which part of a window an idle worker takes, and what becomes of it when it can't be had."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from async_extractor.extraction.sharing import Share, Shares
from async_extractor.warehouse.ledger import Chunk
from async_extractor.windows import UTC

START = datetime(2024, 1, 1, tzinfo=UTC)
END = START + timedelta(days=100)


def chunk(rows: int | None, kind: str = "window") -> Chunk:
    return Chunk(1, 1, 1, kind, START, END, START, END, rows)  # type: ignore[arg-type]


def shared(rows: int, workers: int) -> tuple[Shares, Share]:
    shares = Shares(workers)
    share = shares.begin(chunk(rows))
    assert share is not None
    return shares, share


def taken(shares: Shares, part: Share, holder: Share, day: int, row: int) -> None:
    shares.take(part, holder, replace(chunk(1), window_start=START + timedelta(days=day)), row)


async def test_ten_workers_at_one_window_have_even_parts_that_lie_side_by_side() -> None:
    shares, share = shared(60_000, 10)
    parts = [share, *[part for _ in range(9) if (part := await shares.far_part(1000))]]
    bounds = sorted((part.first, shares.end_row(part)) for part in parts)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == 60_000
    assert [end for _, end in bounds[:-1]] == [first for first, _ in bounds[1:]]
    # A page goes on by 999 rows, and the last one must not be full.
    assert max(end - first for first, end in bounds) < 7 * 999


async def test_the_last_page_on_its_way_is_not_taken() -> None:
    shares, _ = shared(990, 10)
    assert await shares.far_part(1000) is None


@pytest.mark.parametrize("rows", [1_000, 1_990, 2_500, 12_345])
async def test_parts_are_whole_pages_that_are_not_full(rows: int) -> None:
    shares, share = shared(rows, 10)
    while (part := await shares.far_part(1000)) is not None:
        assert shares.end_row(part) - part.first >= 1
    assert shares.end_row(share) % 994 == 0


async def test_a_window_of_which_nobody_knows_the_rows_is_not_shared_and_a_catch_up_neither() -> None:
    shares = Shares(4)
    assert shares.begin(chunk(None)) is None
    assert shares.begin(chunk(5_000, "catch_up")) is None
    assert await shares.far_part(1000) is None


async def test_an_idle_worker_waits_for_a_claim_that_is_under_way() -> None:
    shares = Shares(2)
    with shares.claiming():
        waiting = asyncio.ensure_future(shares.far_part(1000))
        await asyncio.sleep(0)
        assert not waiting.done()
        shares.begin(chunk(5_000))
    assert await waiting is not None


async def test_a_holder_waits_at_a_cut_until_it_is_settled_and_ends_there() -> None:
    shares, share = shared(5_000, 2)
    part = await shares.far_part(1000)
    assert part is not None
    assert await shares.until(share) == END
    share.read = shares.end_row(share)
    waiting = asyncio.ensure_future(shares.until(share))
    await asyncio.sleep(0)
    assert not waiting.done()
    taken(shares, part, share, 60, part.first + 2)
    assert await waiting == START + timedelta(days=60)
    assert (part.first, shares.end_row(part), part.until) == (shares.end_row(share), 5_000, END)


async def test_a_part_that_is_given_back_is_its_holder_s_and_not_cut_again() -> None:
    shares, share = shared(5_000, 2)
    part = await shares.far_part(1000)
    assert part is not None
    share.read = shares.end_row(share)
    waiting = asyncio.ensure_future(shares.until(share))
    await asyncio.sleep(0)
    shares.give_back(part)
    assert await waiting == END
    assert shares.end_row(share) == 5_000
    assert await shares.far_part(1000) is None


async def test_parts_that_arrive_out_of_turn_are_cut_from_whoever_has_the_moment() -> None:
    shares, share = shared(60_000, 3)
    middle = await shares.far_part(1000)
    assert middle is not None
    last = await shares.far_part(1000)
    assert last is not None
    first, second = sorted((middle, last), key=lambda part: part.first)
    holder = shares.holder(START + timedelta(days=80), second.first + 1)
    assert holder is share
    taken(shares, second, share, 80, second.first + 1)
    assert shares.holder(START + timedelta(days=90), second.first + 1_000) is second
    assert shares.holder(START + timedelta(days=40), first.first + 1) is share
    taken(shares, first, share, 40, first.first + 1)
    assert [part.until for part in (share, first, second)] == [START + timedelta(days=d) for d in (40, 80, 100)]
    assert [(part.first, shares.end_row(part)) for part in (first, second)] == [
        (shares.end_row(share), second.first),
        (second.first, 60_000),
    ]


async def test_a_part_whose_place_has_moved_beyond_its_holder_is_not_taken() -> None:
    """Edits have moved its rows into the chunk that begins there, whose holder would wait for what nobody has."""
    shares, share = shared(60_000, 2)
    second = await shares.far_part(1000)
    assert second is not None
    taken(shares, second, share, 50, second.first)
    second.cuttable = False
    tail = await shares.far_part(1000)
    assert tail is not None
    assert shares.end_row(share) == tail.first < second.first
    assert shares.holder(START + timedelta(days=51), second.first) is None
    assert shares.holder(START + timedelta(days=51), tail.first) is None
    shares.give_back(tail)
    assert shares.end_row(share) == share.until_row == second.first


async def test_nobody_waits_where_no_part_is_about_to_go_over() -> None:
    """Whatever the order in which parts settle and wherever edits have moved them."""
    rows = 20_000
    shares, share = shared(rows, 4)
    cut = [part for _ in range(3) if (part := await shares.far_part(1000))]
    for part in cut[::2]:
        moved = part.first - 900
        holder = shares.holder(START + timedelta(days=moved * 100 / rows), moved)
        assert holder is not None
        taken(shares, part, holder, moved * 100 // rows, moved)
    for part in cut[1::2]:
        shares.give_back(part)
    for one in [share, *cut[::2]]:
        one.read = rows
        assert await asyncio.wait_for(shares.until(one), 1) == one.until


async def test_an_order_that_is_ignored_ends_the_sharing() -> None:
    shares, _ = shared(60_000, 10)
    shares.order_is_ignored()
    assert await shares.far_part(1000) is None
