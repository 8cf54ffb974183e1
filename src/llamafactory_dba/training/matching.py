"""Pairs a model's trainable tensors with their parts of an anchor."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..anchor.differences import is_extended
from ..anchor.format import Anchor
from ..core.lowrank import AnchorTensor, LowRank
from ..errors import AnchorError
from ..sentences import describe_names
from .hooks import Target


def match(
    anchor: Anchor, trainable: dict[str, torch.nn.Parameter], rank: int, *, allow_added: bool = False
) -> tuple[list[Target], list[str]]:
    """Pair every trainable tensor with its part of the anchor.

    Args:
        anchor: as loaded, on any device.
        trainable: parameters by canonical name.
        rank: at most so many directions per matrix are used (the anchor's are sorted by weight).
        allow_added: whether a vocabulary tensor may have rows that the anchor lacks, at its end; zeros stand for them.

    Returns:
        The pairs, and the names of trainable tensors that the anchor does not have (e.g. a value head).

    Raises:
        AnchorError: no tensor matched, or shapes differ.
    """
    targets, unmatched, differing, extended = [], [], [], []
    for name, parameter in trainable.items():
        value = anchor.tensors.get(name)
        if value is None:
            unmatched.append(name)
            continue
        expected, found = tuple(anchor.config.tensors[name].shape), tuple(parameter.shape)
        if expected != found and is_extended(name, expected, found):
            extended.append(f"{name}: anchor {list(expected)}, model {list(found)}")
            value = _extend(value, found[0] - expected[0])
        elif expected != found:
            differing.append(f"{name}: anchor {list(expected)}, model {list(parameter.shape)}")
            continue
        targets.append(Target(name, parameter, _place(value, parameter, rank)))
    if differing:
        raise AnchorError(
            "The anchor does not fit this model.",
            expected="the base model it was made from: " + anchor.config.base_model.id,
            found=f"{len(differing)} tensors of other shapes, {describe_names(differing)}",
            next_step="train the base model of the anchor, or make an anchor for this model with `dba_stage: anchor`",
        )
    if extended and not allow_added:
        raise AnchorError(
            "The model has tokens that the anchor lacks.",
            expected="the vocabulary of the base model it was made from: " + anchor.config.base_model.id,
            found=describe_names(extended),
            next_step="if tokens were added on purpose, set `dba_allow_added_tokens: true`: their rows get no boost",
        )
    if not targets:
        raise AnchorError(
            "No trainable tensor matches the anchor, so DBA would do nothing.",
            expected=f"names like {describe_names(sorted(anchor.tensors))}",
            found=f"trainable tensors {describe_names(sorted(trainable))}" if trainable else "no trainable tensors",
            next_step="use `finetuning_type: full` or `freeze`, and an anchor of this base model",
        )
    return targets, unmatched


def _extend(value: AnchorTensor, rows: int) -> AnchorTensor:
    """With so many zero rows at the end."""
    left = value.left if isinstance(value, LowRank) else value
    left = torch.cat([left, left.new_zeros(rows, *left.shape[1:])])
    return LowRank(left, value.right) if isinstance(value, LowRank) else left


def _place(value: AnchorTensor, parameter: torch.nn.Parameter, rank: int) -> AnchorTensor:
    # bf16 factors stay bf16 on a GPU (half the memory, tensor cores); CPUs multiply fp32 faster and more exactly.
    dtype = None if parameter.device.type == "cuda" else torch.float32

    def move(part: torch.Tensor) -> torch.Tensor:
        return part.to(device=parameter.device, dtype=dtype or part.dtype).contiguous()

    if isinstance(value, LowRank):
        return LowRank(move(value.left[:, :rank]), move(value.right[:rank]))
    return move(value)


def anchor_bytes(targets: Sequence[Target]) -> int:
    """Bytes that the anchor takes in memory during training."""
    total = 0
    for target in targets:
        parts = target.anchor if isinstance(target.anchor, LowRank) else (target.anchor,)
        total += sum(part.numel() * part.element_size() for part in parts)
    return total
