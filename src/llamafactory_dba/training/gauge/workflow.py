"""The gauge around the host's ``run_<stage>``: checks and tokenizing first, figures last."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..step_log import read_lines
from .callback import PREFIX
from .log import FILE_NAME
from .prepare import prepare


PLAN = "_dba_gauge_plan"  # on the host's finetuning arguments while its trainer is made; no field, so never reported
PLOTTED = ("general_loss", "domain_loss", "s", "forward_kl")


def with_gauge(
    stage: str,
    original: Callable[..., Any],
    model_args: Any,
    data_args: Any,
    training_args: Any,
    finetuning_args: Any,
    *rest: Any,
    **kwargs: Any,
) -> Callable[..., Any]:
    """The host's function with the gauge; raises now what can be known now.

    Args:
        stage: the host's stage.
        original: the host's ``run_<stage>``.
        model_args: as the host passes it, like the rest.
        data_args: the host's.
        training_args: the host's.
        finetuning_args: the host's, with the DBA fields.
        *rest: not used; the function returned takes them.
        **kwargs: likewise.
    """
    if not training_args.do_train:
        return original
    plan = prepare(stage, model_args, data_args, training_args, finetuning_args)

    def run(*args: Any, **kwargs: Any) -> Any:
        setattr(finetuning_args, PLAN, plan)
        try:
            result = original(*args, **kwargs)
        finally:
            delattr(finetuning_args, PLAN)
        if finetuning_args.plot_loss and training_args.should_save:
            from llamafactory.extras.ploting import plot_loss

            measured = [name for name in PLOTTED if _measured(name, training_args.output_dir)]
            plot_loss(training_args.output_dir, keys=[PREFIX + name for name in measured])
        return result

    return run


def _measured(name: str, folder: str) -> bool:
    """Whether a curve has points; the host warns of each that has none."""
    return any(f'"{name}"' in line for line in read_lines(Path(folder, FILE_NAME)))
