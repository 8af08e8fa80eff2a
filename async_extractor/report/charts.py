"""What a report draws: the volume by day and by chunk, and where the time went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from async_extractor.checks.messages import odd_day
from async_extractor.report.document import Bar, Block, Chart, Paragraph, Table
from async_extractor.report.figures import RunFigures
from async_extractor.report.texts import Texts

# More bars than this can't be told apart on a screen.
MOST_BARS = 380

_FIELDS = {"last_updated": "LastUpdatedTime", "created": "CreateTime", "txn_date": "TxnDate"}


def volume(figures: RunFigures, texts: Texts) -> Iterator[Block]:
    """Rows by day, unusual days, and rows by chunk."""
    odd = _odd(figures, texts)
    if figures.days:
        yield _day_chart(figures, odd, texts)
    if odd:
        rows = [(str(day), why) for day, why in sorted(odd.items())]
        yield Table(texts("odd_days"), [texts("day"), texts("why")], rows, folded=len(rows) > 10)
    read = [chunk for chunk in figures.chunks if chunk["rows_read"]]
    if read:
        run, size = figures.run, -(-len(read) // MOST_BARS)
        outcomes = ("inserted", "updated", "unchanged")
        outcome = {name: run[f"rows_{name}"] for name in outcomes}
        yield Chart(
            "chunks",
            texts("per_chunk", size=size),
            texts("chunks_told", size=size, read=run["rows_read"], chunks=len(read), **outcome),
            [texts(name) for name in outcomes],
            _chunk_bars(read, size, [f"rows_{name}" for name in outcomes], texts),
        )


def _odd(figures: RunFigures, texts: Texts) -> dict[date, str]:
    """Unusual days with the reason, from the volume check."""
    volume = figures.check("volume")
    found = [day for name in ("odd_days", "gaps") for day in volume.figures.get(name, ())] if volume else []
    days = [day for day in found if "kind" in day]
    return {date.fromisoformat(day.get("day") or day["first"]): odd_day(day, texts.lang) for day in days}


def _day_chart(figures: RunFigures, odd: dict[date, str], texts: Texts) -> Chart:
    counts = dict(figures.days)
    first, last = min(counts), max(counts)
    span = (last - first).days + 1
    step = "day" if span <= MOST_BARS else "week" if span <= 7 * MOST_BARS else "month"
    buckets: dict[date, int] = {}
    marks: dict[date, str] = {}
    for number in range(span):
        day = first + timedelta(days=number)
        bucket = day
        if step == "week":
            bucket = day - timedelta(days=day.weekday())
        elif step == "month":
            bucket = day.replace(day=1)
        buckets[bucket] = buckets.get(bucket, 0) + counts.get(day, 0)
        if day in odd:
            marks.setdefault(bucket, odd[day])
    peak = max(buckets, key=lambda bucket: buckets[bucket])
    label = (lambda day: f"{day:%Y-%m}") if step == "month" else str
    return Chart(
        "days",
        texts(f"per_{step}"),
        texts(
            "days_told",
            step=texts(f"one_{step}"),
            filter_field=_FIELDS[figures.run["filter_field"]],
            rows=sum(counts.values()),
            first=first,
            last=last,
            most=buckets[peak],
            peak=label(peak),
            odd=len(odd),
        ),
        [texts("rows")],
        [Bar(label(bucket), [rows], marks.get(bucket, "")) for bucket, rows in sorted(buckets.items())],
    )


def _chunk_bars(chunks: Sequence[Mapping[str, Any]], size: int, columns: Sequence[str], texts: Texts) -> list[Bar]:
    """One bar for each `size` chunks in a row."""
    groups = [chunks[start : start + size] for start in range(0, len(chunks), size)]
    return [
        Bar(
            chunk_window(group[0], texts) + (f" +{len(group) - 1}" if len(group) > 1 else ""),
            [sum(chunk[name] for chunk in group) for name in columns],
        )
        for group in groups
    ]


def time(figures: RunFigures, texts: Texts) -> Iterator[Block]:
    """Where the workers' time went."""
    run = figures.run
    parts = {name: run[f"{name}_seconds"] for name in ("wait", "fetch", "split", "copy", "merge")}
    parts["other"] = max(0.0, run["worker_seconds"] - sum(parts.values()))
    total = sum(parts.values())
    attempts = sum(chunk["attempts"] for chunk in figures.chunks)
    if not attempts:
        return
    longest = max(parts, key=lambda name: parts[name])
    yield Chart(
        "time",
        texts("time"),
        texts(
            "time_told",
            total=texts.duration(run["worker_seconds"]),
            attempts=attempts,
            workers=run["concurrency"],
            longest=texts(longest),
        ),
        [texts(name) for name in parts],
        [Bar("", [round(value, 3) for value in parts.values()])],
    )
    yield Table(
        texts("time"),
        [texts("part"), texts("seconds"), texts("share")],
        [
            (texts(name), texts.number(value, 2), f"{texts.number(100 * value / total if total else 0, 1)} %")
            for name, value in parts.items()
        ],
        numbers=frozenset((1, 2)),
    )
    if run["overlapped_seconds"] >= 0.01:
        yield Paragraph(texts("overlap", seconds=texts.number(run["overlapped_seconds"], 2)))


def chunk_window(chunk: Mapping[str, Any], texts: Texts) -> str:
    """A chunk's window for people; whether it is the catch-up."""
    kind = f" ({texts('catch_up')})" if chunk["kind"] == "catch_up" else ""
    return texts.span(chunk["window_start"], chunk["window_end"]) + kind
