"""The compared methods and their hyper-parameters: what each one's YAML says beyond the common settings.

Every method takes the same number of optimizer steps at batch 8 (``mix_double`` alone twice as many). The annealing
family differs from plain ``annealing`` in its dba block only.
"""

import json
from pathlib import Path
from typing import NamedTuple

from .host import settings


BATCH = 8
ROWS = 3200  # of TFNS; 400 steps
DIRECT_RATE = 5.0e-4  # usual for a model of this size; the base's instruction stage peaked at 1e-3
ANNEALING_RATE = 5.0e-5  # a tenth: "far below the usual rate" (eqs. 10-11)
MAGNITUDE = 200.0  # the paper's: k0 = 200 / T

GENERAL_ROWS = ROWS  # as many general rows make the anchor as 1:1 mixing would train on


class Method(NamedTuple):
    """A method: its data set, its schedule and its dba block."""

    dataset: str
    rate: float
    annealed: bool
    dba: dict[str, object] | None = None
    note: str = ""


FULL, HALF, DOUBLE = "finance", "finance_half,general_half", "finance,general_sample"
METHODS = {
    "direct": Method(FULL, DIRECT_RATE, False, note="usual rate, cosine, 10 % warm-up"),
    "annealing": Method(FULL, ANNEALING_RATE, True, note="a tenth of the rate, linear to 0, no warm-up"),
    "annealing_10x": Method(
        FULL, 10 * ANNEALING_RATE, True, note="control: annealing's schedule at the largest step DC could take"
    ),
    "ggb": Method(FULL, ANNEALING_RATE, True, {"dba_use_correction": False}, "annealing + GGB"),
    "dc": Method(FULL, ANNEALING_RATE, True, {"dba_boost_magnitude": 0.0}, "annealing + DC"),
    "dba": Method(FULL, ANNEALING_RATE, True, {}, "annealing + GGB + DC"),
    "mix_1_1": Method(HALF, DIRECT_RATE, False, note="half the finance rows and as many general ones, same steps"),
    "mix_double": Method(
        DOUBLE, DIRECT_RATE, False, note="all finance rows and as many general ones, twice the steps"
    ),
}


def with_magnitude(name: str, magnitude: float) -> tuple[str, Method]:
    """Return ``ggb`` or ``dba`` with another k0 * T (``dba_boost_magnitude``), named after it."""
    method = METHODS[name]
    if method.dba is None or "dba_boost_magnitude" in method.dba:
        raise ValueError(f"{name} has no boost whose magnitude could be changed; take ggb or dba")
    return f"{name}_k{magnitude:g}", method._replace(dba=method.dba | {"dba_boost_magnitude": magnitude})


def with_rate(name: str, rate: float) -> tuple[str, Method]:
    """Return a method at another learning rate, named after it."""
    return f"{name}_lr{rate:g}", METHODS[name]._replace(rate=rate)


def anchor_config(base: Path, data: Path, anchor: Path, output: Path) -> dict[str, object]:
    """Return the anchor run: one zero-learning-rate pass over the general sample."""
    # At the full rank the anchor is exact; a model this small needs no compression.
    rank = min(512, json.loads((base / "config.json").read_text(encoding="utf-8"))["hidden_size"])
    more = {"dba_stage": "anchor", "use_dba": True, "dba_anchor_path": str(anchor), "dba_svd_rank": rank}
    return settings(base, data, "general_sample", output, per_device_train_batch_size=BATCH, seed=0, **more)


def train_config(method: Method, base: Path, data: Path, anchor: Path, output: Path, seed: int) -> dict[str, object]:
    """Return a training run's settings."""
    steps = (2 if method.dataset == DOUBLE else 1) * ROWS // BATCH
    config = settings(
        base,
        data,
        method.dataset,
        output,
        per_device_train_batch_size=BATCH,
        num_train_epochs=1.0,
        learning_rate=method.rate,
        lr_scheduler_type="linear" if method.annealed else "cosine",
        warmup_steps=0 if method.annealed else steps // 10,
        weight_decay=0.0,
        seed=seed,
        data_seed=seed,
    )
    if method.dba is None:
        return config
    dba = {"dba_anchor_path": str(anchor), "dba_boost_magnitude": MAGNITUDE, "dba_use_correction": True}
    return config | {"use_dba": True} | dba | method.dba
