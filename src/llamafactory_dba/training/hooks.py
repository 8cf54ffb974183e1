"""Optimizer step hooks: blend the anchor into the gradients, measure the similarity, scale the step, put it back.

Knows torch and `core`, neither the host nor its trainer: ``attach(optimizer, targets, settings, ...)`` works with any
optimizer that derives from ``torch.optim.Optimizer``.

Order within one optimizer step: gradients arrive accumulated, averaged over ranks, unscaled and clipped; the pre-hook
blends them in place (eq. 2), from the same pass gets <g_D, anchor> and ||g_D||^2, hence the similarity (eq. 7) and the
correction (eq. 8), and multiplies every group's learning rate; the optimizer updates (eq. 9); the post-hook restores
the learning rates, so that schedulers and logs only ever see the true ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch

from ..core.boost import boost_weight
from ..core.correction import correction, similarity
from ..core.fused import StepSums, blend_
from ..core.lowrank import AnchorTensor, norm
from ..errors import DBAError


@dataclass(frozen=True)
class Settings:
    """What one run asks for.

    Args:
        boost_magnitude: k0·T of the schedule before capping; 0 switches GGB off.
        use_correction: whether DC scales the step.
        base_correction: λ_0 of eq. 8, > 0.
        total_steps: T, optimizer steps of the whole run.
    """

    boost_magnitude: float
    use_correction: bool
    base_correction: float
    total_steps: int


class Target(NamedTuple):
    """One tensor to train: its name, the parameter, and its part of the anchor on the same device."""

    name: str
    parameter: torch.nn.Parameter
    anchor: AnchorTensor


class StepRecord(NamedTuple):
    """What happened in one optimizer step (all before the update).

    ``gamma``: boost weight γ_t of eq. 2; ``similarity``: s_t of eq. 7 in [0, 1]; ``correction``: λ_t of eq. 8 as
    applied (1.0 with DC off); ``domain_grad_norm``: ‖g_D‖ over the matched tensors; ``learning_rate``: of the first
    group, before the correction.
    """

    step: int
    gamma: float
    similarity: float
    correction: float
    domain_grad_norm: float
    learning_rate: float


@dataclass
class StepHook:
    """State shared by the two hooks of one optimizer.

    ``on_sums`` gets, before the update, the step, the targets that have a gradient, and for each of them ⟨g_D, ĝ_G⟩
    and ‖g_D‖²; they are on the host anyhow.
    """

    targets: Sequence[Target]
    settings: Settings
    current_step: Callable[[], int]
    on_step: Callable[[StepRecord], None]
    tolerate_overflow: Callable[[], bool] = lambda: False
    on_sums: Callable[[int, Sequence[Target], Sequence[Sequence[float]]], None] | None = None
    norms: dict[str, float] = field(init=False)  # ‖ĝ_G‖ of every tensor
    anchor_norm: float = field(init=False)
    calls: int = field(default=0, init=False)  # optimizer steps seen, skipped ones too
    _saved: list[Any] = field(default_factory=list, init=False)
    _record: StepRecord | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.norms = {target.name: norm(target.anchor) for target in self.targets}
        self.anchor_norm = math.sqrt(sum(value**2 for value in self.norms.values()))

    @torch.no_grad()
    def before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Blend, measure, scale the learning rates."""
        self._record, self._saved = None, []
        self.calls += 1
        step = self.current_step()
        gamma = boost_weight(step, self.settings.total_steps, self.settings.boost_magnitude)
        present = with_gradients(self.targets)
        sums = [blend_(target.parameter.grad, target.anchor, gamma) for target in present]
        found = totals(sums)
        if found is None:
            if self.tolerate_overflow():
                return  # fp16: the gradient scaler skips this update and lowers its scale
            raise not_finite(present, sums, step)
        grad_norm = math.sqrt(found.grad_sq)
        s = similarity(found.dot, grad_norm, self.anchor_norm)
        factor = correction(s, self.settings.base_correction) if self.settings.use_correction else 1.0
        if self.on_sums is not None:
            self.on_sums(step, present, found.rows)
        self._record = StepRecord(step, gamma, s, factor, grad_norm, float(optimizer.param_groups[0]["lr"]))
        if self.settings.use_correction:
            # Groups are looked up every time: accelerate and checkpoint loading replace these dicts. The product is a
            # new object because the rate may be a tensor that the scheduler holds, too.
            for group in optimizer.param_groups:
                self._saved.append(group["lr"])
                group["lr"] = group["lr"] * factor

    def after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Put the learning rates back and hand the record on."""
        for group, rate in zip(optimizer.param_groups, self._saved, strict=False):
            group["lr"] = rate
        self._saved = []
        if self._record is not None:
            self.on_step(self._record)
            self._record = None


class OptimizerHook(Protocol):
    """What `attach` takes: functions for before and after each optimizer step, as torch calls its step hooks."""

    def before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Is called before the update."""

    def after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Is called after it."""


class AnchorHook(OptimizerHook, Protocol):
    """What the callback of a run with an anchor's gradient needs of its method's hook beside that.

    ``targets``: the matched tensors; ``norms``: ‖ĝ_G‖ of each; ``anchor_norm``: of all; ``calls``: optimizer steps
    seen, skipped ones too.
    """

    targets: Sequence[Target]
    norms: dict[str, float]
    anchor_norm: float
    calls: int


Hook = TypeVar("Hook", bound=OptimizerHook)


class Attachment(NamedTuple, Generic[Hook]):
    """The hook object and a function that removes it from the optimizer."""

    hook: Hook
    remove: Callable[[], None]


def attach(
    optimizer: Any, hook: Hook, around: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda call: call
) -> Attachment[Hook]:
    """Register `hook` on the innermost optimizer.

    Args:
        optimizer: a ``torch.optim.Optimizer``, or a wrapper with the real one as ``.optimizer`` (accelerate).
        hook: what to do around each step.
        around: makes of each of its two functions what is really called, for example to take its time.

    Raises:
        DBAError: there is no optimizer with step hooks inside.
    """
    inner = innermost(optimizer)
    before = inner.register_step_pre_hook(around(hook.before))
    after = inner.register_step_post_hook(around(hook.after))

    def remove() -> None:
        before.remove()
        after.remove()

    return Attachment(hook, remove)


def innermost(optimizer: Any) -> torch.optim.Optimizer:
    """The optimizer whose ``step`` really runs.

    accelerate's wrapper never calls ``Optimizer.__init__``, so hooks registered on it would fail.
    """
    inner = optimizer
    while not hasattr(inner, "_optimizer_step_pre_hooks") and hasattr(inner, "optimizer"):
        inner = inner.optimizer
    if not hasattr(inner, "_optimizer_step_pre_hooks") or type(inner).__name__ == "DummyOptimizer":
        raise DBAError(
            "DBA cannot hook into this optimizer.",
            expected="an optimizer derived from torch.optim.Optimizer that updates in its step()",
            found=type(inner).__name__,
            next_step="choose a plain optimizer, for example `optim: adamw_torch`",
        )
    return inner


def with_gradients(targets: Sequence[Target]) -> list[Target]:
    """The targets that have a gradient now.

    Raises:
        DBAError: none has; doing nothing silently would be worse.
    """
    present = [target for target in targets if target.parameter.grad is not None]
    if not present:
        raise DBAError(
            "The optimizer steps, but no tensor of the anchor has a gradient: DBA would do nothing.",
            expected="gradients on the parameters when the optimizer's step() is called",
            found=f"none on {len(targets)} tensors",
            next_step="train without engines that keep gradients of their own (DeepSpeed, FSDP), and check what "
            "is frozen",
        )
    return present


class Totals(NamedTuple):
    """⟨g_D, ĝ_G⟩ and ‖g_D‖² over all tensors, and ``rows`` of the two for each."""

    dot: float
    grad_sq: float
    rows: list[list[float]]


def totals(sums: Sequence[StepSums]) -> Totals | None:
    """The sums on the host; None where NaN or Inf is among them.

    One device-to-host copy; per-tensor fp32 sums are added in fp64.
    """
    device = sums[0].dot.device
    rows: list[list[float]] = torch.stack([torch.stack((x.dot, x.grad_sq)).to(device) for x in sums]).tolist()
    # not math.fsum: it raises on Inf and -Inf, which an fp16 overflow may bring and which has to be seen here
    dots, squares = zip(*rows, strict=True)
    found = Totals(sum(dots), sum(squares), rows)
    return found if math.isfinite(found.dot) and math.isfinite(found.grad_sq) else None


def not_finite(present: Sequence[Target], sums: Sequence[StepSums], step: int) -> DBAError:
    """The error for NaN or Inf in these sums, with the tensors that have them."""
    bad = [
        target.name
        for target, item in zip(present, sums, strict=True)
        if not (math.isfinite(float(item.grad_sq)) and math.isfinite(float(item.dot)))
    ]
    return DBAError(
        f"The domain gradient of step {step} holds NaN or Inf; stopped before it reached the weights.",
        expected="finite gradients",
        found=f"{len(bad)} of {len(present)} tensors are affected, first {bad[0] if bad else 'none alone'}",
        next_step="resume from the last checkpoint with a lower learning rate or `bf16: true`, and look at the data "
        "of this step",
    )
