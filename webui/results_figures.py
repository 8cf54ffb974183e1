"""The Results panel's figures: inline SVG in the page's text colour, so that they are light or dark with the board."""

from __future__ import annotations

from collections.abc import Sequence
from math import nan
from pathlib import Path
from typing import Any

from llamafactory_dba.reporting.page import canvas, figures
from llamafactory_dba.reporting.page.curves import TITLES, Curves, read_curves
from llamafactory_dba.reporting.page.entries import Group, make_series
from llamafactory_dba.reporting.page.sweep import Sweep, read_sweep

from .locales import message
from .results_tables import text
from .runs import Listing, Run


MOST_FIGURES = 6  # domains drawn at once
POINTS = 400  # of a curve
COLUMNS = 3


def scatters(shown: Sequence[Run], listing: Listing, lang: str) -> str:
    """S_D over S_G for each domain among the shown runs, with the frontiers of that domain; "" where nothing has both.

    Args:
        shown: the runs of the table.
        listing: where they are from; it holds the base models and the frontiers.
        lang: of the captions.
    """
    domains = list(dict.fromkeys(run.domain for run in shown if run.results is not None and not run.is_base))
    drawn = []
    for place, domain in enumerate(domains[:MOST_FIGURES]):
        figure = figures.scatter(_group(domain, shown, listing))
        if figure is not None:
            title = ": ".join(filter(None, (message("dba_results_plot_title", lang), domain)))
            svg = canvas.inline_svg(figure, f"dba-scores-{place}", title)
            drawn.append(f'<figure class="dba-figure"><figcaption>{text(title)}</figcaption>{svg}</figure>')
    if not drawn:
        return ""
    notes = [message("dba_results_plot_note", lang)]
    if len(domains) > MOST_FIGURES:
        notes.append(message("dba_results_plot_more", lang, count=len(domains) - MOST_FIGURES))
    return "".join(drawn) + f'<p class="dba-note">{text(" ".join(notes))}</p>'


def curves_of_two(first: Run, second: Run, lang: str) -> str:
    """What both runs logged while training, each quantity in a panel of its own; "" where neither logged anything."""
    found = [read_curves(run.folder, POINTS) for run in (first, second)]
    names = [name for name in TITLES if any(name in curves.of for curves in found)]
    if not names:
        return ""
    labels = [first.name, second.name]
    if labels[0] == labels[1]:
        labels = [f"{run.name} ({run.folder.parent.name}/{run.folder.name})" for run in (first, second)]
    title = message("dba_results_curves_title", lang)
    svg = canvas.inline_svg(_overlay(found, labels, names), "dba-curves", title)
    return f'<figure class="dba-figure curves"><figcaption>{text(title)}</figcaption>{svg}</figure>'


def frontiers_of(listing: Listing, domain: str) -> list[Sweep]:
    """The frontiers whose points were measured on a domain."""
    domains = {run.folder: run.domain for run in listing.runs}
    found = []
    for path in listing.frontiers:
        sweep, files = read_sweep(path, [])
        # a frontier has no domain of its own; its points' results lie beside it, its ends may be runs of the list
        if sweep is not None and domain in ({domains.get(file.parent) for file in files} | _domains(files)):
            found.append(sweep)
    return found


def _domains(files: Sequence[Path]) -> set[str]:
    from llamafactory_dba.errors import DBAError
    from llamafactory_dba.evaluation.results import read_results

    found = set()
    for file in files[:2]:  # one domain for all points; the second if the first was lost
        try:
            found.add(read_results(file).run.domain)
        except DBAError:
            continue
    return found


def _group(domain: str, shown: Sequence[Run], listing: Listing) -> Group:
    runs = [run for run in shown if run.domain == domain and run.results is not None and not run.is_base]
    needed = {run.base_results.parent for run in runs if run.base_results is not None}
    bases = [run for run in listing.runs if run.folder in needed and run.results is not None]
    entries = [run.entry() for run in runs]
    before = tuple(run.entry() for run in bases)
    return Group(domain, before, tuple(entries), make_series(entries), tuple(frontiers_of(listing, domain)))


def _overlay(found: Sequence[Curves], labels: Sequence[str], names: Sequence[str]) -> Any:
    columns = min(COLUMNS, len(names))
    rows = -(-len(names) // columns)
    figure, axes = canvas.new_figure((3.6 * columns, 2.6 * rows + 0.4), rows, columns, canvas.INK)
    handles = {}
    for axis, name in zip(axes, names, strict=False):
        for place, curves in enumerate(found):
            curve = curves.of.get(name)
            if curve is not None:
                mark = "." if len(curve.steps) == 1 else ""
                color, style = figures.COLORS[place], ("-", "--")[place]
                values = [value if abs(value) < 1e300 else nan for value in curve.values]
                label = canvas.clean(labels[place])
                handles[label] = axis.plot(curve.steps, values, f"{mark}{style}", color=color, lw=1.2)[0]
        axis.set_title(TITLES[name], fontsize=10, color=canvas.INK)
        axis.set_xlabel("step", fontsize=9)
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    figure.legend(
        handles.values(),
        handles,
        loc="outside lower center",
        ncols=2,
        frameon=False,
        labelcolor=canvas.INK,
        fontsize=9,
    )
    return figure
