"""Who took how many turns while another waited."""

from __future__ import annotations

import pytest

from bench.fairness import Fairness


def in_turn(processes: str) -> Fairness:
    """A turn for each letter, one after the other."""
    return Fairness.of((number, ord(process)) for number, process in enumerate(processes))


@pytest.mark.parametrize(
    ("processes", "waits", "most", "overtaken"),
    [
        ("abcabcabc", 6, 1, 0),
        ("abcacbabc", 6, 2, 2),
        ("aaa", 2, 0, 0),
        ("abbba", 3, 3, 1),
        ("ababcabc", 5, 1, 0),
        ("a", 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_a_wait_is_from_a_process_s_turn_to_its_next_one(processes: str, waits: int, most: int, overtaken: int) -> None:
    assert in_turn(processes) == Fairness(waits, most, overtaken)


def test_turns_may_come_in_any_order() -> None:
    assert Fairness.of([(3, 1), (1, 1), (2, 2), (4, 2)]) == Fairness(2, 1, 0)
