"""What a whole backfill costs in requests, and that the pieces it is cut into are all of it.

Every request is metered by Intuit, so the numbers here are counted, not estimated: COUNT(*) for the
plan, then the pages as they are read (1,000 rows, each page anchored at the last value of the one
before, until one isn't full), the pass that catches up, and the COUNT(*) that the result is checked with.
"""

from __future__ import annotations

import bisect
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from async_extractor.planning.chunking import Piece, cut_into_pieces
from async_extractor.windows import DAY, SECOND, UTC, Step, Window, parse_step

START = datetime(2014, 1, 1, tzinfo=UTC)
DECADE = Window(START, datetime(2024, 1, 1, tzinfo=UTC))
PAGE = 1000


@dataclass
class Book:
    """A company's rows, each at a second since `START`; answers COUNT(*) and keeps what it was asked."""

    rows: list[int]
    asked: list[Window] = field(default_factory=list)
    between: Callable[[Book], None] = lambda _book: None

    def __post_init__(self) -> None:
        self.rows.sort()

    def within(self, window: Window) -> list[int]:
        first, end = (
            bisect.bisect_left(self.rows, int((moment - START).total_seconds()))
            for moment in (window.start, window.end)
        )
        return self.rows[first:end]

    async def count(self, window: Window) -> int:
        self.asked.append(window)
        found = len(self.within(window))
        self.between(self)
        return found

    def pages(self, window: Window) -> int:
        """Requests that reading the window takes. Values that fill a page of their own are not among the tests'."""
        rows = self.within(window)
        number, at = 1, 0
        while at + PAGE <= len(rows):
            last = rows[at + PAGE - 1]
            assert rows[at] != last, "a page of one value"
            at = bisect.bisect_left(rows, last)
            number += 1
        return number


def assert_pieces_are_all_of(gaps: list[Window], pieces: list[Piece]) -> None:
    """The pieces follow one another without a hole; a new gap begins where one ends."""
    joined: list[Window] = []
    for piece in pieces:
        if joined and joined[-1].end == piece.window.start:
            joined[-1] = Window(joined[-1].start, piece.window.end)
        else:
            joined.append(piece.window)
    assert joined == gaps


@dataclass(frozen=True)
class Backfill:
    pieces: list[Piece]
    requests: int
    chunks_to_read: int


async def backfill(book: Book, step: Step | None = None, concurrency: int = 5, window: Window = DECADE) -> Backfill:
    pieces, total = await cut_into_pieces([window], step, book.count, concurrency, SECOND)
    assert total == len(book.within(window))
    assert_pieces_are_all_of([window], pieces)
    to_read = [piece for piece in pieces if piece.rows != 0]
    assert sum(len(book.within(piece.window)) for piece in to_read) == total
    catch_up_and_check = 2 if to_read else 0
    requests = len(book.asked) + sum(book.pages(piece.window) for piece in to_read) + catch_up_and_check
    return Backfill(pieces, requests, len(to_read))


