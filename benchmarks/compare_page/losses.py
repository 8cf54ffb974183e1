"""Losses of a comparison whose tasks have them: what an accuracy near chance does not show.

Nats per token on the right answers of the domain and of the general sets (all of them, also those on which the base
model is at chance), and on held-out plain text. A loss is lower the better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamafactory_dba.compare.measure import LOSS_MARK
from llamafactory_dba.compare.statistics import spread

from .source import bases_of
from .tables import NONE, Found, by_base, markdown, name_of, plain
from .template import Measured, Value, show


KINDS = {"loss_domain": "domain answers", "loss_general": "general answers", "loss_text": "plain text"}


def table(found: Found) -> str:
    """A row per method: mean ± std over runs; empty where the suite measures no losses."""

    def one(base: str) -> str:
        start = _of_base(found, base)
        if not start:
            return ""
        shown = [kind for kind in KINDS if kind in start]
        rows = [["base model", *(f"{start[kind]:.3f}" for kind in shown), ""]]
        for entry in plain(found, base):
            values = of_label(found, base, entry["label"])
            if values:
                cells = [show(value, ".3f") if (value := values.get(kind)) else NONE for kind in shown]
                rows.append([name_of(entry["label"]), *cells, str(values["n"])])
        return markdown(["method", *(KINDS[kind] for kind in shown), "models"], rows)

    return by_base(found, one)


def facts(found: Found, name: str) -> dict[str, Value]:
    """``SUITE.BASE.LABEL.loss_general`` and its like; of the base model ``SUITE.BASE.base.loss_general``."""
    values: dict[str, Value] = {}
    for base in bases_of(found):
        values |= {f"{name}.{base}.base.{kind}": value for kind, value in _of_base(found, base).items()}
        for entry in plain(found, base):
            mine = of_label(found, base, entry["label"])
            values |= {f"{name}.{base}.{entry['label']}.{kind}": mine.get(kind) for kind in KINDS if mine}
    return values


def of_label(found: Found, base: str, label: str) -> dict[str, Any]:
    """Kind → `Measured` over the runs of a label on a base model, and ``n``; empty where none has losses."""
    kinds = _kinds(found, base)
    runs = [run for run in found["runs"] if (run["base"], run["label"], run["state"]) == (base, label, "done")]
    means = [mean for run in runs if (mean := _means(run["tasks"], kinds))]
    if not means:
        return {}
    values: dict[str, Any] = {"n": len(means)}
    for kind in KINDS:
        over = spread([mean[kind] for mean in means if kind in mean])
        if over is not None:
            values[kind] = Measured(over.mean, over.std)
    return values


def _of_base(found: Found, base: str) -> dict[str, float]:
    kinds = _kinds(found, base)
    entries = [_means(entry["tasks"], kinds) for entry in found["bases"] if entry["base"] == base]
    whole = [entry for entry in entries if entry]
    return {
        kind: sum(e[kind] for e in whole) / len(whole) for kind in KINDS if whole and all(kind in e for e in whole)
    }


def _kinds(found: Found, base: str) -> dict[str, str]:
    """Name of a loss → its kind, from the base model's tasks, which say their metric; empty without a domain task."""
    tasks: dict[str, Mapping[str, Any]] = {}
    for entry in found["bases"]:
        tasks |= entry["tasks"] if entry["base"] == base else {}
    domain = {name for name, task in tasks.items() if task["role"] == "domain"}
    kinds = {}
    for name, task in tasks.items():
        if task["role"] == "loss" and domain:
            bare = name.removesuffix(LOSS_MARK)
            kinds[bare] = (
                "loss_domain"
                if bare in domain
                else "loss_text"
                if task["metric"].startswith("text")
                else "loss_general"
            )
    return kinds


def _means(tasks: Mapping[str, Any], kinds: Mapping[str, str]) -> dict[str, float]:
    """Kind → mean of its losses. Files of before the mark have a loss under the bare name."""
    values: dict[str, list[float]] = {}
    for name, task in tasks.items():
        kind = kinds.get(name.removesuffix(LOSS_MARK)) if task["role"] == "loss" else None
        if kind is not None:
            values.setdefault(kind, []).append(task["value"])
    return {kind: sum(each) / len(each) for kind, each in values.items()}
