"""The documentation as a test reads it: its files, links, headings, tables and commands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[2]
READMES = {"en": ROOT / "README.md", "es": ROOT / "README.es.md"}

_FENCE = re.compile(r"^ *```.*?^ *```\s*?$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")
_HEADING = re.compile(r"^#{1,6} +(.+?)\s*$", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")


def documents() -> list[Path]:
    """Every Markdown file that people read, the evidence's outputs left out."""
    found = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("deploy/**/*.md"),
        *ROOT.glob("evidence/*/README.md"),
    ]
    found += [ROOT / "evidence" / "README.md", ROOT / "evidence" / "README.es.md"]
    return sorted(path for path in found if path.exists())


@dataclass(frozen=True)
class Document:
    """One Markdown file."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The text without its fenced blocks."""
        return _FENCE.sub("", self.text)

    def links(self) -> list[str]:
        """Link targets within the repository: paths, `#anchors`, or both."""
        targets = [first or second for first, second in _LINK.findall(_CODE.sub("", self.prose))]
        return [target for target in targets if not re.match(r"[a-z]+:", target)]

    def anchors(self) -> set[str]:
        """The anchors that GitHub gives its headings."""
        given: set[str] = set()
        for heading in _HEADING.findall(self.prose):
            base = anchor(heading)
            name, number = base, 0
            while name in given:
                number += 1
                name = f"{base}-{number}"
            given.add(name)
        return given

    def section(self, heading: str) -> str:
        """What stands under a heading, up to the next of its rank or above."""
        found = re.search(rf"^(#+) {re.escape(heading)}\s*$", self.text, re.MULTILINE)
        assert found is not None, f"{self.path.name} has no heading {heading!r}"
        rest = self.text[found.end() :]
        end = re.search(rf"^#{{1,{len(found[1])}}} ", _without_fences(rest), re.MULTILINE)
        return rest if end is None else rest[: end.start()]

    def commands(self, program: str) -> list[str]:
        """Each call of a program: in code spans, indented and fenced blocks."""
        spans = _CODE.findall(self.prose)
        lines = [line for block in _FENCE.findall(self.text) for line in block.splitlines()]
        lines += [line for line in self.prose.splitlines() if line.startswith("    ")]
        found = []
        for code in (*spans, *lines):
            call = re.search(rf"(?:^|\s|\$ |/){re.escape(program)} (.*)", code)
            if call is not None:
                found.append(call[1].split("#")[0].strip())
        return found


def anchor(heading: str) -> str:
    """GitHub's anchor for a heading."""
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")


def table(section: str, which: int = 0) -> list[list[str]]:
    """The cells of a section's table, without its head, backticks and emphasis."""
    tables = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)
    rows = [line.strip().strip("|").split("|") for line in tables[which].splitlines()[2:]]
    return [[cell.strip().replace("`", "").replace("**", "") for cell in row] for row in rows]


def target_of(document: Document, link: str) -> tuple[Path, str]:
    """The file that a link leads to, and the anchor in it or ''."""
    path, _, fragment = link.partition("#")
    file = document.path if not path else (document.path.parent / unquote(path)).resolve()
    return file, unquote(fragment)


def _without_fences(text: str) -> str:
    """The same length, with fenced lines blanked: a comment in a shell block is no heading."""
    return _FENCE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
