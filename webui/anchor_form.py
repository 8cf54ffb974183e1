"""The Anchor form: what is wrong with it, beside which field, and the arguments that it stands for. No gradio."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from llamafactory_dba.anchor.config import is_anchor
from llamafactory_dba.anchor.fingerprint import find_model, fingerprint_folder
from llamafactory_dba.errors import DBAError

from .anchors import short
from .data_checks import data_problems
from .paths import ANCHORS, NotAllowed, resolve, shorten
from .problems import Problem


# the groups of fields, each with a place for problems right below it
DATA, METHOD, OUTPUT = "dba_anchor_problem_data", "dba_anchor_problem_method", "dba_anchor_problem_output"
STAGES = ("sft", "pt")
PLACEMENTS = ("auto", "device", "host", "disk")
DTYPES = ("bfloat16", "float32", "int8")
COMPUTE = ("bf16", "fp32", "pure_bf16")
MODEL_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
WORKERS = 16  # of preprocessing at most, as many as the host's board asks for


@dataclass(frozen=True)
class Whole:
    """Bounds of a whole number, in which group it stands, and its default; None as upper bound: none."""

    group: str
    low: int
    high: int | None
    default: int


NUMBERS = {
    "dba_anchor_samples": Whole(DATA, 0, None, 0),
    "dba_anchor_cutoff": Whole(DATA, 4, 131072, 2048),
    "dba_anchor_rank": Whole(METHOD, 1, 65536, 512),
    "dba_anchor_batch": Whole(METHOD, 1, 1024, 2),
    "dba_anchor_check": Whole(METHOD, 1, None, 50),
    "dba_anchor_save": Whole(METHOD, 1, None, 500),
}


@dataclass(frozen=True)
class Host:
    """What the form needs of the host's own fields and of the machine.

    Attributes:
        model_name: as in the host's list; for the name of the new folder.
        model_path: folder or hub id.
        template: name of the chat template.
        cache_dir: where the host keeps models; None for the usual place.
        accelerator: whether there is a GPU or the like.
    """

    model_name: str = ""
    model_path: str = ""
    template: str = "default"
    cache_dir: str | None = None
    accelerator: bool = True


@dataclass(frozen=True)
class Request:
    """A form without problems, or with them.

    Attributes:
        problems: one sentence each.
        arguments: of `llamafactory-cli train`; None where there are problems.
        folder: of the new anchor.
    """

    problems: tuple[Problem, ...] = ()
    arguments: Mapping[str, Any] | None = None
    folder: Path | None = None


def read_form(form: Mapping[str, Any], host: Host) -> Request:
    """Check a form and turn it into a run.

    Args:
        form: element name → value, as the page has it: anything may stand in it.
        host: see there.
    """
    numbers, found = _numbers(form)
    stop, stop_problem = _stop_cosine(form.get("dba_anchor_stop_cosine"))
    directory, data_found = _data(form)
    found += [*stop_problem, *data_found, *_choices(form), *_model(host)]
    if "dba_anchor_rank" in numbers and not _model(host):
        found += _rank(numbers["dba_anchor_rank"], host)
    folder, out_found = _output(form, host)
    found += out_found
    if found or folder is None:
        return Request(tuple(found))
    compute = form["dba_anchor_compute"]
    samples = numbers["dba_anchor_samples"]
    arguments = {
        "model_name_or_path": host.model_path,
        "cache_dir": host.cache_dir,
        "trust_remote_code": True,  # as the host's board
        "stage": form["dba_anchor_stage"],
        "do_train": True,
        "finetuning_type": "full",
        "dba_stage": "anchor",
        "dba_svd_rank": numbers["dba_anchor_rank"],
        "dba_anchor_samples": samples or None,
        "dba_anchor_placement": form["dba_anchor_placement"],
        "dba_anchor_dtype": form["dba_anchor_dtype"],
        "dba_anchor_check_steps": numbers["dba_anchor_check"],
        "dba_anchor_save_steps": numbers["dba_anchor_save"],
        "dba_anchor_stop_cosine": stop,
        "dba_anchor_curvature": bool(form.get("dba_anchor_with_curvature")) or None,
        "dataset_dir": directory,
        "dataset": ",".join(form["dba_anchor_dataset"]),
        "template": host.template,
        "cutoff_len": numbers["dba_anchor_cutoff"],
        "preprocessing_num_workers": min(WORKERS, os.cpu_count() or 1),
        "output_dir": shorten(folder),
        "overwrite_output_dir": bool(form.get("dba_anchor_overwrite")) or None,
        "report_to": "none",
        "per_device_train_batch_size": numbers["dba_anchor_batch"],
        "bf16": compute == "bf16" or None,
        "pure_bf16": compute == "pure_bf16" or None,
        "use_cpu": None if host.accelerator else True,
        "seed": 42,
        "ddp_timeout": 180000000,
    }
    return Request((), {key: value for key, value in arguments.items() if value is not None}, folder)


def job_folder(folder: Path) -> Path:
    """Where the board keeps its files about the run that makes this anchor; the anchor's own folder must be empty."""
    return folder.with_name(folder.name + ".job")