def busy_days(*days: int, rows: int, seed: int = 1) -> Book:
    """So many rows at random seconds of those days, in equal parts."""
    rng = random.Random(seed)
    each = [rows // len(days) + (number < rows % len(days)) for number in range(len(days))]
    return Book(
        [day * 86_400 + rng.randrange(86_400) for day, count in zip(days, each, strict=True) for _ in range(count)]
    )


def evenly(rows: int) -> Book:
    seconds = int((DECADE.end - DECADE.start).total_seconds())
    return Book([number * seconds // rows for number in range(rows)])


async def test_an_empty_decade_takes_one_request() -> None:
    done = await backfill(Book([]))
    assert done.requests == 1
    assert done.pieces == [Piece(DECADE, 0)]


@pytest.mark.parametrize("chunk", ["day", "week", "P1M", "P1Y"])
async def test_an_empty_decade_takes_one_request_however_it_is_cut(chunk: str) -> None:
    assert (await backfill(Book([]), parse_step(chunk))).requests == 1


@pytest.mark.parametrize("concurrency", [1, 5, 10])
@pytest.mark.parametrize(
    "days",
    [(0, 1, 2), (3649, 3650, 3651), (1824, 1825, 1826), (10, 1800, 3640), (0, 1825, 3651), (912, 913, 2000)],
)
async def test_20_000_rows_in_three_busy_days_of_ten_years_take_at_most_30_requests(
    days: tuple[int, ...], concurrency: int
) -> None:
    assert (await backfill(busy_days(*days, rows=20_000), concurrency=concurrency)).requests <= 30


@pytest.mark.parametrize("seed", range(40))
async def test_20_000_rows_in_any_three_busy_days_take_at_most_30_requests(seed: int) -> None:
    days = sorted(random.Random(seed).sample(range(3652), 3))
    assert (await backfill(busy_days(*days, rows=20_000, seed=seed))).requests <= 30


@pytest.mark.parametrize("concurrency", [1, 5, 10])
async def test_a_million_rows_evenly_over_ten_years_take_at_most_1_120_requests(concurrency: int) -> None:
    done = await backfill(evenly(1_000_000), concurrency=concurrency)
    assert done.requests <= 1_120


async def test_a_million_rows_are_enough_chunks_to_keep_ten_workers_busy() -> None:
    done = await backfill(evenly(1_000_000), concurrency=10)
    assert done.chunks_to_read >= 40


@pytest.mark.parametrize("rows", [60_000, 250_000])
async def test_workers_who_share_chunks_need_one_count_for_all_of_them(rows: int) -> None:
    book = evenly(rows)
    assert await cut_into_pieces([DECADE], None, book.count, 0, SECOND, 250_000) == ([Piece(DECADE, rows)], rows)
    assert len(book.asked) == 1


async def test_a_million_rows_that_ten_workers_share_are_four_chunks() -> None:
    book = evenly(1_000_000)
    pieces, _ = await cut_into_pieces([DECADE], None, book.count, 0, SECOND, 250_000)
    assert [piece.rows for piece in pieces] == [250_000] * 4
    assert len(book.asked) == 4


async def test_a_million_rows_at_random_take_at_most_1_120_requests() -> None:
    rng = random.Random(7)
    seconds = int((DECADE.end - DECADE.start).total_seconds())
    book = Book([rng.randrange(seconds) for _ in range(1_000_000)])
    assert (await backfill(book)).requests <= 1_120


async def test_a_year_in_which_most_of_the_rows_lie_is_cut_finer_than_the_others() -> None:
    quiet = [day * 86_400 + second for day in range(3652) for second in (0, 40_000)]
    rng = random.Random(3)
    busy = [(3000 * 86_400) + rng.randrange(300 * 86_400) for _ in range(300_000)]
    done = await backfill(Book(quiet + busy))
    assert max(piece.rows or 0 for piece in done.pieces) <= 50_000
    assert done.requests <= 310 * 1.15


@pytest.mark.parametrize("rows", [1, 999, 1000, 1001, 5_000])
async def test_a_small_company_takes_its_pages_and_three_requests_more(rows: int) -> None:
    done = await backfill(evenly(rows))
    # The COUNT, the full pages and the one that isn't, the catch-up, the check.
    assert done.requests == 1 + rows // PAGE + 1 + 1 + 1


@given(
    st.lists(st.integers(0, 3652 * 86_400 - 1), max_size=60),
    st.integers(0, 400),
    st.integers(1, 10),
    st.sampled_from([None, "day", "week", "P1M", "P1Y"]),
)
@settings(max_examples=60)
async def test_the_pieces_of_a_book_that_nobody_edits_add_up_to_its_count(
    seconds: list[int], copies: int, concurrency: int, chunk: str | None
) -> None:
    book = Book([second for second in seconds for _ in range(copies)])
    step = None if chunk is None else parse_step(chunk)
    pieces, total = await cut_into_pieces([DECADE], step, book.count, concurrency, SECOND)
    assert total == len(book.rows)
    assert_pieces_are_all_of([DECADE], pieces)
    for piece in pieces:
        assert piece.rows is None or piece.rows == len(book.within(piece.window))
    if chunk is None:
        assert sum(piece.rows for piece in pieces if piece.rows is not None) == total
        assert all(piece.rows is not None for piece in pieces)


async def test_each_gap_is_counted_and_cut_for_itself() -> None:
    gaps = [
        Window(START, START + 10 * DAY),
        Window(START + 20 * DAY, START + 21 * DAY),
        Window(START + 30 * DAY, START + 40 * DAY),
    ]
    book = Book([5 * 86_400, 15 * 86_400, 20 * 86_400, 25 * 86_400])
    pieces, total = await cut_into_pieces(gaps, None, book.count, 5, SECOND)
    assert total == 2
    assert pieces == [Piece(gaps[0], 1), Piece(gaps[1], 1), Piece(gaps[2], 0)]
    assert book.asked == gaps


async def test_no_gap_asks_nothing() -> None:
    book = Book([1, 2, 3])
    assert await cut_into_pieces([], None, book.count, 5, SECOND) == ([], 0)
    assert book.asked == []


async def test_a_step_that_was_asked_for_is_kept_and_its_single_piece_has_its_count() -> None:
    window = Window(START, START + DAY)
    book = Book([1, 2, 3])
    assert await cut_into_pieces([window], parse_step("day"), book.count, 5, SECOND) == ([Piece(window, 3)], 3)
    pieces, _ = await cut_into_pieces([window], parse_step("PT6H"), book.count, 5, SECOND)
    assert [piece.rows for piece in pieces] == [None] * 4


async def test_txn_dates_are_cut_at_midnights_only() -> None:
    window = Window(START, START + 3 * DAY)
    book = Book(list(range(0, 3 * 86_400, 4)))
    pieces, _ = await cut_into_pieces([window], None, book.count, 10, DAY)
    assert [piece.window.start for piece in pieces] == [START, START + DAY, START + 2 * DAY]


async def test_a_day_that_cant_be_cut_finer_stays_one_piece_however_many_rows_it_has() -> None:
    window = Window(START, START + DAY)
    book = Book(list(range(86_400)) * 2)
    pieces, _ = await cut_into_pieces([window], None, book.count, 10, DAY)
    assert pieces == [Piece(window, 172_800)]


async def test_neighbours_that_are_empty_become_one_piece_and_nothing_else_does() -> None:
    done = await backfill(busy_days(2000, rows=60_000))
    rows = [piece.rows for piece in done.pieces]
    assert not any(a == 0 and b == 0 for a, b in zip(rows, rows[1:], strict=False))
    assert sum(piece.rows or 0 for piece in done.pieces) == 60_000
    assert done.pieces[0].rows == 0
    assert done.pieces[-1].rows == 0


async def test_parts_that_hold_more_than_the_whole_did_leave_an_unknown_count_and_no_negative_one() -> None:
    def date_back(book: Book) -> None:
        book.rows = sorted([*book.rows, *range(20_000)])

    book = Book(list(range(20_000)), between=date_back)
    pieces, total = await cut_into_pieces([DECADE], None, book.count, 5, SECOND)
    assert total == 20_000
    assert_pieces_are_all_of([DECADE], pieces)
    # The first part has them all twice by now; what the last part has nobody knows, so it is read.
    assert pieces[0].rows == 40_000
    assert pieces[-1].rows is None


async def test_a_book_in_which_every_row_vanishes_is_planned_without_a_negative_count() -> None:
    def vanish(book: Book) -> None:
        book.rows = []

    book = Book(evenly(20_000).rows, between=vanish)
    pieces, _ = await cut_into_pieces([DECADE], None, book.count, 5, SECOND)
    assert_pieces_are_all_of([DECADE], pieces)
    # What the parts that were asked don't have may still be in the one that wasn't: it is read.
    assert [piece.rows for piece in pieces] == [0, 20_000]


async def test_no_piece_is_taken_for_empty_that_holds_a_row_when_another_is_dated_back_between_the_counts() -> None:
    def date_back(book: Book) -> None:
        if len(book.asked) == 1:
            book.rows = sorted([*book.rows, 7])

    last = int((DECADE.end - START).total_seconds()) - 1
    book = Book([*range(100, 20_000), last], between=date_back)
    pieces, _ = await cut_into_pieces([DECADE], None, book.count, 5, SECOND)
    skipped = [piece.window for piece in pieces if piece.rows == 0]
    assert [book.within(window) for window in skipped if book.within(window)] == []
