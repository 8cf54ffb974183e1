"""Whether hooks on the optimizer reach the training at all: asked by every callback that puts them there."""

from __future__ import annotations

from typing import Any

from ..errors import DBAError
from .hooks import innermost


UNSUPPORTED_ENGINES = ("DEEPSPEED", "FSDP", "MEGATRON_LM")


def check_engine(accelerator: Any) -> None:
    """Refuse engines that keep or shard gradients and weights elsewhere.

    Raises:
        DBAError: the run uses one.
    """
    engine = str(getattr(getattr(accelerator, "distributed_type", None), "value", "NO"))
    if engine in UNSUPPORTED_ENGINES:
        raise DBAError(
            "This engine keeps or shards gradients and weights where DBA cannot reach them yet.",
            expected="one process, or plain DDP",
            found=engine,
            next_step="train without DeepSpeed, FSDP and Megatron",
        )


def check_called(hook: Any, seen: int, accelerator: Any, step: int) -> int:
    """Make sure that the optimizer which steps is the one with the hook; an engine may have replaced it.

    Args:
        hook: with ``calls``, how many steps it has seen.
        seen: of them before this step.
        accelerator: under fp16 its scaler may leave a step out.
        step: for the error.

    Returns:
        How many it has seen now.

    Raises:
        DBAError: the trainer made a step without it.
    """
    calls: int = hook.calls
    if calls == seen and getattr(accelerator, "scaler", None) is None:
        raise DBAError(
            "The trainer made a step without calling the optimizer that DBA is attached to.",
            expected="one call per step",
            found=f"none in step {step}",
            next_step="use a plain optimizer and no engine that replaces it",
        )
    return calls


def unscale(accelerator: Any, args: Any, optimizer: Any) -> None:
    """Under fp16 without clipping nobody else has unscaled the gradients before the step; a hook needs true ones."""
    scaler = getattr(accelerator, "scaler", None)
    if scaler is not None and not args.max_grad_norm:
        scaler.unscale_(innermost(optimizer))
