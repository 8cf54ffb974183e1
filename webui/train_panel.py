"""The Train panel: the form with its checks and presets, the host's own Start and Stop, and what a training shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr
from llamafactory.webui.control import list_datasets

from . import anchors
from .board import Board
from .fields import strength_argument
from .live_panel import create_live
from .locales import message
from .predict import create_predict
from .presets import PRESETS, host_values
from .problems import GAUGE, MAIN, MORE, by_row
from .runner import found_problems


# host fields that a check depends on
WATCHED = (
    "top.lang",
    "top.model_name",
    "top.model_path",
    "top.finetuning_type",
    "train.training_stage",
    "train.output_dir",
    "train.dataset_dir",
    "train.dataset",
    "train.ds_stage",
    "train.use_badam",
    "train.extra_args",
)
DATA_FIELDS = ("dba_train_general", "dba_train_gauge_data", "dba_train_gauge_domain")


def create_train_panel(board: Board) -> dict[str, Any]:
    """Build the panel inside its tab.

    Returns:
        All its elements by name; those of `Board.train_fields` are rendered here.
    """
    fields = board.train_fields
    elems: dict[str, Any] = dict(fields)

    def show(*names: str) -> None:
        for name in names:
            fields[name].render()

    elems["dba_train_intro"] = gr.Markdown()
    with gr.Row():
        for name in PRESETS:
            elems[f"dba_train_preset_{name}"] = gr.Button(size="sm", min_width=120)
    elems["dba_train_preset_said"] = gr.Markdown(elem_classes="dba-said")
    with gr.Row():
        with gr.Column(scale=1, min_width=200):
            show("dba_train_enabled")
        with gr.Column(scale=4, min_width=280):
            show("dba_train_anchor")
    with gr.Row():
        show("dba_train_boost_on", "dba_train_boost", "dba_train_correction", "dba_train_base", "dba_train_rank")
    elems[MAIN] = gr.Markdown(elem_id=MAIN)
    with gr.Accordion(open=False) as elems["dba_train_more"]:
        with gr.Row():
            show("dba_train_variant", "dba_train_strength", "dba_train_every", "dba_train_base_weights")
        with gr.Row():
            show("dba_train_general", "dba_train_general_samples", "dba_train_embedding_ratio")
        with gr.Row():
            show("dba_train_added_tokens", "dba_train_record", "dba_train_with_board", "dba_train_beside")
        elems[MORE] = gr.Markdown(elem_id=MORE)
    with gr.Accordion(open=False) as elems["dba_train_gauge"]:
        with gr.Row():
            show("dba_train_gauge_steps", "dba_train_gauge_samples", "dba_train_gauge_score")
        with gr.Row():
            show("dba_train_gauge_data", "dba_train_gauge_domain")
        with gr.Row():
            show("dba_train_gauge_patience", "dba_train_gauge_keep_best")
        elems[GAUGE] = gr.Markdown(elem_id=GAUGE)

    elems |= create_predict(board)
    with gr.Row():
        elems["dba_train_preview_btn"] = gr.Button()
        elems["dba_train_start_btn"] = gr.Button(variant="primary")
        elems["dba_train_stop_btn"] = gr.Button(variant="stop")
    elems["dba_train_command"] = gr.Markdown(elem_id="dba_train_command")
    elems |= create_live(board)

    _bind_checks(board, elems)
    _bind_choices(board, fields)
    _bind_presets(board, elems)
    _bind_buttons(board, elems)
    return elems


def _bind_checks(board: Board, elems: dict[str, Any]) -> None:
    """Tell what is wrong below the fields, whenever one of them changes."""
    rows = [elems[MAIN], elems[MORE], elems[GAUGE]]
    watched = [board.get(name) for name in WATCHED]

    def check_train(data: dict[Any, Any]) -> list[str]:
        return list(by_row(found_problems(board, data), data[board.lang]).values())

    gr.on(
        # when the tab is opened, too: another run may have begun or ended since
        [board.elems["dba_tab_train"].select, *(elem.change for elem in (*board.train_fields.values(), *watched))],
        check_train,
        {*board.train_fields.values(), *watched},
        rows,
        queue=False,
        show_progress="hidden",
        trigger_mode="always_last",
    )


def _bind_choices(board: Board, fields: dict[str, Any]) -> None:
    """Menus are filled when they are opened, as the host does it."""

    def list_anchors(model_path: str | None) -> Any:
        # plain texts: where an own value may be typed, gradio takes the label of a (label, value) for the value
        return gr.Dropdown(choices=[item.folder for item in anchors.find(model_path) if item.fits])

    gr.on(
        [fields["dba_train_anchor"].focus, board.model_path.change],
        list_anchors,
        [board.model_path],
        [fields["dba_train_anchor"]],
        queue=False,
        show_progress="hidden",
    )
    for name in DATA_FIELDS:
        fields[name].focus(
            list_datasets,
            [board.get("train.dataset_dir"), board.get("train.training_stage")],
            [fields[name]],
            queue=False,
            show_progress="hidden",
        )
    fields["dba_train_variant"].input(
        # another number for another variant; empty is the variant's own
        lambda variant: gr.Number(value=None, interactive=strength_argument(variant) is not None),
        [fields["dba_train_variant"]],
        [fields["dba_train_strength"]],
        queue=False,
    )


def _bind_presets(board: Board, elems: dict[str, Any]) -> None:
    batch, devices = board.get("train.batch_size"), board.get("train.device_count")
    for name, preset in PRESETS.items():
        ours = [board.train_fields[field] for field in preset.form]
        theirs = [board.get(field) for field in host_values(preset, 1, 1)]

        def apply_preset(lang: str, batch_size: float, count: str, name: str = name) -> list[Any]:
            preset = PRESETS[name]
            host = host_values(preset, int(batch_size), int(count) if str(count).isdigit() else 1)
            said = message(f"dba_preset_{name}", lang, rate=preset.learning_rate)
            return [said, *preset.form.values(), *host.values()]

        elems[f"dba_train_preset_{name}"].click(
            apply_preset, [board.lang, batch, devices], [elems["dba_train_preset_said"], *ours, *theirs], queue=False
        )


def _bind_buttons(board: Board, elems: dict[str, Any]) -> None:
    """The same functions as the Train tab's buttons."""
    runner = board.engine.runner
    box, command = board.get("train.output_box"), elems["dba_train_command"]

    def preview_dba(data: dict[Any, Any]) -> str:
        return str(next(iter(runner.preview_train(data)))[box])

    elems["dba_train_preview_btn"].click(preview_dba, board.train_inputs, [command], concurrency_limit=None)

    def start_dba(data: dict[Any, Any]) -> Iterator[dict[Any, Any]]:
        """The host says what is wrong in its own tab, which nobody sees from here: said below the buttons, too."""
        for update in runner.run_train(data):
            refused = set(update) == {box}
            yield {**update, command: f"⚠️ {update[box]}" if refused else ""}

    elems["dba_train_start_btn"].click(start_dba, board.train_inputs, [*board.train_outputs, command])
    elems["dba_train_stop_btn"].click(runner.set_abort)
