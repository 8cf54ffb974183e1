r"""Elastic restoration: after the optimizer's step, weights go back to the base model where general skill is at stake.

Between two restorations the optimizer works as always. A restoration then makes the proximal step

    W ← argmin_W' ½‖W' − W‖² + ½ μ · vec(W' − W0)ᵀ F vec(W' − W0),   μ = strength · (sum of the learning rates since)

on the quadratic form of general forgetting, F from the anchor's curvature: a diagonal, whole or as a product of rows
and columns (`core.fisher`), or Kronecker factors (`core.kronecker`). It needs no general data and no further backward
pass. To first order in μ it is a step of gradient descent on that penalty, with the optimizer's own learning rate and
without its normalisation; it is exact in the penalty, so no strength is too large to be stable.

Papers: the penalty with a diagonal F is Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural
networks" (EWC), eq. 3; with Kronecker factors Ritter, Botev and Barber 2018, "Online Structured Laplace Approximations
for Overcoming Catastrophic Forgetting", eq. 5. They add it to the loss, where Adam would divide its scale away and mix
it with the domain's; taking it as a proximal step apart from the optimizer is decoupling as of weight decay in AdamW.

Where a matrix has two terms (tied embeddings) their steps are made one after the other, which is the joint step up to
the second order in μ. Limits: whole parameters on every rank (one process, or DDP); full and freeze tuning; F is
measured at the base model and says nothing of what lies far from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..anchor.curvature import TensorCurvature
from ..core.fisher import Change, Product, restore_diagonal_
from ..core.kronecker import Start, Term, exact_copy, quadratic_form, restore_, start_of
from ..core.moments import Spectrum
from ..errors import DBAError


class Elastic(NamedTuple):
    """One tensor, its curvature on its device, and what is needed of its base value."""

    name: str
    parameter: nn.Parameter
    terms: tuple[tuple[Term, Start], ...]
    diagonal: tuple[Tensor | Product, Tensor] | None  # curvature and base value


class Restoration(NamedTuple):
    """What one restoration did. KL: predicted on the general data, nats per sequence, over all matched tensors.

    ``step``: optimizer steps before it, less one, as in dba_log.jsonl; ``pending_rate``: sum of the first group's
    learning rates since the last one.
    """

    step: int
    pending_rate: float
    predicted_kl_before: float
    predicted_kl: float


class ElasticHook:
    """Post-hook of one optimizer, for `training.hooks.attach`.

    Args:
        targets: what to restore.
        strength: times the sum of learning rates gives μ; 0 only measures.
        every: optimizer steps between restorations.
        total_steps: of the run; the last step is followed by a restoration whatever ``every`` says.
        current_step: optimizer steps made before the one at hand.
        on_restored: gets the record.
    """

    def __init__(
        self,
        targets: Sequence[Elastic],
        *,
        strength: float,
        every: int,
        total_steps: int,
        current_step: Callable[[], int],
        on_restored: Callable[[Restoration], None],
    ) -> None:
        self.targets, self.strength, self.every, self.total_steps = targets, strength, every, total_steps
        self.current_step, self.on_restored = current_step, on_restored
        self.pending: list[float] = []  # per group, the sum of learning rates since the last restoration
        self.calls = 0

    def before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Nothing to do."""

    @torch.no_grad()
    def after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Add up the learning rates; restore when it is time."""
        self.calls += 1
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        self.pending = [a + b for a, b in zip(self.pending or [0.0] * len(rates), rates, strict=True)]
        step = self.current_step()
        if (step + 1) % self.every == 0 or step + 1 == self.total_steps:
            self.restore(optimizer, step)

    @torch.no_grad()
    def restore(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Restore now, with the learning rates since the last time."""
        group_of = {id(p): number for number, group in enumerate(optimizer.param_groups) for p in group["params"]}
        changes = []
        for target in self.targets:
            number = group_of.get(id(target.parameter))
            if number is not None:
                changes.append(restore_target(target, self.strength * self.pending[number]))
        if not changes:
            raise DBAError(
                "The optimizer has none of the tensors that are to be restored.",
                expected="the model's own parameters",
                found=f"{len(group_of)} others",
                next_step="use an optimizer that holds the model's parameters themselves",
            )
        device = changes[0].before.device
        sums = torch.stack([torch.stack([item.to(device) for item in change]) for change in changes]).sum(0).tolist()
        record = Restoration(step, self.pending[0], *sums)
        self.pending = []
        self.on_restored(record)


