"""Figures of the report: S_D against S_G with curves of equal S, and the training curves."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from typing import TYPE_CHECKING, Any, NamedTuple

from .canvas import INK, clean, new_figure
from .curves import GAUGE, TITLES


if TYPE_CHECKING:
    from .entries import Group, Series
    from .sweep import Sweep

# Okabe and Ito's colours without black and yellow: told apart by colour-blind readers, legible on white and on black
COLORS = ("#d55e00", "#0090d0", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = "osD^vPX"
DOTTED = 20  # up to so many runs the points of the gauge are dots, of which each costs as much as a curve
NARROWEST = 6.6  # inches: a legend has room beside the axes' names, and the page does not blow it up
LINE = 0.19  # inches of a line of the legend
NAMED = 8  # so many series get a name of their own, more are told apart by method


class Style(NamedTuple):
    """How a series is drawn."""

    label: str
    color: str
    marker: str


def scatter(group: Group, ink: str = INK) -> Any | None:
    """S_D over S_G: a point a series with its spread, a small one for each of its runs, a line for each frontier.

    Returns:
        None where nothing has both.
    """
    shown = [series for series in group.rows if series.number("s_d") and series.number("s_g")]
    lines = [(sweep, path) for sweep in group.sweeps if (path := _path(sweep))]
    points = [point for series in shown for point in _points(series)] + [
        (x, y) for _, path in lines for x, y, _ in path
    ]
    if not points:
        return None
    figure, axes = new_figure((6.4, 4.8), 1, 1, ink)
    axis = axes[0]
    x_range, y_range = (_limits([point[side] for point in points]) for side in (0, 1))
    _iso_curves(axis, x_range, y_range, ink)
    for sweep, path in lines:
        _draw_sweep(axis, sweep, path, ink)
    bases = {id(entry) for entry in group.bases}
    styles = _styles(group.rows)
    done: set[str] = set()
    for series in shown:
        style = styles[id(series.entries[0])]
        is_base = id(series.entries[0]) in bases
        _draw_series(axis, series, style._replace(label="_" if style.label in done else style.label), is_base, ink)
        done.add(style.label)
    axis.set(xlim=x_range, ylim=y_range, xlabel="general score S_G in %", ylabel="domain score S_D in %")
    handles, labels = axis.get_legend_handles_labels()
    _legend(figure, handles, labels, 3, ink)
    return figure


def training(group: Group, ink: str = INK) -> Any | None:
    """Loss, γ, s, λ, ‖g_D‖ and the gauge over the steps; None where nothing was logged."""
    runs = [entry for series in group.series for entry in series.entries if entry.curves.of]
    names = [name for name in TITLES if any(name in entry.curves.of for entry in runs)]
    if not names:
        return None
    columns = min(3 if len(names) <= 6 else 4, len(names))
    rows = -(-len(names) // columns)
    figure, axes = new_figure((max(3.3 * columns, NARROWEST), 2.5 * rows + 0.5), rows, columns, ink)
    styles = _styles(group.rows)  # the colours of the scatter
    handles: dict[str, Any] = {}
    for axis, name in zip(axes, names, strict=False):
        shown = [entry for entry in runs if name in entry.curves.of]
        for style in dict.fromkeys(styles[id(entry)] for entry in shown):
            curves = [entry.curves.of[name] for entry in shown if styles[id(entry)] == style]
            # one line with gaps: a line each would be most of the page, and of the time that it takes
            steps, values = ([x for curve in curves for x in (*getattr(curve, of), nan)] for of in ("steps", "values"))
            # few measurements are shown one by one; a single one would be no line at all
            single = any(len(curve.steps) == 1 for curve in curves)
            alpha = 0.85 if len(runs) <= DOTTED else 0.4
            mark = "." if single or (name.startswith(GAUGE) and len(runs) <= DOTTED) else ""
            line = axis.plot(steps, values, f"{mark}-", color=style.color, lw=1.1, ms=4, alpha=alpha)[0]
            handles.setdefault(style.label, line)
        for curve in (
            e.curves.of[name] for e in shown if e.curves.diverged is not None and not name.startswith(GAUGE)
        ):
            end = (curve.steps[-1], curve.values[-1])
            handles["diverged after this"] = axis.plot(*end, "x", color=ink, ms=7, mew=2, ls="none")[0]
        axis.set_title(TITLES[name], fontsize=10, color=ink)
        axis.set_xlabel("step", fontsize=9)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    order = list(dict.fromkeys(style.label for style in styles.values()))  # the scatter's
    labels = sorted(handles, key=lambda label: order.index(label) if label in order else len(order))
    _legend(figure, [handles[label] for label in labels], labels, max(columns, 2), ink)
    return figure


def _points(series: Series) -> list[tuple[float, float]]:
    """(S_G, S_D) of its runs."""
    pairs = [(entry.summary.s_g, entry.summary.s_d) for entry in series.entries]
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _path(sweep: Sweep) -> list[tuple[float, float, float]]:
    return [(p.s_g, p.s_d, p.alpha) for p in sweep.points if p.s_g is not None and p.s_d is not None]


def _draw_series(axis: Any, series: Series, style: Style, is_base: bool, ink: str) -> None:
    x, y = series.number("s_g"), series.number("s_d")
    if x is None or y is None:
        return
    edge = ink if is_base else style.color
    if len(series.entries) > 1:
        axis.errorbar(
            x.mean, y.mean, xerr=x.std, yerr=y.std, ecolor=style.color, elinewidth=1.2, capsize=2.5, fmt="none"
        )
        for point in _points(series):
            axis.plot(*point, style.marker, ms=3, color=style.color, alpha=0.55, ls="none", label="_")
    face, size = "none" if is_base else style.color, 8 if len(series.entries) == 1 else 6
    axis.plot([x.mean], [y.mean], style.marker, ms=size, mfc=face, mec=edge, mew=1.6, ls="none", label=style.label)


def _draw_sweep(axis: Any, sweep: Sweep, path: Sequence[tuple[float, float, float]], ink: str) -> None:
    """A line from the base to the fine-tuned model; of many points only some are named, so that names do not meet."""
    label = clean(f"base to {sweep.label}, interpolated")
    axis.plot([x for x, _, _ in path], [y for _, y, _ in path], ".-", color=ink, lw=1.2, ms=5, alpha=0.7, label=label)
    last: tuple[float, float] | None = None
    width, height = (high - low for low, high in (axis.get_xlim(), axis.get_ylim()))
    for x, y, alpha in path:
        if last is None or abs(x - last[0]) > 0.05 * width or abs(y - last[1]) > 0.05 * height:
            last = (x, y)
            axis.annotate(f"α {alpha:g}", last, (4, -8), textcoords="offset points", fontsize=7, color=ink)


def _styles(rows: Sequence[Series]) -> dict[int, Style]:
    """By ``id`` of an entry: of its series where these are few, of its method otherwise."""
    labels = [series.label for series in rows]
    if len(rows) > NAMED:
        labels = [series.entries[0].results.run.method or series.label for series in rows]
    labels = [clean(label) for label in labels]
    order = {label: place for place, label in enumerate(dict.fromkeys(labels))}
    return {
        id(entry): _style(label, order[label])
        for series, label in zip(rows, labels, strict=True)
        for entry in series.entries
    }


def _style(label: str, place: int) -> Style:
    # the markers move on by one each time the colours are through, so that no two of 49 look the same
    return Style(label, COLORS[place % len(COLORS)], MARKERS[(place + place // len(COLORS)) % len(MARKERS)])


def _limits(values: Sequence[float]) -> tuple[float, float]:
    room = max(4.0, 0.15 * (max(values) - min(values)))
    return max(-2.0, min(values) - room), min(102.0, max(values) + room)


def _iso_curves(axis: Any, x_range: tuple[float, float], y_range: tuple[float, float], ink: str) -> None:
    """Where S is a multiple of 10: S_D = S·S_G / (2·S_G − S)."""
    last = -100.0
    for s in range(10, 100, 10):
        start = s / 2 + 0.05
        xs = [start + (102 - start) * (step / 400) ** 3 for step in range(401)]  # dense where the curve is steep
        points = [(x, s * x / (2 * x - s)) for x in xs]
        inside = [(x, y) for x, y in points if x_range[0] <= x <= x_range[1] and y_range[0] <= y <= y_range[1]]
        if len(inside) > 1:
            axis.plot(*zip(*inside, strict=True), color=ink, lw=0.7, ls=":", alpha=0.6, label="_")
            (x, y), far = inside[0], 0.07 * (x_range[1] - x_range[0])
            if y < y_range[1] - 0.05 * (y_range[1] - y_range[0]) or x - last > far:  # names along the top may meet
                last = x
                axis.annotate(f" S = {s}", inside[0], fontsize=7, color=ink, alpha=0.8, ha="left", va="bottom")


def _legend(figure: Any, handles: Sequence[Any], labels: Sequence[str], most: int, ink: str) -> None:
    """Below the axes, in at most ``most`` columns; the figure grows by its lines, so that the axes keep their size."""
    # a letter is about 0.08 inch wide at this size, a marker with its room 0.55; what is too wide would be cut off
    fitting = int(figure.get_figwidth() / (0.08 * max(map(len, labels), default=0) + 0.55))
    columns = max(1, min(most, len(labels), fitting))
    lines = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + LINE * max(0, lines - 1))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, labelcolor=ink, fontsize=9
    )
