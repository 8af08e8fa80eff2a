"""The report in a real browser: read from the verdict down, clicked through, at phone and desktop width, dark, printed.

Skipped by name where there is no Chromium: BROWSER names one, else /usr/bin/chromium.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from async_extractor.report import as_html, compose, compose_index
from tests.support.run_figures import MISSING, SOURCE_OK, VOLUME_OK, chunk, figures

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright's Python package is not installed")

CHROMIUM = os.environ.get("BROWSER") or shutil.which("chromium") or "/usr/bin/chromium"
pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="NOT RUN: no Chromium at /usr/bin/chromium")

PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A whole run, and one with faults whose tables are long enough to be folded."""
    folder = tmp_path_factory.mktemp("pages")
    event = {
        "happened_at": figures().run["started_at"],
        "code": "QBF-W305",
        "name": "retry",
        "message": "trying again (1): QuickBooks answered HTTP 503",
        "intuit_tid": "1-abc",
    }
    chunks = [*(chunk(number) for number in range(60)), chunk(60, "failed", error="QuickBooks answered HTTP 400")]
    made = {
        "good": compose(figures(), "en"),
        "bad": compose(figures(checks=(MISSING, VOLUME_OK), chunks=chunks, events=(event,) * 30), "en"),
        "spanish": compose(figures(checks=(SOURCE_OK, VOLUME_OK)), "es"),
    }
    runs = [
        figures(run_id=12, status="incomplete", chunks=[chunk(0), chunk(1, "planned")], error="stopped by SIGTERM"),
        figures(run_id=11, entity="customers", checks=(MISSING,)),
        *(figures(run_id=number, entity="recurring_transactions", rows_inserted=0) for number in range(10, 0, -1)),
    ]
    (folder / "run-12-invoices.html").touch()
    made |= {f"index-{lang}": compose_index(runs, folder, lang) for lang in ("en", "es")}
    for name, report in made.items():
        (folder / f"{name}.html").write_text(as_html(report), encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


def opened(browser: Any, path: Path, **context: Any) -> Any:
    """The page, in a context without a network; what the console and failed requests say is kept."""
    page = browser.new_context(offline=True, **context).new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("request", lambda request: page.complaints.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    return page


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("name", ["good", "bad", "spanish", "index-en", "index-es"])
def test_it_fits_the_screen_and_needs_nothing_from_outside(
    browser: Any, pages: dict[str, Path], name: str, size: dict[str, int]
) -> None:
    page = opened(browser, pages[name], viewport=size)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.complaints == []
    assert page.locator("h1").bounding_box()["y"] < size["height"] / 3
    for chart in page.locator("svg.chart").all():
        assert chart.bounding_box()["width"] > 250
    for folded in page.locator("summary").all():
        folded.click()
    assert page.evaluate(CUT) == []
    assert page.evaluate(OUTSIDE) == []


def test_the_verdict_and_the_command_are_seen_without_scrolling_on_a_phone(
    browser: Any, pages: dict[str, Path]
) -> None:
    page = opened(browser, pages["bad"], viewport=PHONE)
    assert page.get_by_role("heading", level=1).inner_text().endswith("Not right yet")
    command = page.locator("header pre").first
    assert command.inner_text() == MISSING.advice
    box = command.bounding_box()
    assert box["y"] + box["height"] < PHONE["height"]


def test_the_contents_lead_to_each_part_and_folded_tables_open(browser: Any, pages: dict[str, Path]) -> None:
    page = opened(browser, pages["bad"], viewport=DESKTOP)
    for link in page.get_by_role("navigation").get_by_role("link").all():
        link.click()
        target = page.locator(link.get_attribute("href"))
        assert target.get_by_role("heading", level=2).first.inner_text() == link.inner_text()
        assert target.evaluate("e => e.getBoundingClientRect().top < innerHeight")
    folded = page.locator("#chunks details")
    row = folded.get_by_text("QuickBooks answered HTTP 400")
    assert not row.is_visible()
    folded.locator("summary").click()
    assert row.is_visible()
    events = page.locator("#story details")
    events.locator("summary").focus()
    page.keyboard.press("Enter")
    assert events.get_by_text("1-abc").first.is_visible()


def test_a_screen_reader_hears_the_charts_the_tables_and_the_language(browser: Any, pages: dict[str, Path]) -> None:
    page = opened(browser, pages["spanish"], viewport=DESKTOP)
    assert page.locator("html").get_attribute("lang") == "es"
    assert page.get_by_role("img", name="Filas en raw por día").count() == 1
    assert page.get_by_role("table", name="Cada tramo (UTC)").count() == 1
    assert page.get_by_role("navigation", name="Contenido").count() == 1
    assert page.get_by_role("columnheader", name="Ventana").count() == 1


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_page_of_all_runs_leads_to_the_reports_that_are_there(
    browser: Any, pages: dict[str, Path], size: dict[str, int]
) -> None:
    page = opened(browser, pages["index-en"], viewport=size)
    assert page.get_by_role("heading", level=1).inner_text().endswith("Not every entity is complete")
    assert page.locator("header pre").first.inner_text() == "qbo-backfill resume 12"
    rows = page.locator("#runs tbody tr").all()
    assert len(rows) == 12
    assert "Not complete" in rows[0].inner_text()
    links = page.locator("#runs a").all()
    assert [(link.inner_text(), link.get_attribute("href")) for link in links] == [("12", "run-12-invoices.html")]


@pytest.mark.parametrize("lang", ["en", "es"])
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_first_screen_says_what_it_is_of(browser: Any, tmp_path: Path, lang: str, size: dict[str, int]) -> None:
    path = tmp_path / "page.html"
    path.write_text(as_html(compose(figures(), lang)), encoding="utf-8")
    page = opened(browser, path, viewport=size)
    header = page.locator("header")
    for words in ("4620816365000007770", "2024-01-01", "2024-03-30", "= 90", "simula"):
        assert words in header.inner_text()
    box = header.bounding_box()
    assert box["y"] + box["height"] < size["height"]


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_the_time_bar_is_all_of_it(browser: Any, pages: dict[str, Path], size: dict[str, int]) -> None:
    page = opened(browser, pages["good"], viewport=size)
    chart = page.locator("#time svg.chart")
    widths = [part.bounding_box()["width"] for part in chart.locator("rect").all()]
    assert abs(sum(widths) - chart.bounding_box()["width"]) < 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_told_from_its_ground_in_light_and_dark(browser: Any, pages: dict[str, Path], scheme: str) -> None:
    page = opened(browser, pages["bad"], viewport=DESKTOP, color_scheme=scheme)
    for selector in (
        "body",
        "h1",
        ".why",
        "nav a",
        "#checks tr.bad td",
        "thead th",
        ".figures dt",
        "summary",
        "pre code",
    ):
        assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, (scheme, selector)
    ground = page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
    assert ground == ("rgb(18, 22, 29)" if scheme == "dark" else "rgb(251, 250, 247)")


@pytest.mark.parametrize("name", ["bad", "index-en", "index-es"])
def test_no_table_is_cut_on_paper_or_on_a_tablet(browser: Any, pages: dict[str, Path], name: str) -> None:
    for media, width in (("print", 718), ("screen", 768)):  # A4 between its margins
        page = opened(browser, pages[name], viewport={"width": width, "height": 1000})
        page.emulate_media(media=media)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), media
        assert page.evaluate(CUT) == [], media


def test_it_prints_on_a_few_sheets_with_its_colours_light(browser: Any, pages: dict[str, Path], tmp_path: Path) -> None:
    page = opened(browser, pages["good"], viewport=DESKTOP, color_scheme="dark")
    page.emulate_media(media="print")
    assert page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(255, 255, 255)"
    assert not page.get_by_role("navigation").is_visible()
    sheet = page.pdf(path=str(tmp_path / "report.pdf"), format="A4")
    assert sheet.count(b"/Type /Page\n") + sheet.count(b"/Type /Page ") + sheet.count(b"/Type/Page ") <= 6


# Boxes whose content is wider than they are: something in them is cut or has to be scrolled for.
CUT = """() => [...document.querySelectorAll('.scroll, figure, pre, td, th, dd, header, summary')]
    .filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 1 && !e.closest('thead'))
    .map(e => e.outerHTML.slice(0, 120))"""

# Parts of a chart, its letters included, that are beside the screen; and a time bar that doesn't add up to its width.
OUTSIDE = """() => [...document.querySelectorAll('svg.chart rect, svg.chart text')]
    .filter(e => { const b = e.getBoundingClientRect(); return b.width && (b.left < -1 || b.right > innerWidth + 1); })
    .map(e => e.outerHTML)"""

# The contrast of an element's text with what is behind it, by WCAG 2's formula.
CONTRAST = """element => {
    const parse = text => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    let behind = element, ground = [255, 255, 255];
    for (; behind; behind = behind.parentElement) {
        const colour = parse(getComputedStyle(behind).backgroundColor);
        if (colour.length < 4 || colour[3] > 0) { ground = colour; break; }
    }
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground)];
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}"""
