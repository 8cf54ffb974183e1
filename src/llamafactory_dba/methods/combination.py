"""Methods whose step is a·g_D + b·ĝ_G, with (a, b) from three numbers over the whole model (`core.conflict`).

Two walks over the gradients: ⟨g_D, ĝ_G⟩ and ‖g_D‖² of all matched tensors first, then the edit, which is left out
where (a, b) = (1, 0). No matrix of the anchor is ever built as a whole (`core.fused`). The optimizer, its learning
rate and tensors that the anchor lacks are not touched. The same on every rank under DDP, where gradients are averaged
already; nothing is kept from step to step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from ..core.conflict import UNCHANGED, Products, Weights, cosine
from ..core.fused import combine_, sums
from ..core.lowrank import norm
from ..training.hooks import not_finite, totals, with_gradients
from .interface import Method, Wiring


Rule = Callable[[Products], Weights]
METRICS = {
    "dba_cosine": "cosine",
    "dba_conflict": "conflict",
    "dba_grad_weight": "grad_weight",
    "dba_anchor_weight": "anchor_weight",
    "dba_domain_grad_norm": "domain_grad_norm",
}


class CombinationRecord(NamedTuple):
    """What happened in one optimizer step (all before the update).

    ``cosine``: of g_D and the anchor over the matched tensors, signed; ``conflict``: whether it is below 0, so its
    mean is the share of steps with a conflict; ``grad_weight``, ``anchor_weight``: a and b as applied;
    ``domain_grad_norm``: ‖g_D‖ over the matched tensors; ``learning_rate``: of the first group.
    """

    step: int
    cosine: float
    conflict: bool
    grad_weight: float
    anchor_weight: float
    domain_grad_norm: float
    learning_rate: float


class CombinationHook:
    """Hook of one optimizer, for `training.hooks.attach`.

    Args:
        wiring: tensors and listeners.
        rule: the method.
    """

    def __init__(self, wiring: Wiring, rule: Rule) -> None:
        self.wiring, self.rule, self.targets = wiring, rule, wiring.targets
        self.norms = {target.name: norm(target.anchor) for target in self.targets}
        self.anchor_norm = math.sqrt(sum(value**2 for value in self.norms.values()))
        self.calls = 0
        self._record: CombinationRecord | None = None

    @torch.no_grad()
    def before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Measure, decide, edit the gradients."""
        self._record = None
        self.calls += 1
        step = self.wiring.current_step()
        present = with_gradients(self.targets)
        measured = [sums(target.parameter.grad, target.anchor) for target in present]
        found = totals(measured)
        if found is None:
            if self.wiring.tolerate_overflow():
                return  # fp16: the gradient scaler skips this update and lowers its scale
            raise not_finite(present, measured, step)
        # of the tensors at hand only, or a projection would take out too little
        products = Products(found.dot, found.grad_sq, sum(self.norms[target.name] ** 2 for target in present))
        similarity, weights = cosine(products), self.rule(products)
        self.wiring.on_sums(step, present, found.rows)
        if weights != UNCHANGED:
            for target in present:
                combine_(target.parameter.grad, target.anchor, *weights)
        self._record = CombinationRecord(
            step,
            similarity,
            similarity < 0,
            *weights,
            math.sqrt(products.grad_sq),
            float(optimizer.param_groups[0]["lr"]),
        )

    def after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Hand the record on."""
        if self._record is not None:
            self.wiring.on_step(self._record)
            self._record = None


def combination(
    name: str, make_rule: Callable[[Any], Rule], options: tuple[str, ...] = (), metrics: dict[str, str] = METRICS
) -> Method:
    """A `Method` of this kind.

    Args:
        name: for the line at the start.
        make_rule: from the arguments, the function from products to weights.
        options: names of the ``dba_*`` arguments that it uses; they are said at the start and in dba_run.json.
        metrics: see `Method`.
    """

    def settings(arguments: Any) -> dict[str, Any]:
        return {option: getattr(arguments, option) for option in options}

    def describe(arguments: Any, total_steps: int) -> str:
        said = "".join(f", `{option}` {value:g}" for option, value in settings(arguments).items())
        return f"{name}{said}, GGB and DC off"

    return Method(
        metrics=metrics,
        make_hook=lambda arguments, wiring: CombinationHook(wiring, make_rule(arguments)),
        describe=describe,
        facts=lambda arguments, total_steps: {**settings(arguments), "total_steps": total_steps},
        warnings=lambda arguments, config, total_steps: [],
    )
