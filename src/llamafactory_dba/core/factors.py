r"""Sums, lower ranks and inner products of anchors in factored form: no matrix of full size is built from factors.

    Σ_i w_i L_i R_i  =  [w_1 L_1 … w_k L_k] [R_1; …; R_k]  =  Q_l (S_l S_rᵀ) Q_rᵀ

with L = Q_l S_l and Rᵀ = Q_r S_r (QR), so the SVD of the small matrix S_l S_rᵀ is that of the sum (Eckart–Young: its
first r directions are the best approximation of rank r).

Precision: as `lowrank`, in fp32 (fp64 where an input is fp64); inner products in fp64.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import DBAError
from .lowrank import AnchorTensor, LowRank, truncate, worthwhile


# Rows that are cast to fp64 at a time: 8192 x 4096 numbers take 256 MiB.
BLOCK_ROWS = 8192


class Combination(NamedTuple):
    """A weighted sum of anchor tensors, cut to a rank.

    Attributes:
        value: dense, or factors.
        norm: Frobenius norm of the sum before it was cut.
        error: Frobenius norm of what was cut off, as a share of ``norm``; 0.0 where nothing was.
        optimal: whether ``value`` is the best approximation of its rank.
    """

    value: AnchorTensor
    norm: float
    error: float
    optimal: bool


def combine(
    values: Sequence[AnchorTensor], weights: Sequence[float], rank: int, shape: Sequence[int], *, seed: int = 0
) -> Combination:
    """Σ weight · value, with at most ``rank`` directions.

    Factors are summed by QR. A dense matrix comes up in two cases only: an input is dense already, or the factors of
    the sum would hold no fewer numbers than the matrix. The sum is exact (up to rounding) if the ranks of the inputs
    add up to ``rank`` at most, or if it ends up dense.

    Args:
        values: of one shape, dense and factored ones mixed as they come.
        weights: one each.
        rank: of the result at most; matrices for which that saves nothing are kept dense, as `lowrank.truncate` does.
        shape: of the full tensor; factors do not know it where it has more than two dimensions.
        seed: of the randomised SVD, which only large dense matrices need.

    Raises:
        DBAError: a rank below 1, no values, or not one weight per value.
    """
    if rank < 1 or not values or len(values) != len(weights):
        raise DBAError(
            "These anchor tensors cannot be combined.",
            expected="a rank of 1 or more, and one weight per tensor",
            found=f"rank {rank}, {len(values)} tensors, {len(weights)} weights",
        )
    work = torch.float64 if any(_dtype(value) == torch.float64 for value in values) else torch.float32
    factored = [value for value in values if isinstance(value, LowRank)]
    if len(factored) == len(values):
        rows, cols = math.prod(shape[:-1]), shape[-1]
        total = sum(value.right.shape[0] for value in factored)
        if worthwhile(rows, cols, min(rank, total, rows, cols)):
            return _sum_of_factors(factored, weights, rank, work)
    dense = torch.zeros(tuple(shape), dtype=work, device=_device(values[0]))
    for value, weight in zip(values, weights, strict=True):
        if isinstance(value, LowRank):
            dense.view(-1, shape[-1]).addmm_(value.left.to(work), value.right.to(work), alpha=weight)
        else:
            dense.add_(value.to(work).reshape(dense.shape), alpha=weight)
    cut = truncate(dense, rank, seed=seed)
    error = _residual(dense, cut.value) / cut.norm if isinstance(cut.value, LowRank) and cut.norm else 0.0
    return Combination(cut.value, cut.norm, min(1.0, error), cut.exact)


def _sum_of_factors(values: list[LowRank], weights: Sequence[float], rank: int, work: torch.dtype) -> Combination:
    """The first ``rank`` directions of the sum."""
    # the concatenated factors are the largest tensors here and live no longer than the call
    pairs = zip(values, weights, strict=True)
    q_left, s_left = torch.linalg.qr(torch.cat([value.left.to(work) * weight for value, weight in pairs], dim=1))
    q_right, s_right = torch.linalg.qr(torch.cat([value.right.to(work) for value in values]).T)
    u, s, vh = torch.linalg.svd(s_left @ s_right.T, full_matrices=False)
    rank = min(rank, len(s))
    value = LowRank(q_left @ (u[:, :rank] * s[:rank]), vh[:rank] @ q_right.T)
    squares = s.double() ** 2
    total = float(squares.sum())
    error = math.sqrt(float(squares[rank:].sum()) / total) if total else 0.0
    return Combination(value, math.sqrt(total), error, True)


def _residual(dense: Tensor, value: LowRank) -> float:
    """‖dense − value‖, measured: one minus the energy kept would drown small errors in rounding."""
    matrix = dense.reshape(-1, dense.shape[-1])
    squares = 0.0
    for start in range(0, matrix.shape[0], BLOCK_ROWS):
        rows = slice(start, start + BLOCK_ROWS)
        squares += float(torch.linalg.vector_norm(matrix[rows] - value.left[rows] @ value.right)) ** 2
    return math.sqrt(squares)


def product(first: AnchorTensor, second: AnchorTensor) -> float:
    """⟨first, second⟩ over all elements, in fp64; of two factored ones Σ (L_aᵀ L_b) ∘ (R_a R_bᵀ)."""
    if isinstance(first, LowRank) and isinstance(second, LowRank):
        return float((_gram(first.left, second.left) * _gram(first.right.T, second.right.T)).sum())
    if isinstance(second, LowRank):
        first, second = second, first
    assert isinstance(second, Tensor)
    if isinstance(first, LowRank):
        # Σ (D Rᵀ) ∘ L
        return sum(
            float(((dense.double() @ first.right.double().T) * left.double()).sum())
            for dense, left in _blocks(second.reshape(-1, second.shape[-1]), first.left)
        )
    return sum(float((a.double() * b.double()).sum()) for a, b in _blocks(_matrix(first), _matrix(second)))


def _gram(first: Tensor, second: Tensor) -> Tensor:
    """``first.T @ second`` in fp64."""
    total = torch.zeros(first.shape[1], second.shape[1], dtype=torch.float64, device=first.device)
    for a, b in _blocks(first, second):
        total += a.double().T @ b.double()
    return total


def _blocks(first: Tensor, second: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Views of the same rows of both."""
    return list(zip(first.split(BLOCK_ROWS), second.split(BLOCK_ROWS), strict=True))


def _matrix(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1, tensor.shape[-1]) if tensor.dim() > 1 else tensor.reshape(-1)


def _dtype(value: AnchorTensor) -> torch.dtype:
    return value.left.dtype if isinstance(value, LowRank) else value.dtype


def _device(value: AnchorTensor) -> torch.device:
    return value.left.device if isinstance(value, LowRank) else value.device
