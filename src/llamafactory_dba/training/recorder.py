"""The trainer callback that writes run_record.json, for runs with and without DBA."""

from __future__ import annotations

import dataclasses
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from llamafactory.extras import logging
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ..errors import DBAError
from .attached import AttachedCallback
from .cost import Amounts, Clock, EnergyMeter, TokenCounter, over_processes, peak_device_bytes, peak_host_bytes
from .record import RunRecord, Segment, kept_segments, read_record, total_cost, write_record
from .run_facts import (
    RunInputs,
    anchor_bytes_on_disk,
    anchor_facts,
    base_fingerprint,
    data_hashes,
    machine,
    method_name,
    settings,
    versions,
)


logger = logging.get_logger("llamafactory.dba")


def attach_recorder(trainer: Any) -> None:
    """Give `trainer` the recorder, once, after the DBA callback: it asks that for the anchor's bytes and its time."""
    if getattr(trainer, "_dba_recorder", None) is None:
        trainer._dba_recorder = Recorder(trainer.finetuning_args, getattr(trainer, "_dba_callback", None))
        trainer.add_callback(trainer._dba_recorder)


class Recorder(TrainerCallback):
    """Measures from the first batch to the end of the training and writes the record, at every checkpoint and then.

    Args:
        arguments: the host's ``FinetuningArguments`` with the DBA fields; `RunInputs` as ``dba_run_inputs``.
        dba: the run's DBA callback, if it has one.
    """

    def __init__(self, arguments: Any, dba: AttachedCallback[Any] | None) -> None:
        self.arguments = arguments
        self.dba = dba
        self._tokens: TokenCounter | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Describe the run, then start the clocks."""
        self._stop()
        device = self._device = args.device
        inputs: RunInputs = self.arguments.dba_run_inputs
        energy = EnergyMeter(device, first_on_machine=args.local_process_index == 0)
        self._segments = self._earlier(args, state)
        self._end = state.global_step
        self._fixed: dict[str, int | None] = {"trainable_parameters": _trainable(kwargs["model"])}
        anchor = None
        if self.dba is not None and not self.arguments.needs_anchor:
            self._fixed["anchor_bytes_in_memory"] = self.dba.bytes_in_memory
        elif self.dba is not None:
            folder = self.arguments.dba_anchor_path
            anchor = anchor_facts(folder, inputs.anchor_seconds)
            self._fixed |= {
                "anchor_bytes_on_disk": anchor_bytes_on_disk(folder),
                "anchor_bytes_in_memory": self.dba.bytes_in_memory,
            }
        self._record: RunRecord | None = None
        if state.is_world_process_zero:
            self._record = RunRecord(
                method=method_name(self.arguments, inputs.model),
                cost=total_cost(self._segments, **self._fixed),
                seed=args.seed,
                base_model=inputs.model.model_name_or_path,
                base_fingerprint=base_fingerprint(inputs.model),
                settings=settings(args, self.arguments, inputs),
                anchor=anchor,
                machine=machine(device, args.world_size, energy.sources),
                versions=versions(),
                data=data_hashes(inputs.data),
            )
            if state.global_step == 0:
                self._write(args, state)  # not on a resume: a checkpoint after this one may still be resumed from
        self._steps, self._energy = Clock(device), energy
        self._tokens = TokenCounter(kwargs["model"], compiled=bool(getattr(args, "torch_compile", False)))
        self._energy.take()
        self._began = time.perf_counter()

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """The batch is at hand; its first forward pass follows."""
        self._steps.start()

    def on_optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """The update is made."""
        self._steps.stop()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The record is there before its checkpoint is: a kill between the two must not leave one without."""
        self._energy.keep_up()
        if control.should_save:
            self._close(args, state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """For a checkpoint that was asked for later than in `on_step_end`."""
        self._close(args, state)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The last segment."""
        self._close(args, state, finished=True)
        self._stop()

    def _close(self, args: TrainingArguments, state: TrainerState, finished: bool = False) -> None:
        """End the segment and write; a collective where there are several processes."""
        if self._tokens is None or (state.global_step == self._end and not finished):
            return
        now = time.perf_counter()
        own = Amounts(self._tokens.take(), self._energy.take(), peak_host_bytes(), peak_device_bytes(self._device))
        everywhere = over_processes(own, self._device)
        segment = Segment(
            first_step=self._end,
            last_step=state.global_step,
            seconds=now - self._began,
            step_seconds=self._steps.take(),
            devices=args.world_size * max(1, args.n_gpu),
            hook_seconds=None if self.dba is None else self.dba.clock.take(),
            **everywhere._asdict(),
        )
        if segment.last_step == segment.first_step and self._segments:
            segment = _joined(self._segments[-1], segment)  # what came after the last checkpoint: no step, some time
            self._segments = self._segments[:-1]
        self._segments = (*self._segments, segment)
        self._began, self._end = now, state.global_step
        if self._record is not None:
            self._write(args, state, finished)

    def _write(self, args: TrainingArguments, state: TrainerState, finished: bool = False) -> None:
        assert self._record is not None
        self._record = dataclasses.replace(
            self._record,
            cost=total_cost(self._segments, **self._fixed),
            segments=self._segments,
            steps=state.global_step,
            finished=finished,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        write_record(self._record, args.output_dir)

    def _earlier(self, args: TrainingArguments, state: TrainerState) -> tuple[Segment, ...]:
        """Of a resumed run: the segments before its checkpoint."""
        if state.global_step == 0:
            return ()
        folders = [Path(args.output_dir)]
        if isinstance(args.resume_from_checkpoint, str):
            folders.append(Path(args.resume_from_checkpoint).absolute().parent)
        found: tuple[Segment, ...] = ()
        try:
            record = next((record for folder in folders if (record := read_record(folder)) is not None), None)
            found = kept_segments(record.segments, state.global_step) if record is not None else ()
        except DBAError as error:  # what a run cost must not keep it from going on
            logger.warning_rank0(f"DBA: {error}")
        if not found or found[-1].last_step != state.global_step:
            logger.warning_rank0(
                f"DBA: what the first {state.global_step} steps cost was not recorded, so there will be no totals."
            )
        return found

    def _stop(self) -> None:
        if self._tokens is not None:
            self._tokens.remove()
            self._tokens = None


def _joined(first: Segment, second: Segment) -> Segment:
    """One segment of two that follow each other."""
    changes: dict[str, Any] = {"last_step": second.last_step}
    for name in ("seconds", "step_seconds", "hook_seconds", "tokens", "energy_joules"):
        one, two = getattr(first, name), getattr(second, name)
        changes[name] = None if one is None or two is None else one + two
    for name in ("peak_device_bytes", "peak_host_bytes"):
        changes[name] = max((x for x in (getattr(first, name), getattr(second, name)) if x is not None), default=None)
    return dataclasses.replace(first, **changes)


def _trainable(model: torch.nn.Module) -> int:
    """Numbers that are trained; under ZeRO-3 the whole tensor's, not the part kept here."""
    return sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters() if p.requires_grad)
