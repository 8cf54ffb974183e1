"""The host's trainer with an optimizer that averages gradients; `anchor_progress` watches it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import torch

from ..anchor.estimate import PartialState
from ..core.mean import RunningMean
from ..errors import DBAError
from ..plugin import TRAINER_CLASSES
from .curvature_pass import CurvatureCollector, batch_of, make_collector
from .placement import place_sums
from .views import trainable_tensors


class MeanOptimizer(torch.optim.Optimizer):
    """Takes the place of the optimizer: gradients go to a running mean and the weights are left alone.

    A gradient is consumed as soon as the backward pass has made it, and freed: never more than those of one layer
    exist at a time. `step` only marks the end of a step.

    Args:
        parameters: by canonical name.
        mean: where the gradients go.
        curvature: gets those of vectors, too.
    """

    def __init__(
        self,
        parameters: dict[str, torch.nn.Parameter],
        mean: RunningMean,
        curvature: CurvatureCollector | None = None,
    ) -> None:
        super().__init__(list(parameters.values()), {"lr": 0.0})
        self.mean, self.curvature = mean, curvature
        self._handles = [
            parameter.register_post_accumulate_grad_hook(self._consume(name)) for name, parameter in parameters.items()
        ]

    def _consume(self, name: str) -> Callable[[torch.Tensor], None]:
        def hook(parameter: torch.Tensor) -> None:
            if parameter.grad is not None:
                self.mean.add(name, parameter.grad)
                if self.curvature is not None:
                    self.curvature.add_vector(name, parameter.grad)
                parameter.grad = None

        return hook

    def step(self, closure: Any = None) -> None:
        """End the step whose gradients have come in."""
        if not self.mean.in_step:
            raise DBAError(
                "The backward pass gave no gradient to average.",
                expected="gradients of the trainable parameters",
                found=f"none in step {self.mean.steps + 1}",
                next_step="check that no engine keeps gradients of its own, and that not everything is frozen",
            )
        self.mean.finish_step()

    def release(self) -> None:
        """Leave the parameters as they were."""
        for handle in self._handles:
            handle.remove()
        if self.curvature is not None:
            self.curvature.release()


def anchor_trainer_class(stage: str) -> type:
    """The host's trainer class of this stage, changed in the few places where a pass differs from a training."""
    module = importlib.import_module(f"llamafactory.train.{stage}.trainer")
    base: Any = getattr(module, TRAINER_CLASSES[stage])

    class AnchorTrainer(base):
        """Keeps no weights: saving and loading are about the mean (`PartialState`)."""

        dba_mean: RunningMean
        dba_state: dict[str, Any] | None = None
        dba_tokens: torch.Tensor
        dba_curvature: CurvatureCollector | None = None

        def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
            parameters = trainable_tensors(self.model)
            shapes = {name: parameter.shape for name, parameter in parameters.items()}
            device = next(iter(parameters.values())).device
            sums = place_sums(shapes, device, self.finetuning_args.dba_anchor_placement, self.args)
            self.dba_mean = RunningMean(shapes, device=device, sums=sums)
            self.dba_tokens = torch.zeros((), dtype=torch.int64, device=device)
            if self.finetuning_args.makes_curvature:
                bare = self.accelerator.unwrap_model(self.model)
                self.dba_curvature = make_collector(bare, parameters, self.finetuning_args, self.args, device)
            self.optimizer = MeanOptimizer(parameters, self.dba_mean, self.dba_curvature)
            # Not wrapped for DDP: its buckets would take the memory of all gradients, and sums of several processes
            # can as well be averaged at the end as gradients in every step.
            self.accelerator.prepare_model = functools.partial(self.accelerator.prepare_model, evaluation_mode=True)
            return self.optimizer

        def dba_over_ranks(self) -> Callable[[torch.Tensor], torch.Tensor] | None:
            """The mean of a tensor over all processes; None for a single one."""
            if self.accelerator.num_processes == 1:
                return None
            return functools.partial(self.accelerator.reduce, reduction="mean")

        def dba_average(self) -> None:
            """Make the means of all processes one."""
            reduce = self.dba_over_ranks()
            if reduce is not None:
                self.dba_mean.average(reduce)
                if self.dba_curvature is not None:
                    self.dba_curvature.average(reduce)

        def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
            mask = inputs.get("attention_mask")
            seen = mask.sum() if mask is not None and mask.dim() == 2 else torch.tensor(inputs["input_ids"].numel())
            self.dba_tokens += seen.to(self.dba_tokens.device, torch.int64)
            if self.dba_curvature is None:
                return super().training_step(model, inputs, *args, **kwargs)
            inputs = self._prepare_inputs(inputs)
            batch = batch_of(inputs, 1.0)
            items = args[0] if args else kwargs.get("num_items_in_batch")
            self.dba_curvature.begin(batch._replace(scale=self.dba_loss_scale(batch.answers.sum(), items)))
            loss: torch.Tensor = super().training_step(model, inputs, *args, **kwargs)
            self.dba_curvature.end()
            return loss

        def dba_loss_scale(self, answers: torch.Tensor, items: Any) -> torch.Tensor | float:
            """What the host multiplies the sum of the answer tokens' losses by before the backward pass."""
            if not self.model_accepts_loss_kwargs or items is None:
                return 1 / (answers.clamp_min(1) * self.current_gradient_accumulation_steps)
            return (self.accelerator.num_processes if self.args.average_tokens_across_devices else 1) / items

        def save_model(self, *args: Any, **kwargs: Any) -> None:
            """An anchor run has no model to save."""

        def _load_from_checkpoint(self, *args: Any, **kwargs: Any) -> None:
            """The weights never changed."""

        def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
            if checkpoint is None:
                return
            self.dba_state = PartialState(checkpoint).load()
            self.dba_mean.load_state_dict(self.dba_state["mean"])
            if self.dba_curvature is not None:
                self.dba_curvature.load_state_dict(self.dba_state["curvature"])
            self.dba_tokens.copy_(self.dba_state["tokens"][self.args.process_index])

        def _load_rng_state(self, checkpoint: str | None) -> None:
            """Nothing in the pass is random once the order of the data is fixed (dropout is off)."""

        def _load_callback_state(self) -> None:
            """`AnchorProgress` brings its own state."""

    return AnchorTrainer
