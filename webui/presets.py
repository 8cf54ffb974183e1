"""Ready-made settings: what is compared in the paper, and elastic restoration. No gradio.

A preset sets the method and what belongs to it (learning rate, schedule, epochs, global batch), and leaves model,
data, anchor and output as they are. The rates are those of this project's recipes for models of some billion
parameters (examples/dba_qwen3.yaml and direct_qwen3.yaml say where they come from).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .fields import ALWAYS, AUTO, DEFAULTS


GLOBAL_BATCH = 8  # the paper's
ANNEALING_RATE, USUAL_RATE = "2e-6", "1e-5"


class Preset(NamedTuple):
    """Values of our form by name, and the learning rate."""

    form: Mapping[str, Any]
    learning_rate: str


# what no preset leaves as it was, so that one does not depend on the one before
METHOD = {
    name: DEFAULTS[name]
    for name in (
        "dba_train_boost_on",
        "dba_train_boost",
        "dba_train_correction",
        "dba_train_base",
        "dba_train_variant",
        "dba_train_strength",
        "dba_train_every",
        "dba_train_embedding_ratio",
        "dba_train_record",
    )
}

PRESETS = {
    "paper": Preset({**METHOD, "dba_train_enabled": True}, ANNEALING_RATE),
    "annealing": Preset({**METHOD, "dba_train_enabled": False, "dba_train_record": ALWAYS}, ANNEALING_RATE),
    "direct": Preset({**METHOD, "dba_train_enabled": False, "dba_train_record": ALWAYS}, USUAL_RATE),
    "elastic": Preset(
        {**METHOD, "dba_train_enabled": True, "dba_train_variant": "elastic", "dba_train_record": AUTO}, USUAL_RATE
    ),
}


def host_values(preset: Preset, batch_size: int, devices: int) -> dict[str, Any]:
    """Values of the host's fields by id.

    Args:
        preset: one of `PRESETS`.
        batch_size: rows per device and backward pass, as the form has it; kept if it divides the paper's batch.
        devices: how many train together.
    """
    share = max(1, GLOBAL_BATCH // max(1, devices))
    size = batch_size if batch_size >= 1 and share % batch_size == 0 else 1
    return {
        "top.finetuning_type": "full",
        "train.learning_rate": preset.learning_rate,
        "train.num_train_epochs": "1.0",
        "train.lr_scheduler_type": "linear",
        "train.warmup_steps": 0,
        "train.batch_size": size,
        "train.gradient_accumulation_steps": share // size,
    }
