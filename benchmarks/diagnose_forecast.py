"""For benchmarks/diagnose.py: the general loss that an anchor and its curvature predict, and where a curve turns."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from llamafactory_dba.anchor.config import read_config
from llamafactory_dba.anchor.curvature import load_curvature
from llamafactory_dba.anchor.format import load_anchor
from llamafactory_dba.core.fisher import Product
from llamafactory_dba.core.kronecker import Start, quadratic_form
from llamafactory_dba.core.lowrank import reconstruct


PATIENCE = 2  # predictions without a new minimum before it counts as turned


class Forecast:
    """⟨ĝ_G, Δθ⟩ and ½ Δθᵀ F Δθ: their sum is the change of the general loss that an anchor and its curvature predict.

    In nats per token that training counts: F is of the sum over a sequence's tokens, the anchor of the mean over all.

    Args:
        folders: anchors of the base model by kind of curvature, ``factored`` first, whose mean gradient is taken.
    """

    def __init__(self, folders: dict[str, Path]) -> None:
        first = next(iter(folders.values()))
        anchor = load_anchor(first, dtype=torch.float32)
        self.kinds = list(folders)
        self.anchor = {name: reconstruct(value) for name, value in anchor.tensors.items()}
        self.share, self.curvature = {}, {}
        for kind, folder in folders.items():
            config = read_config(folder)
            self.share[kind] = config.curvature.sequences / config.curvature.answers
            self.curvature[kind] = load_curvature(folder, config, self.anchor)

    def terms(self, changes: dict[str, Tensor]) -> list[float]:
        """The linear term, then the quadratic one of each kind."""
        linear = sum(float((self.anchor[n].view_as(c) * c).sum()) for n, c in changes.items() if n in self.anchor)
        return [linear, *(self._quadratic(kind, changes) for kind in self.kinds)]

    def _quadratic(self, kind: str, changes: dict[str, Tensor]) -> float:
        total = 0.0
        for name, change in changes.items():
            found = self.curvature[kind].get(name)
            if found is None:
                continue
            if found.diagonal is None:
                start = Start(whole=torch.zeros_like(change))
                total += sum(float(quadratic_form(change, term, start)) for term in found.terms)
            elif isinstance(found.diagonal, Product):
                total += float(found.diagonal.rows @ change.square() @ found.diagonal.columns) / 2
            else:
                total += float((found.diagonal.view_as(change) * change.square()).sum()) / 2
        return total * self.share[kind]


def predicted_turn(predicted: list[list[float]], kind: int) -> int | None:
    """The step at which the prediction of this kind counts as turned; None where it falls to the end."""
    return turn([(0, 0.0), *((int(line[0]), line[1] + line[2 + kind]) for line in predicted)], PATIENCE)


def turn(values: list[tuple[int, float]], patience: int) -> int | None:
    """The step of the first value that has so many others between it and the lowest before, or None."""
    lowest = 0
    for number, (step, value) in enumerate(values):
        if value < values[lowest][1]:
            lowest = number
        elif number - lowest >= patience:
            return step
    return None
