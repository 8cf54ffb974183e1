"""The Anchor panel: an anchor computed by clicking, watched, stopped and resumed; anchors found, looked at and pulled.

What runs and what it has reached lies in files (`jobs`), so that any browser, now or later, shows the same.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr
from llamafactory.extras.misc import is_accelerator_available

from . import anchor_actions as actions
from . import anchor_view as view
from .anchor_actions import LIVE, PROBLEMS
from .anchor_form import COMPUTE, DATA, DTYPES, METHOD, NUMBERS, OUTPUT, PLACEMENTS, STAGES
from .board import Board
from .data_preview import PAGE, names_of, preview
from .locales import LOCALES, message, properties
from .markup import problem, records


SECONDS = 2.0  # between two looks at the files
FORM = (
    "dba_anchor_dataset_dir",
    "dba_anchor_dataset",
    "dba_anchor_stage",
    *NUMBERS,
    "dba_anchor_placement",
    "dba_anchor_compute",
    "dba_anchor_dtype",
    "dba_anchor_stop_cosine",
    "dba_anchor_with_curvature",
    "dba_anchor_out",
    "dba_anchor_overwrite",
    "dba_anchor_with_board",
    "dba_anchor_beside",
)
Elements = dict[str, Any]


def create_anchor_panel(board: Board) -> Elements:
    """Build the panel inside the open ``gr.Tab``; returns its elements by name.

    Args:
        board: see there.
    """
    elems: Elements = {}
    _form(elems)
    _progress(elems)
    _list(elems)
    _wire(board, elems)
    return elems


def _make(elems: Elements, kind: Any, name: str, **settings: Any) -> Any:
    """A component with its English texts, under the name by which the language switch finds it."""
    known = properties(name) if name in LOCALES else {}
    flat = {"padding": False} if kind is gr.HTML else {}
    elems[name] = kind(**{**known, **flat, **settings}, elem_id=name)
    return elems[name]


def _number(elems: Elements, name: str) -> None:
    _make(elems, gr.Number, name, value=NUMBERS[name].default, precision=0, min_width=160)


def _choice(elems: Elements, name: str, choices: tuple[str, ...], value: str | None = None) -> None:
    _make(elems, gr.Dropdown, name, choices=list(choices), value=value or choices[0], min_width=160)


def _form(elems: Elements) -> None:
    with gr.Row():
        _make(elems, gr.Textbox, "dba_anchor_dataset_dir", value="data", scale=1, min_width=160)
        _make(
            elems, gr.Dropdown, "dba_anchor_dataset", multiselect=True, allow_custom_value=True, scale=3, min_width=240
        )
        _make(elems, gr.Button, "dba_anchor_preview_btn", scale=1, min_width=120)
    with gr.Column(visible=False) as box:
        _make(elems, gr.HTML, "dba_anchor_preview_head")
        _make(elems, gr.HTML, "dba_anchor_rows")
        with gr.Row():
            for name in ("prev", "next", "close"):
                _make(elems, gr.Button, f"dba_anchor_{name}_btn", size="sm", min_width=80)
    elems["dba_anchor_preview_box"] = box
    with gr.Row():
        _choice(elems, "dba_anchor_stage", STAGES)
        _number(elems, "dba_anchor_samples")
        _number(elems, "dba_anchor_cutoff")
    _make(elems, gr.HTML, DATA)
    with gr.Row():
        _number(elems, "dba_anchor_rank")
        _choice(elems, "dba_anchor_placement", PLACEMENTS)
        _number(elems, "dba_anchor_batch")
        _choice(elems, "dba_anchor_compute", COMPUTE, "bf16" if is_accelerator_available() else "fp32")
    with _make(elems, gr.Accordion, "dba_anchor_more", open=False):
        with gr.Row():
            _number(elems, "dba_anchor_check")
            _number(elems, "dba_anchor_save")
            _make(elems, gr.Number, "dba_anchor_stop_cosine", value=0, step=0.01, min_width=160)
        with gr.Row():
            _choice(elems, "dba_anchor_dtype", DTYPES)
            _make(elems, gr.Checkbox, "dba_anchor_with_curvature", value=False, min_width=160)
            _make(elems, gr.Checkbox, "dba_anchor_with_board", value=False, min_width=160)
            _make(elems, gr.Checkbox, "dba_anchor_beside", value=False, min_width=160)
    _make(elems, gr.HTML, METHOD)
    with gr.Row():
        _make(elems, gr.Textbox, "dba_anchor_out", scale=3, min_width=240)
        _make(elems, gr.Checkbox, "dba_anchor_overwrite", value=False, scale=1, min_width=160)
    _make(elems, gr.HTML, OUTPUT)


def _progress(elems: Elements) -> None:
    with gr.Row():
        _make(elems, gr.Button, "dba_anchor_start_btn", variant="primary", min_width=100)
        _make(elems, gr.Button, "dba_anchor_stop_btn", variant="stop", interactive=False, min_width=100)
        _make(elems, gr.Button, "dba_anchor_resume_btn", interactive=False, min_width=100)
    with gr.Row():
        with gr.Column(scale=1, min_width=300):
            _make(elems, gr.HTML, "dba_anchor_status", value=view.status(None, None, "en"))
            _make(elems, gr.Textbox, "dba_anchor_log_box", lines=7, max_lines=7, interactive=False)
        with gr.Column(scale=1, min_width=300):
            _make(elems, gr.HTML, "dba_anchor_curve", value=view.curve(None, "en"))
    _make(elems, gr.HTML, "dba_anchor_result")


def _list(elems: Elements) -> None:
    with _make(elems, gr.Accordion, "dba_anchor_local", open=True):
        _make(elems, gr.HTML, "dba_anchor_list")
        with gr.Row():
            _make(elems, gr.Dropdown, "dba_anchor_pick", choices=[], value=None, allow_custom_value=True, scale=3)
            _make(elems, gr.Button, "dba_anchor_refresh_btn", scale=1, min_width=120)
        _make(elems, gr.HTML, "dba_anchor_details")
        with gr.Row():
            _make(elems, gr.Textbox, "dba_anchor_hub_id", scale=2, min_width=240)
            _make(elems, gr.Textbox, "dba_anchor_pull_out", scale=2, min_width=240)
            _make(elems, gr.Button, "dba_anchor_pull_btn", scale=1, min_width=120)
        _make(elems, gr.HTML, "dba_anchor_pull_status")


def _wire(board: Board, elems: Elements) -> None:
    page = gr.State(0)
    seen = gr.State({})  # of this page: part → what it shows, so that only what has changed is sent
    timer = gr.Timer(SECONDS)
    form, problems = [elems[name] for name in FORM], [elems[name] for name in PROBLEMS]
    live = [*(elems[name] for name in LIVE), seen]
    shown = [board.lang, board.model_path, elems["dba_anchor_pick"], seen]
    host = [board.model_name, board.model_path, board.template]
    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden"}

    def start_anchor(lang: str | None, name: Any, path: Any, template: Any, *values: Any) -> list[str]:
        request = actions.start_anchor(board, dict(zip(FORM, values, strict=True)), name, path, template)
        return actions.say_problems(request, lang)

    def resume_anchor(lang: str | None, beside: Any) -> list[str]:
        return actions.say_problems(actions.resume_anchor(board, beside=bool(beside)), lang)

    def pull_anchor(lang: str | None, hub_id: Any, out: Any) -> str:
        return actions.pull_anchor(board, lang, hub_id, out)

    def list_general_data(folder: Any) -> Any:
        return gr.Dropdown(choices=names_of(folder))

    after = {"fn": actions.watch_anchor, "inputs": shown, "outputs": live, **quiet}
    timer.tick(**after)
    elems["dba_anchor_start_btn"].click(start_anchor, [board.lang, *host, *form], problems, **quiet).then(**after)
    elems["dba_anchor_stop_btn"].click(actions.stop_anchor, None, None, **quiet).then(**after)
    elems["dba_anchor_resume_btn"].click(
        resume_anchor, [board.lang, elems["dba_anchor_beside"]], problems, **quiet
    ).then(**after)
    elems["dba_anchor_refresh_btn"].click(dict, None, seen, **quiet).then(**after)
    pull = [board.lang, elems["dba_anchor_hub_id"], elems["dba_anchor_pull_out"]]
    elems["dba_anchor_pull_btn"].click(pull_anchor, pull, elems["dba_anchor_pull_status"], **quiet)
    for trigger in (elems["dba_anchor_pick"].change, board.lang.change):
        trigger(actions.show_anchor, [elems["dba_anchor_pick"], board.lang], elems["dba_anchor_details"], **quiet)
    folder, names = elems["dba_anchor_dataset_dir"], elems["dba_anchor_dataset"]
    for change in (names.focus, folder.change):
        change(list_general_data, folder, names, **quiet)
    _wire_preview(board, elems, page, quiet)


def _wire_preview(board: Board, elems: Elements, page: Any, quiet: dict[str, Any]) -> None:
    names = ("box", "head")
    outputs = [*(elems[f"dba_anchor_preview_{name}"] for name in names), elems["dba_anchor_rows"], page]
    inputs = [elems["dba_anchor_dataset_dir"], elems["dba_anchor_dataset"], page, board.lang]

    def turn(step: int | None) -> Callable[..., Any]:
        def preview_general_data(folder: Any, chosen: Any, page: int, lang: str) -> Any:
            name = chosen[0] if isinstance(chosen, list) and chosen else None
            found = preview(folder, name, 0 if step is None else page + step, DATA)
            if found.problem is not None:
                return gr.Column(visible=True), problem([found.problem.say(lang)]), "", 0
            last = found.first + len(found.rows) - 1
            head = message("dba_preview_rows", lang, name=name, first=found.first, last=last, count=found.count)
            return gr.Column(visible=True), escape(head), records(found.rows), max(0, found.first - 1) // PAGE

        return preview_general_data

    for name, step in (("preview", None), ("prev", -1), ("next", 1)):
        elems[f"dba_anchor_{name}_btn"].click(turn(step), inputs, outputs, **quiet)
    elems["dba_anchor_close_btn"].click(lambda: gr.Column(visible=False), None, outputs[0], **quiet)
