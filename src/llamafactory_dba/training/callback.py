"""The trainer callback of a DBA run: attaches the step hooks, feeds the logs, keeps them across checkpoints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from llamafactory.extras import logging
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..anchor.format import Anchor, load_anchor
from ..anchor.origin import read_origin
from ..core.boost import initial_weight
from ..core.convergence import half_cosine_of
from ..errors import DBAError
from .cost import Clock
from .hooks import Attachment, Settings, StepHook, StepRecord, Target, attach, innermost
from .layer_log import FILE_NAME as LAYER_FILE
from .layer_log import LayerRecord, cosines, interval
from .matching import anchor_bytes, match
from .step_log import StepLog
from .views import describe_names, trainable_tensors


logger = logging.get_logger("llamafactory.dba")

RUN_FILE = "dba_run.json"
UNSUPPORTED_ENGINES = ("DEEPSPEED", "FSDP", "MEGATRON_LM")
LARGEST_PAPER_WEIGHT = 0.1  # 200 / T at the paper's smallest domain, 28,613 rows in batches of 8, is 0.056
LOW_COSINE = half_cosine_of(0.5**0.5)  # a third; below it, more than half of the anchor's energy is sampling noise
METRICS = {
    "dba_gamma": "gamma",
    "dba_similarity": "similarity",
    "dba_correction": "correction",
    "dba_domain_grad_norm": "domain_grad_norm",
}


def attach_to_trainer(trainer: Any) -> None:
    """Give `trainer` the DBA callback, once; DeepSpeed, for one, creates the optimizer twice."""
    if getattr(trainer, "_dba_callback", None) is None:
        trainer._dba_callback = DBACallback(trainer.finetuning_args, trainer.accelerator)
        trainer.add_callback(trainer._dba_callback)


class DBACallback(TrainerCallback):
    """Attaches at the start of training, when model and optimizer are wrapped, on their device and resumed.

    Args:
        arguments: the host's ``FinetuningArguments`` with the DBA fields.
        accelerator: accelerate's ``Accelerator``; only its gradient scaler is used (fp16).
    """

    def __init__(self, arguments: Any, accelerator: Any) -> None:
        self.arguments = arguments
        self.accelerator = accelerator
        self._attachment: Attachment | None = None
        self._log: StepLog | None = None
        self._layer_log: StepLog | None = None
        self._since_log: list[StepRecord] = []
        self._calls_seen = 0
        self.clock = Clock(torch.device("cpu"))
        self.bytes_in_memory = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Match the anchor to the model, hook the optimizer, say so in one line."""
        self.detach()
        engine = str(getattr(getattr(self.accelerator, "distributed_type", None), "value", "NO"))
        if engine in UNSUPPORTED_ENGINES:
            raise DBAError(
                "This engine keeps or shards gradients where DBA cannot reach them yet.",
                expected="one process, or plain DDP",
                found=engine,
                next_step="train without DeepSpeed, FSDP and Megatron",
            )
        innermost(kwargs["optimizer"])  # refuses an unsupported optimizer before the anchor is read
        anchor = load_anchor(self.arguments.dba_anchor_path)
        targets, unmatched = match(
            anchor,
            trainable_tensors(kwargs["model"]),
            self.arguments.dba_svd_rank,
            allow_added=self.arguments.dba_allow_added_tokens,
        )
        settings = Settings(
            boost_magnitude=self.arguments.dba_boost_magnitude,
            use_correction=self.arguments.dba_use_correction,
            base_correction=self.arguments.dba_base_correction,
            total_steps=state.max_steps,
        )
        hook = StepHook(
            targets=targets,
            settings=settings,
            current_step=lambda: state.global_step,
            on_step=self._record,
            tolerate_overflow=lambda: getattr(self.accelerator, "scaler", None) is not None,
            on_sums=self._log_layers,
        )
        self.clock = Clock(targets[0].parameter.device)
        self._attachment, self._calls_seen = attach(kwargs["optimizer"], hook, self.clock.timed), 0
        self.bytes_in_memory = anchor_bytes(targets)
        self._every = interval(self.arguments.dba_layer_log_steps, state.max_steps)
        self._report(anchor, hook, unmatched)
        if state.is_world_process_zero:
            self._log = StepLog(args.output_dir, first_step=state.global_step)
            if self._every:
                self._layer_log = StepLog(args.output_dir, first_step=state.global_step, name=LAYER_FILE)
            elif state.global_step == 0:
                Path(args.output_dir, LAYER_FILE).unlink(missing_ok=True)  # of an earlier run in this folder
            self._write_run_file(args.output_dir, anchor, hook, unmatched)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Under fp16 without clipping nobody else has unscaled the gradients yet; the blend needs true ones."""
        scaler = getattr(self.accelerator, "scaler", None)
        if scaler is not None and not args.max_grad_norm:
            scaler.unscale_(innermost(kwargs["optimizer"]))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make sure that the hooks are on the optimizer that really steps; an engine may have replaced it."""
        if self._attachment is None:
            return
        calls = self._attachment.hook.calls
        if calls == self._calls_seen and getattr(self.accelerator, "scaler", None) is None:
            raise DBAError(
                "The trainer made a step without calling the optimizer that DBA is attached to.",
                expected="one call per step",
                found=f"none in step {state.global_step}",
                next_step="use a plain optimizer and no engine that replaces it",
            )
        self._calls_seen = calls

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A checkpoint's log lines must be on disk, since a resume continues after them."""
        self._flush()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Let the web board and other readers follow the run."""
        self._flush()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the last lines and leave the optimizer as it was."""
        self.detach()

    def detach(self) -> None:
        """Remove the hooks and close the logs."""
        self._flush()
        self._log = self._layer_log = None
        if self._attachment is not None:
            self._attachment.remove()
            self._attachment = None

    def pop_metrics(self) -> dict[str, float]:
        """Means of γ, s, λ and ‖g_D‖ over the steps since the last call; empty if there were none."""
        records, self._since_log = self._since_log, []
        if not records:
            return {}
        return {key: sum(getattr(item, name) for item in records) / len(records) for key, name in METRICS.items()}

    def _record(self, record: StepRecord) -> None:
        self._since_log.append(record)
        if self._log is not None:
            self._log.add(record._asdict())

    def _log_layers(self, step: int, present: Sequence[Target], rows: Sequence[Sequence[float]]) -> None:
        if self._layer_log is None or self._attachment is None or step % self._every:
            return
        norms = self._attachment.hook.norms
        names = [target.name for target in present]
        found = cosines(names, ((dot, square) for dot, square in rows), [norms[name] for name in names])
        self._layer_log.add(LayerRecord(step, found)._asdict())

    def _flush(self) -> None:
        for log in (self._log, self._layer_log):
            if log is not None:
                log.flush()

    def _report(self, anchor: Anchor, hook: StepHook, unmatched: list[str]) -> None:
        settings = hook.settings
        k0 = initial_weight(settings.boost_magnitude, settings.total_steps)
        boost = f"boost {k0:.4g} fading to 0 over {settings.total_steps} steps" if k0 else "boost off"
        correct = f"correction 1/(s + {settings.base_correction:g})" if settings.use_correction else "correction off"
        logger.info_rank0(
            f"DBA: matched {len(hook.targets)} of {len(hook.targets) + len(unmatched)} trainable tensors, "
            f"rank {min(anchor.config.rank, self.arguments.dba_svd_rank)}, {boost}, {correct}, "
            f"anchor {read_origin(anchor.folder) or anchor.folder} of {anchor.config.base_model.id} "
            f"(norm {hook.anchor_norm:.4g}, {self.bytes_in_memory / 2**20:.1f} MiB)."
        )
        if unmatched:
            logger.warning_rank0(f"DBA: the anchor has nothing for {describe_names(unmatched)}; trained without it.")
        for warning in boost_warnings(k0, anchor.config.half_cosine):
            logger.warning_rank0(f"DBA: {warning}")

    def _write_run_file(self, folder: str, anchor: Anchor, hook: StepHook, unmatched: list[str]) -> None:
        content = {
            "anchor": str(anchor.folder),
            "anchor_on_hub": str(origin) if (origin := read_origin(anchor.folder)) else None,
            "anchor_base_model": dataclasses.asdict(anchor.config.base_model),
            "anchor_rank": anchor.config.rank,
            "anchor_norm": hook.anchor_norm,
            "anchor_bytes_in_memory": self.bytes_in_memory,
            "matched_tensors": len(hook.targets),
            "unmatched_tensors": unmatched,
            "boost_magnitude": hook.settings.boost_magnitude,
            "initial_boost_weight": initial_weight(hook.settings.boost_magnitude, hook.settings.total_steps),
            "use_correction": hook.settings.use_correction,
            "base_correction": hook.settings.base_correction,
            "total_steps": hook.settings.total_steps,
        }
        Path(folder, RUN_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def boost_warnings(initial: float, half_cosine: Sequence[tuple[int, float]]) -> list[str]:
    """What speaks against boosting in this run, as far as it can be known before the first step.

    Args:
        initial: k0, the boost weight of the first step; 0 with GGB off.
        half_cosine: the anchor's history of (step, cosine between the means of two data halves).
    """
    warnings = []
    if initial > LARGEST_PAPER_WEIGHT:
        warnings.append(
            f"the boost starts at {initial:.2g}; the paper's runs stay below {LARGEST_PAPER_WEIGHT:g}. In runs this "
            "short it cost general skill in our measurements (docs/real_small.md): lower `dba_boost_magnitude`."
        )
    if initial and half_cosine and half_cosine[-1][1] < LOW_COSINE:
        warnings.append(
            f"the means of two halves of the general data have a cosine of {half_cosine[-1][1]:.2f} only, so the "
            "anchor is mostly noise: the base model may be at its optimum on that data already. Make it from more or "
            "other general data, or set `dba_boost_magnitude: 0`."
        )
    return warnings
