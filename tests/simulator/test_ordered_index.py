"""The simulator's ordered index answers like a sorted list, however it was changed."""

from __future__ import annotations

from bisect import bisect_left, insort

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_simulator.company import ordered_index
from qbo_simulator.company.ordered_index import OrderedIndex

KEYS = st.integers(min_value=0, max_value=60)


@given(start=st.lists(KEYS), steps=st.lists(st.tuples(st.booleans(), KEYS)), bounds=st.tuples(KEYS, KEYS))
def test_it_answers_like_a_sorted_list(
    start: list[int], steps: list[tuple[bool, int]], bounds: tuple[int, int]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ordered_index, "_CHUNK", 3)  # so that few keys make many chunks
        index, model = OrderedIndex(start), sorted(start)
        for is_added, key in steps:
            if is_added:
                index.add(key)
                insort(model, key)
            elif key in model:
                index.remove(key)
                model.remove(key)
            else:
                with pytest.raises(KeyError):
                    index.remove(key)
        low, high = bounds
        assert list(index) == model
        assert len(index) == len(model)
        assert index.rank(low) == bisect_left(model, low)
        assert list(index.slice(low, high)) == model[low:high]
