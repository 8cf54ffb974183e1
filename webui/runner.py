"""What this board's ``Runner`` does differently: our arguments, our checks, and a child that outlives the page."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import gradio as gr
from llamafactory.extras import logging
from llamafactory.extras.constants import LLAMABOARD_CONFIG, TRAINING_STAGES
from llamafactory.extras.misc import is_accelerator_available
from llamafactory.webui import common
from llamafactory.webui import runner as host

from llamafactory_dba.errors import DBAError

from . import busy, child, jobs
from .board import Board
from .fields import DEFAULTS, NAMES, Form, into_extra, out_of_extra, to_arguments
from .host_log import patient
from .problems import MAIN, Problem
from .train_checks import Host, problems


logger = logging.get_logger("llamafactory.dba")

MARK = "__dba__"
EXTRA = "train.extra_args"
_starting: ContextVar[Board | None] = ContextVar("starting", default=None)  # whose Start button was pressed


def join_runner(board: Board) -> None:
    """Wrap the methods of this board's runner; three functions of the host's modules once for all."""
    _patch_modules()
    runner = board.engine.runner
    _join_arguments(board, runner)
    _join_configurations(board, runner)
    _join_process(board, runner)


def form_of(board: Board, data: dict[Any, Any]) -> Form:
    """Our form out of what a page sent."""
    return {**DEFAULTS, **{name: data[elem] for name, elem in board.train_fields.items() if elem in data}}


def output_path(model_name: str | None, finetuning_type: str, output_dir: str | None) -> str:
    """Where the host writes the run that its form names; "" if that says too little."""
    if not model_name or not output_dir:
        return ""
    if os.path.sep in output_dir:
        return output_dir  # as the host does, which says so every time
    return str(common.get_save_dir(model_name, finetuning_type, output_dir))


def host_of(board: Board, data: dict[Any, Any]) -> Host:
    """What our checks must know of the host's form."""

    def get(elem_id: str) -> Any:
        return data[board.get(elem_id)]

    return Host(
        model_path=str(get("top.model_path") or ""),
        stage=TRAINING_STAGES[get("train.training_stage")],
        finetuning_type=get("top.finetuning_type"),
        output_dir=output_path(get("top.model_name"), get("top.finetuning_type"), get("train.output_dir")),
        dataset_dir=str(get("train.dataset_dir") or ""),
        dataset=tuple(get("train.dataset") or ()),
        deepspeed=get("train.ds_stage") != "none",
        use_badam=bool(get("train.use_badam")),
        extra=tuple(extra := _read(get(EXTRA))),
        cpu=extra.get("use_cpu") is True or not is_accelerator_available(),
    )


def _read(extra: str | None) -> dict[str, Any]:
    try:
        content = json.loads(extra or "{}")
    except ValueError:  # the host says so when Start is pressed
        return {}
    return content if isinstance(content, dict) else {}


def found_problems(board: Board, data: dict[Any, Any]) -> list[Problem]:
    """Everything that keeps Start from starting: what is wrong with the form, and what runs on the same device."""
    form, host = form_of(board, data), host_of(board, data)
    found = problems(form, host)
    return found if form["dba_train_beside"] else [*found, *busy.others(MAIN, "dba_train_beside", cpu=host.cpu)]


def _join_arguments(board: Board, runner: Any) -> None:
    initialize, parse = runner._initialize, runner._parse_train_args

    def _initialize(data: dict[Any, Any], do_train: bool, from_preview: bool) -> str:
        error = initialize(data, do_train, from_preview)
        if error or not do_train or from_preview:
            return str(error)
        lang = data[board.lang]
        return "\n\n".join(problem.say(lang) for problem in found_problems(board, data))

    def _parse_train_args(data: dict[Any, Any]) -> dict[str, Any]:
        args: dict[str, Any] = parse(data)
        said = json.loads(data[board.get(EXTRA)])  # has the last word, as over the host's own fields
        args.update({name: value for name, value in to_arguments(form_of(board, data)).items() if name not in said})
        return args

    runner._initialize, runner._parse_train_args = _initialize, _parse_train_args


