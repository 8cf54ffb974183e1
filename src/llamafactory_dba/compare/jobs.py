"""From a step of the plan to what a worker is asked: settings, train.yaml, how and where to measure."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from ..files import write_file
from .steps import AnchorPlan, BasePlan, Plan, RunPlan


OUT, TRAIN, LOG = "out", "train.yaml", "train.log"
RECIPE = """\
# {title}
# Written by `llamafactory-dba compare` ({suite} {version}). Run it from the folder where compare was started:
#   llamafactory-cli train {path}
"""


class Jobs:
    """Of one plan in one output folder."""

    def __init__(self, plan: Plan, out: Path) -> None:
        self.plan = plan
        self.suite = plan.suite
        self.out = out

    def train(self, step: AnchorPlan | RunPlan, folder: Path) -> dict[str, Any]:
        """Writes train.yaml into the folder of a step; returns the job."""
        recipe, log = folder / TRAIN, folder / LOG
        log.unlink(missing_ok=True)
        title = step.name if isinstance(step, RunPlan) else f"Anchor of {step.base}"
        head = RECIPE.format(title=title, suite=self.suite.name, version=self.suite.version, path=recipe)
        write_file(recipe, head + yaml.safe_dump(self.keys(step), sort_keys=False, allow_unicode=True))
        return {"kind": "train", "yaml": str(recipe), "log": str(log)}

    def base(self, step: BasePlan, folder: Path) -> dict[str, Any]:
        """To score a base model."""
        about = {"name": step.base, "domain": self._domain(step)}
        return {
            "kind": "base",
            "ask": self._ask(step),
            "out": str(folder),
            "about": about,
            "log": str(folder / "measure.log"),
        }

    def measure(self, step: RunPlan, folder: Path) -> dict[str, Any]:
        """To score what a run left, and the points between it and its base."""
        about = {
            "name": f"{step.label} seed {step.seed}",
            "method": step.label,
            "domain": self._domain(step),
            "seed": step.seed,
            "settings": dict(step.setting),
        }
        frontiers = []
        for child in self.children(step):
            place = self.out / child.folder
            place.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(place / "scratch", ignore_errors=True)
            theirs = {**about, "name": f"{child.label} seed {step.seed}", "method": child.label}
            frontiers.append({"folder": str(place), "alphas": list(child.alphas), "about": theirs})
        return {
            "kind": "measure",
            "ask": self._ask(step),
            "out": str(folder / OUT),
            "base_results": str(self.out / self.base_plan(step).folder),
            "about": about,
            "frontiers": frontiers,
            "log": str(folder / "measure.log"),
        }

    def base_plan(self, step: RunPlan) -> BasePlan:
        """The base model's scores that a run is compared with."""
        return next(b for b in self.plan.bases if (b.base, b.domain) == (step.base, step.domain))

    def children(self, step: RunPlan) -> list[RunPlan]:
        """The points that are made with a training."""
        return [run for run in self.plan.runs if run.of == step.folder]

    def keys(self, step: AnchorPlan | RunPlan) -> dict[str, Any]:
        """All that train.yaml says."""
        folder = self.out / step.folder
        if isinstance(step, AnchorPlan):
            place = str(folder / "anchor")
            return {**step.keys, "dba_anchor_path": place, "output_dir": place}
        keys = dict(step.keys)
        if step.mix is not None:
            keys["dataset_dir"] = str(self.out / step.mix.folder)
        if step.anchor is not None:
            keys["dba_anchor_path"] = str(self.out / step.anchor.folder / "anchor")
        return {**keys, "output_dir": str(folder / OUT), "overwrite_output_dir": False}

    def _ask(self, step: BasePlan | RunPlan) -> dict[str, Any]:
        base = self.suite.bases[step.base]
        return {
            "names": list(self.suite.domains[step.domain].evaluate),
            "mode": self.suite.evaluate,
            "options": dict(self.suite.evaluation),
            "template": base.template,
            "base": base.model,
        }

    def _domain(self, step: BasePlan | RunPlan) -> str:
        """As the report groups runs: those of another base model stand apart."""
        return step.domain if len(self.suite.bases) == 1 else f"{step.domain}, {step.base}"