def restore_target(target: Elastic, strength: float) -> Change:
    """The proximal step on one tensor, in place; the sum of its terms' quadratic forms before and after."""
    if target.diagonal is not None:
        return restore_diagonal_(target.parameter, *target.diagonal, strength)
    if len(target.terms) == 1:
        ((term, start),) = target.terms
        return restore_(target.parameter, term, start, strength)
    before = torch.stack([quadratic_form(target.parameter, *item) for item in target.terms]).sum()
    if strength == 0:
        return Change(before, before)
    for term, start in target.terms:
        restore_(target.parameter, term, start, strength)
    return Change(before, torch.stack([quadratic_form(target.parameter, *item) for item in target.terms]).sum())


def make_targets(
    curvature: Mapping[str, TensorCurvature],
    parameters: Mapping[str, nn.Parameter],
    base: Mapping[str, Tensor],
    *,
    keep: str = "device",
) -> list[Elastic]:
    """Pairs trainable tensors with their curvature; tensors without one are left out.

    Args:
        curvature: by name, on any device.
        parameters: trainable tensors by the same names. An embedding may have rows at its end that the anchor's base
            lacks: they are not held.
        base: the base model's values of these parameters, in the parameters' own dtype; on any device.
        keep: where the base weights are kept: ``device`` or ``host``; ``none`` for Kronecker terms only.

    Raises:
        DBAError: ``keep`` is ``none`` and a matrix has a diagonal.
    """
    placed: dict[int, Tensor] = {}
    wholes: dict[str, Tensor] = {}

    def place(tensor: Tensor, device: torch.device) -> Tensor:
        # matrices with one input share its eigenvectors; fp32 on a CPU, which multiplies it faster
        if id(tensor) not in placed:
            wide = device.type == "cpu" and tensor.dtype == torch.bfloat16
            placed[id(tensor)] = tensor.to(device, torch.float32 if wide else tensor.dtype)
        return placed[id(tensor)]

    targets = []
    for name, parameter in parameters.items():
        found, device = curvature.get(name), parameter.device
        if found is None:
            continue
        start = base[name].to(device)
        if found.diagonal is not None:
            if keep == "none" and parameter.dim() > 1:
                raise DBAError(
                    "This curvature needs the base weights.",
                    expected="an anchor with Kronecker factors (`dba_curvature_kind: kronecker`)",
                    found=f"a diagonal for {name}",
                    next_step="set `dba_elastic_base: device` or `host`",
                )
            diagonal = _placed_diagonal(found.diagonal, parameter)
            targets.append(Elastic(name, parameter, (), (diagonal, _kept(start, keep))))
            continue
        terms = []
        for term in found.terms:
            rows, columns = (_placed(side, device, place) for side in term)
            if rows.vectors is None and len(rows.values) < len(parameter):
                added = rows.values.new_zeros(len(parameter) - len(rows.values))
                rows = rows._replace(values=torch.cat([rows.values, added]))
            made = start_of(start, Term(rows, columns), whole=keep != "none")
            if made.whole is not None:  # tied embeddings share it
                made = Start(whole=wholes.setdefault(name, made.whole.to("cpu" if keep == "host" else device)))
            terms.append((Term(rows, columns), made))
        targets.append(Elastic(name, parameter, tuple(terms), None))
    return targets


def _kept(start: Tensor, keep: str) -> Tensor:
    """A copy in bf16 where that is exact, as it is for a model that was stored so."""
    return exact_copy(start).to("cpu" if keep == "host" and start.dim() > 1 else start.device)


def _placed_diagonal(diagonal: Tensor | Product, parameter: nn.Parameter) -> Tensor | Product:
    """On the parameter's device; rows that the anchor's base lacks have no curvature."""
    added = (
        len(parameter) - len(diagonal.rows if isinstance(diagonal, Product) else diagonal) if parameter.dim() else 0
    )

    def grown(tensor: Tensor) -> Tensor:
        tensor = tensor.to(parameter.device)
        return torch.cat([tensor, tensor.new_zeros(added, *tensor.shape[1:])]) if added else tensor

    if isinstance(diagonal, Product):
        return Product(grown(diagonal.rows), diagonal.columns.to(parameter.device))
    return grown(diagonal)


def _placed(side: Spectrum, device: torch.device, place: Callable[[Tensor, torch.device], Tensor]) -> Spectrum:
    vectors = None if side.vectors is None else place(side.vectors, device)
    return Spectrum(place(side.values, device), vectors, side.rest)


def bytes_in_memory(targets: Sequence[Elastic]) -> int:
    """Bytes of everything that is kept for the restorations; shared tensors count once."""
    tensors: dict[int, Tensor] = {}
    for target in targets:
        found: list[Tensor | None] = []
        for item in target.diagonal or ():
            found += list(item) if isinstance(item, Product) else [item]
        for term, start in target.terms:
            found += [term.rows.values, term.rows.vectors, term.columns.values, term.columns.vectors, *start]
        tensors |= {id(item): item for item in found if item is not None}
    return sum(item.numel() * item.element_size() for item in tensors.values())
