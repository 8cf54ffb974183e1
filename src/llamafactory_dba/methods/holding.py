"""What a method that holds the weights near the base model has to offer, and what it is given.

`training.holding_callback.HoldingCallback` does everything that is the same for all of them: it matches the curvature,
keeps the base weights, attaches the hook, writes logs and dba_run.json, and resumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch

from ..training.hooks import OptimizerHook
from .held import Held


class HoldingHook(OptimizerHook, Protocol):
    """The hook of such a method.

    ``calls``: optimizer steps seen, skipped ones too; ``pending``: what a resume needs, one number per parameter
    group, empty where nothing is kept from step to step.
    """

    calls: int
    pending: list[float]

    def restore(self, optimizer: torch.optim.Optimizer, step: int) -> None:
        """Is called at the end where something is pending."""


class HoldingWiring(NamedTuple):
    """What a hook is given.

    ``total_steps``: of the run; ``current_step``: made before the one at hand; ``on_record``: gets log lines;
    ``mean_curvature``: of the anchor (`anchor.curvature.mean_curvature`), 1 without one; ``products``: dtype of the
    factors of matrix products, that of the work by default.
    """

    total_steps: int
    current_step: Callable[[], int]
    on_record: Callable[[dict[str, Any]], None]
    mean_curvature: float = 1.0
    products: torch.dtype | None = None


class HoldingMethod(NamedTuple):
    """One value of ``dba_variant``. ``arguments`` is the host's ``FinetuningArguments`` with the DBA fields.

    Attributes:
        name: for people.
        curvature: whether it needs an anchor with a curvature; without, every weight counts the same and no anchor is
            read.
        log_file: in ``output_dir``.
        metrics: names in the trainer's logs, and the log line's key whose last value stands there.
        make_hook: (arguments, tensors to hold, wiring) -> the hook.
        describe: a few words for the line at the start of the training.
        facts: settings for dba_run.json.
    """

    name: str
    curvature: bool
    log_file: str
    metrics: Mapping[str, str]
    make_hook: Callable[[Any, Sequence[Held], HoldingWiring], HoldingHook]
    describe: Callable[[Any], str]
    facts: Callable[[Any], dict[str, Any]]
