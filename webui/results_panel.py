"""The Results panel: runs with their scores, the scatter plot, the report in place, two runs side by side.

It keeps nothing between two clicks: every answer is read from the files, so that a board that was restarted, a second
browser, or a run that has ended meanwhile needs no attention.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from llamafactory_dba.errors import DBAError

from . import paths
from .board import Board
from .locales import ALERTS, message, properties
from .results_figures import curves_of_two, scatters
from .results_report import framed, report_page, to_file
from .results_tables import comparison, runs_table
from .runs import BROKEN, FOLDERS, Listing, Run, find_runs, in_order


ALL = "*"  # of the domains
HERE = "."
IS_DARK = "(lang, folder, domain) => [lang, folder, domain, document.body.classList.contains('dark')]"


def create_results_panel(board: Board) -> dict[str, Any]:
    """The panel's components by name; called inside its tab."""
    with gr.Row():
        folder = gr.Textbox(value=HERE, scale=3, **_texts("dba_results_folder"))
        domain = gr.Dropdown(choices=_domains((), "en"), value=ALL, **_texts("dba_results_domain"))
        order = gr.Dropdown(value="score", **_texts("dba_results_order"))
    find = gr.Button(variant="primary", **_texts("dba_results_find"))
    note = gr.Markdown(elem_id="dba_results_note")
    table = gr.HTML(elem_id="dba_results_table")
    plot = gr.HTML(elem_id="dba_results_plot")

    with gr.Row():
        first = gr.Dropdown(choices=[], **_texts("dba_results_first"))
        second = gr.Dropdown(choices=[], **_texts("dba_results_second"))
    compare = gr.Button(**_texts("dba_results_compare"))
    compared = gr.Markdown(elem_id="dba_results_compared")
    pair = gr.HTML(elem_id="dba_results_pair")

    with gr.Row():
        show = gr.Button(**_texts("dba_results_open"))
        close = gr.Button(visible=False, **_texts("dba_results_close"))
        download = gr.DownloadButton(visible=False, **_texts("dba_results_download"))
    reported = gr.Markdown(elem_id="dba_results_reported")
    page = gr.HTML(elem_id="dba_results_page")
    dark = gr.Checkbox(visible=False)  # filled in by the browser: what the board looks like there

    where = [board.lang, folder, domain]
    listed = [note, table, plot, domain, first, second]
    gr.on([find.click, folder.submit], _list_again, [*where, order], listed)
    gr.on([domain.input, order.input], _list_again, [*where, order], listed, show_progress="hidden")
    tab = board.elems.get("dba_tab_results")
    if tab is not None:
        tab.select(_list_first, [*where, order, table], listed)
    # after the host's own handler has changed the labels; a panel that nobody has looked at stays as it is
    board.lang.change(_list_anew, [*where, order, table], listed, show_progress="hidden")
    board.lang.change(_compare_anew, [board.lang, folder, first, second, pair], [compared, pair])

    compare.click(_compare, [board.lang, folder, first, second], [compared, pair])
    show.click(_open, [*where, dark], [reported, page, close, download], js=IS_DARK)
    close.click(_close, None, [reported, page, close, download])
    return {
        "dba_results_folder": folder,
        "dba_results_domain": domain,
        "dba_results_order": order,
        "dba_results_find": find,
        "dba_results_first": first,
        "dba_results_second": second,
        "dba_results_compare": compare,
        "dba_results_open": show,
        "dba_results_close": close,
        "dba_results_download": download,
    }


def _texts(name: str) -> dict[str, Any]:
    return {"elem_id": name, **properties(name)}


def _look(folder: str) -> Listing:
    """The runs below a folder of the form.

    Raises:
        NotAllowed: it is out of bounds or not there.
    """
    return find_runs([paths.resolve(folder or HERE, must_exist=True)])


def _shown(listing: Listing, domain: str | None) -> list[Run]:
    """The runs of a domain with the base models that they are compared with."""
    if domain in (None, ALL):
        return list(listing.runs)
    mine = [run for run in listing.runs if run.domain == domain]
    bases = {run.base_results.parent for run in mine if run.base_results is not None}
    return mine + [run for run in listing.runs if run.folder in bases and run not in mine]


