"""From a run's figures to a report in one language: the verdict first, then what stands behind it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from typing import Any
from zoneinfo import ZoneInfo

from async_extractor.checks import CheckResult
from async_extractor.checks.messages import check_name
from async_extractor.codes import about
from async_extractor.language import fill
from async_extractor.report.charts import chunk_window, time, volume
from async_extractor.report.document import Block, Figures, Paragraph, Report, Section, Table, Tone
from async_extractor.report.figures import RunFigures
from async_extractor.report.texts import Texts, day_or_minute, exact
from async_extractor.report.verdict import verdict
from async_extractor.windows import SECOND, UTC, Window

GUAYAQUIL = ZoneInfo("America/Guayaquil")

_TONES: dict[str, Tone] = {"ok": "good", "notice": "note", "warning": "look", "error": "bad"}
_ORDER = ("error", "warning", "notice", "ok")


def compose(figures: RunFigures, lang: str, now: datetime | None = None) -> Report:
    """The report of a run, in `en` or `es`."""
    texts = Texts(lang)
    run = figures.run
    tone, headline, why, what_to_do = verdict(figures, texts)
    parts: dict[str, list[Block]] = {
        "totals": [_totals(figures, texts)],
        "checks": list(_checks(figures, texts)),
        "control": list(_control(figures, texts)),
        "volume": list(volume(figures, texts)),
        "time": list(time(figures, texts)),
        "story": list(_story(figures, texts)),
        "chunks": list(_chunks(figures, texts)),
        "about": list(_about(figures, texts)),
    }
    return Report(
        lang=texts.lang,
        title=texts(
            "title_verify" if run["mode"] == "verify" else "title",
            run=str(run["run_id"]),
            entity=texts.word(run["entity"]),
        ),
        tone=tone,
        verdict=headline,
        why=why,
        facts=[
            (texts("company"), f"{run['realm_id']}, {environment(figures, texts)}"),
            (texts("entity"), texts.word(run["entity"])),
            (texts("range"), typed_range(figures.window, texts)),
            (texts("date"), f"{run['started_at'].astimezone(UTC):%Y-%m-%d %H:%M} UTC"),
        ],
        counts=_counts(figures, texts),
        what_to_do=what_to_do,
        sections=[Section(name, texts(name), blocks) for name, blocks in parts.items() if blocks],
        contents=texts("contents"),
        made=texts("made", version=metadata.version("async-extractor"), moment=exact(now or datetime.now(UTC))),
    )


def environment(figures: RunFigures, texts: Texts) -> str:
    """Which QuickBooks the run has asked, in words."""
    asked = figures.run["environment"] or "-"
    return texts("simulator") if asked == "simulator" else str(asked)


def brief(figures: RunFigures, texts: Texts) -> list[Block]:
    """A run among others: its totals, checks and control totals."""
    return [_totals(figures, texts), *_checks(figures, texts), *_control(figures, texts)]


def typed_range(window: Window, texts: Texts) -> str:
    """The range as a person types it: whole days with the last one included."""
    start, end = window.start, window.end
    whole_days = len(day_or_minute(start)) == len(day_or_minute(end)) == len("2024-01-31")
    return texts.span(start, end - SECOND if whole_days else end).replace(" 23:59", "")


def _counts(figures: RunFigures, texts: Texts) -> str:
    """QuickBooks' count of the range beside raw's; empty where nobody has counted."""
    check = figures.check("source_rows") or figures.check("source_count")
    if check is None or "source" not in check.figures:
        return ""
    source, raw = check.figures["source"], check.figures["raw"]
    return texts("counts_equal" if source == raw else "counts_differ", source=source, raw=raw)


def _totals(figures: RunFigures, texts: Texts) -> Figures:
    if figures.run["mode"] != "verify":
        return _of_run(figures, texts)
    compared = next((check.figures for check in figures.all_checks if check.name == "source_rows"), None)
    return _of_run(figures, texts) if compared is None else _of_verification(figures, compared, texts)


def _of_verification(figures: RunFigures, compared: Mapping[str, Any], texts: Texts) -> Figures:
    counts = {
        "at_source": compared["source"],
        "in_raw": compared["raw"],
        "compared": compared["compared"],
        "missing": compared["missing"],
        "altered": compared["altered"] + compared["outdated"] + compared.get("unmoved", 0),
        "surplus": compared["surplus"],
        "read_again": figures.run["rows_read"],
        "requests": figures.run["requests"],
    }
    notes = {"compared": texts("all_compared")} if compared["whole"] else {}
    return Figures(
        [
            *((texts(name), texts.number(value), notes.get(name, "")) for name, value in counts.items()),
            (texts("duration"), texts.duration(figures.run["seconds"]), ""),
        ]
    )


def _of_run(figures: RunFigures, texts: Texts) -> Figures:
    run, number = figures.run, texts.number
    requests, seconds = run["requests"], run["seconds"]
    before = sum(chunk["done"] and not chunk["attempts"] for chunk in figures.chunks)
    notes = {
        "inserted": "",
        "updated": "",
        "unchanged": texts("nothing_written") if run["rows_unchanged"] else "",
        "quarantined": "",
    }
    return Figures(
        [
            (
                texts("chunks_done"),
                number(run["chunks_done"]),
                texts("of_planned", planned=run["chunks_planned"], before=before),
            ),
            (texts("rows_read"), number(run["rows_read"]), f"{number(run['pages'])} {texts('pages')}"),
            *((texts(name), number(run[f"rows_{name}"]), note) for name, note in notes.items()),
            (
                texts("requests"),
                number(requests),
                texts(
                    "requests_note",
                    reading=run["chunk_requests"],
                    others=requests - run["chunk_requests"],
                    retried=run["retries"],
                    throttled=run["throttled"],
                ),
            ),
            (
                texts("duration"),
                texts.duration(seconds),
                texts("rate_note", rate=round(run["rows_read"] / seconds) if seconds else 0),
            ),
            (texts("bytes"), texts.size(run["bytes_read"]), ""),
        ]
    )


def _control(figures: RunFigures, texts: Texts) -> Iterator[Block]:
    totals = figures.control_totals
    if not totals:
        return
    yield Paragraph(texts("control_told"))
    lines = [
        (
            month["month"] or "-",
            month["currency"] or "-",
            texts.number(month["rows"]),
            _amount(month["total"], texts),
            _amount(month["balance"], texts),
            month["first_date"] or "-",
            month["last_date"] or "-",
        )
        for month in totals
    ]
    for currency in sorted({month["currency"] for month in totals}):
        of_it = [month for month in totals if month["currency"] == currency]
        dates = [m[name] for m in of_it for name in ("first_date", "last_date") if m[name]]
        lines.append(
            (
                texts("all_months"),
                currency or "-",
                texts.number(sum(month["rows"] for month in of_it)),
                _amount(_sum(of_it, "total"), texts),
                _amount(_sum(of_it, "balance"), texts),
                min(dates, default="-"),
                max(dates, default="-"),
            )
        )
    heads = ("month", "currency", "rows", "total_amount", "balance", "first_date", "last_date")
    yield Table(
        texts("control"),
        [texts.title(name) for name in heads],
        lines,
        numbers=frozenset((2, 3, 4)),
        folded=len(lines) > 40,
    )


def _sum(months: Sequence[Mapping[str, Any]], name: str) -> Any:
    """None where no month has any."""
    known = [month[name] for month in months if month[name] is not None]
    return sum(known) if known else None


def _amount(value: Any, texts: Texts) -> str:
    if value is None:
        return "-"
    return "?" if value.is_nan() else texts.number(value, 2)


def _checks(figures: RunFigures, texts: Texts) -> Iterator[Block]:
    checks = sorted(figures.checks, key=lambda check: _ORDER.index(check.severity))
    if not checks:
        yield Paragraph(texts.title("no_checks") + ".")
        return
    yield _check_table(texts("checks_caption"), checks, texts)
    before = [check for check in figures.all_checks if check not in figures.checks and check.severity != "ok"]
    if before:
        yield _check_table(texts("before_repair"), before, texts, folded=True)


def _check_table(caption: str, checks: Sequence[CheckResult], texts: Texts, *, folded: bool = False) -> Table:
    return Table(
        caption,
        [texts("result"), texts("check"), texts("found"), texts("do")],
        [
            (
                texts(f"sev_{check.severity}"),
                check_name(check.name, texts.lang),
                check.words(texts.lang),
                check.advice,
            )
            for check in checks
        ],
        tones=[_TONES[check.severity] for check in checks],
        folded=folded,
    )


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
        [
            (code, texts.number(times), fill(about(name).means, texts.lang, {}))
            for (code, name), times in by_code.most_common()
        ],
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
        else texts("resume_at", window=chunk_window(left, texts), state=_state(left, texts))
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
            *(texts.title(name) for name in names),
            texts.title("quarantined"),
            texts("seconds"),
        ],
        [
            (
                chunk_window(chunk, texts),
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
    guayaquil = [f"{moment.astimezone(GUAYAQUIL):%Y-%m-%d %H:%M}" for moment in (window.start, window.end)]
    rows = {
        "range_utc": f"{exact(window.start)} {texts('to')} {exact(window.end)}",
        "range_guayaquil": f"{guayaquil[0]} {texts('to')} {guayaquil[1]}",
        "started": exact(run["started_at"]),
        "finished": exact(run["finished_at"]) if run["finished_at"] else texts("not_finished"),
        "as_of": exact(run["as_of"]) if run["as_of"] else "-",
        "source_count": texts.number(run["source_count"]) if run["source_count"] is not None else "-",
        "filter_field": run["filter_field"],
        "mode": run["mode"],
        "chunk": run["chunk"],
        "concurrency": str(run["concurrency"]),
        "environment": environment(figures, texts),
        "realm": run["realm_id"],
        "requests": texts("month_note", number=figures.month_requests),
        "settings": ", ".join(f"{name} {value}" for name, value in sorted(run["settings"].items())),
    }
    lines = [(texts.title(name), value) for name, value in rows.items()]
    yield Table(texts("about"), [texts("name"), texts("value")], lines)


def _chunk_tone(chunk: Mapping[str, Any]) -> Tone:
    return "bad" if chunk["status"] == "failed" else "good" if chunk["done"] else "look"


def _state(chunk: Mapping[str, Any], texts: Texts) -> str:
    name = {"running": "running_state", "failed": "failed_state"}.get(chunk["status"], chunk["status"])
    return texts.word(name) + (f": {chunk['error']}" if chunk["error"] else "")
