"""Time that the optimizer hooks of a method take, measured in its own runs, where other load changes both alike."""

from __future__ import annotations

from typing import Any

from .source import bases_of
from .tables import Found, by_base, markdown, name_of, plain
from .template import Value


def table(found: Found) -> str:
    """A row per method whose runs measured it, in % of the rest of a step: mean and range; empty without any."""

    def one(base: str) -> str:
        rows = []
        for entry in plain(found, base):
            values = _percent(found, base, entry["label"])
            if values:
                mean = sum(values) / len(values)
                spread = f"{min(values):.1f}–{max(values):.1f}"
                rows.append([name_of(entry["label"]), f"{mean:.1f}", spread, str(len(values))])
        return markdown(["method", "% of the rest", "range", "runs"], rows) if rows else ""

    return by_base(found, one)


def facts(found: Found, name: str) -> dict[str, Value]:
    """``SUITE.BASE.LABEL.step_overhead``, in %; ``.high`` is the highest of a run."""
    values: dict[str, Value] = {}
    for base in bases_of(found):
        for entry in plain(found, base):
            mine = _percent(found, base, entry["label"])
            where = f"{name}.{base}.{entry['label']}.step_overhead"
            values |= {where: sum(mine) / len(mine), f"{where}.high": max(mine)} if mine else {}
    return values


def _percent(found: Found, base: str, label: str) -> list[float]:
    runs: list[dict[str, Any]] = [run for run in found["runs"] if (run["label"], run["state"]) == (label, "done")]
    shares = [run.get("step_overhead") for run in runs if base in (run["base"], "all")]
    return [100 * share for share in shares if share is not None]
