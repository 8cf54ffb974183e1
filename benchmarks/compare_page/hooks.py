"""Time that the optimizer hooks of a method take, measured in its own runs, where other load changes both alike."""

from __future__ import annotations

from typing import Any

from .source import bases_of
from .tables import Found, markdown, name_of
from .template import Value


FREE = ("strength", "learning_rate")  # ends of keys whose value takes no time


def table(found: Found) -> str:
    """A row per label whose runs measured it, in % of the rest of a step: mean and range; empty without any.

    Over all base models of the suite, the longest first.
    """
    base = bases_of(found)[-1]
    labels = [e["label"] for e in found["methods"] if not any(key.endswith(FREE) for key in e["setting"])]
    shares = {label: _percent(found, base, label) for label in labels}
    rows = [
        [name_of(label), f"{_mean(values):.1f}", f"{min(values):.1f}–{max(values):.1f}", str(len(values))]
        for label, values in sorted(shares.items(), key=lambda item: -_mean(item[1]))
        if values
    ]
    return markdown(["method", "% of the rest", "range", "runs"], rows) if rows else ""


def facts(found: Found, name: str) -> dict[str, Value]:
    """``SUITE.BASE.LABEL.step_overhead``, in %; ``.high`` is the highest of a run."""
    values: dict[str, Value] = {}
    for base in bases_of(found):
        for label in {entry["label"] for entry in found["methods"]}:
            mine = _percent(found, base, label)
            where = f"{name}.{base}.{label}.step_overhead"
            values |= {where: _mean(mine), f"{where}.high": max(mine)} if mine else {}
    return values


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _percent(found: Found, base: str, label: str) -> list[float]:
    runs: list[dict[str, Any]] = [run for run in found["runs"] if (run["label"], run["state"]) == (label, "done")]
    shares = [run.get("step_overhead") for run in runs if base in (run["base"], "all")]
    return [100 * share for share in shares if share is not None]
