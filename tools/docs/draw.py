"""Draws the pictures of the documentation: `python -m tools.docs.draw` makes an SVG of each .yaml, in each language.

A picture follows the reader's light or dark setting (prefers-color-scheme) and needs no other file.
"""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

LANGUAGES = ("en", "es")
FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
# Pixels of the drawing's own measure; the page scales it.
BOX = (252, 62)
STEP = (246, 112)
MARGIN = 14

STYLE = """
text { font: 600 14px system-ui, sans-serif; fill: #1f2328; }
.small { font-weight: 400; font-size: 11.5px; fill: #57606a; }
rect { stroke-width: 1.5; fill: #f6f8fa; stroke: #8c959f; }
.main { fill: #ddf4ff; stroke: #0969da; }
.store { fill: #dafbe1; stroke: #1a7f37; }
.outside { fill: #fff8c5; stroke: #9a6700; }
line { stroke: #57606a; stroke-width: 1.6; }
marker path { fill: #57606a; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .small { fill: #9da7b3; }
  rect { fill: #161b22; stroke: #6e7681; }
  .main { fill: #0c2d4f; stroke: #58a6ff; }
  .store { fill: #0f2d1a; stroke: #3fb950; }
  .outside { fill: #322a06; stroke: #d29922; }
  line { stroke: #9da7b3; }
  marker path { fill: #9da7b3; }
}
"""


def draw(picture: dict[str, Any], lang: str) -> str:
    """The SVG's text."""
    boxes = picture["boxes"]
    corners = {name: _corner(box["at"]) for name, box in boxes.items()}
    width = max(x for x, _ in corners.values()) + BOX[0] + MARGIN
    height = max(y for _, y in corners.values()) + BOX[1] + MARGIN
    title = "; ".join(": ".join(box[lang]) for box in boxes.values())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img">',
        f"<title>{html.escape(title)}</title>",
        f"<style>{STYLE}</style>",
        (
            '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" markerHeight="8" '
            'orient="auto-start-reverse"><path d="M0 0 L10 5 L0 10 z"/></marker></defs>'
        ),
    ]
    for start, end, *both in picture["arrows"]:
        (x1, y1), (x2, y2) = _between(corners[start], corners[end])
        tips = 'marker-end="url(#tip)"' + (' marker-start="url(#tip)"' if both else "")
        parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" {tips}/>')
    for name, box in boxes.items():
        x, y = corners[name]
        head, line = box[lang]
        parts += [
            f'<rect class="{box.get("kind", "plain")}" x="{x:g}" y="{y:g}" width="{BOX[0]}" height="{BOX[1]}" rx="8"/>',
            f'<text x="{x + 12:g}" y="{y + 26:g}">{html.escape(head)}</text>',
            f'<text class="small" x="{x + 12:g}" y="{y + 46:g}">{html.escape(line)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _corner(at: list[float]) -> tuple[float, float]:
    return MARGIN + at[0] * STEP[0], MARGIN + at[1] * STEP[1]


def _between(start: tuple[float, float], end: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """From the edge of one box to the edge of the other, on the line between their middles."""
    middle_1 = (start[0] + BOX[0] / 2, start[1] + BOX[1] / 2)
    middle_2 = (end[0] + BOX[0] / 2, end[1] + BOX[1] / 2)
    return _edge(middle_1, middle_2), _edge(middle_2, middle_1)


def _edge(middle: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    dx, dy = towards[0] - middle[0], towards[1] - middle[1]
    share = min(BOX[0] / 2 / abs(dx) if dx else 1e9, BOX[1] / 2 / abs(dy) if dy else 1e9)
    gap = 1 + 4 / ((dx * dx + dy * dy) ** 0.5 * share)
    return middle[0] + dx * share * gap, middle[1] + dy * share * gap


def main() -> None:
    for source in sorted(FOLDER.glob("*.yaml")):
        picture = yaml.safe_load(source.read_text(encoding="utf-8"))
        for lang in LANGUAGES:
            source.with_suffix(f".{lang}.svg").write_text(draw(picture, lang), encoding="utf-8")


if __name__ == "__main__":
    main()
