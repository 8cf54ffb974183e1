"""Heat map of the similarity of domain gradient and anchor: layers over steps, a panel for each kind of module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .canvas import INK, clean, new_figure
from .layers import Layers, Panel


if TYPE_CHECKING:
    from collections.abc import Callable

COLORS = "RdBu"  # ColorBrewer's, diverging and safe for colour-blind readers: red against the anchor, blue along it
ACROSS = 4
TICKS = 4


def heat_map(layers: Layers, scale: float, ink: str = INK) -> Any:
    """Draw one run.

    Args:
        layers: what to draw.
        scale: cosines of this size and beyond have the darkest colours.
        ink: of axes and texts.
    """
    panels = layers.panels
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    figure, axes = new_figure((2.6 * across + 0.8, 2.1 * down), down, across, ink)
    for axis, panel in zip(axes, panels, strict=False):
        # the cells themselves are stored, one pixel each, and the reader's browser enlarges them
        image = axis.imshow(panel.values, cmap=COLORS, vmin=-scale, vmax=scale, aspect="auto", interpolation="none")
        axis.grid(visible=False)
        axis.set_title(clean(panel.kind), fontsize=9, color=ink)
        _ticks(axis.set_xticks, [f"{step:g}" for step in layers.steps])
        _rows(axis, panel)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for place in range(max(0, len(panels) - across), len(panels)):
        axes[place].set_xlabel("step", fontsize=9)
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.01, extend="both")
    bar.ax.tick_params(colors=ink, labelsize=8)
    bar.outline.set_edgecolor(ink)
    bar.outline.set_linewidth(0.5)
    bar.set_label("signed cosine", color=ink, fontsize=9)
    return figure


def _rows(axis: Any, panel: Panel) -> None:
    if all(row.isdigit() for row in panel.rows):
        _ticks(axis.set_yticks, panel.rows)
        axis.set_ylabel("layer", fontsize=9)
        return
    axis.set_yticks(range(len(panel.rows)), [clean(row) for row in panel.rows], fontsize=7)


def _ticks(place: Callable[..., Any], labels: Sequence[str]) -> None:
    """So many labels as can be read, the first and the last among them."""
    count = min(TICKS, len(labels))
    places = sorted({round(step * (len(labels) - 1) / max(1, count - 1)) for step in range(count)})
    place(places, [labels[item] for item in places])
