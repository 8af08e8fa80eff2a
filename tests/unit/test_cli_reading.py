"""What a date on the command line means, and how JSON lines tell times."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal

import pytest

from async_extractor.cli.reading import as_json, day_or_moment
from async_extractor.errors import RequestError

NOON = datetime(2024, 3, 5, 12, tzinfo=timezone.utc)


def test_a_bare_date_is_its_whole_utc_day_to_the_last_second() -> None:
    assert day_or_moment("chunk", " 2024-03-05 ") == (
        datetime(2024, 3, 5, tzinfo=timezone.utc),
        datetime(2024, 3, 6, tzinfo=timezone.utc),
    )


@pytest.mark.parametrize(
    "text", ["2024-03-05T12:00:00Z", "2024-03-05T07:00:00-05:00", "2024-03-05T12:00:00.700000+00:00"]
)
def test_a_moment_is_its_second(text: str) -> None:
    assert day_or_moment("chunk", text) == (NOON, NOON + timedelta(seconds=1))


@pytest.mark.parametrize(("text", "why"), [("yesterday", "is not an ISO date"), ("2024-03-05T12:00:00", "no offset")])
def test_what_is_neither_is_refused_by_the_parameters_name(text: str, why: str) -> None:
    with pytest.raises(RequestError, match=f"chunk: .*{why}"):
        day_or_moment("chunk", text)


def test_a_json_line_tells_times_in_utc_and_numbers_as_numbers() -> None:
    told = as_json({"at": NOON, "day": NOON.date(), "whole": Decimal(3), "part": Decimal("0.5"), "text": b"x"})
    assert json.loads(told) == {"at": "2024-03-05T12:00:00Z", "day": "2024-03-05", "whole": 3, "part": 0.5, "text": "x"}
