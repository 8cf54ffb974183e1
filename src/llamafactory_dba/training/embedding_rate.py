"""A learning rate of their own for the embeddings: parameter groups of the optimizer, split where they are mixed.

GaLore, as the host has it, trains linear layers at ``galore_scale`` of the learning rate and everything else at the
whole of it. Most of what that wins over AdamW comes from this ratio and not from the low rank (docs/results.md), and
the ratio alone needs no other optimizer. An embedding row moves only with its token, so it stands in fewer steps, and
what it moves for one token is no other token's.
"""

from __future__ import annotations

import torch
from torch import nn

from ..errors import DBAError


KEY = "dba_embedding_lr_ratio"  # in a group that has been scaled


def embeddings(model: nn.Module) -> list[nn.Parameter]:
    """Trainable weights of the input embeddings and of the output layer; one where they are tied."""
    inner = getattr(model, "pretrained_model", model)  # reward models of trl
    layers = (inner.get_input_embeddings(), inner.get_output_embeddings())
    found = [layer.weight for layer in layers if layer is not None and layer.weight.requires_grad]
    return list({id(weight): weight for weight in found}.values())


def scale_embedding_rate(optimizer: torch.optim.Optimizer, model: nn.Module, ratio: float) -> int:
    """Give the embeddings `ratio` times the learning rate of the group that they are in; once per optimizer.

    Must come before the scheduler is made, which takes each group's rate as its start. Groups keep their order; those
    of the embeddings follow.

    Returns:
        How many tensors were given a rate of their own now; 0 for a ratio of 1, and for an optimizer that has it.

    Raises:
        DBAError: the model trains no embeddings.
    """
    if ratio == 1 or any(KEY in group for group in optimizer.param_groups):
        return 0
    wanted = {id(weight) for weight in embeddings(model)}
    split = []
    for group in optimizer.param_groups:
        mine = [item for item in group["params"] if id(item) in wanted]
        if mine:
            split.append({**group, "params": mine, "lr": group["lr"] * ratio, KEY: ratio})
            group["params"] = [item for item in group["params"] if id(item) not in wanted]
    if not split:
        raise DBAError(
            "`dba_embedding_lr_ratio` has nothing to act on: this run trains no embeddings.",
            expected="input or output embeddings among the trainable parameters",
            found=f"{sum(len(group['params']) for group in optimizer.param_groups)} other tensors",
            next_step="remove `dba_embedding_lr_ratio`, or use `finetuning_type: full`",
        )
    optimizer.param_groups[:] = [group for group in optimizer.param_groups if group["params"]] + split
    return sum(len(group["params"]) for group in split)
