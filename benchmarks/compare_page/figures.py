"""The two figures of docs/results.md: what was learned against what was kept, and mean S with its spread."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llamafactory_dba.compare.table import ALL

from .pairs import RECOMMENDED
from .source import bases_of, title_of
from .tables import Found, plain


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

KINDS = ("plane", "bars")
# by family, so that 25 methods need no 25 colours; Okabe and Ito's, which the colour-blind can tell apart
FAMILIES = {
    "recommended": ("#d55e00", f"recommended ({RECOMMENDED})"),
    "anchor": ("#cc79a7", "with an anchor"),
    "mix": ("#009e73", "general data mixed in"),
    "wise": ("#999999", "WiSE-FT points"),
    "other": ("#0072b2", "domain data alone"),
}
ANCHORED = ("ggb", "dc", "dba", "agem", "pcgrad", "gradnorm", "elastic", "ewc")
Range = tuple[float, float]
WHOLE: tuple[Range, Range] = ((-3, 103), (-4, 106))
NUMBER: dict[str, Any] = {"color": "#999999", "fontsize": 7, "va": "center", "ha": "left"}  # of the curves
NEAR = 30.0  # methods that lie within so many points of each other are shown enlarged
UNLEARNED = 1.0  # but for those that are within so many points of the base model's S_D
# where a label may stand around its point, in points: right, left, above, below, and further out
PLACES = [(6, -3, "left"), (-6, -3, "right"), (0, 6, "center"), (0, -12, "center")]
PLACES += [
    (7, 6, "left"),
    (-7, 6, "right"),
    (7, -12, "left"),
    (-7, -12, "right"),
    (0, 15, "center"),
    (0, -21, "center"),
]
PLACES += [(14, 13, "left"), (-14, 13, "right"), (14, -20, "left"), (-14, -20, "right"), (0, 24, "center")]
PLACES += [(26, 4, "left"), (26, -10, "left"), (-26, 4, "right"), (-26, -10, "right"), (0, -30, "center")]


def family(label: str) -> str:
    """What kind of method a label is of, for its colour."""
    if label == RECOMMENDED:
        return "recommended"
    starts = {"mix_": "mix", "wise_ft": "wise", **dict.fromkeys(ANCHORED, "anchor")}
    return next((name for start, name in starts.items() if label.startswith(start)), "other")


def digest(found: Found) -> str:
    """Of what the figures show: stands in them, so that a test can see whether they are of these numbers."""
    shown = [
        [entry["base"], entry["label"], *(entry[key] for key in ("s_d", "s_g", "s"))]
        for base in bases_of(found)
        for entry in plain(found, base)
    ]
    shown += [[entry[key] for key in ("base", "domain", "s_d", "s_g")] for entry in found["bases"]]
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()[:16]


def path_of(folder: Path, name: str, kind: str) -> Path:
    """File of one figure."""
    return folder / f"results-{name}-{kind}.svg"


def draw(found: Found, name: str, folder: Path) -> list[Path]:
    """Write both figures as SVG, the same bytes for the same numbers.

    Args:
        found: content of compare.json.
        name: of the suite.
        folder: ``docs/figures``.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    settings = {"svg.hashsalt": "results", "svg.fonttype": "none", "font.size": 9, "axes.grid": True}
    settings |= {"grid.alpha": 0.3, "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False}
    written = []
    with plt.style.context("default"), matplotlib.rc_context(settings):
        for kind, make in zip(KINDS, (plane, bars), strict=True):
            figure = make(found)
            path = path_of(folder, name, kind)
            about = {"Date": None, "Description": f"data {digest(found)}"}
            figure.savefig(path, metadata=about, bbox_inches="tight", facecolor="white")
            plt.close(figure)
            written.append(path)
    return written


def plane(found: Found) -> Figure:
    """S_D against S_G, a panel for each base model; a cross is the standard deviation over seeds in both."""
    import matplotlib.pyplot as plt

    bases = [base for base in bases_of(found) if base != ALL]
    figure, panels = plt.subplots(1, len(bases), figsize=(5.9 * len(bases), 5.6), squeeze=False, layout="constrained")
    _legend(figure, [family(entry["label"]) for entry in found["methods"] if entry["s"]])
    for axes, base in zip(panels[0], bases, strict=True):
        axes.set(title=base, xlabel="S_D: domain learned, %", ylabel="S_G: general skill kept, %")
        before = [entry for entry in found["bases"] if entry["base"] == base]
        start = [_mean([entry[key] for entry in before]) for key in ("s_d", "s_g")] if before else None
        entries = plain(found, base)
        window = _window(entries, start)
        axes.set(xlim=window[0], ylim=window[1])
        _iso_curves(axes, window)
        curve = sorted((e for e in entries if family(e["label"]) == "wise"), key=lambda e: e["setting"]["alpha"])
        line = [(e["s_d"]["mean"], e["s_g"]["mean"]) for e in curve]
        end = [(e["s_d"]["mean"], e["s_g"]["mean"]) for e in entries if e["label"] == found["suite"]["reference"]]
        line = ([(start[0], start[1])] if start else []) + line + end if curve else []
        if line:
            axes.plot(*zip(*line, strict=True), color=FAMILIES["wise"][0], lw=0.8, ls="--", zorder=1)
        points: list[tuple[float, float, str, str]] = []
        if start and window[0][0] <= start[0]:
            points.append((*start, "base model", "black"))
        elif start:  # to the left of what is shown
            axes.axhline(start[1], color="black", lw=0.8, ls=":", zorder=1)
            outside = [("base model", start[0])]
            outside += [(e["label"], e["s_d"]["mean"]) for e in _learning_nothing(entries, start)]
            said = "\n".join(f"{name}, S_D {value:.1f}" for name, value in reversed(outside))
            axes.annotate(said, (window[0][0], start[1]), (4, 3), textcoords="offset points", fontsize=8)
        for entry in entries:
            colour = FAMILIES[family(entry["label"])][0]
            d, g = entry["s_d"], entry["s_g"]
            style = {"fmt": "o", "ms": 7 if entry["label"] == RECOMMENDED else 4, "color": colour, "elinewidth": 0.8}
            axes.errorbar(d["mean"], g["mean"], g["std"] or 0, d["std"] or 0, **style, zorder=3)
            if window[0][0] <= d["mean"]:
                points.append((d["mean"], g["mean"], "" if "alpha" in entry["setting"] else entry["label"], colour))
        if start:
            axes.plot(*start, marker="s", color="black", ms=5, zorder=3)
        if seen := [entry for entry in curve if window[0][0] <= entry["s_d"]["mean"]]:
            middle = seen[len(seen) // 2]
            points.append((middle["s_d"]["mean"], middle["s_g"]["mean"], curve[0]["method"], FAMILIES["wise"][0]))
        _label(figure, axes, points)
    return figure


def _window(entries: Sequence[Mapping[str, Any]], start: Sequence[float] | None) -> tuple[Range, Range]:
    """What of the plane is shown: all of it, or the part where the methods are, up to the base model's S_G."""
    aside = _learning_nothing(entries, start)
    shown = [entry for entry in entries if family(entry["label"]) != "wise" and entry not in aside]
    ranges = []
    for key in ("s_d", "s_g"):
        values = [entry[key]["mean"] for entry in shown]
        values += [start[1]] if start and key == "s_g" else []
        if len(shown) < 2 or max(values) - min(values) > NEAR:
            return WHOLE
        room = 0.12 * (max(values) - min(values)) + 0.5
        ranges.append((min(values) - room, max(values) + room))
    return ranges[0], ranges[1]


def _learning_nothing(entries: Sequence[Mapping[str, Any]], start: Sequence[float] | None) -> list[Mapping[str, Any]]:
    """Those whose domain score is the base model's."""
    if not start:
        return []
    plain = [entry for entry in entries if family(entry["label"]) != "wise"]
    return [entry for entry in plain if entry["s_d"]["mean"] < start[0] + UNLEARNED]


def _iso_curves(axes: Axes, window: tuple[Range, Range]) -> None:
    """Where S is the same, S_G = S S_D / (2 S_D - S), named at the right edge or along the top."""
    import numpy as np

    (left, right), (low, high) = window
    whole = window == WHOLE
    x = np.linspace(max(left, 1), right, 300)
    for s in range(10, 100, 10) if whole else range(1, 100):
        y = np.where(2 * x > s, s * x / np.maximum(2 * x - s, 1e-9), np.nan)
        axes.plot(x, np.where(y <= high, y, np.nan), color="#dddddd", lw=0.8, zorder=0)
        at_edge = s * right / (2 * right - s) if 2 * right > s else high
        if low < at_edge < high:
            axes.text(1.01, at_edge, f"{s}", transform=axes.get_yaxis_transform(), **NUMBER)
    axes.text(1.01, 0.98, "S", transform=axes.transAxes, **NUMBER)


def _label(figure: Figure, axes: Axes, points: Sequence[tuple[float, float, str, str]]) -> None:
    """Names beside their points, each at the first place where it covers neither a point nor another name."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    figure.canvas.draw()
    pixels = axes.transData.transform([(x, y) for x, y, _, _ in points])
    scale = figure.dpi / 72
    taken = [Bbox.from_bounds(x - 3.5 * scale, y - 3.5 * scale, 7 * scale, 7 * scale) for x, y in pixels]
    inside = axes.get_window_extent()
    for (x, y, name, colour), _ in sorted(zip(points, pixels, strict=True), key=lambda item: -item[1][1]):
        if not name:
            continue
        best: tuple[float, Any, Any] | None = None
        for dx, dy, side in PLACES:
            where = {"xytext": (dx, dy), "textcoords": "offset points", "ha": side}
            weight = "bold" if name == RECOMMENDED else "normal"
            # far from its point, a name needs a line to it
            arrow = {"arrowstyle": "-", "lw": 0.5, "color": colour} if abs(dx) > 10 or abs(dy) > 13 else None
            style = {"color": colour, "fontsize": 8, "fontweight": weight, "zorder": 4, "arrowprops": arrow}
            text = axes.annotate(name, (x, y), **where, **style)
            text.update_positions(figure.canvas.get_renderer())
            box = Text.get_window_extent(text, figure.canvas.get_renderer())  # of the name without the line
            covered = sum(_common(box, other) for other in taken) + 4 * (box.width * box.height - _common(box, inside))
            if best is not None and covered >= best[0]:
                text.remove()
                continue
            if best is not None:
                best[1].remove()
            best = (covered, text, box)
            if covered <= 0:
                break
        if best is not None:
            taken.append(best[2])


def _common(a: Any, b: Any) -> float:
    """Area that two boxes share."""
    width, height = min(a.x1, b.x1) - max(a.x0, b.x0), min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(width, 0.0) * max(height, 0.0))


def bars(found: Found) -> Figure:
    """Mean S of every method with its standard deviation over seeds, a panel for each base model, the best on top."""
    import matplotlib.pyplot as plt

    bases = [base for base in bases_of(found) if base != ALL]
    rows = max(len(plain(found, base)) for base in bases)
    size = (5.4 * len(bases), 1.0 + 0.24 * rows)
    figure, panels = plt.subplots(1, len(bases), figsize=size, squeeze=False, layout="constrained")
    for axes, base in zip(panels[0], bases, strict=True):
        entries = plain(found, base)[::-1]
        names = [_bar_name(entry) for entry in entries]
        values, errors = [e["s"]["mean"] for e in entries], [e["s"]["std"] or 0.0 for e in entries]
        colours = [FAMILIES[family(e["label"])][0] for e in entries]
        axes.barh(
            names,
            values,
            xerr=[error or float("nan") for error in errors],
            color=colours,
            height=0.72,
            error_kw={"lw": 1.0, "capsize": 2},
        )
        for place, (value, error) in enumerate(zip(values, errors, strict=True)):
            axes.text(value + error + 1, place, f"{value:.1f}", va="center", fontsize=7.5, color="#333333")
        axes.set(
            title=title_of(base), xlabel="S, % (mean over domains, ± standard deviation over seeds)", xlim=(0, 105)
        )
        axes.grid(axis="y", visible=False)
        axes.margins(y=0.01)
    _legend(figure, [family(entry["label"]) for entry in found["methods"] if entry["s"]])
    return figure


def _bar_name(entry: Any) -> str:
    """A method with the number of its seeds."""
    alpha = f" α={entry['setting']['alpha']:g}" if "alpha" in entry["setting"] else ""
    return f"{entry['method']}{alpha} ({entry['s']['n']})"


def _legend(figure: Figure, shown: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=text) for name, (colour, text) in FAMILIES.items() if name in shown]
    columns = len(handles) if figure.get_figwidth() > 8 else 3
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def _mean(values: Sequence[float | None]) -> float:
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept)
