"""Charts as SVG, without a library or a script.

`bars` and `lines` are files of their own; `bar_chart` and `share_bar` are part of a page: they take its colours, and
measure across in percent, so that they are whole at any width while their letters keep their size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from async_extractor.report.document import Bar, Chart

# The height of a page's bar chart, and what of it is above and below the bars.
_CHART_HEIGHT, _ABOVE, _BELOW = 240, 22, 28

_COLOURS = ("#2b6cb0", "#dd6b20", "#2f855a", "#9b2c2c", "#6b46c1", "#4a5568")
_WIDTH, _HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 40, 60, 60


def bars(title: str, unit: str, values: Mapping[str, float], *, line_at: float | None = None) -> str:
    """A horizontal bar for each name. `line_at` draws a goal. Values are not negative."""
    rows = len(values)
    height = _TOP + rows * 34 + 40
    name_width = 12 + 7 * max((len(name) for name in values), default=0)
    most = max([*values.values(), line_at or 0.0, 1e-12])
    room = _WIDTH - name_width - 90
    parts = [_heading(title, unit)]
    for number, (name, value) in enumerate(values.items()):
        y, width = _TOP + 6 + number * 34, room * value / most
        parts.append(f'<text x="{name_width - 6}" y="{y + 16}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{name_width}" y="{y}" width="{width:.1f}" height="22" fill="{_COLOURS[0]}"/>')
        parts.append(f'<text x="{name_width + width + 6:.1f}" y="{y + 16}">{_figure(value)}</text>')
    if line_at is not None:
        x = name_width + room * line_at / most
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_TOP + rows * 34}" stroke="{_COLOURS[1]}" '
            f'stroke-dasharray="6 4"/><text x="{x:.1f}" y="{height - 14}" text-anchor="middle" fill="{_COLOURS[1]}">'
            f"goal {_figure(line_at)}</text>"
        )
    return _svg(height, parts)


def lines(
    title: str,
    x_name: str,
    y_name: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    logarithmic: bool = False,
) -> str:
    """A line for each name through its points (x, y), from zero, or both axes logarithmic."""
    points = [point for line in series.values() for point in line]
    x_low, x_high = _range([x for x, _ in points], logarithmic)
    y_low, y_high = _range([y for _, y in points], logarithmic)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _share(x, x_low, x_high, logarithmic) * (_WIDTH - _LEFT - _RIGHT)
        up = _share(y, y_low, y_high, logarithmic) * (_HEIGHT - _TOP - _BOTTOM)
        return _LEFT + across, _HEIGHT - _BOTTOM - up

    parts = [_heading(title, y_name)]
    for tick in _ticks(y_low, y_high, logarithmic):
        _, y = place(x_high, tick)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#a0aec0" opacity="0.4"/>'
        )
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{_figure(tick)}</text>')
    for x_value in sorted({x for x, _ in points}):
        x, _ = place(x_value, y_low)
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{_figure(x_value)}</text>')
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 10}" text-anchor="middle">{escape(x_name)}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        placed = [place(x, y) for x, y in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>' for x, y in placed]
        # Below the axis, where no line is.
        parts.append(f'<text x="{_LEFT}" y="{_HEIGHT + 10 + 18 * number}" fill="{colour}">{escape(name)}</text>')
    return _svg(_HEIGHT + 18 * len(series) + 4, parts)


def bar_chart(chart: Chart) -> str:
    """Stacked bars over a scale of round numbers. Its title and description are for screen readers."""
    height = _CHART_HEIGHT - _ABOVE - _BELOW
    steps = _ticks(0, max((sum(bar.parts) for bar in chart.bars), default=0) or 1, logarithmic=False)
    steps = [step for step in [*steps, steps[-1] + steps[1]] if step == int(step)] or [0.0, 1.0]
    while len(steps) > 2 and steps[-2] >= max(sum(bar.parts) for bar in chart.bars):
        steps.pop()
    parts = [_opening(chart, _CHART_HEIGHT)]
    slot = 100 / max(1, len(chart.bars))
    for at, bar in enumerate(chart.bars):
        parts.append(_stack(bar, chart, at * slot, slot, height / steps[-1]))
    for step in steps:
        y = _ABOVE + height - height * step / steps[-1]
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        if step:
            parts.append(f'<text class="scale" x="0" y="{y - 3:.1f}">{_short(step)}</text>')
    last = len(chart.bars) - 1
    for number, at in enumerate(labels := _labelled(len(chart.bars))):
        anchor, x = ("start", 0.0) if at == 0 else ("end", 100.0) if at == last else ("middle", (at + 0.5) * slot)
        # A phone has room for three.
        kind = "scale" if at in (0, last) or number == len(labels) // 2 else "scale extra"
        parts.append(
            f'<text class="{kind}" x="{x:.2f}%" y="{_CHART_HEIGHT - 8}" text-anchor="{anchor}">'
            f"{escape(chart.bars[at].label.split(' ')[0])}</text>"
        )
    return "".join([*parts, "</svg>"])


def share_bar(chart: Chart) -> str:
    """One bar across the page, cut into its parts."""
    total = sum(chart.bars[0].parts) or 1
    parts, x = [_opening(chart, 44)], 0.0
    for number, value in enumerate(chart.bars[0].parts):
        share = 100 * value / total
        if share > 0:
            parts.append(
                f'<rect class="s{number}" x="{x:.2f}%" y="4" width="{share:.2f}%" height="36">'
                f"<title>{escape(chart.series[number])}: {value:,.2f} ({share:.1f} %)</title></rect>"
            )
        x += share
    return "".join([*parts, "</svg>"])


def _opening(chart: Chart, height: int) -> str:
    name = f"chart-{chart.name}"
    return (
        f'<svg class="chart" width="100%" height="{height}" role="img" aria-labelledby="{name}-t {name}-d">'
        f'<title id="{name}-t">{escape(chart.title)}</title><desc id="{name}-d">{escape(chart.told)}</desc>'
    )


def _stack(bar: Bar, chart: Chart, x: float, slot: float, scale: float) -> str:
    told = ", ".join(f"{value:,.0f} {name}" for name, value in zip(chart.series, bar.parts, strict=True) if value)
    hover = f"{bar.label}: {told or 0}" + (f". {bar.mark}" if bar.mark else "")
    gap = slot * 0.2 if slot > 0.5 else 0.0
    y = float(_CHART_HEIGHT - _BELOW)
    shapes = [f"<g><title>{escape(hover)}</title>"]
    for number, value in enumerate(bar.parts):
        y -= (size := value * scale)
        if size > 0:
            shapes.append(
                f'<rect class="s{number}" x="{x + gap / 2:.3f}%" y="{y:.2f}" width="{slot - gap:.3f}%" '
                f'height="{size:.2f}"/>'
            )
    if bar.mark:
        shapes.append(f'<text class="mark" x="{x + slot / 2:.3f}%" y="{y - 3:.1f}" text-anchor="middle">▼</text>')
    # The whole column answers to the pointer, however low its bar is.
    height = _CHART_HEIGHT - _ABOVE - _BELOW
    shapes.append(f'<rect class="touch" x="{x:.3f}%" y="{_ABOVE}" width="{slot:.3f}%" height="{height}"/></g>')
    return "".join(shapes)


def _labelled(number: int, most: int = 7) -> list[int]:
    """Which of so many bars have a label: the first, the last, and some between."""
    wanted = min(number, most)
    return sorted({round(at * (number - 1) / max(1, wanted - 1)) for at in range(wanted)})


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def _svg(height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
        f'height="{height:.0f}" font-family="sans-serif" font-size="12">\n'
        '<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _heading(title: str, unit: str) -> str:
    return (
        f'<text x="12" y="22" font-size="15" font-weight="bold">{escape(title)}</text>'
        f'<text x="12" y="40" fill="#4a5568">{escape(unit)}</text>'
    )


def _range(values: Sequence[float], logarithmic: bool) -> tuple[float, float]:
    high = max(values, default=1.0)
    low = min(values, default=1.0) if logarithmic else 0.0
    return (low, high) if high > low else (low, low + 1.0)


def _share(value: float, low: float, high: float, logarithmic: bool) -> float:
    if logarithmic:
        return (math.log(value) - math.log(low)) / (math.log(high) - math.log(low))
    return (value - low) / (high - low)


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        return [10.0**power for power in range(first, last + 1)]
    step = 10.0 ** math.floor(math.log10((high - low) / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if (high - low) / (step * factor) <= 6)
    return [low + step * number for number in range(int((high - low) / step + 1e-9) + 1)]


def _figure(value: float) -> str:
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
