"""The page's size follows the records' weight, so that a page's bytes stay bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from async_extractor.qbo.paging.size import PAGE_BYTES, PageSize


def test_at_first_and_for_common_records_it_is_the_cap() -> None:
    size = PageSize()
    assert size.rows == 1000
    size.saw(1000, 3_500_000)
    assert size.rows == 1000


def test_one_page_of_heavy_records_is_enough_to_ask_for_fewer() -> None:
    size = PageSize()
    size.saw(1000, 170_000_000)
    assert size.rows == PAGE_BYTES // 170_000


def test_it_grows_again_by_degrees_when_records_are_light() -> None:
    size = PageSize()
    size.saw(10, 1_700_000)
    asked = []
    for _ in range(10):
        asked.append(size.rows)
        size.saw(size.rows, size.rows * 2_000)
    assert asked == sorted(asked)
    assert asked[1] < 1000
    assert size.rows == 1000


def test_a_record_heavier_than_a_page_is_asked_for_alone() -> None:
    size = PageSize()
    size.saw(1, PAGE_BYTES * 3)
    assert size.rows == 1


def test_an_empty_page_says_nothing() -> None:
    size = PageSize()
    size.saw(5, 5 * PAGE_BYTES)
    size.saw(0, 0)
    assert size.rows == 1


@pytest.mark.parametrize("most", [1, 12, 1000])
@given(pages=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 10**9))))
def test_it_is_always_between_one_and_the_cap(most: int, pages: list[tuple[int, int]]) -> None:
    size = PageSize(most)
    for rows, weight in pages:
        size.saw(rows, weight)
        assert 1 <= size.rows <= most