def _join_configurations(board: Board, runner: Any) -> None:
    build, load, check = runner._build_config_dict, runner.load_args, runner.check_output_dir

    def _build_config_dict(data: dict[Any, Any]) -> dict[str, Any]:
        config: dict[str, Any] = build(data)
        for name in board.train_fields:  # a board without the extension would stumble over these
            config.pop(f"dba.{name}", None)
        if EXTRA in config:
            config[EXTRA] = into_extra(config[EXTRA], form_of(board, data))
        return config

    def with_form(output: dict[Any, Any]) -> dict[Any, Any]:
        extra = board.get(EXTRA)
        if extra in output:
            form, output[extra] = out_of_extra(output[extra])
            output.update({elem: form[name] for name, elem in board.train_fields.items()})
        return output

    def load_args(lang: str, config_path: str) -> dict[Any, Any]:
        return with_form(load(lang, config_path))

    def check_output_dir(lang: str, model_name: str, finetuning_type: str, output_dir: str) -> dict[Any, Any]:
        try:
            return with_form(check(lang, model_name, finetuning_type, output_dir))
        except AttributeError:  # a run that no board has started has no configuration, which the host does not expect
            return {board.get("train.output_box"): host.ALERTS["warn_output_dir_exists"][lang]}

    runner._build_config_dict, runner.load_args, runner.check_output_dir = (
        _build_config_dict,
        load_args,
        check_output_dir,
    )


def _join_process(board: Board, runner: Any) -> None:
    run, monitor, abort = runner.run_train, runner.monitor, runner.set_abort

    def run_train(data: dict[Any, Any]) -> Iterator[dict[Any, Any]]:
        token = _starting.set(board)
        try:
            first = next(steps := run(data))
        except DBAError as error:  # before there is a child: the disk is full, this run is under way already
            _forget(runner)
            gr.Warning(error.what)
            yield {board.get("train.output_box"): str(error)}
            return
        except OSError as error:
            _forget(runner)
            yield {board.get("train.output_box"): f"{error.strerror or error}: {error.filename or ''}"}
            return
        finally:
            _starting.reset(token)
        yield first
        yield from steps

    def watched() -> Iterator[dict[Any, Any]]:
        try:
            yield from monitor()
        except (AttributeError, TypeError):
            if runner.trainer is not None:
                raise
            # another page has seen the end, and has told the runner to forget it
            yield {board.get("train.progress_bar"): gr.Slider(visible=False)}

    def set_abort() -> None:
        if isinstance(runner.trainer, child.Child):
            runner.aborted = True
            runner.trainer.stop()
        else:
            abort()

    runner.run_train, runner.monitor, runner.set_abort = run_train, watched, set_abort


def _forget(runner: Any) -> None:
    runner.trainer, runner.running, runner.running_data = None, False, None


def adopt(board: Board) -> None:
    """Show a training that an earlier board has started and that is still under way."""
    runner = board.engine.runner
    for job in jobs.running(child.KIND):
        facts = dict(job.facts)
        config = common.load_args(os.path.join(job.folder.parent, LLAMABOARD_CONFIG)) or {}
        form, extra = out_of_extra(config.get(EXTRA, "{}"))
        data: dict[Any, Any] = {}
        for elem_id, value in {**config, EXTRA: extra, **facts.get("form", {})}.items():
            try:
                data[board.get(elem_id)] = value
            except KeyError:  # saved by another version
                continue
        data.update({elem: form[name] for name, elem in board.train_fields.items()})
        runner.trainer = child.Child(job.folder, str(facts.get("lang") or "en"))
        runner.do_train, runner.running, runner.running_data = True, True, data
        logger.info_rank0(f"DBA: this board shows the training in {job.folder.parent}, which is under way.")
        return


def _patch_modules() -> None:
    clean, popen = common._clean_cmd, host.Popen
    if hasattr(clean, MARK):
        return

    def _clean_cmd(args: dict[str, Any]) -> dict[str, Any]:
        # "false" is a word of its own for switches that are on by default
        return {**clean(args), **{name: value for name, value in args.items() if name in NAMES and value is False}}

    def open_process(command: Any, **kwargs: Any) -> Any:
        board = _starting.get()
        if board is None or not child.uses_dba(command[-1]):
            return popen(command, **kwargs)
        data = board.engine.runner.running_data
        shown = ("top.model_name", "top.model_path", "top.finetuning_type", "top.lang", "train.output_dir")
        facts = {"lang": data[board.lang], "form": {name: data[board.get(name)] for name in shown}}
        board.last_output = str(Path(command[-1]).parent)
        keep = not form_of(board, data)["dba_train_with_board"]
        return child.start(command, kwargs["env"], facts, end_with_board=not keep)

    setattr(_clean_cmd, MARK, True)
    common._clean_cmd, host.Popen = _clean_cmd, open_process
    host.get_trainer_info = patient(host.get_trainer_info)