def _list_again(lang: str, folder: str, domain: str | None, order: str) -> tuple[Any, ...]:
    try:
        listing = _look(folder)
        domain = domain if domain in listing.domains else ALL
        shown = _shown(listing, domain)
        figures = scatters(shown, listing, lang)
    except (DBAError, OSError) as error:
        return (_said(error, lang), "", "", gr.skip(), gr.skip(), gr.skip())
    choices = [(_label(run), str(run.folder)) for run in in_order(listing.runs, "name") if run.state != BROKEN]
    return (
        _found(listing, folder, lang),
        runs_table(in_order(shown, order), lang, Path.cwd().resolve()) if shown else "",
        figures,
        gr.Dropdown(choices=_domains(listing.domains, lang), value=domain),
        gr.Dropdown(choices=choices),
        gr.Dropdown(choices=choices),
    )


def _list_first(lang: str, folder: str, domain: str | None, order: str, table: str) -> Any:
    """When the tab is opened; what is there already stays."""
    return (gr.skip(),) * 6 if table else _list_again(lang, folder, domain, order)


def _list_anew(lang: str, folder: str, domain: str | None, order: str, table: str) -> Any:
    """When the language has changed."""
    return _list_again(lang, folder, domain, order) if table else (gr.skip(),) * 6


def _compare(lang: str, folder: str, first: str | None, second: str | None) -> tuple[str, str]:
    if not first or not second or first == second:
        return message("dba_results_choose_two", lang), ""
    try:
        listing = _look(folder)
    except (DBAError, OSError) as error:
        return _said(error, lang), ""
    runs = [listing.find(name) for name in (first, second)]  # only what lies there: a choice is what a browser sends
    if runs[0] is None or runs[1] is None:
        return message("dba_results_gone", lang), ""
    return "", comparison(runs[0], runs[1], lang) + curves_of_two(runs[0], runs[1], lang)


def _compare_anew(lang: str, folder: str, first: str | None, second: str | None, pair: str) -> Any:
    return _compare(lang, folder, first, second) if pair else (gr.skip(), gr.skip())


def _open(lang: str, folder: str, domain: str | None, dark: bool) -> tuple[Any, ...]:
    try:
        listing = _look(folder)
        page = report_page(_shown(listing, domain), listing)
        if page:
            file = gr.DownloadButton(value=str(to_file(page)), visible=True)
            return "", framed(page, lang, dark=bool(dark)), gr.Button(visible=True), file
        return message("dba_results_no_scores", lang), "", *_hidden()
    except (DBAError, OSError) as error:
        return _said(error, lang), "", *_hidden()


def _close() -> tuple[Any, ...]:
    return "", "", *_hidden()


def _hidden() -> tuple[Any, Any]:
    return gr.Button(visible=False), gr.DownloadButton(visible=False)


def _found(listing: Listing, folder: str, lang: str) -> str:
    measured = sum(run.results is not None for run in listing.runs)
    if not listing.runs:
        return message("dba_results_none", lang, folder=f"`{folder}`")
    lines = [message("dba_results_found", lang, runs=len(listing.runs), measured=measured)]
    if listing.cut_short:
        lines.append(message("dba_results_cut_short", lang, limit=FOLDERS))
    return " ".join(lines)


def _label(run: Run) -> str:
    return f"{run.name} · {paths.shorten(run.folder)}"


def _domains(names: tuple[str, ...], lang: str) -> list[tuple[str, str]]:
    return [(message("dba_results_all", lang), ALL), *((name, name) for name in names)]


def _said(error: Exception, lang: str) -> str:
    """An error in the page's language where there is a message for it, else in its own words."""
    key = getattr(error, "key", None)
    if key in ALERTS:
        return "⚠ " + message(key, lang, **getattr(error, "fields", {}))
    return "⚠ " + str(error).replace("\n", "  \n")
