"""Mage's pages, photographed as a person who is logged in sees them."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

from tools.evidence.browser import HEIGHT, WIDTH
from tools.evidence.gallery import EvidenceError

# Its pages go on asking the server, so that there is no moment at which they are done; they are given this long.
SETTLES_MS = 6_000
_ANSWERS_MS = 60_000

# Where the pointer would resize a column, at a height of the page.
_DIVIDERS = """y => [...Array(innerWidth).keys()].filter(x => {
    const element = document.elementFromPoint(x, y)
    return element && getComputedStyle(element).cursor.includes('resize')
})"""


class MagePages:
    """A logged-in tab."""

    def __init__(self, context: Any, address: str, email: str, password: str) -> None:
        self._address = address
        self._page = context.new_page()
        self._page.goto(f"{address}/sign-in", wait_until="domcontentloaded")
        self._page.fill("input >> nth=0", email)
        self._page.fill("input[type=password]", password)
        self._page.keyboard.press("Enter")
        self._page.wait_for_url(lambda url: "sign-in" not in url, timeout=_ANSWERS_MS)

    def __enter__(self) -> MagePages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._page.close()

    def photograph(self, path: str, picture: Path, *, wait_for: str, height: int = HEIGHT) -> None:
        """The page at that path, once the text `wait_for` is on it."""
        self._open(path, wait_for, WIDTH, height)
        self._page.screenshot(path=picture)

    def photograph_trigger(self, path: str, picture: Path) -> None:
        """A trigger's page, its settings given room."""
        self._open(path, "Runtime variables", WIDTH, HEIGHT)
        self._drag_divider(680, at_height=600)
        self._page.screenshot(path=picture)

    def photograph_block_output(self, path: str, block: str, pictures: list[Path]) -> None:
        """A run's page with the output of one of its blocks given room; a second picture scrolled to the right."""
        self._open(path, block, 1_900, 700)
        row = self._page.get_by_text(block, exact=True).first.locator("xpath=ancestor::tr")
        row.click(position={"x": 600, "y": 20})
        self._page.get_by_text("Block output").first.click(timeout=_ANSWERS_MS)
        self._page.wait_for_timeout(SETTLES_MS)
        self._drag_divider(430, at_height=650)
        for number, picture in enumerate(pictures):
            if number:
                self._page.evaluate(
                    "for (const e of document.querySelectorAll('div'))"
                    " if (e.scrollWidth > e.clientWidth + 20 && e.getBoundingClientRect().x > 400)"
                    " { e.scrollLeft = e.scrollWidth }"
                )
                self._page.wait_for_timeout(1_500)
            self._page.screenshot(path=picture)

    def _open(self, path: str, wait_for: str, width: int, height: int) -> None:
        self._page.set_viewport_size({"width": width, "height": height})
        self._page.goto(self._address + path, wait_until="domcontentloaded")
        self._page.get_by_text(wait_for).first.wait_for(timeout=_ANSWERS_MS)
        self._page.wait_for_timeout(SETTLES_MS)

    def _drag_divider(self, to: int, *, at_height: int) -> None:
        places = self._page.evaluate(_DIVIDERS, at_height)
        if not places:
            raise EvidenceError("a page of Mage's has no divider to drag")
        mouse, start = self._page.mouse, places[len(places) // 2]
        mouse.move(start, at_height)
        mouse.down()
        mouse.move((start + to) // 2, at_height, steps=6)
        mouse.move(to, at_height, steps=6)
        mouse.up()
        self._page.evaluate("getSelection().removeAllRanges()")
        mouse.move(to + 150, 5)
        self._page.wait_for_timeout(2_000)
