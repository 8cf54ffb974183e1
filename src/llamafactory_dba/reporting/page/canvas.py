"""Drawing for a page that is light or dark: one ink that becomes the page's text colour, as SVG or PNG."""

from __future__ import annotations

import html
import io
import re
import warnings
from typing import Any


INK = "#123457"  # drawn with this, then written as currentColor: the page's text colour, light or dark
PRINT_INK = "#333333"


def inline_svg(figure: Any, name: str, title: str) -> str:
    """An ``<svg>`` element that takes the text colour of the page; ids start with ``name``, so that many fit."""
    stream = io.StringIO()
    _save(figure, stream, "svg", transparent=True)
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    # two digits of a point (1/72 inch) are finer than any screen; the other four are a third of the page
    text = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), text)
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{name}-", text)
    return text.replace(INK, "currentColor").replace("<svg ", f'<svg role="img" aria-label="{html.escape(title)}" ', 1)


def save(figure: Any, path: Any) -> None:
    """A file for other documents, on white."""
    _save(figure, path, str(path).rsplit(".", 1)[-1], transparent=False)


def clean(text: str) -> str:
    """What SVG and a legend can hold: no control characters, no underscore in front (which hides a label)."""
    plain = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)[:60]
    return plain if plain and not plain.startswith("_") else f"\N{WORD JOINER}{plain}"


def new_figure(size: tuple[float, float], rows: int, columns: int, ink: str) -> tuple[Any, list[Any]]:
    """A figure of ``size`` in inches, and its axes row by row."""
    # not pyplot: a library must not choose the backend of the program it runs in
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"text.parse_math": False}):  # a name may hold a dollar sign
        figure = Figure(figsize=size, dpi=110, layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.patch.set_alpha(0)
        axis.tick_params(colors=ink, labelsize=8)
        axis.xaxis.label.set_color(ink)
        axis.yaxis.label.set_color(ink)
        axis.grid(color=ink, alpha=0.15, lw=0.6)
        for spine in axis.spines.values():
            spine.set(color=ink, alpha=0.5)
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Any, target: Any, kind: str, *, transparent: bool) -> None:
    from matplotlib import rc_context
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "report"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # the reader's browser has the glyph, or the PNG lacks it
        figure.savefig(target, format=kind, transparent=transparent, metadata={"Date": None} if kind == "svg" else {})
