"""The report as one HTML page without scripts or outside files, as Markdown, and its figures as files."""

from __future__ import annotations

import html
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from ... import __version__
from . import canvas, costs, figures, skills, tables
from .cells import Table
from .entries import Group, Report
from .heatmap import heat_map
from .layers import common_scale


TITLE = "What was learned and what was kept"
CAPTIONS = {
    "scores": "Up: more learned. Right: more kept. Dotted: equal S.",
    "training": "Down-sampled by means over neighbouring steps.",
    "layers": "Blue: the domain gradient points along the anchor, red: against it. Steps are means over neighbours. "
    "The colour scale is that of the matrices; norm vectors, which are short, may be beyond it.",
}
TITLES = {"scores": "Learning against forgetting", "training": "Training", "layers": "Similarity by layer"}
LONG, FEW = 40, 8  # rows from which a table is folded; one with long cells


@dataclass(frozen=True)
class Figure:
    """Something to draw: ``name`` is the file's, ``draw`` takes the ink."""

    kind: str
    name: str
    title: str
    caption: str
    draw: Callable[[str], Any | None]


@dataclass(frozen=True)
class Part:
    """A table or a figure under a heading; a folded one opens at a click, and is open on paper."""

    title: str
    table: Table | None = None
    figure: Figure | None = None
    svg: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """One domain."""

    title: str
    headline: str
    parts: tuple[Part, ...]


def to_html(report: Report) -> str:
    """One page; every text in it is escaped."""
    from jinja2 import Environment, StrictUndefined

    here = files(__package__)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((here / "report.html").read_text(encoding="utf-8"))
    return template.render(
        title=TITLE,
        css=(here / "report.css").read_text(encoding="utf-8"),
        sections=[
            Section(title_of(group), skills.headline(group).strip(), tuple(_drawn(_parts(report, place))))
            for place, group in enumerate(report.groups)
        ],
        notes=report.notes,
        version=__version__,
    )


def to_markdown(report: Report, drawn: dict[str, str] | None = None) -> str:
    """The same in Markdown.

    Args:
        report: what to write.
        drawn: figure name → link, of `save_figures`; without it there are no figures.
    """
    lines = [f"# {TITLE}"]
    for place, group in enumerate(report.groups):
        lines += [f"## {escape(title_of(group))}", escape(skills.headline(group).strip())]
        for part in _parts(report, place):
            if part.table is not None:
                lines += [f"### {part.title}", _markdown_table(part.table), escape(part.table.note)]
            elif part.figure is not None and drawn and part.figure.name in drawn:
                lines += [f"### {escape(part.title)}", f"![{part.figure.kind}]({drawn[part.figure.name]})"]
                lines += [escape(part.figure.caption)]
    if report.notes:
        lines += ["## Notes", "\n".join(f"- {escape(note)}" for note in report.notes)]
    return "\n\n".join(line for line in lines if line) + "\n"


def save_figures(report: Report, folder: Path) -> dict[str, str]:
    """Write every figure as PNG and SVG; returns figure name → file name of the PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    saved = {}
    for place in range(len(report.groups)):
        for item in (part.figure for part in _parts(report, place) if part.figure is not None):
            figure = item.draw(canvas.PRINT_INK)
            if figure is not None:
                for ending in ("svg", "png"):
                    beside = folder / f".{item.name}.{ending}"
                    canvas.save(figure, beside)
                    os.replace(beside, folder / f"{item.name}.{ending}")
                saved[item.name] = f"{item.name}.png"
    return saved


def figure_name(kind: str, place: int) -> str:
    """``scores-1`` for the first domain's scores."""
    return f"{kind}-{place + 1}"


def title_of(group: Group) -> str:
    """Heading of a group."""
    return f"Domain: {group.domain}" if group.domain else "Runs"


def escape(text: str) -> str:
    """Text as Markdown shows it: nothing of it is markup, and a table cell stays one."""
    plain = re.sub(r"[\r\n]+", " ", html.escape(text, quote=False))
    return re.sub(r"([\\`*\[\]|#]|(?<!\w)_|_(?!\w))", r"\\\1", plain)


def _parts(report: Report, place: int) -> list[Part]:
    """Tables and figures of a domain in the order of the page; figures are not drawn yet."""
    group = report.groups[place]
    found = [
        Part("Scores", scored) if (scored := tables.scores(group)).rows else None,
        _table("Single runs", tables.single_runs(group), folded=True),
        _figure("scores", place, group, lambda ink: figures.scatter(group, ink)),
        _table("Interpolation between base and fine-tuned model", tables.sweep_points(group), folded=True),
        _table("What was lost most", skills.lost_most(group)),
        _table("Tasks", tables.tasks(group)),
        _table("Tasks, single runs", tables.single_tasks(group), folded=True),
        _table("Groups of tasks", skills.groups(group), folded=True),
        _figure("training", place, group, lambda ink: figures.training(group, ink)),
        *_maps(report, place),
        _table("Cost", costs.costs(group)),
        _table("Provenance", costs.provenance(group), folded=len(group.entries) > FEW),
    ]
    return [part for part in found if part is not None]


def _table(title: str, table: Table | None, *, folded: bool = False) -> Part | None:
    if table is None or not table.rows:
        return None
    return Part(title, table, folded=folded or len(table.rows) > LONG)


def _figure(kind: str, place: int, group: Group, draw: Callable[[str], Any | None]) -> Part:
    caption = CAPTIONS[kind]
    if kind == "scores":
        caption += (
            " Bars: standard deviation over seeds, small points: single runs." if tables.many_seeds(group) else ""
        )
        caption += " Line: interpolation between base and fine-tuned model, α of the way." if group.sweeps else ""
    return Part(TITLES[kind], figure=Figure(kind, figure_name(kind, place), TITLES[kind], caption, draw))


def _maps(report: Report, place: int) -> list[Part]:
    """Heat maps of a domain, on one colour scale for the whole page."""
    everything = [entry.layers for group in report.groups for entry in group.runs if entry.layers is not None]
    scale = common_scale(everything)
    parts: list[Part] = []
    for entry in report.groups[place].runs:
        if (layers := entry.layers) is None:
            continue
        title = f"{TITLES['layers']}: {entry.label}"
        caption = CAPTIONS["layers"] + (" Experts of a layer are averaged." if layers.mixed else "")
        caption += f" Not shown: {', '.join(layers.dropped)}." if layers.dropped else ""
        name = f"{figure_name('layers', place)}-{len(parts) + 1}"
        draw = partial(heat_map, layers, scale)
        parts.append(Part(title, figure=Figure("layers", name, title, caption, draw)))
    return parts


def _drawn(parts: list[Part]) -> Iterator[Part]:
    """With their figures as SVG; a figure with nothing to show is left out."""
    for part in parts:
        if part.figure is None:
            yield part
        elif (figure := part.figure.draw(canvas.INK)) is not None:
            yield replace(part, svg=canvas.inline_svg(figure, part.figure.name, part.figure.title))


def _markdown_table(table: Table) -> str:
    lines = [table.head, tuple("---" if place < table.texts else "---:" for place in range(len(table.head)))]
    lines += [tuple(escape(cell) for cell in row) for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
