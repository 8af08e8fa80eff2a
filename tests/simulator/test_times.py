"""QuickBooks' times: Pacific with offset in records, any offset in filters."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_simulator.times import Clock, day_text, pacific, pacific_day, parse_day, parse_instant

PACIFIC = ZoneInfo("America/Los_Angeles")
INSTANTS = st.integers(min_value=946_684_800, max_value=2_145_916_800)  # 2000 to 2038


@given(INSTANTS)
def test_records_carry_pacific_time_with_its_offset_and_whole_seconds(instant: int) -> None:
    """MetaData times are US Pacific with DST offset whatever the company's country; precision is whole seconds."""
    assert pacific(instant).decode() == datetime.fromtimestamp(instant, PACIFIC).isoformat()


@pytest.mark.parametrize(
    ("instant", "text"),
    [
        ("2024-03-10T09:59:59Z", b"2024-03-10T01:59:59-08:00"),
        ("2024-03-10T10:00:00Z", b"2024-03-10T03:00:00-07:00"),
        ("2024-11-03T08:30:00Z", b"2024-11-03T01:30:00-07:00"),
        ("2024-11-03T09:30:00Z", b"2024-11-03T01:30:00-08:00"),
    ],
)
def test_the_repeated_hour_in_november_is_told_apart_by_its_offset(instant: str, text: bytes) -> None:
    assert pacific(parse_instant(instant) // 1_000_000) == text


@given(INSTANTS, st.integers(min_value=-14 * 60, max_value=14 * 60), st.integers(0, 999_999))
def test_a_filter_with_an_offset_is_that_instant(instant: int, minutes: int, micro: int) -> None:
    zone = timezone(timedelta(minutes=minutes))
    moment = datetime.fromtimestamp(instant, zone).replace(microsecond=micro)
    assert parse_instant(moment.isoformat()) == instant * 1_000_000 + micro


def test_a_naive_filter_is_read_as_the_switch_says() -> None:
    assert parse_instant("2024-07-01T00:00:00", "pacific") == parse_instant("2024-07-01T07:00:00Z")
    assert parse_instant("2024-07-01T00:00:00", "utc") == parse_instant("2024-07-01T00:00:00Z")
    with pytest.raises(ValueError, match="2024-07-01"):
        parse_instant("2024-07-01T00:00:00", "refused")


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2024-13-01", "2024-02-30T00:00:00Z", "2024-01-01T00:00:00 00:00", "2024-01-01T00:00:00+25:00",
     "2024-01-01T25:00:00Z", "24-01-01", "2024-01-01Z", "2024-01-01T00:00:00ZZ"],
)  # fmt: skip
def test_what_is_no_timestamp_is_refused(text: str) -> None:
    """`+` that was not encoded as %2B arrives as a space, and is refused."""
    with pytest.raises(ValueError):  # noqa: PT011 - datetime's own words differ by Python version
        parse_instant(text)


@given(st.dates())
def test_days_are_read_as_they_are_written(day: object) -> None:
    assert day_text(parse_day(str(day))) == str(day).encode()


def test_a_day_is_the_pacific_calendars() -> None:
    assert day_text(pacific_day(parse_instant("2024-07-02T06:59:59Z") // 1_000_000)) == b"2024-07-01"
    assert day_text(pacific_day(parse_instant("2024-07-02T07:00:00Z") // 1_000_000)) == b"2024-07-02"


@pytest.mark.parametrize(
    ("moment", "told"),
    [
        ("2026-05-05T05:16:21.718-07:00", "2026-05-05T05:16:21.718-07:00"),
        ("2026-05-05T05:16:21.070-07:00", "2026-05-05T05:16:21.070-07:00"),
        ("2026-05-05T03:09:39.000-07:00", "2026-05-05T03:09:39-07:00"),
    ],
)
def test_envelopes_carry_milliseconds_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch, moment: str, told: str
) -> None:
    """Of 923 envelopes seen two had no fraction, `2026-05-05T03:09:39-07:00` for one."""
    monkeypatch.setattr(Clock, "now", lambda _: datetime.fromisoformat(moment).timestamp())
    assert Clock().envelope_time() == told
