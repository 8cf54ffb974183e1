"""What the trainer callbacks of all methods share: one hook on the optimizer, logs that others can follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .cost import Clock
from .engine import check_called, unscale
from .hooks import Attachment, Hook, attach
from .step_log import StepLog


RUN_FILE = "dba_run.json"


class AttachedCallback(TrainerCallback, Generic[Hook]):
    """Keeps a hook on the optimizer from the start of a training to its end.

    Args:
        arguments: the host's ``FinetuningArguments`` with the DBA fields.
        accelerator: accelerate's ``Accelerator``, for its gradient scaler (fp16) and its kind of engine.

    Attributes:
        clock: what the hook's work takes.
        bytes_in_memory: of what the method keeps beside the model; set by the subclass.
    """

    def __init__(self, arguments: Any, accelerator: Any) -> None:
        self.arguments, self.accelerator = arguments, accelerator
        self.clock = Clock(torch.device("cpu"))
        self.bytes_in_memory = 0
        self._attachment: Attachment[Hook] | None = None
        self._calls_seen = 0
        self._logs: dict[str, StepLog] = {}  # by file name; none on ranks that do not write

    def attach(self, optimizer: Any, hook: Hook, device: torch.device) -> None:
        """Put the hook on the optimizer within ``optimizer`` and time it on ``device``."""
        self.clock = Clock(device)
        self._attachment, self._calls_seen = attach(optimizer, hook, self.clock.timed), 0

    def detach(self) -> None:
        """Remove the hook and close the logs."""
        self.flush()
        self._logs.clear()
        if self._attachment is not None:
            self._attachment.remove()
            self._attachment = None

    def flush(self) -> None:
        """Bring every line to the disk."""
        for log in self._logs.values():
            log.flush()

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """A hook needs true gradients."""
        unscale(self.accelerator, args, kwargs["optimizer"])

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Make sure that the hook is on the optimizer that really steps; an engine may have replaced it."""
        if self._attachment is None:
            return
        self._calls_seen = check_called(self._attachment.hook, self._calls_seen, self.accelerator, state.global_step)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """A checkpoint's log lines must be on disk, since a resume continues after them."""
        self.flush()

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Let the web board and other readers follow the run."""
        self.flush()

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the last lines and leave the optimizer as it was."""
        self.detach()


def write_run_file(folder: str, content: Mapping[str, Any]) -> None:
    """What a run was made with."""
    Path(folder, RUN_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