def partial_folder(folder: Path) -> Path:
    """Where the run keeps its state and its progress (`training.anchor_run`)."""
    return folder.with_name(folder.name + ".partial")


def _numbers(form: Mapping[str, Any]) -> tuple[dict[str, int], list[Problem]]:
    numbers, found = {}, []
    for name, rule in NUMBERS.items():
        value = form.get(name)
        fields = {"label": name, "low": rule.low, "high": "∞" if rule.high is None else rule.high}
        try:
            number = float(rule.default if value is None or value == "" else value)
            if not math.isfinite(number) or number != int(number) or not rule.low <= number <= (rule.high or math.inf):
                raise ValueError
            numbers[name] = int(number)
        except (TypeError, ValueError):
            found.append(Problem(rule.group, "dba_anchor_number", fields))
    return numbers, found


def _stop_cosine(value: Any) -> tuple[float | None, list[Problem]]:
    """0 and nothing stand for: never."""
    try:
        number = float(value or 0)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < 1:
        return None, [Problem(METHOD, "dba_anchor_cosine_range", {"label": "dba_anchor_stop_cosine"})]
    return number or None, []


def _choices(form: Mapping[str, Any]) -> list[Problem]:
    allowed = {
        "dba_anchor_stage": (DATA, STAGES),
        "dba_anchor_placement": (METHOD, PLACEMENTS),
        "dba_anchor_dtype": (METHOD, DTYPES),
        "dba_anchor_compute": (METHOD, COMPUTE),
    }
    return [
        Problem(group, "dba_anchor_choice", {"label": name, "choices": ", ".join(choices)})
        for name, (group, choices) in allowed.items()
        if form.get(name) not in choices
    ]


def _data(form: Mapping[str, Any]) -> tuple[str, list[Problem]]:
    names = form.get("dba_anchor_dataset")
    text = str(form.get("dba_anchor_dataset_dir") or "").strip()
    online = text == "ONLINE" or text.startswith("REMOTE:")
    try:
        directory = text if online else shorten(resolve(text, must_exist=True))
    except NotAllowed as error:
        return "", [Problem(DATA, error.key, error.fields)]
    if not isinstance(names, list) or not names:
        return directory, [Problem(DATA, "dba_anchor_no_data")]
    if any(not isinstance(name, str) or "," in name for name in names):
        return directory, [Problem(DATA, "dba_anchor_data_name")]
    return directory, data_problems(DATA, "dba_anchor_dataset", directory, names)


def _model(host: Host) -> list[Problem]:
    if not host.model_path:
        return [Problem(DATA, "dba_anchor_no_model")]
    if not os.path.isdir(host.model_path) and not MODEL_ID.fullmatch(host.model_path):
        return [Problem(DATA, "dba_anchor_model_missing", {"path": host.model_path[:100]})]
    return []


def _rank(rank: int, host: Host) -> list[Problem]:
    """Above what any matrix has, where the model is at hand; as `training.checks` says it, too."""
    try:
        folder = find_model(host.model_path, cache_dir=host.cache_dir)
        tensors = fingerprint_folder(folder).tensors.values() if folder is not None else ()
    except DBAError as error:
        return [Problem(DATA, "dba_anchor_model_broken", {"reason": short(error)})]
    sizes = [min(item.shape[-1], math.prod(item.shape[:-1])) for item in tensors if len(item.shape) >= 2]
    if sizes and rank > max(sizes):
        return [Problem(METHOD, "dba_anchor_number", {"label": "dba_anchor_rank", "low": 1, "high": max(sizes)})]
    return []


def _output(form: Mapping[str, Any], host: Host) -> tuple[Path | None, list[Problem]]:
    text = str(form.get("dba_anchor_out") or "").strip()
    try:
        folder = resolve(text or default_output(host), for_writing=True)
    except NotAllowed as error:
        return None, [Problem(OUTPUT, error.key, error.fields)]
    try:
        occupied = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
        anchor = occupied and is_anchor(folder)
    except OSError as error:
        return None, [Problem(OUTPUT, "dba_anchor_folder_unreadable", {"reason": error.strerror or str(error)})]
    if occupied and not (anchor and form.get("dba_anchor_overwrite")):
        key = "dba_anchor_folder_anchor" if anchor else "dba_anchor_folder_taken"
        return None, [Problem(OUTPUT, key, {"path": shorten(folder)})]
    return folder, []


def default_output(host: Host, now: datetime | None = None) -> str:
    """A new name for every run: the model's, and the time."""
    name = host.model_name if host.model_name not in ("", "Custom") else Path(host.model_path).name
    plain = re.sub(r"[^\w.-]+", "-", name).strip(".-") or "anchor"
    return str(ANCHORS / f"{plain}_{(now or datetime.now()).strftime('%Y-%m-%d-%H-%M-%S')}")


def in_group(group: str, key: str, **fields: Any) -> Request:
    """A request that fails for a reason of the board, not of the form."""
    return replace(Request(), problems=(Problem(group, key, fields),))
