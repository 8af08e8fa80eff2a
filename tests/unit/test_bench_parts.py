"""The parts of the bench: what `python -m tools.bench PART` can measure, and where its outcome is found."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path

import pytest

from tools.bench.__main__ import LONG_PARTS, PARTS, main
from tools.bench.budget import Measured, _part, poorest_minute
from tools.bench.fairness import Fairness
from tools.bench.outcome import Goal, Part, Table


@pytest.mark.parametrize("name", PARTS + LONG_PARTS)
@pytest.mark.parametrize("quick", [True, False])
def test_each_part_can_be_measured_quickly_and_in_full(name: str, quick: bool) -> None:
    module = importlib.import_module(f"tools.bench.{name}")
    parameters = inspect.signature(module.measure).parameters
    assert {"stage", *module.options(quick)} <= {"stage", *parameters}
    needed = {n for n, p in parameters.items() if p.default is inspect.Parameter.empty} - {next(iter(parameters))}
    assert needed <= module.options(quick).keys()


def test_a_part_that_does_not_exist_is_refused_with_the_names_of_those_that_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nothing"])
    assert ended.value.code == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"'nothing' is not one of {', '.join((*PARTS, *LONG_PARTS))}" in last


def test_the_index_names_each_part_with_its_goals_and_the_command_that_repeats_it(tmp_path: Path) -> None:
    part = Part("outage", "An outage", "About it.", goals=[Goal("requests", 40, at_most=29)])
    part.tables = [Table("Each", ("processes",), [(3,)])]
    part.write(tmp_path)
    Part("tokens", "One token", "About it.", goals=[Goal("refused", 0, at_most=0)]).write(tmp_path)
    index = (tmp_path / "README.md").read_text()
    assert "## [An outage](outage.md)" in index
    assert "`python -m tools.bench outage`" in index
    assert "MISSED requests: 40 (at most 29)" in index
    assert "`python -m tools.bench tokens`" in index
    assert "`python -m tools.bench outage`" in (tmp_path / "outage.md").read_text()


def measured(processes: int, **more: object) -> Measured:
    given = {"kills": 0, "latency_ms": 50.0, "shared": True, "share": 0.98, "throttled": 0, "worst_minute": 494}
    return Measured(
        **{  # type: ignore[arg-type]
            "processes": processes,
            "seconds": 300.0,
            "sent": 2470,
            "worst_second": 9,
            "worst_in_flight": 3,
            "violations": {},
            "by_process": [1],
            "fairness": Fairness(1000, 1, 0, 0),
            **given,
            **more,
        }
    )


@pytest.mark.parametrize(
    ("worse", "missed"),
    [
        ({}, 0),
        ({"throttled": 1}, 1),
        ({"worst_minute": 501}, 1),
        ({"worst_second": 11}, 1),
        ({"worst_in_flight": 11}, 1),
        ({"share": 0.96}, 1),
        ({"share": 0.9, "kills": 50}, 0),
        ({"fairness": Fairness(1000, 2, 1, 0)}, 1),
    ],
)
def test_the_budget_misses_its_goal_by_each_limit_that_is_passed(worse: dict[str, object], missed: int) -> None:
    part = _part(300, [measured(1), measured(3, **worse)])
    assert sum(not goal.met for goal in part.goals) == missed


def test_the_poorest_minute_is_looked_for_wherever_it_begins() -> None:
    steady = [second / 8 for second in range(8 * 200)]
    with_a_gap = [moment for moment in steady if not 130 <= moment < 140]
    assert poorest_minute(steady) == 480
    assert poorest_minute(with_a_gap) == 400
