r"""Equation 2 in place, and the sums of equation 7 on the way, in row blocks.

    per block:  tile = left[rows] @ right;  dot += ⟨g, tile⟩;  grad_sq += ‖g‖²;  g ← γ·tile + (1 − γ)·g

Where the weights depend on the sums over the whole model (`core.conflict`), two walks do it: `sums`, then `combine_`
with g ← a·g + b·tile.

One matrix product per block and nothing of the size of the tensor is allocated: extra memory is ``tile_elements``
numbers. The default tile is small enough to stay in the processor's cache, so that of the passes over a block only
reading and writing the gradient itself reach the main memory.

The precision policy, for the whole package:

| gradient | where | product and blend in | sums in |
|---|---|---|---|
| fp64 | any | fp64 | fp64 |
| fp32, fp16 | any | fp32 (fp16's range is too small for anchors), cast back once | fp32 per block, blocks in fp64 |
| bf16 | CPU | fp32, cast back once | fp32 per block, blocks in fp64 |
| bf16 | CUDA | bf16 (tensor cores accumulate in fp32) | fp32 per block, blocks in fp64 |

No function here waits for the device.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import DBAError
from .boost import check_weight
from .lowrank import AnchorTensor, LowRank


# CPU: 1 MiB of fp32, a core's L2. CUDA: 16 MiB of bf16, two of them fit into the 40-50 MiB L2 of A100 and H100, and
# the products are still large enough to fill the device.
CPU_TILE = 2**18
CUDA_TILE = 2**23


class StepSums(NamedTuple):
    """Two 0-d tensors on the gradient's device: ⟨g_D, ĝ_G⟩ and ‖g_D‖², of the gradient before blending."""

    dot: Tensor
    grad_sq: Tensor


def blend_(grad: Tensor, value: AnchorTensor, weight: float, *, tile_elements: int | None = None) -> StepSums:
    """Equation 2 on ``grad``, in place.

    Args:
        grad: g_D, any shape, contiguous or not (a tensor of three and more dimensions that cannot be viewed as a
            matrix costs one copy).
        value: ĝ_G, dense or factored, on the same device; the same dtype saves a cast of the factors.
        weight: γ in [0, 1]; 0 leaves ``grad`` bit for bit as it is, 1 makes it the anchor.
        tile_elements: bound on the extra memory, in numbers; at least one row is taken.

    Raises:
        DBAError: if the shapes do not belong together or the weight is out of range.
    """
    check_weight(weight)
    return _walk(grad, value, (lambda here, tile: here.lerp_(tile, weight)) if weight else None, tile_elements)


def sums(grad: Tensor, value: AnchorTensor, *, tile_elements: int | None = None) -> StepSums:
    """What `blend_` returns, without touching ``grad``."""
    return _walk(grad, value, None, tile_elements)


def combine_(
    grad: Tensor, value: AnchorTensor, grad_weight: float, anchor_weight: float, *, tile_elements: int | None = None
) -> StepSums:
    """``grad ← grad_weight · grad + anchor_weight · value``, in place; arguments and result as of `blend_`.

    Args:
        grad: g_D.
        value: ĝ_G.
        grad_weight: a, any finite number.
        anchor_weight: b, likewise; (1, 0) leaves ``grad`` bit for bit as it is.
        tile_elements: as `blend_`.

    Raises:
        DBAError: if the shapes do not belong together or a weight is not finite.
    """
    if not (math.isfinite(grad_weight) and math.isfinite(anchor_weight)):
        raise DBAError("A weight is not finite.", expected="numbers", found=f"{grad_weight}, {anchor_weight}")

    def edit(here: Tensor, tile: Tensor) -> Tensor:
        if grad_weight != 1.0:
            here.mul_(grad_weight)
        return here.add_(tile, alpha=anchor_weight)

    unchanged = (grad_weight, anchor_weight) == (1.0, 0.0)
    return _walk(grad, value, None if unchanged else edit, tile_elements)


