"""Contents of compare.json for the tests, made by the runner's own summary from scores that a test chooses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from llamafactory_dba.compare.output import summarise
from llamafactory_dba.compare.plan import make_plan
from llamafactory_dba.compare.state import DIVERGED, DONE, Status
from llamafactory_dba.compare.suite import parse_suite


ROOT = Path(__file__).parents[2]
MODELS = "examples/micro/models"
Scores = tuple[float, float] | str | None


def suite(**changes: Any) -> dict[str, Any]:
    """Two base models, two domains, three seeds; paths relative to the repository's root, as in the examples."""
    raw: dict[str, Any] = {
        "name": "micro",
        "version": "7",
        "title": "For tests",
        "common": {"dataset_dir": "data", "learning_rate": 1.0e-3, "max_steps": 5},
        "general": "micro_general_train",
        "bases": {
            name: {"model": f"{MODELS}/{name}", "template": "qwen3_nothink"}
            for name in ("micro-base", "micro-instruct")
        },
        "domains": {
            name: {"dataset": f"micro_{name}_train", "evaluate": [f"micro_{name}"]} for name in ("finance", "law")
        },
        "methods": {
            "direct": {"title": "direct fine-tuning"},
            "mix_1_1": {"mix": "1:1"},
            "lora": {"keys": {"finetuning_type": "lora"}},
            "elastic_kronecker": {"needs": ["anchor"], "keys": {"use_dba": True, "dba_variant": "elastic"}},
            "wise_ft": {"of": "direct", "frontier": [0.5]},
        },
        "seeds": [1, 2, 3],
        "reference": "direct",
        "evaluate": "light",
        "evaluation": {"data": "data"},
    }
    return {**raw, **changes}


def harmonic(s_d: float, s_g: float) -> float:
    return 2 * s_d * s_g / (s_d + s_g) if s_d + s_g else 0.0


def compared(raw: dict[str, Any], scores: Callable[[Any], Scores]) -> dict[str, Any]:
    """Content of compare.json.

    Args:
        raw: the suite; the working directory must be the repository's root.
        scores: run of the plan → S_D and S_G, "diverged", or None where it was not done.
    """
    plan = make_plan(parse_suite(raw))
    statuses = {base.folder: Status(base.hash, DONE, scores=as_scores((5.0, 80.0))) for base in plan.bases}
    for run in plan.runs:
        found = scores(run)
        if found == "diverged":
            statuses[run.folder] = Status(run.hash, DIVERGED, 1.0, "grad_norm is nan")
        elif found is not None and run.of:
            points = tuple({"alpha": alpha, "results": "r", **as_scores(found)} for alpha in run.alphas)
            statuses[run.folder] = Status(run.hash, DONE, points=points)
        elif found is not None:
            seconds = 30.0 if run.method == "elastic_kronecker" else 20.0
            statuses[run.folder] = Status(run.hash, DONE, seconds, scores=as_scores(found))
    return summarise(plan, statuses, [])


def as_scores(pair: tuple[float, float]) -> dict[str, Any]:
    tasks = {"recall": {"role": "general", "value": pair[1]}, "domain": {"role": "domain", "value": pair[0]}}
    return {"s_d": pair[0], "s_g": pair[1], "s": harmonic(*pair), "tasks": tasks}


def write_suite(raw: dict[str, Any], folder: Path) -> None:
    """Where `find_suite` looks first."""
    (folder / "suite.yaml").write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
