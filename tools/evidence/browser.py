"""A real browser that photographs pages: Chromium without a window, driven by Playwright."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tools.evidence.gallery import EvidenceError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Readable when a page shows it at two thirds.
WIDTH, HEIGHT = 1440, 900


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A browser's context: English, in UTC, of one size. EvidenceError where there is none."""
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only who makes evidence has it
    except ModuleNotFoundError:
        raise EvidenceError("Playwright's Python package is missing: `make install` installs it") from None
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        raise EvidenceError("Chromium is missing: apt-get install -y chromium fonts-dejavu-core")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield chromium.new_context(
                viewport={"width": WIDTH, "height": HEIGHT}, timezone_id="UTC", locale="en-US", color_scheme="light"
            )
        finally:
            chromium.close()


def photograph_file(context: Any, page_file: Path, picture: Path, height: int) -> None:
    """A page in a file, from its top."""
    page = context.new_page()
    try:
        page.set_viewport_size({"width": 1100, "height": height})
        page.goto(page_file.as_uri())
        page.screenshot(path=picture)
    finally:
        page.close()
