"""A suite that runs again, with other seeds, what another suite has run: its verdict alone, and with both together."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from llamafactory_dba.errors import DBAError

from .facts import difference_facts
from .pairs import RECOMMENDED, gain
from .source import bases_of, is_plain
from .tables import RIVALS, Found, verdict
from .template import Value


def together(more: Found, first: Found) -> dict[str, Any]:
    """The runs of both, of the methods of ``more``; only what `verdict` and `facts` read.

    Raises:
        DBAError: both have a run of the same method, base model, domain and seed, which would count twice; or their
            base models are different builds, which their own scores tell.
    """
    theirs, mine = (
        {(item["base"], item["domain"]): (item["s_d"], item["s_g"]) for item in found["bases"]}
        for found in (first, more)
    )
    other = [place for place, scores in mine.items() if theirs.get(place, scores) != scores]
    if other:
        raise DBAError(
            "Two comparisons that are to be taken together are of different builds of a base model.",
            expected=f"scores of {other[0]} as in {first['suite']['name']}: {theirs[other[0]]}",
            found=f"{mine[other[0]]} in {more['suite']['name']}",
            next_step=f"run {more['suite']['name']} on the build of {first['suite']['name']}",
        )
    labels = {entry["label"] for entry in more["methods"]}
    places = {_place(run) for run in more["runs"]}
    runs = [run for run in first["runs"] if run["label"] in labels]
    twice = sorted(str(place) for place in places & {_place(run) for run in runs})
    if twice:
        raise DBAError(
            "Two comparisons that are to be taken together have runs in common.",
            expected=f"other seeds in {more['suite']['name']} than in {first['suite']['name']}",
            found=", ".join(twice[:3]),
        )
    return {**more, "runs": [*more["runs"], *runs]}


def tables(more: Found, first: Found | None) -> list[str]:
    """The verdict of these seeds, and that of all, each after a line that says which it is."""
    parts = ["These seeds alone, S ± error over pairs (standard errors by pairs):", verdict(more)]
    if first is not None:
        whole = together(more, first)
        seeds = ", ".join(map(str, sorted({run["seed"] for run in whole["runs"]})))
        parts += [f"With those of {first['suite']['name']} (seeds {seeds}):", verdict(whole)]
    return parts


def facts(found: Found, name: str) -> dict[str, Value]:
    """``SUITE.BASE.LABEL.ahead RIVAL``, of the recommended setting and its variants."""
    values: dict[str, Value] = {}
    for base in bases_of(found):
        labels = [entry["label"] for entry in found["methods"] if entry["base"] == base and is_plain(entry)]
        for label in (label for label in labels if label.startswith(RECOMMENDED)):
            for rival in RIVALS:
                item = gain(found, base, label, rival)
                where = f"{name}.{base}.{label}.ahead {rival}"
                values |= difference_facts(where, asdict(item.pairs) if item else {})
                values[f"{where}.errors"] = item and item.pairs.errors
                values[f"{where}.wins"] = item and item.wins
    return values


def _place(run: dict[str, Any]) -> tuple[str, str, str, int]:
    return run["label"], run["base"], run["domain"], run["seed"]
