"""What benchmarks/diagnose.py puts into a run: controls that take one cause away, and what is measured on the way.

`Control` sits around the paper's step hook and changes only what it is told to; `Watch` is a callback of the host's
trainer, for runs with the plugin and without. With nothing asked for, both leave every weight bit for bit as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from diagnose_forecast import Forecast, predicted_turn, turn
from torch import Tensor
from transformers import TrainerCallback

import llamafactory_dba.training.callback as host_callback
from llamafactory_dba.core.lowrank import reconstruct
from llamafactory_dba.methods.interface import Wiring
from llamafactory_dba.methods.paper import METHOD
from llamafactory_dba.training.hooks import StepHook, Target
from llamafactory_dba.training.views import trainable_tensors


EMBEDDING = "model.embed_tokens.weight"
BETA2 = 0.999  # of the running mean square of the domain gradient, as Adam's
SMALL = 0.25  # a step's domain gradient is small below this, of what it is over the first steps
FIRST = 20  # these steps
FORECAST_EVERY = 4  # steps between predictions
NEAR = 0.05  # of the change: where the loss is still a parabola along it, and fp32 still tells the values apart


class Wish(NamedTuple):
    """What a run asks for beside its YAML.

    ``content``: what is in the place of the anchor: real, flipped, normal, signs; ``edit``: see `EDITS`; ``hold``:
    ``rows``, embedding rows of tokens that the domain lacks, or ``embeddings``; ``stop``: end the boost when the
    general loss turns, ``measured`` or predicted with the curvature ``factored`` or ``kronecker``; ``split``: whether
    the change is split into its parts.
    """

    content: str = "real"
    edit: str = ""
    hold: str = ""
    stop: str = ""
    split: bool = False


def scaled(grad: Tensor, anchor: Tensor, rms: Tensor, gamma: float) -> Tensor:
    """The anchor's part of each tensor has the length of the tensor's domain gradient."""
    length = torch.linalg.vector_norm(anchor)
    return grad.lerp(anchor * (torch.linalg.vector_norm(grad) / length if float(length) else 0.0), gamma)


def nonzero(grad: Tensor, anchor: Tensor, rms: Tensor, gamma: float) -> Tensor:
    """No anchor in entries where the domain gradient of this step is exactly zero."""
    return torch.where(grad != 0, grad.lerp(anchor, gamma), grad)


def loud(grad: Tensor, anchor: Tensor, rms: Tensor, gamma: float) -> Tensor:
    """The anchor only in entries where it is no larger than the domain gradient usually is there."""
    return torch.where(is_quiet(anchor, rms, gamma), grad * (1 - gamma), grad.lerp(anchor, gamma))


def capped(grad: Tensor, anchor: Tensor, rms: Tensor, gamma: float) -> Tensor:
    """No entry of the anchor is larger than the root mean square of the domain gradient there."""
    return grad.lerp(anchor.clamp(min=-rms, max=rms), gamma)


EDITS: dict[str, Callable[[Tensor, Tensor, Tensor, float], Tensor]] = {
    "scaled": scaled,
    "nonzero": nonzero,
    "loud": loud,
    "capped": capped,
}


def is_quiet(anchor: Tensor, rms: Tensor, gamma: float) -> Tensor:
    """Entries where the anchor's term is larger than the domain's usually is."""
    return gamma * anchor.abs() > (1 - gamma) * rms


def other_content(anchor: Tensor, content: str, seed: int) -> Tensor:
    """The anchor, or what stands in its place with the same norm in each tensor."""
    if content == "flipped":
        return -anchor
    generator = torch.Generator().manual_seed(seed)
    if content == "signs":  # every entry keeps its size
        return anchor * (torch.randint(0, 2, anchor.shape, generator=generator) * 2 - 1)
    if content == "normal":
        made = torch.randn(anchor.shape, generator=generator)
        return made * (torch.linalg.vector_norm(anchor) / torch.linalg.vector_norm(made))
    return anchor


class Control:
    """The paper's step hook with one thing changed (`methods.interface.Method.make_hook` gives it to the callback).

    Args:
        inner: the paper's hook.
        wish: what to change.
        stopped: whether the boost is over.
    """

    def __init__(self, inner: StepHook, wish: Wish, stopped: Callable[[], bool]) -> None:
        self.inner, self.wish, self.stopped = inner, wish, stopped
        self.targets, self.norms, self.anchor_norm = inner.targets, inner.norms, inner.anchor_norm
        self.dense = {target.name: reconstruct(target.anchor).view_as(target.parameter) for target in self.targets}
        self.squares = {name: torch.zeros_like(value) for name, value in self.dense.items()}
        self.moments = {name: torch.zeros_like(value) for name, value in self.dense.items()}
        # of the change, in each tensor: made by the anchor in quiet or loud entries, in small or large steps
        self.parts = {name: torch.zeros(2, 2, *value.shape) for name, value in self.dense.items()}
        self.grad_norms: list[float] = []
        self.zeros: list[float] = []  # share of entries without a domain gradient

    @property
    def calls(self) -> int:
        """Optimizer steps seen."""
        return self.inner.calls

    @torch.no_grad()
    def before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Blend as the paper does, then edit the blend."""
        if self.stopped():
            self.inner.settings = dataclasses.replace(self.inner.settings, boost_magnitude=0.0)
        watched = bool(self.wish.edit or self.wish.split)
        present = [target for target in self.targets if target.parameter.grad is not None]
        grads = {target.name: target.parameter.grad.clone() for target in present} if watched else {}
        self.inner.before(optimizer, args, kwargs)
        if not watched:
            return
        record, count = self.inner._record, self.inner.calls
        self.grad_norms.append(record.domain_grad_norm)
        self.zeros.append(
            sum(int((grad == 0).sum()) for grad in grads.values()) / sum(grad.numel() for grad in grads.values())
        )
        self.rms = {}
        for target in present:
            square = self.squares[target.name].lerp_(grads[target.name].square(), 1 - BETA2)
            self.rms[target.name] = (square / (1 - BETA2**count)).sqrt_()
            if self.wish.edit and record.gamma:
                edit = EDITS[self.wish.edit]
                changed = edit(grads[target.name], self.dense[target.name], self.rms[target.name], record.gamma)
                target.parameter.grad.copy_(changed)

    @torch.no_grad()
    def after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Note what the anchor's share of Adam's first moment has moved: m is linear in it, v is taken as it is."""
        record = self.inner._record
        self.inner.after(optimizer, args, kwargs)
        if not self.wish.split:
            return
        small = int(self.grad_norms[-1] < SMALL * sum(self.grad_norms[:FIRST]) / len(self.grad_norms[:FIRST]))
        for target in self.targets:
            self._split(target, optimizer, record, small)

    def _split(self, target: Target, optimizer: Any, record: Any, small: int) -> None:
        name, state, group = target.name, optimizer.state[target.parameter], optimizer.param_groups[0]
        beta1, beta2 = group["betas"]
        count = int(state["step"])
        moment = self.moments[name].lerp_(record.gamma * self.dense[name], 1 - beta1)
        size = (state["exp_avg_sq"] / (1 - beta2**count)).sqrt_().add_(group["eps"])
        step = moment / (1 - beta1**count) / size * -(record.learning_rate * record.correction)
        quiet = is_quiet(self.dense[name], self.rms[name], record.gamma)
        self.parts[name][1, small] += step * quiet
        self.parts[name][0, small] += step * ~quiet


class Watch(TrainerCallback):
    """Holds rows, follows the prediction, and keeps what is needed at the end.

    Args:
        wish: of this run.
        unseen: embedding rows of tokens that the domain does not show.
        forecast: of this base; None where it is not asked for.
        loss: general loss of a model; asked for every ``every`` steps.
        every: steps.
    """

    def __init__(
        self, wish: Wish, unseen: Tensor, forecast: Forecast | None, loss: Callable[[Any], float], every: int
    ) -> None:
        self.wish, self.unseen, self.forecast, self.loss, self.every = wish, unseen, forecast, loss, every
        self.control: Control | None = None
        self.steps = 0
        self.rates = 0.0  # sum of the learning rates, without DC's factor
        self.predicted: list[list[float]] = []  # step, linear term, quadratic terms by kind
        self.measured: list[list[float]] = []  # step, general loss
        self.expanded: list[list[float]] = []  # step, the measured loss's own first and second order
        self.turned: int | None = None

    def changes(self) -> dict[str, Tensor]:
        """θ − θ0 by name."""
        return {name: p.detach() - self.start[name] for name, p in self.parameters.items()}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Comes before the plugin's own callback, which then finds no trainable embedding where it is held."""
        self.model = kwargs["model"]
        self.parameters = trainable_tensors(self.model)
        self.start = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.measured.append([0, self.loss(self.model)])
        if self.wish.hold == "embeddings":
            self.parameters[EMBEDDING].requires_grad_(False)

    @torch.no_grad()
    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """After the update."""
        self.steps += 1
        self.rates += float(kwargs["optimizer"].param_groups[0]["lr"])
        if self.wish.hold == "rows":
            self.parameters[EMBEDDING][self.unseen] = self.start[EMBEDDING][self.unseen]

    @torch.no_grad()
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The prediction, and now and then the truth."""
        step = int(state.global_step)
        if self.forecast is not None and step % FORECAST_EVERY == 0:
            self.predicted.append([step, *self.forecast.terms(self.changes())])
        if step % self.every == 0:
            self.measured.append([step, self.loss(self.model)])
            if self.wish.split:
                self.expanded.append([step, *self._expand()])
        if self.turned is None:
            self.turned = self._turn()

    def _turn(self) -> int | None:
        if self.wish.stop == "measured":
            return turn([(int(step), loss) for step, loss in self.measured], 1)
        if self.forecast is not None and self.wish.stop:
            return predicted_turn(self.predicted, self.forecast.kinds.index(self.wish.stop))
        return None

    def _expand(self) -> tuple[float, float]:
        """⟨∇L, Δθ⟩ and ½ Δθᵀ∇²L Δθ at θ0, of the measured loss itself, by central differences."""
        changes, losses = self.changes(), []
        for sign in (1, -1, 0):
            for name, change in changes.items():
                self.parameters[name].copy_(self.start[name] + sign * NEAR * change)
            losses.append(self.loss(self.model))
        for name, change in changes.items():
            self.parameters[name].copy_(self.start[name] + change)
        return (losses[0] - losses[1]) / (2 * NEAR), (losses[0] + losses[1] - 2 * losses[2]) / NEAR**2 / 2

    def stopped(self) -> bool:
        """Whether the boost has been ended."""
        return bool(self.wish.stop) and self.turned is not None

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """All weights are final."""
        if self.wish.hold == "embeddings":
            self.parameters[EMBEDDING].requires_grad_(True)


@contextmanager
def controlled(watch: Watch, seed: int) -> Iterator[None]:
    """Runs of `dba_variant: paper` in here get the paper's hook inside a `Control`."""

    def make_hook(arguments: Any, wiring: Wiring) -> Control:
        targets = []
        for number, target in enumerate(wiring.targets):
            anchor = target.anchor
            if watch.wish.content != "real":
                dense = reconstruct(anchor).view_as(target.parameter)
                anchor = other_content(dense, watch.wish.content, 1000 * seed + number)
            targets.append(target._replace(anchor=anchor))
        inner = METHOD.make_hook(arguments, wiring._replace(targets=targets))
        watch.control = Control(inner, watch.wish, watch.stopped)
        return watch.control

    original = host_callback.load_method
    host_callback.load_method = lambda name: METHOD._replace(make_hook=make_hook)
    try:
        yield
    finally:
        host_callback.load_method = original
