"""`qbo-backfill bench` and `make bench`: recommendations, goals, files and charts."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from async_extractor.cli.bench import _pairs
from async_extractor.errors import RequestError
from async_extractor.report.svg import bars, lines
from async_extractor.tuning.grid import Cell, _quantile, recommended
from tools.bench.outcome import Goal, Part, Table


def cell(concurrency: int, rows_per_second: float, chunk: str = "auto", requests: int = 10) -> Cell:
    seconds = 1_000 / rows_per_second
    return Cell(concurrency, chunk, 1_000, requests, 0, 4, seconds, 0.1, 0.2, 0, 0, 0, 0, 0, 0, 0)


def test_the_fewest_workers_that_are_nearly_as_fast_are_recommended() -> None:
    assert recommended([cell(1, 100), cell(4, 390), cell(8, 400), cell(10, 398)]).concurrency == 4


def test_of_equals_the_cut_that_costs_fewer_requests_is_recommended() -> None:
    assert recommended([cell(4, 400, "week", 60), cell(4, 398, "auto", 12)]).chunk == "auto"


def test_a_quantile_is_a_value_that_was_measured() -> None:
    values = [0.3, 0.1, 0.2, 0.4]
    assert (_quantile(values, 0.5), _quantile(values, 0.95), _quantile([], 0.5)) == (0.2, 0.4, 0.0)


def test_lists_of_settings_become_pairs_without_repeats() -> None:
    assert _pairs("1, 4,4", "auto,P1M") == [(1, "auto"), (4, "auto"), (1, "P1M"), (4, "P1M")]


@pytest.mark.parametrize(("concurrency", "chunk"), [("", "auto"), ("1,x", "auto"), ("-1", "auto"), ("1", " , ")])
def test_lists_that_are_none_are_refused(concurrency: str, chunk: str) -> None:
    with pytest.raises(RequestError):
        _pairs(concurrency, chunk)


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal("a", 0.8, at_least=0.8), True),
        (Goal("a", 0.79, at_least=0.8), False),
        (Goal("a", 1.1, at_most=1.1), True),
        (Goal("a", 1.2, at_most=1.1), False),
    ],
)
def test_a_goal_says_whether_it_is_met(goal: Goal, met: bool) -> None:
    assert goal.met is met
    assert goal.line().startswith("met   " if met else "MISSED")


def test_a_part_is_written_as_json_markdown_and_charts_and_listed_in_the_index(tmp_path: Path) -> None:
    part = Part(
        "some",
        "Some part",
        "What was compared.",
        figures={"runs": [1, 2]},
        goals=[Goal("ratio", 0.5, at_least=0.8)],
        tables=[Table("Medians", ("", "rows/s"), [("floor", 21_500.0)])],
        charts={"some-chart": bars("Rows", "a second", {"floor": 2.0}, line_at=1.6)},
    )
    (tmp_path / "foreign.json").write_text("[]")
    part.write(tmp_path)
    written = json.loads((tmp_path / "some.json").read_text())
    assert (written["figures"], written["goals"][0]["met"]) == ({"runs": [1, 2]}, False)
    told = (tmp_path / "some.md").read_text()
    assert "MISSED ratio: 0.5 (at least 0.8)" in told
    assert "| floor | 21,500 |" in told
    assert (tmp_path / "some-chart.svg").exists()
    assert "[Some part](some.md)" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("logarithmic", [False, True])
def test_a_line_chart_is_svg_with_each_point_inside_it(logarithmic: bool) -> None:
    svg = lines("A <b> & c", "x", "y", {"one": [(1, 10), (1000, 5000)], "two": [(1, 7)]}, logarithmic=logarithmic)
    root = ElementTree.fromstring(svg)  # noqa: S314 - made by the line above
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    assert len(circles) == 3
    assert all(0 <= float(c.attrib["cx"]) <= 720 and 0 <= float(c.attrib["cy"]) <= 400 for c in circles)


def test_bars_grow_with_their_values() -> None:
    root = ElementTree.fromstring(bars("t", "u", {"a": 1.0, "b": 2.0, "none": 0.0}))  # noqa: S314
    widths = [float(e.attrib["width"]) for e in root.iter() if e.tag.endswith("rect") and e.attrib["height"] == "22"]
    assert widths[1] == pytest.approx(2 * widths[0])
    assert widths[2] == 0
