"""From the statuses of a plan's runs to compare.json: means over seeds and domains, differences, matched scores.

    {"format": "llamafactory-dba/compare", "format_version": 1, "suite": {name, version, title, reference, seeds},
     "runs":        [{base, domain, method, label, setting, seed, hash, state, error, seconds, steps, alpha, s_d,
                      s_g, s, tasks, gauge, step_overhead, results, taken}],
     "bases":       [{base, domain, s_d, s_g, s, tasks, gauge, results}],
     "cells":       [{base, domain, label, method, setting, n, diverged, missing, s_d, s_g, s}],
     "methods":     [{base, label, method, setting, domains, n, diverged, missing, s_d, s_g, s, seconds,
                      step_overhead, general, general_n}],
     "differences": [{base, label, reference, mean, se, low, high, p, n, lost}],
     "matched":     [{base, curve, label, mean, se, …, n, without, above, why}],
     "left_out": {method: why}, "failed": [...], "machine": {…}, "versions": {…}, "created": "…"}

Each of s_d, s_g, s in cells and methods is {mean, std, n} or null, in %. A method's mean over domains is taken seed by
seed, over seeds that have every domain; its ``std`` is over these seeds. ``base`` "all": over all base models. A
diverged run has a place in the counts and, its scores being of no model that anybody would use, none in the means.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DBAError
from .plan import Plan
from .state import DIVERGED, DONE, Status
from .statistics import Difference, Spread, paired_bootstrap, spread


FORMAT, FORMAT_VERSION = "llamafactory-dba/compare", 1
SCORES = ("s_d", "s_g", "s")
ALL = "all"


def read_comparison(path: Path) -> dict[str, Any]:
    """A compare.json.

    Raises:
        DBAError: it cannot be read, or is something else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DBAError(
            "The comparison cannot be read.", expected="a compare.json", found=f"{path}: {error}"
        ) from error
    if not isinstance(found, dict) or (found.get("format"), found.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise DBAError("This is no comparison.", expected=f"{FORMAT}, version {FORMAT_VERSION}", found=path)
    return found


@dataclass(frozen=True)
class Row:
    """One measured model: a run, or a point between base and run."""

    base: str
    domain: str
    method: str
    label: str
    seed: int
    state: str
    setting: Mapping[str, Any] = field(default_factory=dict)
    alpha: float | None = None
    error: str = ""
    seconds: float | None = None
    steps: int | None = None
    s_d: float | None = None
    s_g: float | None = None
    s: float | None = None
    tasks: Mapping[str, Any] = field(default_factory=dict)
    gauge: Sequence[Sequence[float]] = ()
    step_overhead: float | None = None
    results: str = ""
    hash: str = ""
    taken: str = ""


def rows_of(plan: Plan, statuses: Mapping[str, Status]) -> list[Row]:
    """A row for every run and point of the plan, whether it is done or not (``missing``)."""
    rows = []
    for run in plan.runs:
        status = statuses.get(run.folder)
        taken = status.taken if status is not None else ""
        about: dict[str, Any] = {
            "base": run.base,
            "domain": run.domain,
            "method": run.method,
            "seed": run.seed,
            "hash": run.hash,
            "taken": taken,
        }
        state = status.state if status is not None and status.state in (DONE, DIVERGED) else "missing"
        error = status.error if status is not None else ""
        if not run.of:
            scores = status.scores if status is not None and state == DONE else {}
            rows.append(
                Row(
                    **about,
                    label=run.label,
                    state=state,
                    setting=run.setting,
                    error=error,
                    seconds=status.seconds if status is not None and state != "missing" else None,
                    steps=run.steps,
                    results=f"{run.folder}/out/results.json" if scores and not taken else "",
                    **_scores(scores),
                )
            )
            continue
        points = {point["alpha"]: point for point in (status.points if status is not None else ())}
        for alpha in run.alphas:
            point = points.get(alpha, {})
            place = f"{run.folder}/{point['results']}" if point and not taken else ""
            rows.append(
                Row(
                    **about,
                    label=f"{run.label} [alpha={alpha:g}]",
                    state=state,
                    setting={"alpha": alpha},
                    alpha=alpha,
                    error=error,
                    results=place,
                    **_scores(point),
                )
            )
    return rows


def _scores(raw: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: raw.get(key) for key in (*SCORES, "step_overhead")}
    return {**found, "tasks": raw.get("tasks", {}), "gauge": raw.get("gauge", ())}


def cells_of(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Over seeds: a cell for each base, domain and label."""
    return [
        {
            "base": base,
            "domain": domain,
            "label": label,
            "method": mine[0].method,
            "setting": dict(mine[0].setting),
            **_counts(mine),
            **{key: _spread([row for row in mine if row.state == DONE], key) for key in SCORES},
        }
        for (base, domain, label), mine in group_by(rows, "base", "domain", "label").items()
    ]


def methods_of(rows: Sequence[Row], bases: Sequence[str]) -> list[dict[str, Any]]:
    """Over domains and seeds: an entry for each label on each base, and over all bases where there are several."""
    found = []
    for base in [*bases, ALL] if len(bases) > 1 else bases:
        here = [row for row in rows if base in (row.base, ALL)]
        for (label,), mine in group_by(here, "label").items():
            places = {(row.base, row.domain) for row in mine}
            entry: dict[str, Any] = {
                "base": base,
                "label": label,
                "method": mine[0].method,
                "setting": dict(mine[0].setting),
                "domains": sorted({row.domain for row in mine}),
                **_counts(mine),
            }
            whole = [
                group
                for group in group_by([row for row in mine if row.state == DONE], "seed").values()
                if {(row.base, row.domain) for row in group} == places
            ]
            for key in SCORES:
                means = [_mean([getattr(row, key) for row in group]) for group in whole]
                entry[key] = _plain(spread([mean for mean in means if mean is not None]))
            seconds = [row.seconds for row in mine if row.seconds is not None]
            entry["seconds"] = _plain(spread(seconds))
            entry["step_overhead"] = _spread([row for row in mine if row.state == DONE], "step_overhead")
            entry["general"] = _general(mine)
            entry["general_n"] = sum(row.state == DONE and _has_general(row) for row in mine)
            found.append(entry)
    return found


def differences_of(rows: Sequence[Row], bases: Sequence[str], reference: str) -> list[dict[str, Any]]:
    """In S, of every label from the reference, over pairs of the same base, domain and seed."""
    found = []
    for base in [*bases, ALL] if len(bases) > 1 else bases:
        here = [row for row in rows if base in (row.base, ALL)]
        theirs = {(row.base, row.domain, row.seed): row for row in here if row.label == reference}
        for (label,), mine in group_by(here, "label").items():
            if label == reference:
                continue
            pairs = [(row, theirs.get((row.base, row.domain, row.seed))) for row in mine]
            whole = [(a.s, b.s) for a, b in pairs if b is not None and a.s is not None and b.s is not None]
            entry: dict[str, Any] = {
                "base": base,
                "label": label,
                "reference": reference,
                "lost": len(mine) - len(whole),
            }
            result = paired_bootstrap(*zip(*whole, strict=True)) if whole else None
            found.append({**entry, **difference_fields(result)})
    return found


def _counts(rows: Sequence[Row]) -> dict[str, int]:
    return {
        "n": sum(row.state == DONE for row in rows),
        "diverged": sum(row.state == DIVERGED for row in rows),
        "missing": sum(row.state == "missing" for row in rows),
    }


def _general(rows: Sequence[Row]) -> dict[str, float]:
    """Mean of each general task, so that no average hides a skill."""
    values: dict[str, list[float]] = {}
    for row in rows:
        for name, task in row.tasks.items() if row.state == DONE else ():
            if task["role"] == "general":
                values.setdefault(name, []).append(task["value"])
    return {name: sum(found) / len(found) for name, found in values.items()}


def _has_general(row: Row) -> bool:
    return any(task["role"] == "general" for task in row.tasks.values())


def group_by(rows: Iterable[Row], *names: str) -> dict[tuple[Any, ...], list[Row]]:
    """Rows with the same values of some fields, together; in the order of the rows."""
    found: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(getattr(row, name) for name in names), []).append(row)
    return found


def _spread(rows: Sequence[Row], key: str) -> dict[str, Any] | None:
    return _plain(spread([value for row in rows if (value := getattr(row, key)) is not None]))


def _mean(values: Sequence[float | None]) -> float | None:
    kept = [value for value in values if value is not None]
    return sum(kept) / len(kept) if len(kept) == len(values) and kept else None


def _plain(value: Spread | None) -> dict[str, Any] | None:
    return None if value is None else value._asdict()


def difference_fields(value: Difference | None) -> dict[str, Any]:
    """As compare.json has it; None: nothing to compare."""
    if value is None:
        return {"mean": None, "se": None, "low": None, "high": None, "p": None, "n": 0}
    return asdict(value)
