"""The trainer callback of a DBA run: attaches the step hooks, feeds the logs, keeps them across checkpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from llamafactory.extras import logging
from transformers import TrainerControl, TrainerState, TrainingArguments

from ..anchor.format import Anchor, load_anchor
from ..anchor.origin import read_origin
from ..methods.interface import Record, Wiring
from ..methods.registry import HOLDING_METHODS, load_method
from ..sentences import describe_names
from .attached import AttachedCallback, write_run_file
from .embedding_rate import scale_embedding_rate
from .engine import check_engine
from .holding_callback import HoldingCallback
from .hooks import AnchorHook, Target, innermost
from .layer_log import FILE_NAME as LAYER_FILE
from .layer_log import LayerRecord, cosines, interval
from .matching import anchor_bytes, match
from .step_log import FILE_NAME as STEP_FILE
from .step_log import StepLog
from .views import trainable_tensors


logger = logging.get_logger("llamafactory.dba")


def attach_to_trainer(trainer: Any) -> None:
    """Give the embeddings their rate and `trainer` the DBA callback, once: an optimizer may be asked for twice."""
    ratio = trainer.finetuning_args.dba_embedding_lr_ratio
    if scaled := scale_embedding_rate(trainer.optimizer, trainer.model, ratio):
        logger.info_rank0(f"DBA: {scaled} embedding tensor(s) at {ratio:g} times the learning rate.")
    if getattr(trainer, "_dba_callback", None) is None:
        kind: Any = HoldingCallback if trainer.finetuning_args.dba_variant in HOLDING_METHODS else DBACallback
        trainer._dba_callback = kind(trainer.finetuning_args, trainer.accelerator)
        trainer.add_callback(trainer._dba_callback)


class DBACallback(AttachedCallback[AnchorHook]):
    """Attaches at the start of training, when model and optimizer are wrapped, on their device and resumed.

    What happens to the gradients is the business of the method that `dba_variant` names (`methods.interface`).
    """

    def __init__(self, arguments: Any, accelerator: Any) -> None:
        super().__init__(arguments, accelerator)
        self.method = load_method(arguments.dba_variant)
        self._since_log: list[Record] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Match the anchor to the model, hook the optimizer, say so in one line."""
        self.detach()
        check_engine(self.accelerator)
        innermost(kwargs["optimizer"])  # refuses an unsupported optimizer before the anchor is read
        anchor = load_anchor(self.arguments.dba_anchor_path)
        targets, unmatched = match(
            anchor,
            trainable_tensors(kwargs["model"]),
            self.arguments.dba_svd_rank,
            allow_added=self.arguments.dba_allow_added_tokens,
        )
        wiring = Wiring(
            targets=targets,
            total_steps=state.max_steps,
            current_step=lambda: state.global_step,
            on_step=self._record,
            tolerate_overflow=lambda: getattr(self.accelerator, "scaler", None) is not None,
            on_sums=self._log_layers,
        )
        hook = self.method.make_hook(self.arguments, wiring)
        self.attach(kwargs["optimizer"], hook, targets[0].parameter.device)
        self.bytes_in_memory = anchor_bytes(targets)
        self._every = interval(self.arguments.dba_layer_log_steps, state.max_steps)
        self._report(anchor, hook, unmatched, state.max_steps)
        if state.is_world_process_zero:
            self._logs[STEP_FILE] = StepLog(args.output_dir, first_step=state.global_step)
            if self._every:
                self._logs[LAYER_FILE] = StepLog(args.output_dir, first_step=state.global_step, name=LAYER_FILE)
            elif state.global_step == 0:
                Path(args.output_dir, LAYER_FILE).unlink(missing_ok=True)  # of an earlier run in this folder
            self._write_run_file(args.output_dir, anchor, hook, unmatched, state.max_steps)

    def pop_metrics(self) -> dict[str, float]:
        """Means of the method's metrics over the steps since the last call; empty if there were none."""
        records, self._since_log = self._since_log, []
        if not records:
            return {}
        names = self.method.metrics.items()
        return {key: sum(getattr(item, name) for item in records) / len(records) for key, name in names}

    def _record(self, record: Record) -> None:
        self._since_log.append(record)
        if (log := self._logs.get(STEP_FILE)) is not None:
            log.add(record._asdict())

    def _log_layers(self, step: int, present: Sequence[Target], rows: Sequence[Sequence[float]]) -> None:
        log = self._logs.get(LAYER_FILE)
        if log is None or self._attachment is None or step % self._every:
            return
        norms = self._attachment.hook.norms
        names = [target.name for target in present]
        found = cosines(names, ((dot, square) for dot, square in rows), [norms[name] for name in names])
        log.add(LayerRecord(step, found)._asdict())

    def _report(self, anchor: Anchor, hook: AnchorHook, unmatched: list[str], total_steps: int) -> None:
        logger.info_rank0(
            f"DBA: matched {len(hook.targets)} of {len(hook.targets) + len(unmatched)} trainable tensors, "
            f"rank {min(anchor.config.rank, self.arguments.dba_svd_rank)}, "
            f"{self.method.describe(self.arguments, total_steps)}, "
            f"anchor {read_origin(anchor.folder) or anchor.folder} of {anchor.config.base_model.id} "
            f"(norm {hook.anchor_norm:.4g}, {self.bytes_in_memory / 2**20:.1f} MiB)."
        )
        if unmatched:
            logger.warning_rank0(f"DBA: the anchor has nothing for {describe_names(unmatched)}; trained without it.")
        for warning in self.method.warnings(self.arguments, anchor.config, total_steps):
            logger.warning_rank0(f"DBA: {warning}")

    def _write_run_file(
        self, folder: str, anchor: Anchor, hook: AnchorHook, unmatched: list[str], total_steps: int
    ) -> None:
        content = {
            "variant": self.arguments.dba_variant,
            "anchor": str(anchor.folder),
            "anchor_on_hub": str(origin) if (origin := read_origin(anchor.folder)) else None,
            "anchor_base_model": dataclasses.asdict(anchor.config.base_model),
            "anchor_rank": anchor.config.rank,
            "anchor_norm": hook.anchor_norm,
            "anchor_bytes_in_memory": self.bytes_in_memory,
            "matched_tensors": len(hook.targets),
            "unmatched_tensors": unmatched,
            **self.method.facts(self.arguments, total_steps),
        }
        write_run_file(folder, content)
