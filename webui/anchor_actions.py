"""What the Anchor panel's buttons and its timer do: runs started, stopped and resumed, downloads, what has changed.

Nothing here raises into the page: what is wrong is returned as text.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gradio as gr
from llamafactory.extras import logging
from llamafactory.extras.misc import is_accelerator_available
from llamafactory.webui.common import load_config

from llamafactory_dba.errors import DBAError

from . import anchor_details, anchors, busy, jobs
from . import anchor_form as forms
from . import anchor_view as view
from .anchor_form import DATA, METHOD, OUTPUT, Host, Request
from .board import Board
from .locales import message
from .markup import problem
from .paths import ANCHORS, NotAllowed, resolve, shorten
from .problems import Problem


logger = logging.get_logger("llamafactory.dba")

KIND, PULL = "anchor", "pull"
PROBLEMS = (DATA, METHOD, OUTPUT)
# what is looked at again and again, in the order of the handlers' outputs
LIVE = (
    "dba_anchor_status",
    "dba_anchor_curve",
    "dba_anchor_log_box",
    "dba_anchor_result",
    "dba_anchor_start_btn",
    "dba_anchor_stop_btn",
    "dba_anchor_resume_btn",
    "dba_anchor_pull_status",
    "dba_anchor_list",
    "dba_anchor_pick",
)


def _host(model_name: Any, model_path: Any, template: Any) -> Host:
    cache = (load_config() or {}).get("cache_dir") or None
    return Host(
        str(model_name or ""),
        str(model_path or "") if model_name else "",
        str(template or "default"),
        cache if isinstance(cache, str) else None,
        is_accelerator_available(),
    )


def start_anchor(board: Board, form: dict[str, Any], model_name: Any, model_path: Any, template: Any) -> Request:
    """Starts the run of a form; the request comes back with what was wrong, if anything was."""
    if (refused := _refused(board, beside=bool(form.get("dba_anchor_beside")))) is not None:
        return refused
    try:
        request = forms.read_form(form, _host(model_name, model_path, template))
        if request.arguments is not None and request.folder is not None:
            folder, ends = forms.job_folder(request.folder), bool(form["dba_anchor_with_board"])
            facts = {"folder": str(request.folder), "output": shorten(request.folder), "ends_with_board": ends}
            jobs.start(request.arguments, folder, KIND, facts=facts, end_with_board=ends)
    except (DBAError, OSError) as error:
        return forms.in_group(OUTPUT, "dba_anchor_start_failed", reason=anchors.short(error))
    return request


def _refused(board: Board, *, beside: bool) -> Request | None:
    """Why nothing may start now; ``beside``: whether a training on the same device is no reason."""
    if board.demo_mode:
        return forms.in_group(OUTPUT, "dba_demo")
    if jobs.running(KIND):
        return forms.in_group(OUTPUT, "dba_anchor_busy")
    if beside:
        return None
    tick = "dba_anchor_beside"
    if found := busy.others(OUTPUT, tick, cpu=not is_accelerator_available(), kinds=(busy.TRAIN,)):
        return Request(tuple(found))
    if getattr(board.engine.runner, "running", False):  # one without DBA, or an evaluation: the host's own child
        return forms.in_group(OUTPUT, "dba_anchor_train_busy", label=tick)
    return None


def resume_anchor(board: Board, *, beside: bool = False) -> Request:
    """Lets the last run go on where it stopped, with the arguments that it was started with."""
    if (refused := _refused(board, beside=beside)) is not None:
        return refused
    job = jobs.latest(KIND)
    arguments = jobs.arguments_of(job.folder) if job is not None else {}
    if job is None or not arguments:
        return forms.in_group(OUTPUT, "dba_anchor_not_resumable")
    try:
        ends = bool(job.facts.get("ends_with_board"))
        jobs.start(arguments, job.folder, KIND, facts=job.facts, end_with_board=ends)
    except (DBAError, OSError) as error:
        return forms.in_group(OUTPUT, "dba_anchor_start_failed", reason=anchors.short(error))
    return Request()


def stop_anchor() -> None:
    """Asks what runs to stop; what was asked before is killed."""
    for job in jobs.running(KIND):
        jobs.stop(job.folder)


def say_problems(request: Request, lang: str | None) -> list[str]:
    """One text per group of fields; empty where all is well."""
    return [problem([item.say(lang) for item in request.problems if item.row == group]) for group in PROBLEMS]


def pull_anchor(board: Board, lang: str | None, hub_id: Any, out: Any) -> str:
    """Starts a download; returns how it is, or what is wrong, for the page."""
    text = str(hub_id or "").strip()
    if board.demo_mode:
        return problem([message("dba_demo", lang)])
    try:
        name = re.sub(r"[^\w.-]+", "-", text.split("/")[-1]).strip(".-")
        target = resolve(str(out or "").strip() or ANCHORS / (name or "pulled"), for_writing=True)
        command = anchors.pull_command(text, target)
    except NotAllowed as error:
        return problem([Problem("", error.key, error.fields).say(lang)])
    except DBAError:
        return problem([message("dba_anchor_hub_form", lang)])
    try:
        facts = {"name": text, "output": shorten(target)}
        job = jobs.start(None, target.with_name(target.name + ".pull"), PULL, command=command, facts=facts)
    except (DBAError, OSError) as error:
        return problem([message("dba_anchor_start_failed", lang, reason=anchors.short(error))])
    return view.pull_status(job, lang)


def show_anchor(pick: Any, lang: str | None) -> str:
    """The anchor that was picked from the list; a path that the board may not read is refused."""
    if not pick:
        return ""
    try:
        return anchor_details.details(resolve(str(pick), must_exist=True), lang)
    except NotAllowed as error:
        return problem([Problem("", error.key, error.fields).say(lang)])


def watch_anchor(lang: str | None, model_path: Any, pick: Any, seen: Any) -> list[Any]:
    """What has changed since this page was last sent anything; in the order of `LIVE`, and the new memory."""
    try:
        return _changes(lang, model_path, pick, seen)
    except Exception as error:  # said in its place: a toast every two seconds would cover the page
        logger.warning_rank0(f"DBA: the Anchor panel: {type(error).__name__}: {error}")
        text = problem([message("dba_panel_failed", lang, error=f"{type(error).__name__}: {error}")])
        return [text, *(gr.skip() for _ in LIVE[1:]), seen]


def _changes(lang: str | None, model_path: Any, pick: Any, seen: Any) -> list[Any]:
    job, pull = jobs.latest(KIND), jobs.latest(PULL)
    folder = Path(str(job.facts.get("folder", ""))) if job is not None else None
    runs = job is not None and job.state == "running"
    ended = job is not None and job.state in ("stopped", "failed") and folder is not None
    done = job is not None and job.state == "done" and folder is not None
    before = seen if isinstance(seen, dict) else {}
    now: dict[str, Any] = {
        "dba_anchor_status": view.status(job, folder, lang),
        "dba_anchor_curve": view.curve(folder, lang),
        "dba_anchor_log_box": view.output(job),
        "dba_anchor_result": anchor_details.details(folder, lang) if done and folder is not None else "",
        "dba_anchor_start_btn": not runs,
        "dba_anchor_stop_btn": runs,
        "dba_anchor_resume_btn": bool(ended and folder is not None and view.resumable_step(folder) is not None),
        "dba_anchor_pull_status": view.pull_status(pull, lang),
    }
    memory = {name: hash(value) for name, value in now.items()}
    updates = [
        gr.skip()
        if before.get(name) == memory[name]
        else gr.Button(interactive=value)
        if isinstance(value, bool)
        else value
        for name, value in now.items()
    ]
    if pull is None and before.get("dba_anchor_pull_status") is None:
        updates[-1] = gr.skip()  # a message of a failed start stays
    states = [(item.folder, item.state) for item in (job, pull) if item is not None]
    memory["list"] = hash((lang, str(model_path), repr(states)))
    if before.get("list") == memory["list"]:
        return [*updates, gr.skip(), gr.skip(), memory]
    found = anchors.find(str(model_path or ""))
    folders = [item.folder for item in found]
    return [
        *updates,
        anchor_details.table(found, lang),
        gr.Dropdown(choices=folders, value=_kept(pick, folders)),
        memory,
    ]


def _kept(pick: Any, folders: list[str]) -> str | None:
    return pick if pick in folders else None
