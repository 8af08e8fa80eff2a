"""Time as QuickBooks writes it: US Pacific with its offset, whole seconds in records, milliseconds in envelopes.

Intuit stamps `MetaData` in US Pacific whatever the company's country, so a company's rows carry `-08:00` in
winter and `-07:00` in summer. Instants are kept here as whole seconds since 1970 (UTC).
"""

from __future__ import annotations

import re
import time
from datetime import date, datetime, timedelta, timezone
from typing import Literal
from zoneinfo import ZoneInfo

PACIFIC = ZoneInfo("America/Los_Angeles")
UTC = timezone.utc
EPOCH_DAY = date(1970, 1, 1).toordinal()

NaiveTimes = Literal["pacific", "utc", "refused"]

_MINUTE_SECOND = [b"%02d:%02d" % divmod(second, 60) for second in range(3600)]
_hours: dict[int, tuple[bytes, bytes]] = {}
_days: dict[int, bytes] = {}

_TIMESTAMP = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})"
    r"(?:[Tt](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?\s?(Z|z|[+-]\d{2}:?\d{2})?)?"
)
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})")


class Clock:
    """The server's clock: the machine's, moved by `offset` seconds."""

    def __init__(self, offset: float = 0.0) -> None:
        self.offset = offset

    def now(self) -> float:
        """Seconds since 1970 (UTC)."""
        return time.time() + self.offset

    def envelope_time(self) -> str:
        """The `time` of an answer: Pacific with offset and milliseconds, which are left out when there are none."""
        moment = datetime.fromtimestamp(self.now(), PACIFIC)
        return moment.isoformat(timespec="milliseconds").replace(".000", "")


def pacific(instant: int) -> bytes:
    """An instant as a record's `MetaData` shows it: `2024-07-01T09:30:00-07:00`."""
    hour, second = divmod(instant, 3600)
    parts = _hours.get(hour)
    if parts is None:
        # Pacific offsets are whole hours, so an hour's rows share all but minutes and seconds.
        text = datetime.fromtimestamp(hour * 3600, PACIFIC).isoformat().encode()
        if len(_hours) > 200_000:
            _hours.clear()
        parts = _hours[hour] = (text[:14], text[19:])
    return parts[0] + _MINUTE_SECOND[second] + parts[1]


def pacific_day(instant: int) -> int:
    """The day (days since 1970) that a Pacific calendar shows at `instant`."""
    hour = pacific(instant)
    return date(int(hour[:4]), int(hour[5:7]), int(hour[8:10])).toordinal() - EPOCH_DAY


def day_text(day: int) -> bytes:
    """Days since 1970 as `2024-07-01`."""
    text = _days.get(day)
    if text is None:
        text = _days[day] = date.fromordinal(day + EPOCH_DAY).isoformat().encode()
    return text


def parse_day(text: str) -> int:
    """`2024-07-01` as days since 1970. ValueError when it is no date."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    return date(*(int(part) for part in match.groups())).toordinal() - EPOCH_DAY


def parse_instant(text: str, naive: NaiveTimes = "pacific") -> int:
    """A filter's timestamp as microseconds since 1970. ValueError when it is none.

    What has no offset is read as `naive` says; a bare date is that day's midnight.
    """
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise ValueError(text)
    year, month, day, hour, minute, second, fraction, offset = match.groups()
    microsecond = int((fraction or "0").ljust(6, "0")[:6])
    moment = datetime(  # noqa: DTZ001 - its zone is decided below
        int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0), microsecond
    )
    zone: timezone | ZoneInfo
    if offset is None:
        if naive == "refused":
            raise ValueError(text)
        zone = PACIFIC if naive == "pacific" else UTC
    elif offset in "Zz":
        zone = UTC
    else:
        digits = offset[1:].replace(":", "")
        shift = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
        if shift >= timedelta(hours=24):
            raise ValueError(text)
        zone = timezone(-shift if offset[0] == "-" else shift)
    since = moment.replace(tzinfo=zone) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
