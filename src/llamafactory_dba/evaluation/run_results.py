"""From a measurement to results.json: what was run, on which machine, with which data; and the files themselves."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

from ..anchor.fingerprint import fingerprint_folder
from ..errors import DBAError
from ..training.record import RunRecord
from .base_model import HOW, Base
from .measure import Done, Measurement
from .micro_results import training_cost
from .model_hash import ModelFiles
from .results import FILE, Cost, Results, Run, TaskResult, read_results, write_results
from .selection import Asked, limited


BASE = "base"
PREVIOUS = "results.previous.json"
PACKAGES = ("llamafactory-dba", "llamafactory", "lm_eval", "torch", "transformers", "peft", "vllm")


@dataclass(frozen=True)
class About:
    """What the user says of the run; None: as its folder says.

    Attributes:
        name: for tables.
        method: such as ``dba``.
        domain: that it was trained on.
        seed: of the training.
    """

    name: str | None = None
    method: str | None = None
    domain: str | None = None
    seed: int | None = None


class Merged(NamedTuple):
    """Results to be written, what to say of it, and where what is there has to be put first; None: nowhere."""

    results: Results
    notes: list[str]
    aside: Path | None = None


def run_of(found: Measurement, files: ModelFiles, record: RunRecord | None, base: Base, about: About) -> Run:
    """Name, method and the like: the user's word, then the record's, then what can be told without."""
    tuned = record is not None or files.adapter is not None or base.spec is not None or base.results is not None
    method = about.method or (record.method if record else None) or ("fine-tuned" if tuned else BASE)
    domains = dict.fromkeys(
        done.asked.domain or done.asked.suite for done in found.done if done.asked.role == "domain"
    )
    fingerprint = base.fingerprint or (record.base_fingerprint if record else "")
    named = record.base_model if record else base.spec.model if base.spec else ""
    if method == BASE:
        fingerprint, named = fingerprint_folder(files.folder).total, files.name
    where = (files.adapter or Path(files.name)).resolve().name
    return Run(
        name=about.name or where,
        method=method,
        domain=about.domain if about.domain is not None else ", ".join(domains),
        base_model=named,
        base_fingerprint=fingerprint,
        seed=about.seed if about.seed is not None else record.seed if record else None,
        settings={**(record.settings if record else {}), HOW: how_measured(found)},
    )


def how_measured(found: Measurement) -> dict[str, Any]:
    """How the model was measured, as plain data."""
    others = {
        done.asked.task.name: {each.metric: each.value for each in done.measured[1:]}
        for done in found.done
        if len(done.measured) > 1
    }
    return {
        "model_hash": found.model_hash,
        "backend": found.spec.backend,
        "template": found.spec.template,
        "thinking": found.spec.thinking,
        "dtype": found.dtype,
        "device": found.device,
        "limit": found.limit,
        "seconds": round(sum(done.seconds for done in found.done), 1),
        "further_metrics": others,
    }


def results_of(found: Measurement, run: Run, record: RunRecord | None) -> Results:
    """Everything that results.json says; cost, machine and versions of a training are those of its record."""
    cost = training_cost(found.files.run_folder) if run.method != BASE else Cost()
    if record is not None:
        known: dict[str, Any] = {each.name: record.cost.get(each.name) for each in fields(Cost)}
        cost = Cost(**known)
    here = machine()
    return Results(
        run=run,
        tasks=tuple(task_result(done, found.limit) for done in found.done),
        cost=cost,
        machine={**record.machine, HOW: here} if record is not None and record.machine else here,
        versions={**versions(), **(record.versions if record else {}), **_only(versions(), "lm_eval", "vllm")},
        data={**(record.data if record else {}), **_data([done.asked for done in found.done])},
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def task_result(done: Done, limit: int | None) -> TaskResult:
    """The task's own metric; what else was measured stays in the settings, so that no mean counts a task twice."""
    main = done.measured[0]
    return TaskResult(
        suite=done.asked.suite,
        task=done.asked.task.name,
        task_version=limited(done.asked.task.version, limit),
        role=done.asked.role,
        metric=main.metric,
        value=main.value,
        n=main.n,
        unparsed=main.unparsed,
        interval=main.interval,
        per_sample=main.per_sample,
        truncated=main.truncated,
        skipped=main.skipped,
        groups={name: [value, n] for name, (value, n) in main.groups.items()} or None,
    )


def machine() -> dict[str, Any]:
    """Where the model was measured."""
    import torch

    found: dict[str, Any] = {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    if torch.cuda.is_available():
        found["accelerator"] = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return found


def versions() -> dict[str, str]:
    """Of the packages that are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _only(values: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: values[name] for name in names if name in values}


def _data(asked: Sequence[Asked]) -> dict[str, str]:
    return {f"{each.task.name} (questions)": each.questions.data_hash for each in asked}


def base_folder(out: Path, found: Measurement) -> Path:
    """Beside the run, where other runs of the same base model find it; within it, if another has that place."""
    beside = out.absolute().parent / BASE
    if beside != out.absolute() and (not beside.exists() or _fits(beside, found)):
        return beside
    return out / BASE


def _fits(folder: Path, found: Measurement) -> bool:
    """Whether the results in a folder are of the same model, measured in the same way."""
    try:
        return _identity(read_results(folder).run) == _identity(Run("", "", settings={HOW: how_measured(found)}))
    except DBAError:
        return folder.resolve() == found.files.folder.resolve()


def _identity(run: Run) -> tuple[Any, ...]:
    how = run.settings.get(HOW)
    how = how if isinstance(how, Mapping) else {}
    return tuple(how.get(key) for key in ("model_hash", "backend", "template", "thinking", "dtype", "limit"))


def merge(fresh: Results, folder: Path) -> Merged:
    """With the scores of other tasks that the folder has of the same model, measured in the same way."""
    path = folder / FILE
    if not path.is_file():
        return Merged(fresh, [])
    try:
        old = read_results(path)
    except DBAError:
        old = None
    if old is not None and _identity(old.run) == _identity(fresh.run):
        mine = {task.task for task in fresh.tasks}  # under whatever suite: no mean counts a task twice
        kept = tuple(task for task in old.tasks if task.task not in mine)
        run = replace(
            fresh.run, domain=fresh.run.domain or old.run.domain, settings=_both(old.run.settings, fresh.run.settings)
        )
        together = replace(fresh, run=run, tasks=(*kept, *fresh.tasks), data={**old.data, **fresh.data})
        note = f"{path} keeps {len(kept)} tasks of an earlier evaluation of the same model"
        return Merged(together, [note] if kept else [])
    names = (PREVIOUS if number == 1 else PREVIOUS.replace(".json", f".{number}.json") for number in count(1))
    aside = next(folder / name for name in names if not (folder / name).exists())
    return Merged(fresh, [f"{path} held other results; they are in {aside.name} now"], aside)


def write_merged(merged: Merged, folder: Path) -> Path:
    """Write results.json; what it held of another model or measured in another way stays beside it."""
    if merged.aside is not None:
        os.replace(folder / FILE, merged.aside)
    return write_results(merged.results, folder)


def _both(old: Mapping[str, Any], fresh: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the further metrics of both."""
    further = {**old[HOW].get("further_metrics", {}), **fresh[HOW]["further_metrics"]}
    return {**fresh, HOW: {**fresh[HOW], "further_metrics": further}}
