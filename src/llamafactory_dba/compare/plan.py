"""From a suite to everything that it asks for; what is missing is said together. Nothing is written here."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import DBAError
from .expand import DEFAULTS, Expander, pairs, split
from .sources import collect_problems, find_data, hash_base
from .steps import AnchorPlan as AnchorPlan
from .steps import BasePlan as BasePlan
from .steps import Plan as Plan
from .steps import RunPlan as RunPlan
from .suite import Suite


# set by the runner alone
RESERVED = (
    "output_dir",
    "overwrite_output_dir",
    "resume_from_checkpoint",
    "seed",
    "model_name_or_path",
    "template",
    "dataset",
    "dba_anchor_path",
    "dba_stage",
)


def make_plan(suite: Suite, *, memory: Path | None = None) -> Plan:
    """Expand a suite.

    Args:
        suite: the suite.
        memory: folder in which hashes of large model files are remembered.

    Raises:
        DBAError: base models or data sets are missing, or keys that the runner sets are given; all together.
    """
    problems = _reserved(suite)
    left_out = {
        name: f"needs {', '.join(missing)} (pip install {' '.join(missing).replace('_', '-')})"
        for name, method in suite.methods.items()
        if (missing := [package for package in method.requires if find_spec(package) is None])
    }
    left_out |= {
        name: f"needs {method.of}, which is left out"
        for name, method in suite.methods.items()
        if method.of in left_out
    }
    models, absent = collect_problems(
        {
            name: lambda base=base: hash_base(base.model, base.keys.get("model_revision"), memory)  # type: ignore[misc]
            for name, base in suite.bases.items()
        }
    )
    problems += absent
    wanted = [(_dir(suite, base, domain), suite.domains[domain].dataset) for base, domain in pairs(suite)]
    if any(method.mix or method.needs for name, method in suite.methods.items() if name not in left_out):
        if suite.general:
            wanted += [(folder, suite.general) for folder, _ in wanted]
        elif any(method.needs for method in suite.methods.values()) and not all(
            base.anchor.get("dataset") for base in suite.bases.values()
        ):
            problems.append("An anchor needs `general`, the data set that it is made from.")
    names = list(dict.fromkeys((folder, one) for folder, many in wanted for one in split(many)))
    _, absent = collect_problems({str(key): lambda key=key: find_data(*key) for key in names})  # type: ignore[misc]
    problems += absent
    if problems:
        raise DBAError(
            f"The suite {suite.name} cannot be run:\n" + "\n".join(f"  - {text}" for text in dict.fromkeys(problems))
        )
    expander = Expander(suite, models)
    runs = [run for name in suite.methods if name not in left_out for run in expander.runs_of(name)]
    anchors = {run.anchor.hash: run.anchor for run in runs if run.anchor is not None}
    bases = [expander.base_plan(base, domain) for base, domain in pairs(suite)]
    return Plan(suite, tuple(anchors.values()), tuple(bases), tuple(runs), left_out)


def _reserved(suite: Suite) -> list[str]:
    places = [("common", suite.common), *((f"sweeps.{n}.key", {s.key: s}) for n, s in suite.sweeps.items())]
    places += [(f"bases.{n}.keys", b.keys) for n, b in suite.bases.items()]
    places += [(f"domains.{n}.keys", d.keys) for n, d in suite.domains.items()]
    places += [(f"methods.{n}.keys", m.keys) for n, m in suite.methods.items()]
    return [
        f"`{where}` has `{key}`, which the runner sets itself."
        for where, keys in places
        for key in keys
        if key in RESERVED
    ]


def _dir(suite: Suite, base: str, domain: str) -> str:
    keys = {**DEFAULTS, **suite.common, **suite.bases[base].keys, **suite.domains[domain].keys}
    return str(keys["dataset_dir"])
