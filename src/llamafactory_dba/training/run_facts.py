"""What run_record.json says of a run besides its cost: method, settings, model, data, machine, versions."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch
from llamafactory.data.parser import get_dataset_list

from ..anchor.config import read_config
from ..anchor.fingerprint import fingerprint_folder
from ..anchor.origin import read_origin
from ..arguments import DBAArguments
from ..errors import DBAError
from ..files import hash_file
from .paths import model_folder


OPTIMIZERS = ("galore", "apollo", "badam", "adam_mini", "muon")
LOSSES = ("dft", "asft", "eaft")
TOOLS = ("llamafactory-dba", "llamafactory", "torch", "transformers", "accelerate", "peft", "trl", "datasets")
# per object of arguments: what shapes the result; None, False, 0 and empty values are left out
SETTINGS = {
    "training": (
        "learning_rate",
        "lr_scheduler_type",
        "warmup_steps",
        "warmup_ratio",
        "num_train_epochs",
        "max_steps",
        "per_device_train_batch_size",
        "gradient_accumulation_steps",
        "weight_decay",
        "max_grad_norm",
        "optim",
        "bf16",
        "fp16",
        "neftune_noise_alpha",
        "label_smoothing_factor",
        "deepspeed",
        "fsdp",
    ),
    "data": (
        "dataset",
        "template",
        "cutoff_len",
        "max_samples",
        "packing",
        "neat_packing",
        "train_on_prompt",
        "mask_history",
        "mix_strategy",
        "interleave_probs",
    ),
    "finetuning": ("stage", "finetuning_type", "pure_bf16", "additional_target"),
    "model": ("quantization_bit", "rope_scaling", "use_unsloth", "resize_vocab"),
}
METHOD = ("use_dba", "dba_boost_magnitude", "dba_use_correction", "dba_base_correction", "dba_svd_rank")
OF_TYPE = {"lora": ("lora_",), "oft": ("oft_",), "freeze": ("freeze_",)}


class RunInputs(NamedTuple):
    """What a trainer does not know of its run: the host's other arguments, seconds spent on a missing anchor."""

    model: Any
    data: Any
    anchor_seconds: float | None = None


def method_name(finetuning: Any, model: Any = None) -> str:
    """What the run does, from its arguments, so that no label has to be believed.

    The way of fine-tuning (``full``, ``freeze``, ``lora``, ``dora``, ``rslora``, ``pissa``, ``qlora``, …), replaced by
    DBA where it has a say (its variant; ``dba``; ``ggb_only`` or ``dc_only`` with the other part off; with both off
    nothing of it is left but the learning rate), or by an optimizer of its own (``galore``, …); then what else is
    unusual, after plus signs.
    """
    kind = str(finetuning.finetuning_type)
    if kind == "lora":
        if getattr(model, "quantization_bit", None):
            kind = "qlora"
        for flag, name in (("use_dora", "dora"), ("use_rslora", "rslora"), ("pissa_init", "pissa")):
            kind = name if getattr(finetuning, flag, False) else kind
    if kind == "freeze" and getattr(finetuning, "use_llama_pro", False):
        kind = "llama_pro"
    extras = [name for name in OPTIMIZERS if getattr(finetuning, f"use_{name}", False)]
    boost, correct = bool(finetuning.dba_boost_magnitude), finetuning.dba_use_correction
    if finetuning.use_dba and finetuning.dba_variant != "paper":
        extras = [*([] if kind == "full" else [kind]), *extras]
        kind = finetuning.dba_variant
    elif finetuning.use_dba and (boost or correct):
        dba = "dba" if boost and correct else "ggb_only" if boost else "dc_only"
        extras = [*([] if kind == "full" else [kind]), *extras]
        kind = dba
    elif extras and kind == "full":
        kind, extras = extras[0], extras[1:]
    extras += [name for name in LOSSES if getattr(finetuning, f"use_{name}_loss", False)]
    return "+".join([kind, *extras])


