"""The report says first whether the data is complete, then why and what to do; in two languages, for every reader."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from datetime import date, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from async_extractor.checks import CheckResult
from async_extractor.checks.messages import MESSAGES
from async_extractor.report import (
    EntityEnd,
    as_html,
    as_markdown,
    compose,
    compose_company,
    compose_index,
    reports_folder,
    write_report,
)
from async_extractor.report.texts import TEXTS
from tests.support.run_figures import MISSING, SOURCE_OK, VOLUME_OK, chunk, figures

LOOK = CheckResult(
    "quarantine", "warning", {"standing": 1, "of_this_run": 1, "read": 900}, "qbo-backfill quarantine list"
)
REPAIRED = CheckResult("repair", "ok", {"windows": ["w"], "marked_deleted": 1})
BREAKER = {
    "happened_at": figures().run["started_at"],
    "code": "QBF-W307",
    "name": "breaker",
    "message": "circuit breaker open",
    "intuit_tid": None,
}
COMPARED: dict[str, Any] = {
    "source": 90, "raw": 80, "compared": 30, "whole": False, "days": ["2024-01-05"], "different_days": 1,
    "missing": 10, "outdated": 0, "altered": 2, "surplus": 0, "misplaced": 0, "quarantined": 0, "unread": 0, "moved": 0,
    "ids": {"missing": ["1", "2"], "altered": ["3", "4"]},
}  # fmt: skip
SAYS = tuple(f"source_rows.{part}" for part in ("counted", "missing", "altered", "days"))
ROWS = CheckResult("source_rows", "error", COMPARED, MISSING.advice, SAYS)
EQUAL = replace(ROWS, severity="ok", says=("source_rows.counted", "source_rows.equal"))


def verdict(lang: str = "en", **run: Any) -> tuple[str, str, str]:
    report = compose(figures(**run), lang)
    return report.tone, report.verdict, as_markdown(report)


def test_a_whole_run_whose_checks_passed_is_complete_and_there_is_nothing_to_do() -> None:
    tone, headline, text = verdict()
    assert (tone, headline) == ("good", "Complete")
    assert text.startswith("# Complete\n\n**Run 7: invoices.** All 3 chunks of the range are in raw.")
    assert "Nothing to do." in text
    assert "90 at QuickBooks = 90 in raw" in text


def test_missing_rows_make_it_wrong_and_name_the_command() -> None:
    tone, headline, text = verdict(checks=(MISSING, VOLUME_OK))
    assert (tone, headline) == ("bad", "Not right yet")
    assert f"```\n{MISSING.advice}\n```" in text.partition("##")[0]


def test_a_warning_is_something_to_look_at() -> None:
    tone, headline, text = verdict(checks=(SOURCE_OK, LOOK))
    assert (tone, headline) == ("look", "Complete, with something to look at")
    assert "qbo-backfill quarantine list" in text.partition("##")[0]


def test_an_unfinished_run_says_how_much_is_left_where_and_how_to_go_on() -> None:
    chunks = [chunk(0), chunk(1, "failed", error="QuickBooks answered HTTP 400"), chunk(2, "planned", rows_read=0)]
    tone, headline, text = verdict(status="incomplete", chunks=chunks, error="2 of 3 chunks are not done (1 failed)")
    assert (tone, headline) == ("bad", "Not complete")
    assert "2 of 3 chunks are not done." in text
    assert "qbo-backfill resume 7" in text.partition("##")[0]
    assert (
        "Resume point: The next to be read is 2024-01-31 to 2024-03-01 (failed: QuickBooks answered HTTP 400)" in text
    )


@pytest.mark.parametrize("mode", ["resume", "verify"])
def test_a_run_that_owes_something_is_not_complete_though_its_checks_passed(mode: str) -> None:
    tone, headline, text = verdict(status="incomplete", mode=mode, error="deletions are unknown from 2024-01-05 10:00")
    assert (tone, headline) == ("bad", "Not complete")
    assert "No chunk is left to be read" in text
    assert "deletions are unknown from 2024-01-05 10:00" in text.partition("##")[0]


def test_a_run_at_work_is_called_so() -> None:
    tone, headline, _ = verdict(status="running", checks=())
    assert (tone, headline) == ("note", "Still running")


def test_a_refused_run_gives_the_reason() -> None:
    tone, headline, text = verdict(status="failed", error="QBO_REFRESH_TOKEN: invalid_grant", checks=())
    assert (tone, headline) == ("bad", "Stopped")
    assert "QBO\\_REFRESH\\_TOKEN: invalid\\_grant" in text


@pytest.mark.parametrize(
    ("checks", "headline"),
    [
        ((VOLUME_OK,), "Raw equals QuickBooks"),
        ((ROWS, EQUAL, REPAIRED), "Repaired: raw equals QuickBooks"),
        ((ROWS,), "Raw differs from QuickBooks"),
    ],
)  # fmt: skip
def test_a_verification_has_verdicts_of_its_own(checks: tuple[CheckResult, ...], headline: str) -> None:
    status = "incomplete" if checks == (ROWS,) else "done"
    assert verdict(mode="verify", status=status, checks=checks)[1] == headline


def test_what_a_repair_found_before_it_stays_in_the_report() -> None:
    _, _, text = verdict(mode="verify", checks=(ROWS, EQUAL))
    assert "10 missing in raw" in text.partition("Found before the repair")[2]


def test_the_range_stands_in_utc_and_in_guayaquil() -> None:
    _, _, text = verdict()
    assert "| Range, UTC | 2024-01-01 00:00:00 UTC to 2024-03-31 00:00:00 UTC |" in text
    assert "| Range, America/Guayaquil | 2023-12-31 19:00 to 2024-03-30 19:00 |" in text


def test_the_time_of_the_workers_is_split_into_parts_that_sum_up() -> None:
    _, _, text = verdict()
    section = text.partition("## Where the time went")[2].partition("##")[0]
    seconds = [float(value) for value in re.findall(r"\| (\d+\.\d\d) \|", section)]
    assert seconds == [0.5, 2.0, 0.1, 0.3, 0.6, 1.0]
    assert sum(seconds) == 4.5


def test_the_breakers_story_and_retries_are_told_with_their_codes() -> None:
    _, _, text = verdict(events=(BREAKER, {**BREAKER, "message": "closed"}))
    assert "| QBF-W307 | 2 | The circuit breaker opened, probed or closed" in text
    assert "2026-11-24 10:00:00 | QBF-W307 | circuit breaker open |" in text
    assert "the circuit breaker stayed closed" in verdict()[2]


def fields_of(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


@pytest.mark.parametrize("table", [TEXTS, MESSAGES], ids=["texts", "messages"])
def test_every_text_is_there_in_both_languages_with_the_same_values(table: dict[str, tuple[str, str]]) -> None:
    for key, pair in table.items():
        english, spanish = pair
        assert english, key
        assert spanish, key
        # How many different days, say, may be said in one language only.
        assert fields_of(english) - {"different_days"} == fields_of(spanish) - {"different_days"}, key


def test_a_no_op_run_says_nothing_new_and_what_the_range_holds() -> None:
    tone, headline, text = verdict(rows_inserted=0, rows_read=0)
    assert (tone, headline) == ("good", "Complete, nothing new")
    assert "The range's 90 rows were in raw before" in text


def test_a_check_that_could_not_be_made_is_wrong() -> None:
    unmade = CheckResult.not_made("source_count", TimeoutError("QuickBooks gave no answer"))
    tone, _, text = verdict("en", status="incomplete", checks=(unmade,))
    assert tone == "bad"
    assert "could not be made: TimeoutError: QuickBooks gave no answer" in text
    assert "no se pudo hacer" in verdict("es", status="incomplete", checks=(unmade,))[2]


def test_a_run_without_checks_is_not_complete() -> None:
    assert verdict(status="incomplete", checks=())[0] == "bad"


def test_control_totals_are_summed_by_currency() -> None:
    _, _, text = verdict()
    assert "| All | USD | 60 | 24,691,357.80 | 691.00 | 2024-01-01 | 2024-02-29 |" in text


def test_one_is_singular() -> None:
    """One day, one row, one chunk: in both languages."""
    day = {
        "day": "2024-01-07",
        "rows": 1,
        "kind": "high",
        "usual": 0,
        "spread": 0.5,
        "first": "2023-11-12",
        "last": "2024-03-03",
    }
    found = {"high": 1, "highest": day, "odd_days": [day], "gaps": []}
    check = CheckResult("volume", "notice", found, says=("volume.high", "volume.confirmed"))
    assert check.words("en").startswith(
        "1 day with unusually many rows, for example: Sunday 2024-01-07 has 1 row, where Sundays from"
    )
    assert check.words("es").startswith(
        "1 día con muchas más filas de lo usual, por ejemplo: domingo 2024-01-07: 1 fila"
    )


def test_the_spanish_report_has_no_english_headings_and_spanish_numbers() -> None:
    report = compose(figures(checks=(SOURCE_OK, VOLUME_OK), source_count=12345), "es")
    text = as_markdown(report)
    assert text.startswith("# Completo\n")
    assert "12.345" in text
    for english in ("Checks", "Volume", "Chunks", "Where the time went", "Complete"):
        assert not re.search(rf"\b{english}\b", text)


class Page(HTMLParser):
    """What a browser would make of it: open elements, addresses, and what has to be there for a screen reader."""

    VOID = frozenset(("meta", "line", "br", "rect", "path"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.seen.append((tag, values))
        if values.get("id"):
            assert values["id"] not in self.ids, values["id"]
            self.ids.add(str(values["id"]))
        if values.get("href"):
            self.links.append(str(values["href"]))
        assert not {"src", "style", "onclick", "xlink:href"} & values.keys()
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.mark.parametrize("lang", ["en", "es"])
def test_the_page_is_whole_needs_no_network_and_can_be_read_aloud(lang: str) -> None:
    events = ({**BREAKER, "intuit_tid": "1-x"},) * 20
    text = as_html(compose(figures(checks=(MISSING, VOLUME_OK, LOOK), events=events), lang))
    page = Page(text)
    assert page.open == []
    assert "<script" not in text
    assert "http" not in re.sub(r"http-equiv|HTTP|https?://www\.w3\.org", "", text)
    assert all(link.startswith("#") and link[1:] in page.ids for link in page.links)
    assert ("html", {"lang": lang}) in page.seen
    charts = [values for tag, values in page.seen if tag == "svg"]
    assert charts
    for values in charts:
        assert values["role"] == "img"
        assert set(str(values["aria-labelledby"]).split()) <= page.ids
    assert all(values.get("scope") for tag, values in page.seen if tag == "th")
    tables = sum(tag == "table" for tag, _ in page.seen)
    assert tables == sum(tag == "caption" for tag, _ in page.seen)
    for word in ("prefers-color-scheme: dark", "@media print", "max-width: 52rem"):
        assert word in text


def test_all_runs_stand_on_a_page_by_the_last_of_each_entity(tmp_path: Path) -> None:
    left = [chunk(0), chunk(1, "planned", rows_read=0)]
    runs = [figures(run_id=3), figures(run_id=2, status="incomplete", chunks=left)]
    (tmp_path / "run-3-invoices.html").touch()
    index = compose_index(runs, tmp_path, "en")
    assert (index.tone, index.verdict) == ("good", "Each entity's last run is complete")
    text = as_markdown(index)
    assert "| [3](run-3-invoices.html) | 2026-11-24 10:00 | 4620816365000007770, simulator | invoices |" in text
    assert "| 2 | 2026-11-24 10:00 |" in text
    worse = compose_index([figures(run_id=4, entity="bills", status="failed", error="no"), *runs], tmp_path, "es")
    assert (worse.tone, worse.verdict) == ("bad", "No todas las entidades están completas")
    assert "qbo-backfill resume 4" in as_markdown(worse).partition("##")[0]
    assert compose_index([], tmp_path, "en").verdict == "No run yet"


def test_words_of_others_can_neither_break_the_page_nor_the_markdown() -> None:
    evil = "<script>alert(1)</script> | **x** `y`"
    report = compose(figures(status="failed", error=evil, chunks=[chunk(0, "failed", error=evil)]), "en")
    assert "<script" not in as_html(report)
    text = as_markdown(report)
    assert "<script" not in text.replace("\\<script", "")
    rows = [line for line in text.splitlines() if line.startswith("| 2024-01-01")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 11 for row in rows)


def test_ten_years_of_days_are_drawn_as_weeks_or_months_and_lose_no_row() -> None:
    many = [(date(2015, 1, 1) + timedelta(days=number), number % 7) for number in range(3650)]
    report = compose(replace(figures(), days=many), "en")
    [chart] = [b for s in report.sections for b in s.blocks if getattr(b, "name", "") == "days"]
    assert chart.title == "Rows in raw per month"
    assert len(chart.bars) == 120
    assert sum(bar.parts[0] for bar in chart.bars) == sum(rows for _, rows in many)


def test_a_run_of_thousands_of_chunks_makes_a_page_of_bounded_charts() -> None:
    report = compose(figures(chunks=[chunk(number) for number in range(3000)]), "en")
    [chart] = [b for s in report.sections for b in s.blocks if getattr(b, "name", "") == "chunks"]
    assert len(chart.bars) <= 380
    assert sum(sum(bar.parts) for bar in chart.bars) == 90_000


def test_reports_stand_beside_mages_data(tmp_path: Path) -> None:
    assert reports_folder({"MAGE_DATA_DIR": "/data"}) == Path("/data/reports")
    assert reports_folder({"MAGE_DATA_DIR": "/data", "QBO_BACKFILL_REPORTS": str(tmp_path)}) == tmp_path
    assert reports_folder({}) == Path("~/.mage_data/reports").expanduser()
    page, text = write_report(figures(), "es", tmp_path / "new" / "folder")
    assert page.name == "run-7-invoices.html"
    assert text.read_text(encoding="utf-8").startswith("# Completo")
    assert sorted(path.name for path in page.parent.iterdir()) == ["run-7-invoices.html", "run-7-invoices.md"]


def test_a_companys_report_begins_with_a_table_of_its_entities() -> None:
    """Its verdict is the gravest of theirs; what the company doesn't have takes nothing from it."""
    absent = EntityEnd("journal_codes", why="needs a company in France", offered=False)
    ends = [EntityEnd("invoices", figures()), EntityEnd("items", figures(entity="items")), absent]
    report = compose_company("acme, 4620", figures().window, ends, "en")
    assert (report.tone, report.verdict) == ("good", "All entities are complete")
    assert report.why == "2 of 2 entities are complete; 1 is not offered in this company."
    first = report.sections[0].blocks[0]
    assert first.kind == "table"
    assert [row[:2] for row in first.rows] == [
        ("invoices", "Complete"), ("items", "Complete"), ("journal_codes", "Not offered in this company"), ("All", "")
    ]  # fmt: skip
    text = as_markdown(report)
    assert text.index("Each entity of this run") < text.index("## Invoices")
    assert_whole_page(as_html(report))

    ends.append(EntityEnd("payments", why="the token is dead"))
    report = compose_company("acme, 4620", figures().window, ends, "es")
    assert (report.tone, report.verdict) == ("bad", "No todas las entidades están completas")
    assert "payments: the token is dead" in as_markdown(report).partition("##")[0]


def assert_whole_page(page: str) -> None:
    assert page.startswith("<!doctype html>")
    assert page.rstrip().endswith("</html>")
