"""Progress of an anchor run: bar, log, early stop, a stop that saves, and the state to resume from."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import torch
from llamafactory.extras import logging
from tqdm.auto import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..anchor.estimate import PROGRESS_FILE, PartialState
from .step_log import StepLog
from .stop_request import StopRequest


logger = logging.get_logger("llamafactory.dba")

# Counting tokens waits for the device, so the rate is not shown at every step.
SECONDS_BETWEEN_RATES = 2.0


class AnchorProgress(TrainerCallback):
    """Progress bar with tokens/s, the cosine between the data halves, early stop, and the state to resume from.

    The same numbers go to `estimate.PROGRESS_FILE`. Within ``with progress.stop``, Ctrl-C and SIGTERM save the state.

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
        self.stop = StopRequest()
        self._log: StepLog | None = None
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
        if state.is_world_process_zero:
            with contextlib.suppress(OSError):  # as in `_show`
                self._log = StepLog(self.partial.folder, state.global_step + 1, PROGRESS_FILE)
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
        if not last and not control.should_training_stop and self._is_to_stop(args, state):
            self._save(args, state)
            self.trainer.accelerator.wait_for_everyone()  # else torchrun ends the one that is writing
            logger.info_rank0(
                f"DBA: stopped after step {state.global_step} of {state.max_steps}; the state is in "
                f"{self.partial.folder}, and the same command goes on from there."
            )
            raise SystemExit(self.stop.exit_status)

    def _is_to_stop(self, args: TrainingArguments, state: TrainerState) -> bool:
        """Several processes must agree, and do so when the cosine makes them wait for each other anyway."""
        if args.world_size == 1:
            return bool(self.stop.signal)
        if state.global_step % self.arguments.dba_anchor_check_steps:
            return False
        asked = torch.tensor(self.stop.signal, device=self.trainer.dba_tokens.device)
        self.stop.signal = int(self.trainer.accelerator.gather(asked[None]).max())
        return bool(self.stop.signal)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self._bar.close()

    def total_tokens(self) -> int:
        """Tokens read so far, padding left out, summed over ranks."""
        return int(self.trainer.accelerator.reduce(self.trainer.dba_tokens, reduction="sum"))

    def _check(self, state: TrainerState, control: TrainerControl) -> None:
        # a collective that gives every rank the same number, so they decide alike
        cosine = self.trainer.dba_mean.half_cosine(self.trainer.dba_over_ranks())
        self.half_cosines.append((state.global_step, cosine))
        rate = self._show(half_cosine=cosine)
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

    def _show(self, **measured: float) -> float:
        """Refresh the bar and the log; returns tokens per second over all ranks since this process started."""
        self._shown = time.monotonic()
        tokens = (int(self.trainer.dba_tokens) - self._tokens_before) * self.trainer.args.world_size
        rate = tokens / max(1e-9, self._shown - self._resumed_at)
        cosine = f", cosine of halves {self.half_cosines[-1][1]:.4f}" if self.half_cosines else ""
        self._bar.set_postfix_str(f"{rate:,.0f} tokens/s{cosine}")
        if self._log is not None:
            state = self.trainer.state
            progress = {"step": state.global_step, "steps": state.max_steps, "seconds": round(self.seconds, 3)}
            tokens = int(self.trainer.dba_tokens) * self.trainer.args.world_size
            self._log.add({**progress, "tokens": tokens, "tokens_per_second": round(rate, 1), **measured})
            with contextlib.suppress(OSError):  # a full disk: a log is no reason to end, and saving will say it
                self._log.flush()
        return rate

    def _save(self, args: TrainingArguments, state: TrainerState) -> None:
        # also where nothing went wrong: a resumed run is to go on from exactly what an uninterrupted one has
        self.trainer.dba_average()
        tokens = self.trainer.accelerator.gather(self.trainer.dba_tokens[None]).cpu()
        curvature = self.trainer.dba_curvature
        if args.should_save:
            self.partial.save(
                {
                    "request": self.request,
                    "mean": self.trainer.dba_mean.state_dict(),
                    **({"curvature": curvature.state_dict()} if curvature is not None else {}),
                    "tokens": tokens,
                    "half_cosines": self.half_cosines,
                    "seconds": self.seconds,
                },
                trainer_state=state,
            )
