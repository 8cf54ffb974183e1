r"""Elastic restoration: after the optimizer's step, weights go back to the base model where general skill is at stake.

Between two restorations the optimizer works as always. A restoration then makes the proximal step

    W ← argmin_W' ½‖W' − W‖² + ½ μ · vec(W' − W0)ᵀ F vec(W' − W0),   μ = strength / F̄ · (sum of learning rates since)

on the quadratic form of general forgetting, F from the anchor's curvature: a diagonal, whole or as a product of rows
and columns (`core.fisher`), or Kronecker factors (`core.kronecker`). It needs no general data and no further backward
pass. To first order in μ it is a step of gradient descent on that penalty, with the optimizer's own learning rate and
without its normalisation; it is exact in the penalty, so no strength is too large to be stable.

F̄ is the mean of F over all weights of the anchor, so that the strength has no unit. F itself has the size of squared
gradients at the base model, which differs by orders of magnitude between base models (it nearly vanishes on data that
a model has learned): what is to be held is told by how F is distributed, not by how large it is.

Papers: the penalty with a diagonal F is Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural
networks" (EWC), eq. 3; with Kronecker factors Ritter, Botev and Barber 2018, "Online Structured Laplace Approximations
for Overcoming Catastrophic Forgetting", eq. 5. They add it to the loss, where Adam would divide its scale away and mix
it with the domain's; taking it as a proximal step apart from the optimizer is decoupling as of weight decay in AdamW.

Where a matrix has two terms (tied embeddings) their steps are made one after the other, which is the joint step up to
the second order in μ; what is logged of each term is from before and after its own step. Limits: whole parameters on
every rank (one process, or DDP); full and freeze tuning; F is measured at the base model and says nothing of what lies
far from it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from ..errors import DBAError
from .held import Held
from .holding import HoldingMethod, HoldingWiring
from .together import Alone, Row, Stack, together


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
        targets: what to restore; not kept once the first restoration has put small ones together.
        strength: times the sum of learning rates gives μ, so it is in the unit of 1/F; 0 only measures.
        every: optimizer steps between restorations.
        total_steps: of the run; the last step is followed by a restoration whatever ``every`` says.
        current_step: optimizer steps made before the one at hand.
        on_restored: gets the record.
        products: dtype of the factors of products with Kronecker terms (`core.kronecker.restore_`).
    """

    def __init__(
        self,
        targets: Sequence[Held],
        *,
        strength: float,
        every: int,
        total_steps: int,
        current_step: Callable[[], int],
        on_restored: Callable[[Restoration], None],
        products: torch.dtype | None = None,
    ) -> None:
        self.targets: Sequence[Held] = targets
        self.parts: list[tuple[int, Alone | Stack | Row]] = []  # with their optimizer group
        self.strength, self.every, self.total_steps = strength, every, total_steps
        self.current_step, self.on_restored, self.products = current_step, on_restored, products
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
        if not self.parts:
            self.parts, self.targets = _parts(self.targets, optimizer), ()
        changes = [part.restore_(self.strength * self.pending[number], self.products) for number, part in self.parts]
        device = changes[0].before.device
        sums = torch.stack([torch.stack([item.to(device) for item in change]) for change in changes]).sum(0).tolist()
        record = Restoration(step, self.pending[0], *sums)
        self.pending = []
        self.on_restored(record)


def _parts(targets: Sequence[Held], optimizer: torch.optim.Optimizer) -> list[tuple[int, Alone | Stack | Row]]:
    group_of = {id(p): number for number, group in enumerate(optimizer.param_groups) for p in group["params"]}
    members: dict[int, list[Held]] = {}
    for target in targets:
        number = group_of.get(id(target.parameter))
        if number is not None:
            members.setdefault(number, []).append(target)
    if not members:
        raise DBAError(
            "The optimizer has none of the tensors that are to be restored.",
            expected="the model's own parameters",
            found=f"{len(group_of)} others",
            next_step="use an optimizer that holds the model's parameters themselves",
        )
    return [(number, part) for number, some in members.items() for part in together(some)]


def _make_hook(arguments: Any, targets: Sequence[Held], wiring: HoldingWiring) -> ElasticHook:
    if not wiring.mean_curvature > 0:
        raise DBAError(
            "The anchor's curvature is zero everywhere.",
            expected="general data with a loss that some weight changes",
            found=f"mean curvature {wiring.mean_curvature:g}",
            next_step="make the anchor from other general data",
        )
    return ElasticHook(
        targets,
        strength=arguments.dba_elastic_strength / wiring.mean_curvature,
        every=arguments.dba_elastic_every,
        total_steps=wiring.total_steps,
        current_step=wiring.current_step,
        on_restored=lambda record: wiring.on_record(record._asdict()),
        products=wiring.products,
    )


METHOD = HoldingMethod(
    name="elastic",
    curvature=True,
    log_file="dba_elastic.jsonl",
    metrics={"dba_predicted_kl": "predicted_kl"},
    make_hook=_make_hook,
    describe=lambda arguments: (
        f"strength {arguments.dba_elastic_strength:g}"
        + ("" if arguments.dba_elastic_strength else " (measured, not restored)")
        + f", every {arguments.dba_elastic_every} steps"
    ),
    facts=lambda arguments: {"strength": arguments.dba_elastic_strength, "every": arguments.dba_elastic_every},
)