def _walk(
    grad: Tensor, value: AnchorTensor, edit: Callable[[Tensor, Tensor], Tensor] | None, tile_elements: int | None
) -> StepSums:
    """The sums; ``edit`` changes a block of the gradient in place, given the anchor's."""
    grad = grad.detach()
    matrix = _matrix(grad)
    if matrix is None:
        copy = grad.contiguous()
        result = _walk(copy, value, edit, tile_elements)
        if edit is not None:
            grad.copy_(copy)
        return result

    work = _work_dtype(grad)
    left, source = _factors(value, matrix, work)
    # buffers: the tile, where it has to be made; a stage for gradients that are not at hand as contiguous numbers of
    # the working dtype; the products inside `_dot` for bf16
    tiled = left is not None or source.dtype != work
    staged = grad.dtype != work or not matrix.is_contiguous()
    buffers = max(1, tiled + staged + (work == torch.bfloat16))
    height, width = matrix.shape
    block = (tile_elements or (CUDA_TILE if grad.is_cuda else CPU_TILE)) // (buffers * max(1, width))
    block = min(max(1, block), height)
    tile_buffer = matrix.new_empty((block, width), dtype=work) if tiled else None
    stage_buffer = matrix.new_empty((block, width), dtype=work) if staged else None

    # one column per block, added up at the end: every operation of a loop costs a kernel launch on a GPU
    parts = matrix.new_empty((2, -(-height // max(1, block))), dtype=torch.float32 if work == torch.bfloat16 else work)
    for number, start in enumerate(range(0, height, max(1, block))):
        rows = slice(start, min(start + block, height))
        target = matrix[rows]
        here = target if stage_buffer is None else stage_buffer[: len(target)].copy_(target)
        tile = source[rows] if left is None else source
        if tile_buffer is not None:
            out = tile_buffer[: len(target)]
            tile = out.copy_(tile) if left is None else torch.mm(left[rows], source, out=out)
        _dot(here, tile, parts[0, number])
        _dot(here, here, parts[1, number])
        if edit is not None:
            edit(here, tile)
            if here is not target:
                target.copy_(here)
    total = torch.float32 if grad.device.type == "mps" else torch.float64
    dot, grad_sq = parts.sum(dim=1, dtype=total)
    return StepSums(dot, grad_sq)


def _work_dtype(grad: Tensor) -> torch.dtype:
    if grad.dtype == torch.float64 or (grad.dtype == torch.bfloat16 and grad.is_cuda):
        return grad.dtype
    return torch.float32


def _matrix(grad: Tensor) -> Tensor | None:
    """A view as (rows, columns): vectors as one column, so that they can be cut anywhere; None if there is none."""
    if grad.dim() < 2:
        return grad.reshape(1, 1) if grad.dim() == 0 else grad.unsqueeze(1)
    if grad.dim() == 2:
        return grad
    try:
        return grad.view(-1, grad.shape[-1])
    except RuntimeError:
        return None


def _factors(value: AnchorTensor, matrix: Tensor, work: torch.dtype) -> tuple[Tensor | None, Tensor]:
    """(left, right) in the working dtype, or (None, dense) in its own, checked against the gradient's shape."""
    if isinstance(value, LowRank):
        if (value.left.shape[0], value.right.shape[1]) == tuple(matrix.shape):
            return value.left.to(work), value.right.to(work)
        found = (value.left.shape[0], value.right.shape[1])
    else:
        # a dense tensor may come flattened or as a matrix, but never broadcast
        if value.numel() == matrix.numel() and (value.dim() < 2 or value.shape[-1] in (1, matrix.shape[1])):
            return None, value.detach().reshape(matrix.shape)
        found = tuple(value.shape)
    raise DBAError(
        "A gradient and its anchor have different shapes.",
        expected=tuple(matrix.shape),
        found=found,
        next_step="check that the anchor was made for this base model",
    )


def _dot(a: Tensor, b: Tensor, out: Tensor) -> None:
    """Σ a∘b of two blocks; bf16 is summed in fp32."""
    if a.dtype != torch.bfloat16:
        torch.dot(a.reshape(-1), b.reshape(-1), out=out)
    elif a is b:
        torch.linalg.vector_norm(a, dtype=torch.float32, out=out).square_()
    else:
        # each product is rounded to bf16 once; the errors are independent and average out in the fp32 sum
        torch.sum(a * b, dim=(0, 1), dtype=torch.float32, out=out)
