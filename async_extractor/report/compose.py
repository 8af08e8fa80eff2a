"""From a run's figures to a report in one language: the verdict first, then what stands behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from async_extractor.checks import Validation
from async_extractor.report import formats
from async_extractor.report.document import (
    Bar,
    Block,
    Chart,
    Figures,
    Paragraph,
    Report,
    Section,
    Table,
    Tone,
)
from async_extractor.report.figures import RunFigures
from async_extractor.report.sentences import check_name, event_meaning, odd_day, sentence
from async_extractor.report.texts import Texts
from async_extractor.report.verdict import verdict
from async_extractor.windows import UTC

GUAYAQUIL = ZoneInfo("America/Guayaquil")
# More bars than this can't be told apart on a screen.
MOST_BARS = 380

_TONES: dict[str, Tone] = {"ok": "good", "notice": "note", "warning": "look", "error": "bad"}
_ORDER = ("error", "warning", "notice", "ok")


def compose(figures: RunFigures, lang: str, now: datetime | None = None) -> Report:
    """The report of a run, in `en` or `es`."""
    texts = Texts(lang)
    tone, headline, why, what_to_do = verdict(figures, texts)
    title = "title_verify" if figures.run["mode"] == "verify" else "title"
    return Report(
        lang=texts.lang,
        title=texts(title, run=figures.run["run_id"], entity=texts.word(figures.run["entity"])),
        tone=tone,
        verdict=headline,
        why=why,
        what_to_do=what_to_do,
        sections=[
            section
            for section in (
                Section("totals", texts("totals"), [_totals(figures, texts)]),
                Section("checks", texts("checks"), list(_checks(figures, texts))),
                Section("volume", texts("volume"), list(_volume(figures, texts))),
                Section("time", texts("time"), list(_time(figures, texts))),
                Section("story", texts("story"), list(_story(figures, texts))),
                Section("chunks", texts("chunks"), list(_chunks(figures, texts))),
                Section("about", texts("about"), list(_about(figures, texts))),
            )
            if section.blocks
        ],
        contents=texts("contents"),
        made=texts("made", moment=formats.exact(now or datetime.now(UTC))),
    )


def _totals(figures: RunFigures, texts: Texts) -> Figures:
    compared = next((check.found for check in figures.all_checks if check.name == "source_rows"), None)
    return _of_run(figures, texts) if compared is None else _of_verification(figures, compared, texts)


def _of_verification(figures: RunFigures, compared: dict[str, Any], texts: Texts) -> Figures:
    number, requests = texts.number, figures.requests
    return Figures(
        [
            (texts("at_source"), number(compared["source"]), ""),
            (texts("in_raw"), number(compared["raw"]), ""),
            (texts("compared"), number(compared["compared"]), texts("all_compared") if compared["whole"] else ""),
            (texts("missing"), number(compared["missing"]), ""),
            (texts("altered"), number(compared["altered"] + compared["outdated"]), ""),
            (texts("surplus"), number(compared["surplus"]), ""),
            (texts("read_again"), number(figures.totals["read"]), ""),
            (texts("requests"), number(requests["sent"]), ""),
            (texts("duration"), formats.duration(figures.seconds, texts), ""),
        ]
    )


def _of_run(figures: RunFigures, texts: Texts) -> Figures:
    totals, counts, number = figures.totals, figures.counts, texts.number
    rate = totals["read"] / figures.seconds if figures.seconds else 0
    requests = figures.requests
    unchanged_note = texts("nothing_written") if totals["unchanged"] else ""
    return Figures(
        [
            (texts("chunks_done"), number(counts["done"]), texts("of_planned", planned=number(counts["planned"]))),
            (texts("rows_read"), number(totals["read"]), f"{number(totals['pages'])} {texts('pages')}"),
            (texts("inserted"), number(totals["inserted"]), ""),
            (texts("updated"), number(totals["updated"]), ""),
            (texts("unchanged"), number(totals["unchanged"]), unchanged_note),
            (texts("quarantined"), number(totals["quarantined"]), ""),
            (
                texts("requests"),
                number(requests["sent"]),
                texts("requests_note", retried=number(requests["retried"]), throttled=number(requests["throttled"])),
            ),
            (texts("duration"), formats.duration(figures.seconds, texts), texts("rate_note", rate=number(rate))),
            (texts("bytes"), formats.size(totals["bytes"], texts), ""),
        ]
    )


def _checks(figures: RunFigures, texts: Texts) -> Iterator[Block]:
    checks = sorted(figures.checks, key=lambda check: _ORDER.index(check.severity))
    if not checks:
        yield Paragraph(texts("no_checks"))
        return
    yield _check_table(texts("checks_caption"), checks, texts)
    before = [check for check in figures.all_checks if check not in figures.checks and check.severity != "ok"]
    if before:
        yield _check_table(texts("before_repair"), before, texts, folded=True)


def _check_table(caption: str, checks: Sequence[Validation], texts: Texts, *, folded: bool = False) -> Table:
    return Table(
        caption,
        [texts("result"), texts("check"), texts("found"), texts("do")],
        [
            (
                texts(f"sev_{check.severity}"),
                check_name(check.name, texts.lang),
                sentence(check, texts),
                check.advice,
            )
            for check in checks
        ],
        tones=[_TONES[check.severity] for check in checks],
        folded=folded,
    )


def _volume(figures: RunFigures, texts: Texts) -> Iterator[Block]:
    odd = _odd(figures, texts)
    if figures.days:
        yield _day_chart(figures.days, odd, texts)
    if odd:
        rows = [(str(day), why) for day, why in sorted(odd.items())]
        yield Table(texts("odd_days"), [texts("day"), texts("why")], rows, folded=len(rows) > 10)
    read = [chunk for chunk in figures.chunks if chunk["rows_read"]]
    if read:
        totals = figures.totals
        yield Chart(
            "chunks",
            texts("per_chunk"),
            texts(
                "chunks_told",
                read=texts.number(totals["read"]),
                chunks=texts.number(len(read)),
                inserted=texts.number(totals["inserted"]),
                updated=texts.number(totals["updated"]),
                unchanged=texts.number(totals["unchanged"]),
            ),
            texts("rows"),
            [texts("inserted"), texts("updated"), texts("unchanged")],
            _chunk_bars(read, texts),
        )


def _odd(figures: RunFigures, texts: Texts) -> dict[date, str]:
    """Unusual days with the reason, from the volume check."""
    found = next((check.found for check in figures.checks if check.name == "volume"), {})
    days = {date.fromisoformat(day["day"]): odd_day(day, texts) for day in found.get("odd_days", [])}
    return days | {date.fromisoformat(gap["first"]): odd_day(gap, texts) for gap in found.get("gaps", [])}


def _day_chart(days: Sequence[tuple[date, int]], odd: dict[date, str], texts: Texts) -> Chart:
    counts = dict(days)
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
            rows=texts.number(sum(counts.values())),
            first=first,
            last=last,
            most=texts.number(buckets[peak]),
            peak=label(peak),
            odd=texts.number(len(odd)),
        ),
        texts("rows"),
        [texts("rows")],
        [Bar(label(bucket), [rows], marks.get(bucket, "")) for bucket, rows in sorted(buckets.items())],
    )


def _chunk_bars(chunks: Sequence[dict[str, Any]], texts: Texts) -> list[Bar]:
    """One bar a chunk; where there are too many, neighbours together."""
    size = -(-len(chunks) // MOST_BARS)
    bars = []
    for start in range(0, len(chunks), size):
        group = chunks[start : start + size]
        label = (
            formats.window(group[0], texts)
            if len(group) == 1
            else f"{formats.window(group[0], texts)} +{len(group) - 1}"
        )
        parts = [sum(chunk[name] for chunk in group) for name in ("rows_inserted", "rows_updated", "rows_unchanged")]
        bars.append(Bar(label, parts))
    return bars


def _time(figures: RunFigures, texts: Texts) -> Iterator[Block]:
    seconds = figures.seconds_by_part
    parts = {name: seconds[name] for name in ("wait", "fetch", "split", "copy", "merge")}
    spent = sum(parts.values())
    parts["other"] = max(0.0, seconds["attempts"] - spent)
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
            total=formats.duration(seconds["attempts"], texts),
            attempts=texts("attempts", number=texts.number(attempts)),
            workers=figures.run["concurrency"],
            longest=texts(longest),
        ),
        texts("time_unit"),
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
    if seconds["overlapped"] >= 0.01:
        yield Paragraph(texts("overlap", seconds=texts.number(seconds["overlapped"], 2)))


def _story(figures: RunFigures, texts: Texts) -> Iterator[Block]:
    events = figures.events
    if not [event for event in events if event["name"] != "token_refreshed"]:
        yield Paragraph(texts("no_events"))
    if not events:
        return
    by_code = Counter((event["code"], event["name"]) for event in events)
    yield Table(
        texts("events_by_code"),
        [texts("code"), texts("times"), texts("meaning")],
        [(code, texts.number(times), event_meaning(name, texts)) for (code, name), times in by_code.most_common()],
        numbers=frozenset((1,)),
    )
    yield Table(
        texts("events_caption"),
        [texts("when"), texts("code"), texts("what")],
        [
            (
                f"{event['happened_at'].astimezone(UTC):%Y-%m-%d %H:%M:%S}",
                event["code"],
                event["message"] + (f" (intuit_tid {event['intuit_tid']})" if event["intuit_tid"] else ""),
            )
            for event in events[:200]
        ],
        folded=len(events) > 12,
    )


def _chunks(figures: RunFigures, texts: Texts) -> Iterator[Block]:
    if not figures.chunks and figures.run["mode"] == "verify":
        return
    left = figures.resume_at
    point = (
        texts("resume_none")
        if left is None
        else texts("resume_at", window=formats.window(left, texts), state=_state(left, texts))
    )
    yield Paragraph(f"{texts('resume_point')}: {point}")
    if not figures.chunks:
        return
    columns = ("attempts", "requests", "rows_read", "rows_inserted", "rows_updated", "rows_unchanged")
    names = ("attempts_column", "requests_column", "read_column", "inserted", "updated", "unchanged")
    yield Table(
        texts("chunks_caption"),
        [
            texts("window"),
            texts("state"),
            *(formats.title(texts(name)) for name in names),
            formats.title(texts("quarantined")),
            texts("seconds"),
        ],
        [
            (
                formats.window(chunk, texts),
                _state(chunk, texts),
                *(texts.number(chunk[name]) for name in columns),
                texts.number(chunk["rows_quarantined"]),
                texts.number(chunk["seconds"], 1),
            )
            for chunk in figures.chunks
        ],
        numbers=frozenset(range(2, 10)),
        tones=[_chunk_tone(chunk) for chunk in figures.chunks],
        folded=len(figures.chunks) > 40,
    )


def _about(figures: RunFigures, texts: Texts) -> Iterator[Block]:
    run, window = figures.run, figures.window
    finished = formats.exact(run["finished_at"]) if run["finished_at"] else texts("not_finished")
    environment = texts("simulator") if figures.environment == "simulator" else figures.environment
    yield Table(
        texts("about"),
        [texts("name"), texts("value")],
        [
            (texts("entity"), texts.word(run["entity"])),
            (texts("range_utc"), f"{formats.exact(window.start)} {texts('to')} {formats.exact(window.end)}"),
            (
                texts("range_guayaquil"),
                " ".join(
                    (
                        f"{window.start.astimezone(GUAYAQUIL):%Y-%m-%d %H:%M}",
                        texts("to"),
                        f"{window.end.astimezone(GUAYAQUIL):%Y-%m-%d %H:%M}",
                    )
                ),
            ),
            (texts("started"), formats.exact(run["started_at"])),
            (texts("finished"), finished),
            (texts("as_of"), formats.exact(run["as_of"]) if run["as_of"] else "-"),
            (texts("source_count"), texts.number(run["source_count"]) if run["source_count"] is not None else "-"),
            (texts("filter_field"), run["filter_field"]),
            (texts("mode"), run["mode"]),
            (texts("chunk"), run["chunk"]),
            (texts("concurrency"), str(run["concurrency"])),
            (texts("environment"), environment),
            (texts("realm"), run["realm_id"]),
            (
                formats.title(texts("requests")),
                texts("month_note", number=texts.number(figures.month_requests)),
            ),
            (texts("settings"), ", ".join(f"{name} {value}" for name, value in sorted(run["settings"].items()))),
        ],
    )


def _chunk_tone(chunk: dict[str, Any]) -> Tone:
    return "bad" if chunk["status"] == "failed" else "good" if chunk["status"] in ("done", "superseded") else "look"


def _state(chunk: dict[str, Any], texts: Texts) -> str:
    name = {"running": "running_state", "failed": "failed_state"}.get(chunk["status"], chunk["status"])
    return texts.word(name) + (f": {chunk['error']}" if chunk["error"] else "")
