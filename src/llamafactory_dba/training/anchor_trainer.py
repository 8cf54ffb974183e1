"""The host's trainer with an optimizer that averages gradients, and the progress of that pass."""

from __future__ import annotations

import importlib
import time
from typing import Any

import torch
from llamafactory.extras import logging
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..anchor.estimate import PartialState
from ..core.mean import RunningMean
from ..plugin import TRAINER_CLASSES
from .views import trainable_tensors


logger = logging.get_logger("llamafactory.dba")

# Counting tokens waits for the device, so the rate is not shown at every step.
SECONDS_BETWEEN_RATES = 2.0


class MeanOptimizer(torch.optim.Optimizer):
    """Takes the place of the optimizer: `step` feeds the gradients to a running mean and leaves the weights alone.

    Args:
        parameters: by canonical name.
        mean: where the gradients go.
    """

    def __init__(self, parameters: dict[str, torch.nn.Parameter], mean: RunningMean) -> None:
        super().__init__(list(parameters.values()), {"lr": 0.0})
        self.parameters, self.mean = parameters, mean

    def step(self, closure: Any = None) -> None:
        """Add one step's gradients."""
        self.mean.update(
            (name, parameter.grad) for name, parameter in self.parameters.items() if parameter.grad is not None
        )


def anchor_trainer_class(stage: str) -> type:
    """The host's trainer class of this stage, changed in the few places where a pass differs from a training."""
    module = importlib.import_module(f"llamafactory.train.{stage}.trainer")
    base: Any = getattr(module, TRAINER_CLASSES[stage])

    class AnchorTrainer(base):
        """Keeps no weights: saving and loading are about the mean (`PartialState`)."""

        dba_mean: RunningMean
        dba_state: dict[str, Any] | None = None
        dba_tokens: torch.Tensor

        def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
            parameters = trainable_tensors(self.model)
            device = next(iter(parameters.values())).device
            self.dba_mean = RunningMean({name: p.shape for name, p in parameters.items()}, device=device)
            self.dba_tokens = torch.zeros((), dtype=torch.int64, device=device)
            self.optimizer = MeanOptimizer(parameters, self.dba_mean)
            return self.optimizer

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
            mask = inputs.get("attention_mask")
            seen = mask.sum() if mask is not None and mask.dim() == 2 else torch.tensor(inputs["input_ids"].numel())
            self.dba_tokens += seen.to(self.dba_tokens.device, torch.int64)
            return super().training_step(model, inputs, *args, **kwargs)

        def save_model(self, *args: Any, **kwargs: Any) -> None:
            """An anchor run has no model to save."""

        def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            """The weights never changed."""

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            if checkpoint is None:
                return
            self.dba_state = PartialState(checkpoint).load()
            self.dba_mean.load_state_dict(self.dba_state["mean"])
            self.dba_tokens.copy_(self.dba_state["tokens"][self.args.process_index])

        def _load_rng_state(self, checkpoint: str | None) -> None:
            """Nothing in the pass is random once the order of the data is fixed (dropout is off)."""

        def _load_callback_state(self) -> None:
            """`AnchorProgress` brings its own state."""

    return AnchorTrainer


class AnchorProgress(TrainerCallback):
    """Progress bar with tokens/s, the cosine between the data halves, early stop, and the state to resume from.

    Args:
        trainer: an `anchor_trainer_class` instance.
        finetuning_args: the host's arguments with the DBA fields.
        partial: where the state is kept.
        request: what the state belongs to.
    """

    def __init__(self, trainer: Any, finetuning_args: Any, partial: PartialState, request: dict[str, Any]) -> None:
        self.trainer, self.arguments, self.partial, self.request = trainer, finetuning_args, partial, request
        self.half_cosines: list[tuple[int, float]] = []
        self.seconds = 0.0
        self._started = 0.0
        self._tokens_before = 0
        self._resumed_at = self._shown = 0.0
        self._bar: Any = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Open the bar, where an interrupted run stopped."""
        restored = self.trainer.dba_state
        if restored is not None:
            self.half_cosines, self.seconds = (
                [(int(step), float(cosine)) for step, cosine in restored["half_cosines"]],
                float(restored["seconds"]),
            )
            logger.info_rank0(f"DBA: resuming the anchor run after step {state.global_step} of {state.max_steps}.")
        self._started = time.monotonic() - self.seconds
        self._tokens_before = int(self.trainer.dba_tokens)
        self._resumed_at = self._shown = time.monotonic()
        self._bar = tqdm(
            total=state.max_steps,
            initial=state.global_step,
            desc="anchor",
            unit="step",
            disable=not state.is_world_process_zero,
            dynamic_ncols=True,
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Report, decide, save."""
        self._bar.update(1)
        now = time.monotonic()
        self.seconds = now - self._started
        if now - self._shown > SECONDS_BETWEEN_RATES:
            self._show()
        last = state.global_step >= state.max_steps
        if last or state.global_step % self.arguments.dba_anchor_check_steps == 0:
            self._check(state, control)
        every = self.arguments.dba_anchor_save_steps
        if state.global_step % every == 0 or (last and state.global_step > every):
            # also at the end: if the anchor cannot be written then, the pass need not be made again
            self._save(args, state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self._bar.close()

    def total_tokens(self) -> int:
        """Tokens read so far, padding left out, summed over ranks."""
        return int(self.trainer.accelerator.reduce(self.trainer.dba_tokens, reduction="sum"))

    def _check(self, state: TrainerState, control: TrainerControl) -> None:
        # Ranks hold equal means (gradients are averaged before the step), so they decide alike without talking.
        cosine = self.trainer.dba_mean.half_cosine()
        self.half_cosines.append((state.global_step, cosine))
        rate = self._show()
        logger.info_rank0(
            f"DBA: step {state.global_step}/{state.max_steps}, cosine between data halves {cosine:.4f}, "
            f"{rate:,.0f} tokens/s"
        )
        threshold = self.arguments.dba_anchor_stop_cosine
        if threshold is not None and cosine >= threshold and state.global_step < state.max_steps:
            logger.info_rank0(
                f"DBA: cosine {cosine:.4f} >= {threshold:g}, stopping early: more data would add little."
            )
            control.should_training_stop = True

    def _show(self) -> float:
        """Refresh the bar; returns tokens per second over all ranks since this process started."""
        self._shown = time.monotonic()
        tokens = (int(self.trainer.dba_tokens) - self._tokens_before) * self.trainer.args.world_size
        rate = tokens / max(1e-9, self._shown - self._resumed_at)
        cosine = f", cosine of halves {self.half_cosines[-1][1]:.4f}" if self.half_cosines else ""
        self._bar.set_postfix_str(f"{rate:,.0f} tokens/s{cosine}")
        return rate

    def _save(self, args: TrainingArguments, state: TrainerState) -> None:
        tokens = self.trainer.accelerator.gather(self.trainer.dba_tokens[None]).cpu()
        if args.should_save:
            self.partial.save(
                {
                    "request": self.request,
                    "mean": self.trainer.dba_mean.state_dict(),
                    "tokens": tokens,
                    "half_cosines": self.half_cosines,
                    "seconds": self.seconds,
                },
                trainer_state=state,
            )
