"""The trainer callback of methods that hold weights near the base model: match, hook the optimizer, log, resume."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from llamafactory.extras import logging
from transformers import TrainerControl, TrainerState, TrainingArguments

from ..anchor.config import AnchorConfig, read_config
from ..anchor.curvature import load_curvature, mean_curvature, require_curvature
from ..anchor.differences import is_extended
from ..anchor.origin import read_origin
from ..errors import AnchorError, DBAError
from ..files import write_file
from ..host_model import load_model, load_tokenizer
from ..methods.held import Held, bytes_in_memory, even_curvature, make_targets
from ..methods.holding import HoldingHook, HoldingWiring
from ..methods.registry import load_holding_method
from ..sentences import describe_names
from .attached import AttachedCallback, write_run_file
from .engine import check_engine
from .hooks import innermost
from .step_log import FILE_NAME as STEP_FILE
from .step_log import StepLog
from .views import canonical_name, trainable_tensors


logger = logging.get_logger("llamafactory.dba")

STATE_FILE = "dba_elastic.json"  # in checkpoints


class Match(NamedTuple):
    """An anchor, and the trainable tensors that it has no curvature for."""

    folder: Path
    config: AnchorConfig
    unmatched: list[str]


class HoldingCallback(AttachedCallback[HoldingHook]):
    """Attaches at the start of training, when model and optimizer are on their device and resumed."""

    def __init__(self, arguments: Any, accelerator: Any) -> None:
        super().__init__(arguments, accelerator)
        self.method = load_holding_method(arguments.dba_variant)
        self._since_log: list[dict[str, Any]] = []

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Match the curvature to the model, hook the optimizer, say so in one line."""
        self.detach()
        check_engine(self.accelerator)
        innermost(kwargs["optimizer"])  # refuses an unsupported optimizer before the anchor is read
        parameters = trainable_tensors(kwargs["model"])
        anchor = self._match(parameters)
        resumed = state.global_step > 0
        products = short_products(self.arguments, args, next(iter(parameters.values())))
        base = self._base_values() if resumed else {name: item.detach() for name, item in parameters.items()}
        targets = make_targets(
            even_curvature(parameters) if anchor is None else load_curvature(anchor.folder, anchor.config, parameters),
            parameters,
            {name: base[name].to(item.dtype) for name, item in parameters.items()},
            keep=self.arguments.dba_elastic_base,
            rank=self.arguments.dba_curvature_rank,
            whole=products is not None,
        )
        mean = 1.0 if anchor is None else mean_curvature(anchor.folder, anchor.config)
        wiring = HoldingWiring(state.max_steps, lambda: state.global_step, self._record, mean, products)
        hook = self.method.make_hook(self.arguments, targets, wiring)
        if resumed:
            hook.pending = read_pending(args, state)
        self.attach(kwargs["optimizer"], hook, targets[0].parameter.device)
        self.bytes_in_memory = bytes_in_memory(targets)
        self._report(anchor, targets, len(parameters))
        if state.is_world_process_zero:
            log = StepLog(args.output_dir, first_step=state.global_step, name=self.method.log_file)
            self._logs[self.method.log_file] = log
            if not resumed:
                Path(args.output_dir, STEP_FILE).unlink(missing_ok=True)  # of an earlier run in this folder
            self._write_run_file(args.output_dir, anchor, targets, state)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Put what a resume needs into the checkpoint: the learning rates since the last restoration."""
        super().on_save(args, state, control, **kwargs)
        folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
        if self._attachment is not None and args.should_save and folder.is_dir() and not args.save_only_model:
            content = {"step": state.global_step, "pending": self._attachment.hook.pending}
            write_file(folder / STATE_FILE, json.dumps(content) + "\n")

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Restore once more where a run stopped early, between two restorations; leave the optimizer as it was."""
        if self._attachment is not None and self._attachment.hook.pending and not args.load_best_model_at_end:
            self._attachment.hook.restore(innermost(kwargs["optimizer"]), state.global_step - 1)
        super().on_train_end(args, state, control, **kwargs)

    def pop_metrics(self) -> dict[str, float]:
        """The last values since the last call; empty if there were none."""
        records, self._since_log = self._since_log, []
        return {key: records[-1][name] for key, name in self.method.metrics.items()} if records else {}

    def _record(self, line: dict[str, Any]) -> None:
        self._since_log = [line]
        if (log := self._logs.get(self.method.log_file)) is not None:
            log.add(line)

    def _base_values(self) -> dict[str, torch.Tensor]:
        """The base model once more, on the CPU: that in the trainer has the checkpoint's weights already."""
        model_args = copy.copy(self.arguments.dba_run_inputs.model)
        model_args.device_map = {"": "cpu"}
        logger.info_rank0("DBA: loading the base model again, to restore towards it.")
        tokenizer = load_tokenizer(model_args)["tokenizer"]
        model = load_model(tokenizer, model_args, self.arguments, is_trainable=True)
        return {canonical_name(name): item.detach() for name, item in model.named_parameters()}

    def _match(self, parameters: Mapping[str, torch.nn.Parameter]) -> Match | None:
        """The anchor and what of the model it has nothing for; None for a method without one."""
        if not self.method.curvature:
            return None
        folder = Path(self.arguments.dba_anchor_path)
        config = read_config(folder)
        allowed = self.arguments.dba_allow_added_tokens
        return Match(folder, config, check_match(config, folder, parameters, allow_added=allowed))

    def _report(self, anchor: Match | None, targets: list[Held], tensors: int) -> None:
        text = f"DBA: {self.method.name}, {self.method.describe(self.arguments)}, matched {len(targets)} of {tensors} "
        text += "trainable tensors, "
        if anchor is not None:
            curvature = require_curvature(anchor.folder, anchor.config)
            rank = min(curvature.rank, self.arguments.dba_curvature_rank)
            kind = f"{curvature.kind} (rank {rank})" if rank else curvature.kind
            text += f"{kind} curvature of {curvature.sequences} sequences, anchor "
            text += f"{read_origin(anchor.folder) or anchor.folder} of {anchor.config.base_model.id} "
        logger.info_rank0(
            text + f"({self.bytes_in_memory / 2**20:.1f} MiB). "
            "GGB and DC are off in this variant, whatever `dba_boost_magnitude` and `dba_use_correction` say."
        )
        if anchor is not None and anchor.unmatched:
            names = describe_names(anchor.unmatched)
            logger.warning_rank0(f"DBA: the curvature has nothing for {names}; not held.")

    def _write_run_file(self, output: str, anchor: Match | None, targets: list[Held], state: TrainerState) -> None:
        content: dict[str, Any] = {"variant": self.arguments.dba_variant}
        if anchor is not None:
            curvature = require_curvature(anchor.folder, anchor.config)
            content |= {
                "anchor": str(anchor.folder),
                "anchor_on_hub": str(origin) if (origin := read_origin(anchor.folder)) else None,
                "anchor_base_model": dataclasses.asdict(anchor.config.base_model),
                "curvature": curvature.kind,
                "curvature_rank": min(curvature.rank, self.arguments.dba_curvature_rank),
            }
        content |= {
            "anchor_bytes_in_memory": self.bytes_in_memory,
            "matched_tensors": len(targets),
            "unmatched_tensors": [] if anchor is None else anchor.unmatched,
            **self.method.facts(self.arguments),
            "base": self.arguments.dba_elastic_base,
            "total_steps": state.max_steps,
        }
        write_run_file(output, content)


