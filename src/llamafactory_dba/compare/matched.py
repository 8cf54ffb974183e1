"""Forgetting at equal domain score: methods against curves of models; see docs/compare.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .plan import Plan
from .state import DONE
from .statistics import Point, at_domain_score, paired_bootstrap
from .table import Row, difference_fields, group_by


STEPS = " (steps, gauge)"
Place = tuple[str, str, int]


def matched_of(rows: Sequence[Row], base_points: Mapping[tuple[str, str], Point], plan: Plan) -> list[dict[str, Any]]:
    """S_G of each plain method minus S_G of each curve at the method's own S_D: above 0, the method forgets less.

    Curves: the points between base and tuned weights of a method (with both ends), and sweeps with their method's
    plain run, and the steps of a run that the gauge watched. Curves are followed seed by seed, so that each comparison
    is paired. The gauge asks questions of its own, so on its curves the method stands with its own gauge's last value.
    ``without`` counts pairs that the curve does not reach, ``above`` those of them in which the method learned more
    than any model on it.
    """
    curves = _curves(rows, base_points, plan)
    plain = [
        row for row in rows if not row.setting and row.state == DONE and row.s_d is not None and row.s_g is not None
    ]
    found = []
    names = list(dict.fromkeys(name for name, _ in curves))
    for base in plan.suite.bases:
        for name in names:
            own = name.split(" ")[0]
            for (label,), mine in group_by([row for row in plain if row.base == base], "label").items():
                if label == own:
                    continue
                ours, theirs, why, above = [], [], [], 0
                for row in mine:
                    curve = curves.get((name, (row.base, row.domain, row.seed)))
                    if curve is None:
                        continue
                    own_point = Point(float(row.s_d or 0.0), float(row.s_g or 0.0))
                    if name.endswith(STEPS):
                        if not row.gauge:
                            continue
                        own_point = Point(*row.gauge[-1][1:])
                    point = at_domain_score(curve, own_point.s_d)
                    if point.s_g is None:
                        above += own_point.s_d > max(each.s_d for each in curve)
                        why.append(f"{row.domain} seed {row.seed}: {point.why}")
                        continue
                    ours.append(own_point.s_g)
                    theirs.append(point.s_g)
                if not ours and not why:
                    continue
                result = paired_bootstrap(ours, theirs) if ours else None
                entry = {"base": base, "curve": name, "label": label, "without": len(why), "above": above}
                entry["why"] = why[:5]
                found.append({**entry, **difference_fields(result)})
    return found


def _curves(
    rows: Sequence[Row], base_points: Mapping[tuple[str, str], Point], plan: Plan
) -> dict[tuple[str, Place], list[Point]]:
    curves: dict[tuple[str, Place], list[tuple[float, Point]]] = {}

    def add(name: str, row: Row, at: float) -> None:
        if row.state == DONE and row.s_d is not None and row.s_g is not None:
            where = (row.base, row.domain, row.seed)
            curves.setdefault((name, where), []).append((at, Point(row.s_d, row.s_g)))

    frontiers = {name: method for name, method in plan.suite.methods.items() if method.of}
    for row in rows:
        if not row.setting and row.state == DONE and row.gauge:
            where = (row.base, row.domain, row.seed)
            curves[row.label + STEPS, where] = [(step, Point(s_d, s_g)) for step, s_d, s_g in row.gauge]
        if row.alpha is not None:
            add(f"{frontiers[row.method].of} ({row.method})", row, row.alpha)
        elif not row.setting:
            for name, method in frontiers.items():
                if method.of == row.label:
                    add(f"{row.label} ({name})", row, 1.0)
            for key, values in _sweep_keys(plan, row.method).items():
                at = _number(_plain_value(plan, row, key))
                if at is not None and at not in values:
                    add(f"{row.method} ({key})", row, at)
        else:
            (key, value), *_ = row.setting.items()
            at = _number(value)
            if at is not None:
                add(f"{row.method} ({key})", row, at)
    found = {}
    for (name, where), points in curves.items():
        if any(name == f"{method.of} ({key})" for key, method in frontiers.items()):
            start = base_points.get(where[:2])
            if start is not None:
                points.append((0.0, start))
        if len(points) > 1:
            found[name, where] = [point for _, point in sorted(points)]
    return found


def _sweep_keys(plan: Plan, method: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for sweep in plan.suite.sweeps.values():
        if method in sweep.methods:
            found.setdefault(sweep.key, [])
    return found


def _plain_value(plan: Plan, row: Row, key: str) -> Any:
    for run in plan.runs:
        if (run.base, run.domain, run.label, run.seed) == (row.base, row.domain, row.label, row.seed):
            return run.keys.get(key)
    return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
