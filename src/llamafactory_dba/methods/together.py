"""What is restored in one go: the same small matrix of several layers, and vectors.

A restoration is dozens of operations on each tensor. Where tensors are small, starting them takes longer than what
they do, on a GPU as on a CPU. Stacking costs two copies of the weights, which larger matrices would notice.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..core.fisher import Change, restore_diagonal_
from ..core.kronecker import Start, Term, layout, restore_each_, stacked
from .held import Held


MOST = 8  # matrices in one stack
SMALL = 2**17  # numbers of a matrix that is stacked, on a CPU: half a MiB in fp32
DEVICE_SMALL = 2**22  # by arithmetic: no GPU was at hand to measure it on


class Alone(NamedTuple):
    """One tensor."""

    target: Held

    def restore_(self, strength: float, products: torch.dtype | None = None) -> Change:
        """The proximal step in place; the sum of the terms' quadratic forms around their own steps."""
        target = self.target
        if target.diagonal is not None:
            return restore_diagonal_(target.parameter, *target.diagonal, strength)
        return restore_each_(target.parameter, target.terms, strength, products=products)


class Stack(NamedTuple):
    """Matrices of one shape with one Kronecker term each, `core.kronecker.stacked`."""

    parameters: Sequence[nn.Parameter]
    term: Term
    start: Start

    @torch.no_grad()
    def restore_(self, strength: float, products: torch.dtype | None = None) -> Change:
        """As `Alone.restore_` of each, up to rounding."""
        weights = torch.stack([item.detach() for item in self.parameters])
        change = restore_each_(weights, [(self.term, self.start)], strength, products=products)
        return _put_back(self.parameters, weights.unbind(), change, strength)


class Row(NamedTuple):
    """Vectors with a diagonal each, end to end."""

    parameters: Sequence[nn.Parameter]
    curvature: Tensor
    start: Tensor

    @torch.no_grad()
    def restore_(self, strength: float, products: torch.dtype | None = None) -> Change:
        """As `Alone.restore_` of each; the weights are equal bit for bit."""
        weights = torch.cat([item.detach() for item in self.parameters])
        change = restore_diagonal_(weights, self.curvature, self.start, strength)
        return _put_back(self.parameters, weights.split([len(item) for item in self.parameters]), change, strength)


def together(targets: Iterable[Held]) -> list[Alone | Stack | Row]:
    """Puts together what may be; the order of the targets is kept within a stack.

    Targets of one optimizer group only: they are restored with one strength. What is stacked is copied; matrices that
    share an input share the stack of its eigenvectors, too.
    """
    found: list[Alone | Stack | Row] = []
    matrices: dict[object, list[Held]] = defaultdict(list)
    vectors: dict[object, list[Held]] = defaultdict(list)
    for target in targets:
        like = _like(target)
        if like is None:
            found.append(Alone(target))
        else:
            (vectors if target.diagonal is not None else matrices)[like].append(target)
    stack = _Stacking()
    for members in matrices.values():
        for first in range(0, len(members), MOST):
            some = members[first : first + MOST]
            joined = stacked([target.terms[0] for target in some], stack) if len(some) > 1 else None
            found.append(Alone(some[0]) if joined is None else Stack([item.parameter for item in some], *joined))
    for members in vectors.values():
        sides = zip(*(target.diagonal or () for target in members), strict=True)
        curvature, start = (torch.cat([item for item in side if isinstance(item, Tensor)]) for side in sides)
        found.append(Row([item.parameter for item in members], curvature, start))
    return found


def _like(target: Held) -> object | None:
    """Equal for what may be put together; None for what stays alone."""
    parameter = target.parameter
    kind = (parameter.dtype, parameter.device)
    if target.diagonal is not None:
        curvature, start = target.diagonal
        if parameter.dim() != 1 or not isinstance(curvature, Tensor):
            return None
        return (*kind, curvature.dtype, curvature.device, start.dtype, start.device)
    small = SMALL if parameter.device.type == "cpu" else DEVICE_SMALL
    if len(target.terms) != 1 or parameter.numel() > small:
        return None
    term, start = target.terms[0]
    found = layout(term, start)
    if found is None or any(item is not None and item.device != parameter.device for item in start):
        return None
    # the same matrix of other layers, so that those with one input have equal stacks
    return (*kind, re.sub(r"\d+", "*", target.name), *found)


class _Stacking:
    """`torch.stack` that knows what it has stacked before."""

    def __init__(self) -> None:
        # with the parts, which must stay alive: else an id could be given twice
        self.made: dict[tuple[int, ...], tuple[Tensor, Sequence[Tensor]]] = {}

    def __call__(self, parts: Sequence[Tensor]) -> Tensor:
        key = tuple(id(item) for item in parts)
        if key not in self.made:
            self.made[key] = torch.stack(list(parts)), parts
        return self.made[key][0]


def _put_back(
    parameters: Sequence[nn.Parameter], weights: Sequence[Tensor], change: Change, strength: float
) -> Change:
    if strength > 0:
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.detach().copy_(weight)
    return change
