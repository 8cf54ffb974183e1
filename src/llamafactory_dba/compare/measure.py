"""After a training: did it diverge, what does the model score, and the points between it and its base.

Runs in a worker process; the runner uses `has_model` and `remove_model`, so nothing here imports torch at the top.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import DBAError
from .scorers import Ask, score_model


MERGED = "merged"
LOSS_MARK = " (loss)"  # after the name of a task whose loss this is
# what a model folder has beside what training logged; deleted once the model is measured
MODEL_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin",
    "*.pt",
    "*.pth",
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "added_tokens.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "checkpoint-*",
    MERGED,
)


def measure_base(ask: Ask, out: Path, name: str, domain: str) -> dict[str, Any]:
    """Score a base model and write its results.json; returns its scores."""
    from ..evaluation.results import Run

    run = Run(f"base ({name})", "base", domain, ask.base, _fingerprint(ask.base))
    return scores_of(score_model(ask, ask.base, out, run, None))


def measure_run(ask: Ask, out: Path, base_results: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Score what a training left in ``out`` and write results.json there.

    Args:
        ask: how.
        out: output folder of the training.
        base_results: folder of the base model's results.json.
        about: name, method, domain, seed and settings for the results.

    Returns:
        Scores of `scores_of`, and under ``diverged`` why the run counts as diverged, if it does.
    """
    reason = divergence(out)
    if reason is not None and not finite_weights(out):
        return {"diverged": reason or "the weights are not finite"}
    results = score_model(ask, str(model_of(ask.base, out)), out, _run(ask, about, out), base_results)
    found = scores_of(results) | {"gauge": gauge_of(out), "step_overhead": overhead_of(out)}
    if reason is None and all(task.unparsed == task.n for task in results.tasks if task.role != "loss"):
        reason = "no answer at all could be read"
    return found | ({"diverged": reason} if reason else {})


def measure_points(
    ask: Ask, out: Path, base_results: Path, folder: Path, alphas: Sequence[float], about: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Score the models between the base and the one in ``out`` (WiSE-FT); writes frontier.json into ``folder``."""
    from ..anchor.fingerprint import find_model
    from ..evaluation.frontier import sweep
    from ..evaluation.results import FILE, Results, read_results, write_results

    base = find_model(ask.base)
    if base is None:
        raise DBAError("The base model is not on this machine.", found=ask.base)

    def score(model: Path, alpha: float) -> Results:
        run = _run(ask, about, out)
        run = replace(run, settings={**run.settings, "alpha": alpha})
        return score_model(ask, str(model), folder / "scratch", run, None)

    frontier = sweep(base, model_of(ask.base, out), folder, score, alphas=alphas, request={"run": about["name"]})
    shutil.rmtree(folder / "scratch", ignore_errors=True)
    points = []
    for point in frontier.points:
        path = folder / point.results
        found = read_results(path)
        title = f"{about['name']}, alpha {point.alpha:g}"
        run = replace(found.run, name=title, method=str(about["method"]), seed=about["seed"])
        relative = Path(os.path.relpath(base_results, path.parent)).as_posix()
        write_results(replace(found, run=run, base=relative), path.parent)
        points.append({"alpha": point.alpha, "results": f"{path.parent.name}/{FILE}", **scores_of(found)})
    return points


def divergence(out: Path) -> str | None:
    """Why a finished training counts as diverged; None where it does not."""
    path = out / "trainer_state.json"
    try:
        history = json.loads(path.read_text(encoding="utf-8"))["log_history"] if path.is_file() else []
    except (ValueError, KeyError) as error:
        return f"trainer_state.json is damaged: {error}"
    for key in ("loss", "grad_norm"):
        logged = [(entry.get("step"), entry[key]) for entry in history if isinstance(entry.get(key), float)]
        if logged and not math.isfinite(logged[-1][1]):
            first = next(step for step, value in logged if not math.isfinite(value))
            return f"{key} is {logged[-1][1]} from step {first} on"
    return None if finite_weights(out) else "the weights are not finite"


def gauge_of(out: Path) -> list[list[float]]:
    """Step, domain and general accuracy in % of what the gauge measured while training; [] without one."""
    path = out / "dba_gauge.jsonl"
    if not path.is_file():
        return []
    keys = ("step", "domain_accuracy", "general_accuracy")
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [[float(line[key]) for key in keys] for line in lines if all(key in line for key in keys)]


def overhead_of(out: Path) -> float | None:
    """Extra time per step of the optimizer's hooks, as a share of a step without them; None where not measured."""
    from ..training.record import read_record

    record = read_record(out)
    return record.cost.get("step_overhead") if record else None


def finite_weights(folder: Path) -> bool:
    """Whether every number in the safetensors files of a folder is finite."""
    import torch
    from safetensors import safe_open

    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            for name in file.keys():
                if not bool(torch.isfinite(file.get_tensor(name)).all()):
                    return False
    return True


def model_of(base: str, out: Path) -> Path:
    """The folder with full weights: ``out``, or for an adapter a folder in it with base and adapter merged."""
    if not (out / "adapter_config.json").is_file():
        return out
    from ..anchor.fingerprint import find_model
    from ..evaluation.interpolate import merge_adapter

    place = find_model(base)
    if place is None:
        raise DBAError("The base model is not on this machine.", found=base)
    if not (out / MERGED).is_dir():
        merge_adapter(place, out, out / MERGED)
    return out / MERGED


def has_model(out: Path) -> bool:
    """Whether a finished training's weights are still there."""
    return any(any(out.glob(pattern)) for pattern in ("*.safetensors", "pytorch_model*.bin", "adapter_model.bin"))


def remove_model(out: Path) -> None:
    """Delete the weights and what belongs to them; logs, records and results stay."""
    for pattern in MODEL_FILES:
        for path in out.glob(pattern):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def scores_of(results: Any) -> dict[str, Any]:
    """S_D, S_G, S and the value of each task, in %; None where a kind of task was not measured.

    A task may have a score and a loss: the loss has its name with `LOSS_MARK`.
    """
    from ..evaluation.results import LOSS
    from ..evaluation.summary import summarise

    found = summarise(results)
    tasks = {
        f"{task.task}{LOSS_MARK if task.role == LOSS else ''}": {
            "role": task.role,
            "metric": task.metric,
            "value": task.value,
            "n": task.n,
            "unparsed": task.unparsed,
            "version": task.task_version,
        }
        for task in results.tasks
    }
    return {"s_d": found.s_d, "s_g": found.s_g, "s": found.s, "tasks": tasks}


def _run(ask: Ask, about: Mapping[str, Any], out: Path) -> Any:
    from ..evaluation.results import Run
    from ..training.record import read_record

    record = read_record(out)
    settings = {**(record.settings if record else {}), **about["settings"]}
    name, method, domain = (str(about[key]) for key in ("name", "method", "domain"))
    return Run(name, method, domain, ask.base, _fingerprint(ask.base), about["seed"], settings)


def _fingerprint(model: str) -> str:
    from ..anchor.fingerprint import find_model, fingerprint_folder

    folder = find_model(model)
    return "" if folder is None else fingerprint_folder(folder).total
