"""Who took how many turns while another waited."""

from __future__ import annotations

from tools.bench.fairness import Fairness, Turn

A, B, C = 1, 2, 3


def test_processes_that_ask_one_after_the_other_take_turns() -> None:
    turns = [Turn(number - 3, number, number % 3) for number in range(3, 30)]
    assert Fairness.of(turns) == Fairness(waits=27, most=1, overtaken=0, too_late=0)


def test_two_turns_of_another_in_one_wait_are_one_too_many() -> None:
    turns = [Turn(0, 4, A), Turn(0, 1, B), Turn(1, 2, C), Turn(2, 3, B)]
    assert Fairness.of(turns) == Fairness(waits=4, most=2, overtaken=1, too_late=0)


def test_two_turns_of_two_others_are_not() -> None:
    assert Fairness.of([Turn(0, 3, A), Turn(0, 1, B), Turn(0, 2, C)]).overtaken == 0


def test_a_process_that_does_not_ask_does_not_wait() -> None:
    turns = [Turn(0, 1, A), Turn(0, 2, B), Turn(2, 3, B), Turn(3, 4, B), Turn(3.5, 5, A)]
    assert Fairness.of(turns) == Fairness(waits=5, most=1, overtaken=0, too_late=0)


def test_a_turn_that_was_come_too_late_for_was_waited_for_and_is_nobodys() -> None:
    turns = [Turn(0, 3, A), Turn(0, 1, B, used=False), Turn(1.2, 2, B)]
    assert Fairness.of(turns) == Fairness(waits=3, most=1, overtaken=0, too_late=1)


def test_without_turns_nobody_waits() -> None:
    assert Fairness.of([]) == Fairness(0, 0, 0, 0)
