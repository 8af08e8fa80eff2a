"""How a report writes times, durations and sizes."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from async_extractor.report.texts import Texts
from async_extractor.windows import UTC


def window(chunk: dict[str, Any], texts: Texts) -> str:
    """A chunk's window; `now` for an end that is still open."""
    end = short(chunk["window_end"]) if chunk["window_end"] else texts("now")
    kind = f" ({texts('catch_up')})" if chunk["kind"] == "catch_up" else ""
    return f"{short(chunk['window_start'])} {texts('to')} {end}{kind}"


def short(moment: datetime) -> str:
    """The UTC day alone at midnight, else with the minute."""
    moment = moment.astimezone(UTC)
    midnight = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
    return f"{moment:%Y-%m-%d}" if midnight else f"{moment:%Y-%m-%d %H:%M}"


def exact(moment: datetime) -> str:
    """To the second, in UTC."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def duration(seconds: float, texts: Texts) -> str:
    """`12.3 s`, `4 min 5 s`, `2 h 10 min`."""
    if seconds < 60:
        return f"{texts.number(seconds, 1)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(number: int, texts: Texts) -> str:
    """Bytes in decimal units."""
    value = float(number)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{texts.number(value, 0 if unit == 'B' else 1)} {unit}"
        value /= 1000
    return f"{texts.number(value, 1)} GB"


def title(text: str) -> str:
    """With a capital, as a table's heads have it."""
    return text[:1].upper() + text[1:]
