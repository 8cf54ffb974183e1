"""``dba_layers.jsonl`` of a run folder: similarity of domain gradient and anchor, tensor by tensor, over the steps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .curves import is_number, read_lines


LAYER_LOG = "dba_layers.jsonl"
COLUMNS = 100  # steps of a heat map at most
MOST = 12  # kinds of module with a panel of their own
OTHERS = "outside the layers"
END = re.compile(r"\.(weight|default|default\.weight)$")


@dataclass(frozen=True)
class Panel:
    """One kind of module: ``values`` are signed cosines, (rows, steps), NaN where nothing was logged."""

    kind: str
    rows: tuple[str, ...]
    values: npt.NDArray[np.float64]


@dataclass(frozen=True)
class Layers:
    """All panels of a run. ``dropped`` are kinds without a panel; ``mixed`` says that a row is a mean of tensors."""

    steps: tuple[float, ...]
    panels: tuple[Panel, ...]
    dropped: tuple[str, ...] = ()
    mixed: bool = False

    @property
    def largest(self) -> float:
        """Size of the largest cosines of matrices but for the top percent, where a single spike would pale the rest.

        A vector of few numbers has large cosines by chance, so norms and biases have no say where there are matrices.
        """
        matrices = [panel for panel in self.panels if panel.kind != OTHERS and not _is_small(panel.kind)]
        values = np.concatenate([panel.values.ravel() for panel in matrices or self.panels])
        if np.isnan(values).all():
            return 0.0
        return float(np.nanquantile(np.abs(values), 0.99))


def read_layers(folder: Path, damaged: dict[str, int], columns: int = COLUMNS) -> Layers | None:
    """Read the log; None where there is none, or nothing readable in it.

    Args:
        folder: of the run.
        damaged: gets the number of lines that were left out.
        columns: at most so many steps; neighbours are averaged.
    """
    path = folder / LAYER_LOG
    rows: dict[float, dict[str, float]] = {}
    bad = 0
    for row in read_lines(path, damaged):
        step, found = row.get("step"), row.get("similarity")
        if not is_number(step) or not isinstance(found, dict):
            bad += 1
            continue
        rows[float(step)] = {name: float(x) for name, x in found.items() if is_number(x) and abs(x) <= 1.001}
    if bad:
        damaged[path.name] = damaged.get(path.name, 0) + bad
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not names:
        return None
    steps = sorted(rows)
    table = np.array([[rows[step].get(name, np.nan) for step in steps] for name in names])
    size = -(-len(steps) // columns)
    parts = range(0, len(steps), size)
    table = np.stack([_mean(table[:, start : start + size], 1) for start in parts], axis=1)
    return _panels(tuple(steps[start] for start in parts), names, table)


def _panels(steps: tuple[float, ...], names: list[str], table: npt.NDArray[np.float64]) -> Layers:
    places: dict[str, dict[int | str, list[int]]] = {}
    for place, name in enumerate(names):
        kind, layer = split(name)
        places.setdefault(kind, {}).setdefault(layer, []).append(place)
    # matrices before norms and biases, so that the many small tensors are what is left out
    order = sorted(places, key=lambda kind: (kind == OTHERS, _is_small(kind)))
    shown = order if len(order) <= MOST else [*[kind for kind in order if kind != OTHERS][: MOST - 1], OTHERS]
    panels = []
    for kind in (kind for kind in shown if kind in places):
        found = places[kind]
        labels = sorted(found, key=lambda key: (isinstance(key, str), key))
        values = np.stack([_mean(table[found[label]], 0) for label in labels])
        panels.append(Panel(kind, tuple(map(str, labels)), values))
    mixed = any(len(found) > 1 for kind in places.values() for found in kind.values())
    return Layers(steps, tuple(panels), tuple(kind for kind in order if kind not in shown), mixed)


def split(name: str) -> tuple[str, int | str]:
    """Kind of module and layer of a tensor: ``model.layers.3.mlp.up_proj.weight`` is (``mlp.up_proj``, 3).

    Experts of one layer are of one kind. A tensor outside the layers is a row of its own.
    """
    plain = END.sub("", END.sub("", name))
    found = re.search(r"(?:^|\.)(?:layers|h|blocks|layer)\.(\d+)\.(.+)$", plain)
    if not found:
        return OTHERS, ".".join(plain.split(".")[-2:]) if "lora" in plain else plain.rsplit(".", 1)[-1]
    return re.sub(r"\.\d+(?=\.|$)", ".*", found[2]), int(found[1])


def _is_small(kind: str) -> bool:
    return "norm" in kind or "bias" in kind


def _mean(values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    """Over what was logged; NaN where nothing was."""
    known = ~np.isnan(values)
    count = known.sum(axis)
    total = np.where(known, values, 0.0).sum(axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def common_scale(found: Iterable[Layers]) -> float:
    """One colour scale for the maps of a page, so that they can be compared."""
    return max((item.largest for item in found), default=0.0) or 1e-6