def short_products(arguments: Any, args: TrainingArguments, parameter: torch.nn.Parameter) -> torch.dtype | None:
    """bf16 where products with Kronecker factors are to be made in it; None is the precision of the weights' work."""
    wanted = arguments.dba_elastic_products
    if arguments.dba_elastic_base == "none":
        return None  # W itself would be rounded, not the small difference from W0
    if wanted == "auto":
        in_bf16 = args.bf16 or parameter.dtype == torch.bfloat16
        wanted = "bfloat16" if in_bf16 and parameter.device.type != "cpu" else "float32"
    return torch.bfloat16 if wanted == "bfloat16" else None


def check_match(
    config: AnchorConfig, folder: Path, parameters: Mapping[str, torch.nn.Parameter], *, allow_added: bool
) -> list[str]:
    """Names of trainable tensors without a curvature.

    Raises:
        AnchorError: no tensor has one, or shapes differ.
    """
    curvature = require_curvature(folder, config)
    unmatched = [name for name in parameters if name not in curvature.tensors]
    if len(unmatched) == len(parameters):
        raise AnchorError(
            "No trainable tensor matches the anchor's curvature, so nothing would be restored.",
            expected=f"names like {describe_names(sorted(curvature.tensors))}",
            found=f"trainable tensors {describe_names(sorted(parameters))}",
            next_step="use `finetuning_type: full` or `freeze`, and an anchor of this base model",
        )
    differing = []
    for name in parameters.keys() - set(unmatched):
        expected, found = tuple(config.tensors[name].shape), tuple(parameters[name].shape)
        if expected != found and not (allow_added and is_extended(name, expected, found)):
            differing.append(f"{name}: anchor {list(expected)}, model {list(found)}")
    if differing:
        raise AnchorError(
            "The anchor's curvature does not fit this model.",
            expected="the base model it was made from: " + config.base_model.id,
            found=describe_names(sorted(differing)),
            next_step="train the base model of the anchor; if tokens were added on purpose, set "
            "`dba_allow_added_tokens: true`",
        )
    return unmatched


def read_pending(args: TrainingArguments, state: TrainerState) -> list[float]:
    """The learning rates since the last restoration, from the checkpoint that is resumed.

    Raises:
        DBAError: the checkpoint lacks them.
    """
    folder = Path(args.output_dir, f"checkpoint-{state.global_step}")
    if isinstance(args.resume_from_checkpoint, str):
        folder = Path(args.resume_from_checkpoint)
    try:
        content = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        if content["step"] != state.global_step:
            raise ValueError(f"of step {content['step']}")
        return [float(rate) for rate in content["pending"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DBAError(
            "The checkpoint cannot be resumed by an elastic run.",
            expected=f"{STATE_FILE} of step {state.global_step} in {folder}",
            found=repr(error),
            next_step="resume from an earlier checkpoint of an elastic run (the run may have been killed while it "
            "wrote this one), or start again",
        ) from error
