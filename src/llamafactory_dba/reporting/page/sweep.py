"""``frontier.json``: the models between the base and a fine-tuned one, what an interpolation gives for free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...errors import DBAError
from ...evaluation.frontier import FILE, read_frontier
from ...evaluation.summary import TaskKey
from .curves import is_number


@dataclass(frozen=True)
class Point:
    """One model between the two, scores in %."""

    alpha: float
    s_d: float | None
    s_g: float | None
    s: float | None


@dataclass(frozen=True)
class Sweep:
    """The points of one frontier by rising alpha; ``tasks`` are those that count for S.

    ``label`` is the name of the fine-tuned model's folder, ``tuned``, until a run is found to be in it.
    """

    label: str
    path: Path
    domain: str
    points: tuple[Point, ...]
    tasks: frozenset[TaskKey] = frozenset()
    tuned: Path | None = None

    @property
    def base(self) -> Point | None:
        """The base model."""
        return next((point for point in self.points if point.alpha == 0), None)

    @property
    def best(self) -> Point | None:
        """Of the highest S."""
        scored = [point for point in self.points if point.s is not None]
        return max(scored, key=lambda point: point.s or 0.0, default=None)


def read_sweep(path: Path, notes: list[str]) -> tuple[Sweep | None, list[Path]]:
    """A frontier without its domain, and the results files of its points; None and a note where it is damaged."""
    try:
        found = read_frontier(path)
    except DBAError as error:
        notes.append(f"{path} cannot be read and was left out: {error.found}")
        return None, []
    points, files = [], []
    for point in found.points:
        # a score is a share of 100; what is none is damage
        scores = [getattr(point, name) for name in ("s_d", "s_g", "s")]
        fine = all(x is None or (is_number(x) and 0 <= x <= 100) for x in scores)
        if not fine or not is_number(point.alpha) or not isinstance(point.results, str):
            notes.append(f"{path}: the damaged point {point.alpha!r} was left out.")
            continue
        points.append(Point(float(point.alpha), *scores))
        files.append((path.parent / point.results).resolve())
    if not points:
        notes.append(f"{path}: no point could be read, so it was left out.")
        return None, files
    tuned = Path(str(found.tuned))
    ordered = tuple(sorted(points, key=lambda point: point.alpha))
    return Sweep(tuned.name or "the fine-tuned model", path, "", ordered, tuned=tuned), files


def sweep_files(folder: Path) -> list[Path]:
    """Frontier files below a folder."""
    return sorted(folder.rglob(FILE)) if folder.is_dir() else []
