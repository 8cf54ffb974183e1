"""One combination of base, domain, method, sweep and seed → the settings of its run, and their hash.

Precedence, later wins: defaults of this module, ``common``, base, domain (and the budget), method, sweep, seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import DBAError
from .sources import DataSet, digest, find_data
from .steps import AnchorPlan, BasePlan, Mix, RunPlan
from .suite import SAMPLES, Domain, Method, Suite, ratio_of


DEFAULTS: dict[str, Any] = {
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "full",
    "dataset_dir": "data",
    "dba_record": True,
    "save_strategy": "no",
    "save_only_model": True,
    "disable_tqdm": True,
    "report_to": "none",
}
# where things are, not what they are: their content is hashed instead
PLACES = ("output_dir", "overwrite_output_dir", "model_name_or_path", "dataset_dir", "dba_anchor_path")
# of the common keys, those that an anchor run shares with training
ANCHOR_KEYS = (
    "stage",
    "dataset_dir",
    "cutoff_len",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "bf16",
    "fp16",
    "use_cpu",
    "flash_attn",
    "packing",
    "neat_packing",
    "train_on_prompt",
    "mask_history",
    "preprocessing_num_workers",
    "overwrite_cache",
    "disable_tqdm",
    "report_to",
    "model_revision",
    "trust_remote_code",
    "dba_svd_rank",
)
ANCHOR_SEED = 42


class Expander:
    """Of one suite, whose base models have been found and hashed."""

    def __init__(self, suite: Suite, models: Mapping[str, str]) -> None:
        self.suite = suite
        self.models = models
        self.evaluation = _evaluation_version(suite)

    def base_plan(self, base: str, domain: str) -> BasePlan:
        """The base model's scores that runs on a domain are compared with."""
        suites = self.suite.domains[domain].evaluate
        template = self.suite.bases[base].template
        return BasePlan(base, domain, suites, digest([self.models[base], template, suites, self.evaluation]))

    def runs_of(self, name: str) -> Iterator[RunPlan]:
        """All runs of a method: over bases, domains, seeds and its sweeps."""
        method = self.suite.methods[name]
        for base, domain in pairs(self.suite):
            plain = [self._run(base, domain, name, {}, seed) for seed in self.suite.seeds]
            if method.of:
                yield from (self._points(run, name, method) for run in self._trained(base, domain, method.of))
                continue
            yield from plain
            known = {run.hash for run in plain}
            for sweep in self.suite.sweeps.values():
                if name not in sweep.methods or (sweep.domains and domain not in sweep.domains):
                    continue
                for value in sweep.values:
                    for seed in sweep.seeds or self.suite.seeds:
                        run = self._run(base, domain, name, {sweep.key: value}, seed)
                        if run.hash not in known:  # the method's own value is the plain run
                            known.add(run.hash)
                            yield run

    def _trained(self, base: str, domain: str, name: str) -> list[RunPlan]:
        return [self._run(base, domain, name, {}, seed) for seed in self.suite.seeds]

    def _points(self, run: RunPlan, name: str, method: Method) -> RunPlan:
        return RunPlan(
            run.base,
            run.domain,
            name,
            name,
            run.seed,
            run.keys,
            digest([run.hash, sorted(method.frontier)]),
            of=run.folder,
            alphas=tuple(sorted(method.frontier)),
        )

    def _run(self, base_name: str, domain_name: str, name: str, setting: Mapping[str, Any], seed: int) -> RunPlan:
        suite = self.suite
        base, domain, method = suite.bases[base_name], suite.domains[domain_name], suite.methods[name]
        start = {**DEFAULTS, **suite.common, **base.keys, **domain.keys}
        start |= _budget(suite, domain, start)
        train_setting = {k: v for k, v in setting.items() if k != SAMPLES and not k.startswith("anchor.")}
        keys = {
            "model_name_or_path": base.model,
            **({"template": base.template} if base.template else {}),
            **start,
            "dataset": domain.dataset,
            **method.keys,
            **train_setting,
            "seed": seed,
        }
        anchor = self._anchor(base_name, start, method, setting) if "anchor" in method.needs else None
        content = {key: value for key, value in keys.items() if key not in PLACES}
        data: Any = [find_data(keys["dataset_dir"], each).hash for each in split(domain.dataset)]
        mix = None
        if method.mix:
            mix = _mix(suite, domain, str(keys["dataset_dir"]), method.mix, setting.get(SAMPLES), domain_name)
            keys["dataset"] = ",".join(mix.info)
            general = find_data(keys["dataset_dir"], suite.general)
            data += [general.hash, method.mix, setting.get(SAMPLES)]
        found = digest(
            {
                "keys": content,
                "data": data,
                "base": self.models[base_name],
                "anchor": anchor.hash if anchor else None,
                "evaluation": [self.evaluation, domain.evaluate],
                **({"gpus": suite.gpus_per_run} if suite.gpus_per_run > 1 else {}),  # of the global batch
            }
        )
        label = name + "".join(f" [{key}={value}]" for key, value in setting.items())
        steps = _steps(suite, domain, keys, ratio_of(method.mix) if method.mix else 0.0)
        return RunPlan(base_name, domain_name, name, label, seed, keys, found, dict(setting), anchor, mix, steps)

    def _anchor(self, name: str, start: Mapping[str, Any], method: Method, setting: Mapping[str, Any]) -> AnchorPlan:
        base = self.suite.bases[name]
        common = {**DEFAULTS, **self.suite.common, **base.keys}
        swept = {key.removeprefix("anchor."): value for key, value in setting.items() if key.startswith("anchor.")}
        if SAMPLES in setting:
            swept["max_samples"] = setting[SAMPLES]
        keys = {
            "model_name_or_path": base.model,
            **({"template": base.template} if base.template else {}),
            "finetuning_type": "full",
            "do_train": True,
            **{key: common[key] for key in ANCHOR_KEYS if key in common},
            "dataset": self.suite.general,
            **base.anchor,
            **method.anchor,
            **swept,
            "dba_stage": "anchor",
            "seed": ANCHOR_SEED,
        }
        content = {key: value for key, value in keys.items() if key not in PLACES}
        data = [find_data(str(keys["dataset_dir"]), each).hash for each in split(str(keys["dataset"]))]
        return AnchorPlan(name, keys, digest([content, data, self.models[name]]))


