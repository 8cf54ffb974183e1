"""Training curves of a run folder: the host's log, ``dba_log.jsonl``, ``dba_gauge.jsonl``; down-sampled by means."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeGuard


HOST_LOG, HOST_STATE, STEP_LOG, GAUGE_LOG = (
    "trainer_log.jsonl",
    "trainer_state.json",
    "dba_log.jsonl",
    "dba_gauge.jsonl",
)
LOSS, NORM, HOST_NORM, GAUGE = "loss", "domain_grad_norm", "grad_norm", "gauge_"
STEP_CURVES = {
    "gamma": "boost weight γ",
    "similarity": "similarity s",
    "correction": "correction λ",
    "cosine": "cosine of g_D and anchor",  # methods/combination.py
    "anchor_weight": "weight of the anchor",
}
LOSSES = ("general_loss", "domain_loss")
GAUGE_CURVES = {
    "general_accuracy": "general accuracy, %",
    "general_loss": "general loss, nats/token",
    "domain_accuracy": "domain accuracy, %",
    "domain_loss": "domain loss, nats/token",
    "s": "joint score S, %",
    "forward_kl": "forward KL to the base, nats/token",
}
TITLES = {
    LOSS: "training loss",
    **STEP_CURVES,
    NORM: "gradient norm ‖g_D‖",
    **{GAUGE + name: f"gauge: {title}" for name, title in GAUGE_CURVES.items()},
}


@dataclass(frozen=True)
class Curve:
    """Values over optimizer steps, counted from 0 in dba_log.jsonl and from 1 in the host's log."""

    steps: tuple[float, ...] = ()
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class Curves:
    """All curves of a run.

    Attributes:
        of: by name, see `TITLES`; only those that were logged.
        diverged: the step from which on a loss or gradient norm was no number until the end; None where it was one.
        damaged: file name → lines that could not be read.
    """

    of: dict[str, Curve] = field(default_factory=dict)
    diverged: float | None = None
    damaged: dict[str, int] = field(default_factory=dict)


def read_curves(folder: Path, points: int) -> Curves:
    """Read what a run logged; a run without logs has no curves.

    Args:
        folder: of the run.
        points: at most so many per curve.
    """
    damaged: dict[str, int] = {}
    host = list(read_lines(folder / HOST_LOG, damaged)) or _history(folder / HOST_STATE)
    count = "current_steps" if host and "current_steps" in host[0] else "step"
    steps = list(read_lines(folder / STEP_LOG, damaged))
    gauge = list(read_lines(folder / GAUGE_LOG, damaged))
    found = {LOSS: _curve(host, count, LOSS)}
    found |= {name: _curve(steps, "step", name) for name in (*STEP_CURVES, NORM)}
    found |= {GAUGE + name: _curve(gauge, "step", name) for name in GAUGE_CURVES}
    # null in the gauge's log is its word for "not finite"
    judged = [{name: math.nan if value is None else value for name, value in row.items()} for row in gauge]
    logs = (
        (host, count, LOSS),
        (host, count, HOST_NORM),
        (steps, "step", NORM),
        *[(judged, "step", n) for n in LOSSES],
    )
    ends = [end for rows, step, name in logs if (end := _lost_from(rows, step, name)) is not None]
    shown = {name: thin(curve, points) for name, curve in found.items() if curve.steps}
    return Curves(shown, min(ends, default=None), damaged)


def thin(curve: Curve, points: int) -> Curve:
    """Means over neighbours, so that at most ``points`` are left; a short curve stays as it is."""
    size = -(-len(curve.steps) // points)
    if size <= 1:
        return curve
    return Curve(_means(curve.steps, size), _means(curve.values, size))


def read_lines(path: Path, damaged: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Rows of a log; how many lines are none is added to ``damaged``, but for a last one that a kill has cut off."""
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if isinstance(row, dict):
                yield row
            elif line.endswith("\n") and line.strip():
                damaged[path.name] = damaged.get(path.name, 0) + 1


def is_number(value: object) -> TypeGuard[float]:
    """Whether it can be drawn: a diverged run logs NaN and infinities; a gap says so without breaking the axes."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _means(values: tuple[float, ...], size: int) -> tuple[float, ...]:
    parts = [values[start : start + size] for start in range(0, len(values), size)]
    return tuple(sum(part) / len(part) for part in parts)


def _curve(rows: Iterable[dict[str, Any]], step: str, name: str) -> Curve:
    # a step that was made again after a resume counts as it was made last
    pairs = {row[step]: row[name] for row in rows if name in row and is_number(row[name]) and is_number(row.get(step))}
    order = sorted(pairs)
    return Curve(tuple(map(float, order)), tuple(float(pairs[x]) for x in order))


def _lost_from(rows: Iterable[dict[str, Any]], step: str, name: str) -> float | None:
    """The first step of the stretch without numbers that reaches to the end of the log; None where there is none."""
    start: float | None = None
    for row in rows:
        value = row.get(name)
        if isinstance(value, float) and not math.isfinite(value) and is_number(row.get(step)):
            start = float(row[step]) if start is None else start
        elif is_number(value):
            start = None
    return start


def _history(path: Path) -> list[dict[str, Any]]:
    try:
        history = json.loads(path.read_text(encoding="utf-8"))["log_history"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [row for row in history if isinstance(row, dict)] if isinstance(history, list) else []