def settings(training: Any, finetuning: Any, inputs: RunInputs) -> dict[str, Any]:
    """The arguments that shape the result; of the ``dba_*`` those of the method and what is not at its default."""
    sources = {"training": training, "finetuning": finetuning, "data": inputs.data, "model": inputs.model}
    names = {kind: list(keys) for kind, keys in SETTINGS.items()}
    prefixes = list(OF_TYPE.get(finetuning.finetuning_type, ()))
    prefixes += [f"{name}_" for name in OPTIMIZERS if getattr(finetuning, f"use_{name}", False)]
    prefixes += ["pref_"] if finetuning.stage in ("dpo", "kto") else []
    prefixes += ["use_"] if finetuning.finetuning_type == "lora" else []
    fields = [item.name for item in dataclasses.fields(finetuning) if not item.name.startswith(("dba_", "use_dba"))]
    names["finetuning"] += [name for name in fields if prefixes and name.startswith(tuple(prefixes))]
    found = {}
    for kind, keys in names.items():
        for name in keys:
            value = _plain(getattr(sources[kind], name, None))
            if value not in (None, False, "", [], {}):
                found[name] = value
    if training.max_steps <= 0:
        found.pop("max_steps", None)
    found["global_batch"] = (
        training.per_device_train_batch_size * training.gradient_accumulation_steps * training.world_size
    )
    for item in dataclasses.fields(DBAArguments):
        value = getattr(finetuning, item.name)
        has_a_say = finetuning.use_dba or item.name.startswith("dba_gauge_")
        if item.name in METHOD and finetuning.use_dba:
            found[item.name] = _plain(value)
        elif has_a_say and value != item.default and item.name not in ("dba_record", "dba_anchor_path"):
            found[item.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    """As JSON can keep it."""
    value = getattr(value, "value", value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def base_fingerprint(model: Any) -> str:
    """Of the base model's files; "" where there are none that can be read."""
    folder = model_folder(model)
    try:
        return "" if folder is None else fingerprint_folder(folder).total
    except DBAError:
        return ""


def anchor_facts(folder: str | Path, seconds: float | None) -> dict[str, Any]:
    """Of the anchor in use: where it is from, its data, and what it took if this run made it."""
    config = read_config(folder)
    return {
        "id": str(read_origin(Path(folder)) or folder),
        "rank": config.rank,
        "steps": config.steps,
        "datasets": list(config.data.datasets),
        "samples": config.data.samples,
        "tokens": config.data.tokens,
        "data_hash": config.data.hash,
        "created": config.created,
        "made_in_seconds": seconds,
    }


def anchor_bytes_on_disk(folder: str | Path) -> int:
    """Of its tensors."""
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))


def data_hashes(data: Any) -> dict[str, str]:
    """Name of each data set of the run → SHA-256 of its files, or its revision on the hub, as far as it is known.

    One file: its hash. A folder: a hash over names and hashes of the files in it. "" where nothing is known.
    """
    if not data.dataset:
        return {}
    found = {}
    for name, attr in zip(data.dataset, get_dataset_list(data.dataset, data.dataset_dir), strict=True):
        found[name] = ""
        if attr.load_from in ("file", "script"):
            path = Path(data.dataset_dir) / attr.dataset_name if isinstance(data.dataset_dir, str) else None
            if path is not None and path.exists():
                found[name] = hash_file(path) if path.is_file() else _hash_folder(path)
        elif attr.load_from == "hf_hub":
            found[name] = _hub_revision(attr.dataset_name)
    return found


def _hash_folder(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()} {hash_file(path)}\n".encode())
    return digest.hexdigest()


def _hub_revision(name: str) -> str:
    """``revision <commit>`` of the copy in the hub's cache; "" if there is none."""
    from huggingface_hub.constants import HF_HUB_CACHE

    reference = Path(HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}" / "refs" / "main"
    return f"revision {reference.read_text().strip()}" if reference.is_file() else ""


def machine(device: torch.device, processes: int, energy_sources: list[str]) -> dict[str, Any]:
    """What the run ran on; neither host name nor user."""
    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_bytes": psutil.virtual_memory().total,
        "device": device.type,
        "processes": processes,
        "energy_from": "+".join(energy_sources) or None,
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"accelerator": properties.name, "accelerator_memory_bytes": properties.total_memory}
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def versions() -> dict[str, str]:
    """Of the tools that took part."""
    found = {"python": platform.python_version()}
    for name in TOOLS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    if torch.version.cuda:
        found["cuda"] = str(torch.version.cuda)
    return found