def _mix(suite: Suite, domain: Domain, folder: str, mix: str, samples: int | None, name: str) -> Mix:
    """Descriptor of domain rows, each ``1``, and general rows drawn by the host anew for each seed."""
    rows = _rows(domain, folder)
    if rows is None:
        raise DBAError(
            f"It is not known how many rows {domain.dataset} has.", next_step=f"say `domains.{name}.rows: NUMBER`"
        )
    info = {each: _entry(find_data(folder, each)) for each in split(domain.dataset)}
    general = _entry(find_data(folder, suite.general)) | {"num_samples": round(rows * ratio_of(mix))}
    if samples is not None:
        general["split"] = f"train[:{samples}]"
    info[suite.general] = general
    ending = f"-{samples}" if samples is not None else ""
    return Mix(f"data/{name}-{mix.replace(':', '_')}{ending}-{digest(info)[:8]}", info)


def _entry(found: DataSet) -> dict[str, Any]:
    """Of dataset_info.json, such that it can be read from another folder."""
    return {**found.entry, **({"file_name": str(found.path.absolute())} if found.path is not None else {})}


def _budget(suite: Suite, domain: Domain, start: Mapping[str, Any]) -> dict[str, Any]:
    if suite.budget.max_steps is not None:
        return {"max_steps": suite.budget.max_steps}
    if suite.budget.equal == "epochs":
        return {}
    steps = _steps(suite, domain, start, 0.0)
    if steps is None:
        raise DBAError(
            f"Equal steps cannot be set: it is not known how many rows {domain.dataset} has.",
            next_step="say `rows` at that domain, or `budget: {max_steps: NUMBER}`",
        )
    return {"max_steps": steps}


def _steps(suite: Suite, domain: Domain, keys: Mapping[str, Any], ratio: float) -> int | None:
    """Optimizer steps, reckoned as the host does; None where rows are not known."""
    if (keys.get("max_steps") or 0) > 0:
        return int(keys["max_steps"])
    rows = _rows(domain, str(keys.get("dataset_dir", "data")))
    if rows is None:
        return None
    if keys.get("max_samples"):
        rows = min(rows, int(keys["max_samples"]))
    rows += round(rows * ratio)
    per_device = int(keys.get("per_device_train_batch_size", 8)) * suite.gpus_per_run
    batches = math.ceil(rows / per_device)
    updates = max(1, math.ceil(batches / int(keys.get("gradient_accumulation_steps", 1))))
    return math.ceil(updates * float(keys.get("num_train_epochs", 3)))


def _rows(domain: Domain, folder: str) -> int | None:
    if domain.rows is not None:
        return domain.rows
    counts = [find_data(folder, each).rows for each in split(domain.dataset)]
    return None if None in counts else sum(count for count in counts if count is not None)


def _evaluation_version(suite: Suite) -> str:
    """What decides the scores besides the model: the tasks with their versions, and how they are asked."""
    how: list[Any] = [suite.evaluate, {k: v for k, v in suite.evaluation.items() if k not in ("data", "cache", "hub")}]
    from ..evaluation.micro_results import VERSION
    from .scorers import check_custom, check_light

    if suite.evaluate == "light":
        for name in dict.fromkeys(each for domain in suite.domains.values() for each in domain.evaluate):
            check_light(name)
        return digest([*how, VERSION])
    if ":" in suite.evaluate:
        check_custom(suite.evaluate)
        return digest(how)
    from ..evaluation.selection import choose

    chosen = choose(list(dict.fromkeys(each for domain in suite.domains.values() for each in domain.evaluate)))
    return digest([*how, sorted([item.suite, item.task.name, item.task.version] for item in chosen)])


def pairs(suite: Suite) -> list[tuple[str, str]]:
    """Base and domain, all of them."""
    return [(base, domain) for base in suite.bases for domain in suite.domains]


def split(names: str) -> list[str]:
    """Names with commas."""
    return [name.strip() for name in names.split(",") if name.strip()]
