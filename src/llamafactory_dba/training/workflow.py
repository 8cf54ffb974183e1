"""What happens around the host's ``run_<stage>``: checks, the anchor run, a missing anchor, plots at the end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from transformers import set_seed

from ..anchor.format import is_anchor
from ..methods.registry import metrics_of
from .anchor_run import make_anchor
from .checks import check_run
from .paths import anchor_folder
from .run_facts import RunInputs


def run_stage(
    stage: str,
    original: Callable[..., Any],
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    *rest: Any,
    **kwargs: Any,
) -> Any:
    """Stand in for the host's ``run_pt``, ``run_sft``, ``run_rm``, ``run_dpo`` and ``run_kto``.

    Args:
        stage: the host's stage.
        original: the host's function, called unchanged unless this run is an anchor run.
        model_args: as the host passes it, like the rest.
        data_args: the host's.
        training_args: the host's.
        finetuning_args: the host's, with the DBA fields.
        *rest: further positional arguments of the host's function.
        **kwargs: keyword arguments of the host's function.
    """
    making_anchor = finetuning_args.dba_stage == "anchor"
    finetuning_args.dba_run_inputs = RunInputs(model_args, data_args)  # no field, so that no tracker uploads it
    if not making_anchor and not (finetuning_args.use_dba and training_args.do_train):
        return original(model_args, data_args, training_args, finetuning_args, *rest, **kwargs)
    check_run(model_args, data_args, training_args, finetuning_args)
    folder = anchor_folder(training_args, finetuning_args)
    if making_anchor:
        make_anchor(stage, folder, model_args, data_args, training_args, finetuning_args)
        return None
    if finetuning_args.needs_anchor and not is_anchor(folder):
        start = time.perf_counter()
        make_anchor("pt" if stage == "pt" else "sft", folder, model_args, data_args, training_args, finetuning_args)
        finetuning_args.dba_run_inputs = RunInputs(model_args, data_args, time.perf_counter() - start)
        set_seed(training_args.seed)  # so that this run equals the next one, which finds the anchor
    result = original(model_args, data_args, training_args, finetuning_args, *rest, **kwargs)
    if finetuning_args.plot_loss and training_args.should_save:
        from llamafactory.extras.ploting import plot_loss

        plot_loss(training_args.output_dir, keys=list(metrics_of(finetuning_args.dba_variant)))
    return result
