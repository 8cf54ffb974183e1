"""Which tensors a model trains, under the names that an anchor uses."""

from __future__ import annotations

import torch

from ..errors import DBAError


# Wrappers put their attribute name in front of (or inside) every parameter name; the anchor knows the bare model.
_WRAPPERS = ("module", "_orig_mod", "_fsdp_wrapped_module", "pretrained_model", "_checkpoint_wrapped_module")


def canonical_name(name: str) -> str:
    """Name of a parameter as the bare model has it: without DDP, torch.compile, checkpoint or value-head wrappers."""
    parts = name.split(".")
    # `module` may be a real submodule further inside, so only leading wrappers of that name are dropped.
    while parts and parts[0] in _WRAPPERS:
        parts = parts[1:]
    return ".".join(part for part in parts if part == "module" or part not in _WRAPPERS)


def trainable_tensors(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    """Trainable parameters by canonical name; tied tensors appear once.

    Raises:
        DBAError: a parameter is sharded (FSDP, tensor parallel, DeepSpeed ZeRO-3), which the hooks do not cover.
    """
    tensors: dict[str, torch.nn.Parameter] = {}
    for name, parameter in model.named_parameters():  # removes duplicates, hence tied embeddings count once
        if not parameter.requires_grad:
            continue
        if (
            hasattr(parameter, "ds_id")
            or type(parameter.data).__name__ == "DTensor"
            or hasattr(parameter, "_is_flat_param")
        ):
            raise DBAError(
                "DBA does not handle sharded parameters yet.",
                expected="whole parameters on every rank (one process, or DDP)",
                found=f"{name} is a {type(parameter).__name__} sharded over ranks",
                next_step="train with plain DDP (no `deepspeed`, no FSDP)",
            )
        tensors[canonical_name(name)] = parameter
    return tensors
