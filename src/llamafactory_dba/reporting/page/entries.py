"""What the report is about: runs, runs that differ only in their seed, domains."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from ...evaluation.results import Results
from ...evaluation.summary import Summary, key_of
from .curves import Curves
from .layers import Layers
from .sweep import Sweep


BASE = "base"
# settings that say where a run was written or which seed it had, not what it did
NOT_OF_THE_METHOD = ("seed", "data_seed", "output_dir", "run_name", "logging_dir")
NOT_OF_THE_MEASURING = ("model_hash", "seconds", "further_metrics")  # in "how it was measured": what each run has anew


class Mean(NamedTuple):
    """Mean and sample standard deviation over seeds; ``std`` is None for a single run."""

    mean: float
    std: float | None
    n: int


@dataclass(frozen=True)
class Entry:
    """One run of the report."""

    path: Path
    results: Results
    summary: Summary
    curves: Curves = field(default_factory=Curves)
    layers: Layers | None = None

    @property
    def label(self) -> str:
        """Name, and the seed where the name does not hold it."""
        run = self.results.run
        named = run.seed is not None and re.search(rf"(?<!\d){run.seed}(?!\d)", run.name)
        seed = "" if run.seed is None or named or run.method == BASE else f", seed {run.seed}"
        return f"{run.name}{seed}{' (diverged)' if self.curves.diverged is not None else ''}"


@dataclass(frozen=True)
class Series:
    """Runs that differ only in their seed; a run without such others is alone in its series."""

    label: str
    entries: tuple[Entry, ...]

    def number(self, name: str) -> Mean | None:
        """Of a field of `Summary`, such as ``s``: computed for each run, then averaged; None where a run lacks it."""
        return mean_of([getattr(entry.summary, name) for entry in self.entries])

    def cost(self, name: str) -> Mean | None:
        """Of a field of `Cost`."""
        return mean_of([getattr(entry.results.cost, name) for entry in self.entries])


@dataclass(frozen=True)
class Group:
    """The runs on one domain with the base models they are compared with; the latter come first."""

    domain: str
    bases: tuple[Entry, ...]
    runs: tuple[Entry, ...]
    series: tuple[Series, ...] = ()
    sweeps: tuple[Sweep, ...] = ()

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Bases, then runs."""
        return (*self.bases, *self.runs)

    @property
    def rows(self) -> tuple[Series, ...]:
        """Bases, then series, the best S first."""
        ranked = sorted(self.series, key=lambda item: -1.0 if (s := item.number("s")) is None else s.mean)[::-1]
        return (*(Series(entry.label, (entry,)) for entry in self.bases), *ranked)


@dataclass(frozen=True)
class Report:
    """Everything that the page shows. ``notes`` say what was left out or is not comparable."""

    groups: tuple[Group, ...]
    notes: tuple[str, ...]


def mean_of(values: Sequence[float | int | None]) -> Mean | None:
    """Over runs; None where one of them was not measured, since a mean over the others would be of other runs."""
    found = [float(value) for value in values if value is not None]
    if not found or len(found) < len(values):
        return None
    return Mean(mean(found), stdev(found) if len(found) > 1 else None, len(found))


def make_series(entries: Sequence[Entry]) -> tuple[Series, ...]:
    """Put runs together that differ only in their seed: same method, settings, models, data and tasks.

    Without a seed, or with the same seed twice, runs stay alone: what differs between them is not known.
    """
    by_kind: dict[str, list[Entry]] = {}
    for entry in entries:
        by_kind.setdefault(_kind(entry), []).append(entry)
    parts: list[tuple[Entry, ...]] = []
    for found in by_kind.values():
        seeds = [entry.results.run.seed for entry in found]
        together = None not in seeds and len(set(seeds)) == len(seeds)
        parts += [tuple(sorted(found, key=lambda e: e.results.run.seed or 0))] if together else [(e,) for e in found]
    names = [_name(part) for part in parts]
    return tuple(
        Series(name if names.count(name) == 1 else _longer(name, part, parts), part)
        for name, part in zip(names, parts, strict=True)
    )


def _kind(entry: Entry) -> str:
    results, run = entry.results, entry.results.run
    settings = {name: _lasting(x) for name, x in run.settings.items() if name not in NOT_OF_THE_METHOD}
    tasks = sorted([*key_of(task), task.task_version, task.n] for task in results.tasks)
    base = sorted([*key_of(change.score)] for change in entry.summary.tasks if change.base is not None)
    kind = [run.method, run.base_model, run.base_fingerprint, settings, results.data, tasks, base]
    return json.dumps(kind, sort_keys=True, default=str)


def _lasting(value: Any) -> Any:
    return {k: v for k, v in value.items() if k not in NOT_OF_THE_MEASURING} if isinstance(value, dict) else value


def _name(part: Sequence[Entry]) -> str:
    """Of a run: its label. Of several: their name without the seed, or else the method."""
    if len(part) == 1:
        return part[0].label
    names = {re.sub(rf"[\W_]*(seed)?[\W_]*{e.results.run.seed}$", "", e.results.run.name) for e in part}
    stem = names.pop() if len(names) == 1 else ""
    failed = sum(entry.curves.diverged is not None for entry in part)
    text = f"{stem or part[0].results.run.method or 'runs'} ({len(part)} seeds)"
    return f"{text} ({failed} of {len(part)} diverged)" if failed else text


def _longer(name: str, part: Sequence[Entry], parts: Sequence[Sequence[Entry]]) -> str:
    """The name with the settings that tell it from the others of that name, or else with its folder."""
    mine = part[0].results.run.settings
    others = [item[0].results.run.settings for item in parts if item is not part and _name(item) == name]
    keys = [key for key in mine if key not in NOT_OF_THE_METHOD and any(o.get(key) != mine[key] for o in others)]
    keys = [key for key in keys if not isinstance(mine[key], dict)]
    told = ", ".join(f"{key} {mine[key]}" for key in keys[:3]) or part[0].path.parent.name
    return f"{name} [{told}]"
