"""The button "Predict": a probe of the training that the form describes, before it is started."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr

from llamafactory_dba.errors import DBAError
from llamafactory_dba.methods.registry import VARIANTS, WITHOUT_ANCHOR

from . import probe_run
from .board import Board
from .fields import DEFAULT, to_arguments
from .locales import message
from .problems import MAIN
from .runner import form_of, host_of
from .train_checks import problems


BATCHES = 32
MOST = 1024


def create_predict(board: Board) -> dict[str, Any]:
    """Build the section.

    Returns:
        The elements by name.
    """
    elems: dict[str, Any] = {}
    with gr.Accordion(open=False) as elems["dba_train_predict"]:
        with gr.Row():
            elems["dba_train_batches"] = gr.Number(value=BATCHES, minimum=1, maximum=MOST, step=1, precision=0)
            elems["dba_train_predict_btn"] = gr.Button()
            elems["dba_train_predict_stop"] = gr.Button(variant="stop")
        elems["dba_train_predicted"] = gr.Markdown(elem_id="dba_train_predicted")
    batches = elems["dba_train_batches"]

    def predict(data: dict[Any, Any]) -> Iterator[str]:
        lang = data[board.lang]
        try:
            yield from _predict(board, data, int(data[batches] or BATCHES), lang)
        except DBAError as error:
            yield f"⚠️ {error}"
        except OSError as error:  # the disk is full, or there are no more processes
            yield f"⚠️ {error}"

    event = elems["dba_train_predict_btn"].click(
        predict, {*board.train_inputs, batches}, [elems["dba_train_predicted"]], concurrency_limit=2
    )
    elems["dba_train_predict_stop"].click(
        lambda lang: message("dba_probe_stopped", lang),
        [board.lang],
        [elems["dba_train_predicted"]],
        cancels=[event],
        queue=False,
    )
    return elems


def _predict(board: Board, data: dict[Any, Any], batches: int, lang: str) -> Iterator[str]:
    if board.demo_mode:
        yield message("dba_demo", lang)
        return
    if board.engine.runner.running:
        yield message("dba_probe_busy", lang)
        return
    form = {**form_of(board, data), "dba_train_enabled": True}
    variant = form["dba_train_variant"]
    if variant in WITHOUT_ANCHOR:
        yield message("dba_probe_no_anchor", lang, variant=variant)
        return
    found = [problem for problem in problems(form, host_of(board, data)) if problem.row == MAIN]
    error = board.engine.runner._initialize(data, True, True)  # what the host itself misses: model, data, output
    if error or found:
        yield "\n\n".join(f"⚠️ {text}" for text in [error, *(problem.say(lang) for problem in found)] if text)
        return
    arguments = {**board.engine.runner._parse_train_args(data), **to_arguments(form)}
    for progress in probe_run.run(measured(arguments), min(max(batches, 1), MOST)):
        if progress.result is None:
            yield message("dba_probe_running", lang, seconds=int(progress.seconds))
        else:
            yield probe_run.rows(progress.result, lang, variant)


def measured(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What the probe is given: it knows the paper's method only, and of another variant looks at data and anchor."""
    kept = {name: value for name, value in arguments.items() if value not in (None, "")}
    if kept.get("dba_variant", DEFAULT.dba_variant) == DEFAULT.dba_variant:
        return kept
    own = tuple(f"dba_{name}_" for name in VARIANTS)
    return {name: value for name, value in kept.items() if name != "dba_variant" and not name.startswith(own)}
