"""What a training shows while it runs: a line on its state and five curves that keep their place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from transformers.trainer_utils import get_last_checkpoint

from . import child, jobs
from .board import Board
from .follow import follow
from .live import CURVES, TRAINER, curves, signature
from .locales import message
from .paths import NotAllowed, resolve, shorten
from .runner import output_path


EVERY = 2.0  # seconds


def create_live(board: Board) -> dict[str, Any]:
    """Build state and curves.

    Returns:
        The elements by name.
    """
    elems: dict[str, Any] = {"dba_train_state": gr.Markdown(elem_id="dba_train_state", min_height=28)}
    with gr.Row():
        for name in CURVES[:3]:
            with gr.Column(min_width=300):  # below each other on a phone
                elems[name] = gr.HTML(elem_id=name, min_height=260)
    with gr.Row():
        for name in CURVES[3:]:
            with gr.Column(min_width=300):  # below each other on a phone
                elems[name] = gr.HTML(elem_id=name, min_height=260)
    seen = gr.State(value=None)

    def tick_train(last: list[object] | None, lang: str, name: str | None, kind: str, out: str | None) -> list[Any]:
        folder, running = watched(board, name, kind, out)
        job = jobs.state(folder / child.FOLDER) if folder is not None else None
        now = [*signature(folder, lang), running, job.state if job is not None else ""]
        if now == last:
            return [gr.skip()] * (len(CURVES) + 2)
        drawn = curves(folder, lang)
        return [now, _state(folder, running, lang), *(drawn[curve] for curve in CURVES)]

    inputs = [seen, board.lang, board.model_name, board.finetuning_type, board.get("train.output_dir")]
    outputs = [seen, elems["dba_train_state"], *(elems[name] for name in CURVES)]
    timer = gr.Timer(EVERY)
    gr.on([timer.tick, board.lang.change], tick_train, inputs, outputs, queue=False, show_progress="hidden")
    return elems


def watched(
    board: Board, model_name: str | None, finetuning_type: str, output_dir: str | None
) -> tuple[Path | None, bool]:
    """The folder whose curves are shown, and whether it is that of a training that is under way.

    First the board's training, whoever started it; then what the form names; then the last one of this board.
    """
    runner = board.engine.runner
    data = runner.running_data
    if runner.running and runner.do_train and data:
        named = [data.get(board.get(name)) for name in ("top.model_name", "top.finetuning_type", "train.output_dir")]
        return Path(output_path(*named)), True
    for text in (output_path(model_name, finetuning_type, output_dir), board.last_output):
        try:
            folder = resolve(text, must_exist=True)
        except NotAllowed:
            continue
        if any((folder / name).exists() for name in (TRAINER.file, "dba_log.jsonl", child.FOLDER)):
            return folder, False
    return None, False


def _state(folder: Path | None, running: bool, lang: str | None) -> str:
    """A sentence on the training: under way, or how it ended, and whether it can go on."""
    if folder is None:
        return message("dba_live_none", lang)
    last = follow(folder / TRAINER.file, TRAINER.fields, x=TRAINER.x)
    last.poll()
    numbers = {"step": int(last.last.get("current_steps", 0)), "total": int(last.last.get("total_steps", 0))}
    shown = shorten(folder.resolve())
    job = jobs.state(folder / child.FOLDER)
    if running if job is None else job.state == "running":
        key = "dba_live_running" if numbers["total"] else "dba_live_starting"
        return message(key, lang, folder=shown, **numbers)
    said = [message("dba_live_done", lang, folder=shown, **numbers)]
    if job is not None and job.state != "running":
        said.append(message(job.message, lang, reason=job.reason, code=job.code))
        if job.state == "failed" and job.reason:
            said.append(f"\n\n```\n{job.reason}\n```\n\n")
    elif (folder / "train_results.json").exists():
        said.append(message("dba_job_done", lang))
    if (job is None or job.state != "done") and (kept := get_last_checkpoint(str(folder))) is not None:
        said.append(message("dba_live_resume", lang, checkpoint=Path(kept).name))
    return " ".join(said)
