"""Looks at the gradients of a training's first steps, in place of its optimizer."""

from __future__ import annotations

import math
from typing import Any

import torch
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..anchor.format import Anchor
from ..anchor.similarity import Batch, TensorSums
from ..core.fused import sums
from ..core.lowrank import norm
from ..errors import DBAError
from ..sentences import describe_names
from .hooks import Target, innermost
from .matching import match
from .probe_result import Settings
from .views import trainable_tensors


class Finished(Exception):
    """Not an error: leaves the host's run once enough was seen."""


class Watcher(TrainerCallback):
    """Hooks the optimizer when training begins and adds up what comes by.

    Args:
        anchor: as loaded.
        finetuning_args: the host's with the DBA fields, as parsed.
        training_args: the host's.
        batches: how many steps to see at most.
        progress: whether to show a bar.
    """

    def __init__(self, anchor: Anchor, finetuning_args: Any, training_args: Any, batches: int, progress: bool) -> None:
        self.anchor, self.wanted, self.progress = anchor, batches, progress
        self.stage, self.rank = finetuning_args.stage, min(anchor.config.rank, finetuning_args.dba_svd_rank)
        self.trainer_is_ready = False
        self.seen = self.skipped = 0
        self.batches: list[Batch] = []
        self.targets: list[Target] = []
        self.unmatched: list[str] = []
        self._allow_added = finetuning_args.dba_allow_added_tokens
        self._settings = (
            finetuning_args.dba_boost_magnitude,
            finetuning_args.dba_use_correction,
            finetuning_args.dba_base_correction,
        )
        self._global_batch = (
            training_args.per_device_train_batch_size
            * training_args.gradient_accumulation_steps
            * training_args.world_size
        )
        self._totals: dict[str, torch.Tensor] = {}
        self._per_tensor: list[list[list[float]]] = []  # batch → tensor → (dot, square)
        self.rates: list[float] | None = None
        self._bar: Any = None
        self._handle: Any = None

    def on_init_end(self, *args: Any, **kwargs: Any) -> None:
        """The recipe was right: from here on an error is no longer about it."""
        self.trainer_is_ready = True

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Match the anchor, hook the optimizer."""
        trainable = trainable_tensors(kwargs["model"])
        self.targets, self.unmatched = match(self.anchor, trainable, self.rank, allow_added=self._allow_added)
        self.settings = Settings(*self._settings, total_steps=state.max_steps, global_batch=self._global_batch)
        self._squares = {target.name: norm(target.anchor) ** 2 for target in self.targets}
        self._norm = math.sqrt(sum(self._squares.values()))  # as `StepHook` has it, to the last bit
        for name, parameter, _ in self.targets:
            dtype = torch.float64 if parameter.dtype == torch.float64 else torch.float32
            self._totals[name] = torch.zeros(parameter.shape, dtype=dtype, device=parameter.device)
        self.rates = planned_rates(kwargs.get("lr_scheduler"), state.max_steps)
        self._optimizer, self._state = kwargs["optimizer"], state
        self._handle = innermost(kwargs["optimizer"]).register_step_pre_hook(self._before)
        self._bar = tqdm(
            total=min(self.wanted, state.max_steps),
            desc="probe",
            unit="step",
            leave=False,
            disable=None if self.progress and state.is_world_process_zero else True,
        )

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Under fp16 without clipping nobody else has unscaled the gradients yet (as in `DBACallback`)."""
        scaler = self._scaler()
        if scaler is not None and not args.max_grad_norm:
            scaler.unscale_(innermost(kwargs["optimizer"]))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave the host's run once enough was seen."""
        self._bar.update(1)
        self.seen += 1
        if state.global_step >= min(self.wanted, state.max_steps):
            raise Finished

    def on_epoch_end(self, *args: Any, **kwargs: Any) -> None:
        """A second pass would show the same rows again."""
        raise Finished

    def close(self) -> None:
        """Remove the hook and the bar."""
        if self._handle is not None:
            self._handle.remove()
        if self._bar is not None:
            self._bar.close()

    def release(self) -> None:
        """Let go of model, optimizer and sums."""
        self.targets, self._totals, self._optimizer = [], {}, None

    @torch.no_grad()
    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Look at the gradients, then take them away, so that this step changes nothing."""
        present = [target for target in self.targets if target.parameter.grad is not None]
        seen = [sums(target.parameter.grad, target.anchor) for target in present]
        if seen:
            device = seen[0].dot.device
            rows = torch.stack([torch.stack((item.dot, item.grad_sq)).to(device) for item in seen]).tolist()
            self._add(present, rows)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    def _add(self, present: list[Target], rows: list[list[float]]) -> None:
        dots, squares = zip(*rows, strict=True)
        dot, square = sum(dots), sum(squares)
        if not (math.isfinite(dot) and math.isfinite(square)):
            if self._scaler() is None:
                bad = [t.name for t, row in zip(present, rows, strict=True) if not math.isfinite(sum(row))]
                raise DBAError(
                    f"The domain gradient of step {self._state.global_step} holds NaN or Inf.",
                    expected="finite gradients",
                    found=describe_names(bad),
                    next_step="look at the data of this step, or use `bf16: true`",
                )
            self.skipped += 1  # fp16: the training skips such a step, too, and lowers the scale
            return
        for target in present:
            self._totals[target.name].add_(target.parameter.grad)
        by_name = {target.name: row for target, row in zip(present, rows, strict=True)}
        self._per_tensor.append([by_name.get(target.name, [0.0, 0.0]) for target in self.targets])
        base = self.settings.base_correction
        self.batches.append(Batch.of(self._state.global_step, dot, math.sqrt(square), self._norm, base))

    def _scaler(self) -> Any:
        """The gradient scaler of fp16, from accelerate's wrapper around the optimizer."""
        return getattr(self._optimizer, "scaler", None)

    def tensor_sums(self) -> list[TensorSums]:
        """Of every matched tensor, over the batches seen; waits for the device."""
        found = []
        for place, target in enumerate(self.targets):
            rows = [batch[place] for batch in self._per_tensor]
            found.append(
                TensorSums(
                    name=target.name,
                    numbers=target.parameter.numel(),
                    dots=[dot for dot, _ in rows],
                    squares=[square for _, square in rows],
                    total_square=float(torch.linalg.vector_norm(self._totals[target.name]).double() ** 2),
                    anchor_square=self._squares[target.name],
                )
            )
        return found


def planned_rates(scheduler: Any, total: int) -> list[float] | None:
    """η_t of the first parameter group for t = 0 … T−1; None for a scheduler that reacts to the run.

    Args:
        scheduler: the trainer's; transformers' own are functions of the step alone (``LambdaLR``).
        total: T.
    """
    if not isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR):
        return None
    base, factor = float(scheduler.base_lrs[0]), scheduler.lr_lambdas[0]
    return [base * factor(step) for step in range(total)]
