"""Charts as inline SVG, drawn by hand: no network, no script, colours from the page's own variables."""

from __future__ import annotations

from html import escape

from async_extractor.report.document import Bar, Chart

WIDTH, HEIGHT = 960, 260
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 18, 34


def bar_chart(chart: Chart) -> str:
    """Stacked bars over a scale of round numbers. Its title and description are for screen readers."""
    most = max((sum(bar.parts) for bar in chart.bars), default=0)
    step = _step(most)
    top = step * max(1, -(-most // step)) if most else 1
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [_open(chart, WIDTH, HEIGHT)]
    for number in range(int(top // step) + 1):
        y = TOP + height - height * (number * step) / top
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="scale" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_short(number * step)}</text>'
        )
    slot = width / max(1, len(chart.bars))
    gap = min(6.0, slot * 0.2)
    for at, bar in enumerate(chart.bars):
        parts.append(_stack(bar, chart, LEFT + at * slot + gap / 2, max(0.6, slot - gap), height, top))
    for at in _labelled(len(chart.bars)):
        x = LEFT + (at + 0.5) * slot
        anchor = "start" if at == 0 else "end" if at == len(chart.bars) - 1 else "middle"
        x = LEFT if anchor == "start" else WIDTH - RIGHT if anchor == "end" else x
        parts.append(
            f'<text class="scale" x="{x:.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}">'
            f"{escape(_first(chart.bars[at]))}</text>"
        )
    parts.append("</svg>")
    return "".join(parts)


def share_bar(chart: Chart) -> str:
    """One bar across the page, cut into its parts."""
    height = 44
    total = sum(chart.bars[0].parts) or 1
    parts = [_open(chart, WIDTH, height)]
    x = 0.0
    for number, value in enumerate(chart.bars[0].parts):
        width = WIDTH * value / total
        if width > 0:
            parts.append(
                f'<rect class="s{number}" x="{x:.1f}" y="4" width="{width:.1f}" height="36">'
                f"<title>{escape(chart.series[number])}: {value:,.2f} ({100 * value / total:.1f} %)</title></rect>"
            )
        x += width
    parts.append("</svg>")
    return "".join(parts)


def _open(chart: Chart, width: int, height: int) -> str:
    name = f"chart-{chart.name}"
    return (
        f'<svg class="chart" viewBox="0 0 {width} {height}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(chart.title)}</title><desc id="{name}-d">{escape(chart.told)}</desc>'
    )


def _stack(bar: Bar, chart: Chart, x: float, width: float, height: float, top: float) -> str:
    told = ", ".join(f"{value:,.0f} {name}" for name, value in zip(chart.series, bar.parts, strict=True) if value)
    hover = f"{bar.label}: {told or 0}" + (f". {bar.mark}" if bar.mark else "")
    y = TOP + height
    shapes = [f"<g><title>{escape(hover)}</title>"]
    for number, value in enumerate(bar.parts):
        size = height * value / top
        y -= size
        if size > 0:
            shapes.append(f'<rect class="s{number}" x="{x:.1f}" y="{y:.2f}" width="{width:.2f}" height="{size:.2f}"/>')
    if bar.mark:
        middle = x + width / 2
        shapes.append(f'<path class="mark" d="M{middle:.1f} {y - 3:.1f}l-4 -8h8z"/>')
    # The whole column answers to the pointer, however low its bar is.
    shapes.append(f'<rect class="touch" x="{x:.1f}" y="{TOP}" width="{width:.2f}" height="{height}"/></g>')
    return "".join(shapes)


def _labelled(number: int, most: int = 7) -> list[int]:
    if number <= 1:
        return list(range(number))
    wanted = min(number, most)
    return sorted({round(at * (number - 1) / (wanted - 1)) for at in range(wanted)})


def _first(bar: Bar) -> str:
    return bar.label.split(" ")[0]


def _step(most: float) -> float:
    """A round number of which four or five make the scale."""
    if most <= 0:
        return 1
    step = 1.0
    while step * 5 < most:
        for factor in (2, 2.5, 2):
            step *= factor
            if step * 5 >= most:
                break
    return max(1.0, step)


def _short(value: float) -> str:
    if value >= 1_000_000:
        return f"{value / 1_000_000:g}M"
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
