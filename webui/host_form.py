"""Which values of the host's form stand for a training's arguments: what ``Runner._parse_train_args`` does, backwards.

Whatever the form has no field for, or whose field cannot hold the value, becomes part of the host's "extra arguments",
which have the last word there. No gradio.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from .fields import Form, from_arguments


# what a training does without these arguments, where the host's form begins with something else
TRAINER_DEFAULTS = {
    "train.batch_size": 8,
    "train.gradient_accumulation_steps": 1,
    "train.lr_scheduler_type": "linear",
    "train.logging_steps": 500,
    "train.save_steps": 500,
    "train.max_samples": "1000000000",  # the form cannot say "all"
    "train.compute_type": "fp32",
}
# arguments whose field has another name
RENAMED = {
    "per_device_train_batch_size": "train.batch_size",
    "neftune_noise_alpha": "train.neftune_alpha",
    "pissa_init": "train.use_pissa",
    "template": "top.template",
    "finetuning_type": "top.finetuning_type",
    "rope_scaling": "top.rope_scaling",
    "quantization_method": "top.quantization_method",
}
# what the host's form always adds; a recipe that says the same needs no extra argument for it
ALWAYS = {
    "do_train": True,
    "preprocessing_num_workers": 16,
    "plot_loss": True,
    "trust_remote_code": True,
    "ddp_timeout": 180000000,
    "include_num_input_tokens_seen": True,
    "flash_attn": "auto",
    "pissa_convert": True,
}
NO_FIELD = ("output_dir", "config_path", "current_time", "device_count", "extra_args", "training_stage")


class Known(NamedTuple):
    """What the host offers: names of stages (argument → name in the menu), models (path → name), adapters' types."""

    stages: Mapping[str, str]
    models: Mapping[str, str]
    save_dir: str = "saves"


class Filled(NamedTuple):
    """``host``: values by id; ``form``: ours by name; ``extra``: what went to the extra arguments."""

    host: dict[str, Any]
    form: Form
    extra: dict[str, Any]


def fill(arguments: Mapping[str, Any], known: Known, fit: Callable[[str, Any], Any]) -> Filled:
    """The form that starts this training.

    Args:
        arguments: of the training.
        known: what the host offers.
        fit: (id, value) → the value as that field holds it; raises LookupError where there is no such field, and
            ValueError where it cannot hold it.
    """
    form, rest = from_arguments(arguments)
    host: dict[str, Any] = {**TRAINER_DEFAULTS}
    _fill_model(rest, host, known)
    _fill_compute(rest, host)
    _fill_output(rest, host, known)
    if (stage := known.stages.get(str(rest.get("stage", "sft")))) is not None:
        host["train.training_stage"] = stage
        rest.pop("stage", None)
    datasets = rest.pop("dataset", None)
    host["train.dataset"] = [name for name in _words(datasets) if name]
    extra: dict[str, Any] = {}
    for name, value in rest.items():
        if name in ALWAYS and ALWAYS[name] == value:
            continue
        place = RENAMED.get(name, f"train.{name}")
        try:
            if name in NO_FIELD or value is None:
                raise ValueError
            host[place] = fit(place, value)
        except (LookupError, ValueError, TypeError):
            extra[name] = value
    host["train.extra_args"] = json.dumps(extra, ensure_ascii=False)
    return Filled(host, form, extra)


def _fill_model(rest: dict[str, Any], host: dict[str, Any], known: Known) -> None:
    path = rest.pop("model_name_or_path", None)
    if path is not None:
        host["top.model_name"], host["top.model_path"] = known.models.get(str(path), "Custom"), str(path)
    host["top.booster"] = "auto"
    for argument, value, name in (
        ("flash_attn", "fa2", "flashattn2"),
        ("use_unsloth", True, "unsloth"),
        ("enable_liger_kernel", True, "liger_kernel"),
    ):
        if rest.get(argument) == value:
            host["top.booster"] = name
            del rest[argument]
    bits = rest.pop("quantization_bit", None)
    host["top.quantization_bit"] = "none" if bits is None else str(bits)


def _fill_compute(rest: dict[str, Any], host: dict[str, Any]) -> None:
    for name in ("bf16", "fp16", "pure_bf16"):
        if rest.get(name) is True:
            host["train.compute_type"] = name
        if isinstance(rest.get(name), bool):
            del rest[name]
    found = re.fullmatch(r"llamaboard_cache/ds_z([23])_(offload_)?config\.json", str(rest.get("deepspeed")))
    host["train.ds_stage"], host["train.ds_offload"] = "none", False
    if found:
        host["train.ds_stage"], host["train.ds_offload"] = found[1], bool(found[2])
        del rest["deepspeed"]
    if rest.get("val_size"):  # the form adds these to a validation split
        for name, value in (
            ("eval_strategy", "steps"),
            ("eval_steps", rest.get("save_steps", TRAINER_DEFAULTS["train.save_steps"])),
            ("per_device_eval_batch_size", rest.get("per_device_train_batch_size", 8)),
        ):
            if rest.get(name) == value:
                del rest[name]


def _fill_output(rest: dict[str, Any], host: dict[str, Any], known: Known) -> None:
    """A folder where the host would put it is named by its last part."""
    path = rest.pop("output_dir", None)
    if not path:
        return
    name = str(host.get("top.model_name") or "").replace(" ", "")
    usual = os.path.join(known.save_dir, name, str(rest.get("finetuning_type", "lora")))
    folder, last = os.path.split(os.path.normpath(str(path)))
    host["train.output_dir"] = last if folder == usual else str(path)


def _words(value: Any) -> list[str]:
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [str(part).strip() for part in parts]
