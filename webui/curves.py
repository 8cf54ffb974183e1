"""Curves as HTML for ``gr.HTML``: SVG lines over the whole width, the words beside them as text of the page.

Not ``gr.Plot``: matplotlib's picture is white in the dark theme, unreadable at 390 pixels and takes 100 ms and more.
Not ``gr.LinePlot``: it draws the whole chart anew for every value, which flickers. Here height and layout stay what
they are, colours come from the page's theme, letters keep their size at every width, and one update takes a few ms.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

from .follow import Points, downsample


# told apart on white and on black, and by most who do not see red or green; dashes for those who see no colours
COLOURS = ("#3b82f6", "#e8780a", "#0f9f75", "#a855f7", "#e5484d", "#8a7a00")
DASHES = ("", "7 4", "2 3", "9 3 2 3", "12 4", "4 2")
BOX = 1000.0  # of the SVG's own coordinates, stretched to the place that there is
TICKS = 5
TEXT = "font-size:12px;line-height:1.2;color:var(--body-text-color-subdued);white-space:nowrap"


def figure(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    title: str,
    x_label: str,
    y_label: str,
    height: int = 260,
    y_range: tuple[float, float] | None = None,
    empty: str = "",
) -> str:
    """Curves over one axis.

    Args:
        series: name in the legend → points (x, y), x rising; each is thinned to 1000 points.
        title: above the curves, and what a screen reader says, with the last values.
        x_label: with its unit.
        y_label: with its unit.
        height: pixels, of everything; the same with and without points.
        y_range: of the axis, widened where points lie outside; by default that of the points.
        empty: shown where there is no point yet.

    Returns:
        HTML; every text in it is escaped.
    """
    shown = {name: downsample(points) for name, points in series.items()}
    points = [point for line in shown.values() for point in line]
    last = "; ".join(f"{name} {_short(line[-1][1])}" for name, line in shown.items() if line)
    label = html.escape(f"{title}: {last or empty}" if last or empty else title)
    head = (
        f'<figure role="img" aria-label="{label}" style="margin:0;height:{height}px;display:flex;'
        'flex-direction:column;overflow:hidden">'
        f'<figcaption style="font-size:14px;color:var(--body-text-color)"><b>{html.escape(title)}</b>'
        f' <span style="{TEXT}">{html.escape(y_label)}</span>{_legend(shown)}</figcaption>'
    )
    if not points:
        note = f'<div style="flex:1;display:grid;place-items:center"><span style="{TEXT}">{html.escape(empty)}</span>'
        return head + note + "</div></figure>"
    x_axis = Axis([x for x, _ in points])
    y_axis = Axis([*(y for _, y in points), *(y_range or ())], wide=y_range is None)
    lines = "".join(_line(number, line, x_axis, y_axis) for number, line in enumerate(shown.values()) if line)
    return (
        # paddings, since gradio's style sheet takes the margin of a last child away
        f'{head}<div style="flex:1;min-height:0;padding:10px 14px 38px 58px">'
        '<div style="position:relative;width:100%;height:100%">'
        f'<svg viewBox="0 0 {BOX:g} {BOX:g}" preserveAspectRatio="none" aria-hidden="true" '
        'style="position:absolute;inset:0;width:100%;height:100%;overflow:visible;color:var(--body-text-color)">'
        f"{_grid(y_axis)}{lines}</svg>{_words(x_axis, y_axis, x_label)}</div></div></figure>"
    )


class Axis:
    """From the lowest to the highest of some numbers, with round numbers to write beside it.

    Args:
        values: at least one, all finite.
        wide: whether to leave a margin, so that a curve does not lie on the edge.
    """

    def __init__(self, values: Sequence[float], *, wide: bool = False) -> None:
        low, high = min(values), max(values)
        if high - low <= 1e-12 * max(abs(low), abs(high)):
            half = 0.1 * abs(low) or 1.0
            low, high = low - half, high + half
        elif wide:
            low, high = low - 0.05 * (high - low), high + 0.05 * (high - low)
        self.low, self.high = low, high
        rough = (high - low) / TICKS
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
        first = math.ceil(low / step - 1e-9)
        count = math.floor(high / step + 1e-9) - first + 1
        self.ticks = [(first + number) * step for number in range(count)]

    def share(self, value: float) -> float:
        """Where a value lies, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)


def _line(number: int, line: Points, x_axis: Axis, y_axis: Axis) -> str:
    places = [f"{BOX * x_axis.share(x):.1f},{BOX * (1 - y_axis.share(y)):.1f}" for x, y in line]
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    common = f'fill="none" stroke="{colour}" vector-effect="non-scaling-stroke"'
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    # a line of no length with round ends is a dot that stays round however the box is stretched
    return (
        f'<polyline points="{" ".join(places)}" {common} stroke-width="1.7" stroke-linejoin="round"{dashed}/>'
        f'<polyline points="{places[-1]} {places[-1]}" {common} stroke-width="6" stroke-linecap="round"/>'
    )


def _grid(axis: Axis) -> str:
    heights = [BOX * (1 - axis.share(tick)) for tick in axis.ticks]
    marks = "".join(f"M0 {place:.1f}H{BOX:g}" for place in heights)
    return f'<path d="{marks}" stroke="currentColor" opacity="0.15" fill="none" vector-effect="non-scaling-stroke"/>'


def _words(x_axis: Axis, y_axis: Axis, x_label: str) -> str:
    style = f"{TEXT};position:absolute"
    spans = [
        f'<span style="{style};right:calc(100% + 6px);top:{100 * (1 - y_axis.share(tick)):.2f}%;'
        f'transform:translateY(-50%)">{_short(tick)}</span>'
        for tick in y_axis.ticks
    ]
    spans += [
        f'<span style="{style};top:calc(100% + 5px);left:{100 * x_axis.share(tick):.2f}%;'
        f'transform:translateX(-50%)">{_short(tick)}</span>'
        for tick in x_axis.ticks
    ]
    spans.append(f'<span style="{style};top:calc(100% + 21px);right:0">{html.escape(x_label)}</span>')
    return "".join(spans)


def _legend(shown: Mapping[str, Points]) -> str:
    entries = []
    for number, (name, line) in enumerate(shown.items()):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
        value = f" <b>{_short(line[-1][1])}</b>" if line else ""
        entries.append(
            '<span style="display:inline-flex;align-items:center;gap:4px;margin-left:10px;font-size:12px">'
            '<svg width="22" height="8" aria-hidden="true"><line x1="0" y1="4" x2="22" y2="4" stroke-width="2" '
            f'stroke="{colour}" stroke-dasharray="{dash}"/></svg>{html.escape(name)}{value}</span>'
        )
    return "".join(entries)


def _short(number: float) -> str:
    """Four digits; thousands with an exponent only from a million on."""
    number = 0.0 if abs(number) < 1e-12 else number
    return f"{number:.0f}" if 1e4 <= abs(number) < 1e6 else f"{number:.4g}"
