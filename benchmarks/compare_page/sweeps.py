"""One setting of a method at a time: the table of docs/results.md from a comparison whose point is its sweeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llamafactory_dba.compare.suite import Suite
from llamafactory_dba.compare.table import ALL

from .choice import Candidate, choose
from .source import bases_of, title_of
from .tables import NONE, markdown, spread


def table(found: Mapping[str, Any], suite: Suite) -> str:
    """A row for each value of each swept key, in rising order; the method's own value is bold.

    Args:
        found: content of compare.json.
        suite: what it is of.
    """
    bases = [base for base in bases_of(found) if base != ALL]
    entries = {(entry["base"], entry["label"]): entry for entry in found["methods"]}
    rows = []
    for choice in choose(found, suite):
        for axis in choice.axes:
            for item in axis.grid:
                cells = [_cell(entries.get((base, item.label))) for base in bases]
                rows.append([f"`{choice.method}`", f"`{axis.key}`", _value(item), *cells])
    reference = found["suite"]["reference"]
    rows.append([f"`{reference}`", "", "", *(_cell(entries.get((base, reference))) for base in bases)])
    return markdown(["method", "key", "value", *(f"{title_of(base)}: S (S_D, S_G), seeds" for base in bases)], rows)


def _value(item: Candidate) -> str:
    text = f"{item.value:g}" if isinstance(item.value, int | float) else str(item.value)
    return f"**{text}**" if item.own else text


def _cell(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return NONE
    lost = f", {entry['diverged']} diverged" if entry["diverged"] else ""
    if not entry["s"]:
        return NONE + lost
    return f"{spread(entry['s'])} ({entry['s_d']['mean']:.1f}, {entry['s_g']['mean']:.1f}), {entry['s']['n']}{lost}"
