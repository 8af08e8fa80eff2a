"""Spans of a record's date."""

from __future__ import annotations

import pytest

from async_extractor.qbo.paging.date_range import Span
from async_extractor.qbo.query import LAST_UPDATED, TXN_DATE
from async_extractor.windows import DAY
from tests.unit.reader.company import at


def test_a_span_is_halved_down_to_its_granularity() -> None:
    span = Span(LAST_UPDATED, at(0), at(3), ("x",))
    first, second = span.halves() or (None, None)
    assert (first, second) == (
        Span(LAST_UPDATED, at(0), at(1), ("x",)),
        Span(LAST_UPDATED, at(1), at(3), ("x",)),
    )
    assert Span(LAST_UPDATED, at(0), at(1)).halves() is None
    assert Span(TXN_DATE, at(0), at(0) + DAY).halves() is None
    with pytest.raises(ValueError, match="without an end"):
        Span(LAST_UPDATED, at(0), None).halves()


def test_what_is_left_of_a_span_begins_where_its_part_ends_and_is_nothing_where_both_end() -> None:
    span = Span(LAST_UPDATED, at(0), at(9), ("x",))
    assert span.beyond(span.at(at(3))) == Span(LAST_UPDATED, at(4), at(9), ("x",))
    assert span.beyond(span.at(at(8))) is None
    forever = Span(LAST_UPDATED, at(0), None)
    assert forever.beyond(forever.until(at(5))) == Span(LAST_UPDATED, at(5), None)
