r"""What `ewc` and `l2sp` share: the gradient of a quadratic penalty on leaving the base model, added to the domain's.

    g ← g + λ F (W − W0)                    the gradient of the domain loss + ½ λ Σ F (W − W0)²

In the papers the penalty is a part of the loss. Here its gradient is added to the accumulated one before the
optimizer's step, which is the same but for clipping: `max_grad_norm` is applied to the domain's gradient before. No
pass through the model and no general data is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from ..core.fisher import add_penalty_gradient_
from ..errors import DBAError
from .held import Held
from .holding import HoldingMethod, HoldingWiring


class Penalty(NamedTuple):
    """One optimizer step: ``form`` is ½ Σ F (W − W0)² before it, over all held tensors, in F's unit."""

    step: int
    form: float
    learning_rate: float

    def as_record(self, name: str) -> dict[str, Any]:
        """A line of the log, in which the form has its method's name."""
        return {"step": self.step, name: self.form, "learning_rate": self.learning_rate}


class PenaltyHook:
    """Pre-hook of one optimizer, for `training.hooks.attach`.

    Args:
        targets: what to hold; each with a diagonal.
        strength: λ ≥ 0; 0 only measures.
        current_step: optimizer steps made before the one at hand.
        on_record: gets the record of every step.

    Raises:
        DBAError: a target has Kronecker factors, which this form of the penalty cannot use.
    """

    def __init__(
        self,
        targets: Sequence[Held],
        *,
        strength: float,
        current_step: Callable[[], int],
        on_record: Callable[[Penalty], None],
    ) -> None:
        if any(target.diagonal is None for target in targets):
            raise DBAError(
                "This penalty needs a diagonal.",
                expected="an anchor with `dba_curvature_kind: diagonal` or `factored`",
                found="Kronecker factors",
                next_step="make an anchor of that kind, or use `dba_variant: elastic`, which takes all three",
            )
        self.targets, self.strength = targets, strength
        self.current_step, self.on_record = current_step, on_record
        self.calls = 0
        self.pending: list[float] = []  # nothing is kept from step to step

    @torch.no_grad()
    def before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Add the penalty's gradient; one wait for the device."""
        self.calls += 1
        forms = [
            add_penalty_gradient_(target.parameter.grad, target.parameter, *target.diagonal, self.strength)
            for target in self.targets
            if target.parameter.grad is not None and target.diagonal is not None
        ]
        total = torch.stack([form.to(forms[0].device) for form in forms]).sum().item() if forms else 0.0
        self.on_record(Penalty(self.current_step(), total, float(optimizer.param_groups[0]["lr"])))

    def after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Nothing to do."""

    def restore(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Nothing to do: the penalty has acted in every step."""


def penalty_method(*, name: str, strength: str, form: str, curvature: bool) -> HoldingMethod:
    """A method that adds this penalty.

    Args:
        name: for people.
        strength: the argument that holds λ.
        form: what the penalty's form is called in the log, and after ``dba_`` in the trainer's.
        curvature: see `HoldingMethod`.
    """

    def make_hook(arguments: Any, targets: Sequence[Held], wiring: HoldingWiring) -> PenaltyHook:
        return PenaltyHook(
            targets,
            strength=getattr(arguments, strength),
            current_step=wiring.current_step,
            on_record=lambda record: wiring.on_record(record.as_record(form)),
        )

    return HoldingMethod(
        name=name,
        curvature=curvature,
        log_file="dba_penalty.jsonl",
        metrics={f"dba_{form}": form},
        make_hook=make_hook,
        describe=lambda arguments: f"strength {getattr(arguments, strength):g}",
        facts=lambda arguments: {"strength": getattr(arguments, strength)},
    )
