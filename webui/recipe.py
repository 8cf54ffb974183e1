"""A training's arguments as the YAML of a recipe, and back. No gradio."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

import yaml

from llamafactory_dba.errors import DBAError

from .jobs import without_secrets
from .supervise import SECRET_TEXT


LARGEST = 1_000_000  # bytes of a recipe that is dropped in
HEAD = """\
# Recipe from the DBA tab of LLaMA Board.
# Command:
#   llamafactory-cli train {name}
# Paths are relative to the folder that the command is started in.
"""
# sections in the order of the examples; a key stands in the first that it fits
SECTIONS = {
    "model": "model_name_or_path adapter_name_or_path cache_dir trust_remote_code flash_attn rope_scaling quant* "
    "double_quantization use_unsloth enable_liger_kernel resize_vocab image_* video_*",
    "dba": "use_dba dba_*",
    "method": "stage do_train finetuning_type freeze_* lora* additional_target create_new_adapter use_* pissa_* "
    "galore_* apollo_* badam_* pref_* ppo_* reward_* deepspeed optim*",
    "dataset": "dataset* template cutoff_len max_samples packing neat_packing mask_history train_on_prompt "
    "overwrite_cache preprocessing_* enable_thinking tokenized_path mix_strategy streaming",
    "output": "output_dir logging_* save_* plot_loss overwrite_output_dir report_to swanlab_* disable_tqdm include_*",
    "eval": "val_size eval_* per_device_eval_batch_size do_eval do_predict",
    "train": "*",
}


def to_yaml(arguments: Mapping[str, Any], name: str = "recipe.yaml") -> str:
    """The recipe, in sections, without anything that is or looks like a token.

    Args:
        arguments: as a training gets them; what is None or "" is left out.
        name: of the file, for its command.
    """
    kept = {key: _plain(value) for key, value in without_secrets(arguments).items() if value not in (None, "")}
    parts = [HEAD.format(name=name)]
    for title, patterns in SECTIONS.items():
        names = [key for key in kept if any(fnmatch(key, pattern) for pattern in patterns.split())]
        found = {key: kept.pop(key) for key in names}
        if found:
            first = [key for key in ("use_dba", "stage", "model_name_or_path", "dataset_dir") if key in found]
            ordered = {key: found[key] for key in (*first, *found)}
            parts.append(f"### {title}\n" + yaml.dump(ordered, Dumper=_Dumper, allow_unicode=True, sort_keys=False))
    return "\n".join(parts)


def from_yaml(text: str) -> dict[str, Any]:
    """The arguments of a recipe.

    Raises:
        DBAError: it is too large, no YAML, or no mapping of names.
    """
    if len(text.encode("utf-8", errors="replace")) > LARGEST:
        raise DBAError("This file is too large for a recipe.", expected=f"at most {LARGEST} bytes")
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place is not None else ""
        raise DBAError(f"The recipe is no YAML{where}: {getattr(error, 'problem', None) or error}") from None
    if not isinstance(content, dict) or not content or not all(isinstance(key, str) for key in content):
        raise DBAError("The recipe holds no settings.", expected="lines of the form `name: value`")
    return {key: _number(value) for key, value in without_secrets(content).items()}


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-5 as a text; the host's reader takes it for a number."""
    if isinstance(value, str) and re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value):
        return float(value)
    return value


def _plain(value: Any) -> Any:
    return SECRET_TEXT.sub("[hidden]", value) if isinstance(value, str) else value


class _Dumper(yaml.SafeDumper):
    """Writes numbers so that every reader of YAML takes them for numbers: 1.0e-05, never 1e-05."""


def _write_float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value)
    if "e" in text and "." not in text.split("e")[0]:
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


_Dumper.add_representer(float, _write_float)
