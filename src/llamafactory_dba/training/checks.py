"""Checks of a run against the files and settings it names, made before the model is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llamafactory.data.parser import get_dataset_list
from llamafactory.extras import logging

from ..anchor.curvature import require_curvature
from ..anchor.fingerprint import fingerprint_folder
from ..anchor.format import is_anchor, read_config
from ..errors import AnchorError, DBAError
from ..methods.registry import WITH_CURVATURE
from .guard import check_base_model, check_template
from .hub_anchor import fetch_anchor
from .paths import anchor_folder, model_folder, same_path


logger = logging.get_logger("llamafactory.dba")

# Below this an AdamW update is smaller than half the spacing of bf16 numbers around a typical weight of 0.02
# (spacing 2^-8 relative), so rounding throws most updates away.
SMALLEST_BF16_RATE = 1e-4


def check_run(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> None:
    """Refuse what cannot work, warn of what will not do what the user thinks.

    A hub id in `dba_anchor_path` is replaced by the folder that the anchor is downloaded to.

    Raises:
        DBAError: all problems of the settings in one message.
        AnchorError: the anchor is missing, damaged or of another base model.
    """
    problems = _setting_problems(training_args, finetuning_args)
    if problems:
        raise DBAError("This run cannot use DBA:\n" + "\n".join(f"  - {text}" for text in problems))
    if finetuning_args.dba_stage == "anchor":
        check_new_anchor(model_args, training_args, finetuning_args, anchor_folder(training_args, finetuning_args))
        return
    if finetuning_args.needs_anchor:
        _check_anchor(model_args, data_args, training_args, finetuning_args)
    elif finetuning_args.dba_anchor_path:
        logger.warning_rank0(
            f"DBA: `dba_variant: {finetuning_args.dba_variant}` reads no anchor; it is not looked at."
        )
    if finetuning_args.pure_bf16 and training_args.learning_rate < SMALLEST_BF16_RATE:
        logger.warning_rank0(
            f"DBA: `pure_bf16` with learning_rate {training_args.learning_rate:g}: most updates are smaller than the "
            "spacing of bf16 weights and vanish. Use `bf16: true`, which keeps fp32 weights."
        )


def _check_anchor(model_args: Any, data_args: Any, training_args: Any, finetuning_args: Any) -> None:
    """There is one that fits, or it can be made."""
    fetch_anchor(data_args, training_args, finetuning_args)
    folder = Path(finetuning_args.dba_anchor_path)
    if is_anchor(folder):
        config = read_config(folder)
        check_base_model(config, model_args, allow_added=finetuning_args.dba_allow_added_tokens)
        check_template(config, model_args, data_args)
        if finetuning_args.dba_variant in WITH_CURVATURE:
            require_curvature(folder, config)
    elif finetuning_args.dba_anchor_dataset is not None:
        # The domain data is looked up now, not after the general pass.
        get_dataset_list(data_args.dataset, data_args.dataset_dir)
        check_new_anchor(model_args, training_args, finetuning_args, folder)
    else:
        read_config(folder)  # says precisely what is wrong with it


def _setting_problems(training_args: Any, finetuning_args: Any) -> list[str]:
    problems = []
    if getattr(training_args, "deepspeed", None):
        problems.append("DeepSpeed is not supported yet (it steps inside the backward pass); use plain DDP.")
    if getattr(training_args, "fsdp", None):
        problems.append("FSDP is not supported yet (parameters are sharded); use plain DDP.")
    optim = str(getattr(training_args.optim, "value", training_args.optim))
    if finetuning_args.dba_stage == "train" and ("layerwise" in optim or "lomo" in optim):
        problems.append(f"`optim: {optim}` steps inside the backward pass, before a gradient can be blended.")
    if finetuning_args.dba_stage == "anchor":
        if training_args.fp16:
            problems.append("An anchor needs gradients without loss scaling: use `bf16: true` or fp32, not `fp16`.")
    elif finetuning_args.needs_anchor and same_path(finetuning_args.dba_anchor_path, training_args.output_dir):
        problems.append("`output_dir` and `dba_anchor_path` are the same folder; the run would overwrite the anchor.")
    return problems


def check_new_anchor(model_args: Any, training_args: Any, finetuning_args: Any, folder: Path) -> None:
    """Refuse to write over something, or a rank that no matrix of the model has."""
    occupied = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if occupied and not (is_anchor(folder) and getattr(training_args, "overwrite_output_dir", False)):
        raise AnchorError(
            "The folder for the new anchor already holds " + ("an anchor." if is_anchor(folder) else "other files."),
            expected="an empty or new folder",
            found=str(folder),
            next_step="choose another `dba_anchor_path` (or `output_dir`), or set `overwrite_output_dir: true` to "
            "replace an anchor",
        )
    model = model_folder(model_args)
    fingerprint = fingerprint_folder(model) if model is not None else None
    if fingerprint is None or not fingerprint.tensors:
        return
    shapes = [tuple(item.shape) for item in fingerprint.tensors.values() if len(item.shape) >= 2]
    largest = max((min(shape[-1], _rows(shape)) for shape in shapes), default=0)
    if finetuning_args.dba_svd_rank > largest:
        raise DBAError(
            "`dba_svd_rank` is above the dimensions of every matrix in the model.",
            expected=f"1 to {largest}",
            found=finetuning_args.dba_svd_rank,
            next_step=f"set `dba_svd_rank: {largest}` to keep everything, or less to compress",
        )


def _rows(shape: tuple[int, ...]) -> int:
    rows = 1
    for size in shape[:-1]:
        rows *= size
    return rows
