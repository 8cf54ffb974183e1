"""The recommended setting against each other method: S over the pairs (base, domain, seed) that both have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from llamafactory_dba.compare.statistics import Difference, cluster_bootstrap, paired_bootstrap
from llamafactory_dba.compare.table import ALL

from .source import is_plain


RECOMMENDED = "elastic_kronecker"
ERRORS = 2.0  # so many standard errors are asked for


@dataclass(frozen=True)
class Gain:
    """One method minus another, in S.

    Attributes:
        label: the other method.
        pairs: error from a bootstrap over the pairs.
        domains: error from a bootstrap over whole (base, domain), since the pairs of one share test questions.
        clusters: number of these.
        wins: pairs in which the difference is above 0.
    """

    label: str
    pairs: Difference
    domains: Difference
    clusters: int
    wins: int

    @property
    def errors(self) -> float | None:
        """The smaller of the two numbers of standard errors, in size; None where one pair gives none."""
        found = [item.errors for item in (self.pairs, self.domains) if item.errors is not None]
        return min(found, key=abs) if found else None

    @property
    def beaten(self) -> bool | None:
        """Whether the difference is above so many standard errors by both ways; None where there are none."""
        return None if self.errors is None else self.errors > ERRORS


def gain(found: Mapping[str, Any], base: str, label: str, other: str) -> Gain | None:
    """Difference in S between two labels; None without a pair.

    Args:
        found: content of compare.json.
        base: a base model, or "all".
        label: the method.
        other: what is taken from it.
    """
    scores: dict[str, dict[tuple[str, str, int], float]] = {label: {}, other: {}}
    for run in found["runs"]:
        if run["label"] in scores and base in (run["base"], ALL) and run.get("s") is not None:
            scores[run["label"]][run["base"], run["domain"], run["seed"]] = run["s"]
    places = [place for place in scores[label] if place in scores[other]]
    if not places:
        return None
    first, second = ([scores[name][place] for place in places] for name in (label, other))
    clusters = [place[:2] for place in places]
    return Gain(
        other,
        paired_bootstrap(first, second),
        cluster_bootstrap(first, second, clusters),
        len(set(clusters)),
        sum(a > b for a, b in zip(first, second, strict=True)),
    )


def gains(found: Mapping[str, Any], base: str, label: str = RECOMMENDED) -> dict[str, Gain | None]:
    """Of a label minus every other plain one, in the suite's order; None where no pair is done."""
    others = [entry["label"] for entry in found["methods"] if entry["base"] == base and is_plain(entry)]
    return {other: gain(found, base, label, other) for other in others if other != label}


def best_of(found: Mapping[str, Any], base: str, prefix: str) -> str | None:
    """The label with the best mean S of those that begin like this (``mix_``: mixing with general data)."""
    entries = [
        entry
        for entry in found["methods"]
        if entry["base"] == base and is_plain(entry) and entry["label"].startswith(prefix) and entry["s"]
    ]
    return max(entries, key=lambda entry: entry["s"]["mean"])["label"] if entries else None


def time_ratio(found: Mapping[str, Any], base: str, label: str) -> tuple[float, float, float] | None:
    """Quartiles (25, 50, 75 %) of seconds over the reference's, pair by pair; None without a pair.

    Seconds are of training and measuring together. They are to be trusted from runs one at a time only: see
    `source.at_a_time`.
    """
    seconds: dict[str, dict[tuple[str, str, int], float]] = {}
    for run in found["runs"]:
        if run["state"] == "done" and run.get("seconds") and base in (run["base"], ALL):
            seconds.setdefault(run["label"], {})[run["base"], run["domain"], run["seed"]] = run["seconds"]
    mine, theirs = seconds.get(label, {}), seconds.get(found["suite"]["reference"], {})
    ratios = sorted(mine[place] / theirs[place] for place in mine if place in theirs)
    if not ratios:
        return None

    def at(share: float) -> float:
        place = share * (len(ratios) - 1)
        low = int(place)
        high = min(low + 1, len(ratios) - 1)
        return ratios[low] + (place - low) * (ratios[high] - ratios[low])

    return at(0.25), at(0.5), at(0.75)
