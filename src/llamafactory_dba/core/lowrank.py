r"""Compression of the anchor: ĝ_G ≈ U_r Σ_r V_rᵀ for every matrix, vectors as they are.

A factored tensor is kept as two matrices, ``left`` = U·Σ of shape (m, r) and ``right`` = Vᵀ of shape (r, n).
Tensors of three and more dimensions count as matrices of shape (-1, last).

Two ways to the factors: the exact SVD where that is cheap, else the randomised range finder with power iterations
of Halko, Martinsson and Tropp (2011), "Finding structure with randomness", algorithms 4.4 and 5.1.

Precision: everything is computed in fp32 (fp64 for fp64 input).

Source: arXiv 2509.26242, section 3.2, "r = 512".
"""

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from ..errors import DBAError


# Exact SVD of a 1024 x 1024 matrix takes about a second on one core, of 4096 x 4096 about a minute and a half.
EXACT_BELOW = 1024


class LowRank(NamedTuple):
    """A matrix as ``left @ right``: (m, r) and (r, n)."""

    left: Tensor
    right: Tensor


AnchorTensor: TypeAlias = Tensor | LowRank


@dataclass(frozen=True)
class Truncation:
    """One tensor of the anchor and what its compression cost.

    Attributes:
        value: the tensor itself, or its two factors.
        norm: Frobenius norm of the full tensor, before truncation.
        energy_kept: share of ``norm``² that ``value`` still has, in [0, 1]; 1 for a dense or a zero tensor.
        rank: number of columns of ``left``; 0 where the tensor is kept dense.
        exact: whether ``value`` is the best approximation of this rank (dense, or by the exact SVD).
        shape: shape of the full tensor (a factored 3-D tensor has lost it).
        added_error: of a tensor made from finished anchors (merged, cut to a lower rank): Frobenius norm of what that
            step cut off, as a share of the norm before it. 0.0 for a tensor straight from its run.
    """

    value: AnchorTensor
    norm: float
    energy_kept: float
    rank: int
    exact: bool
    shape: tuple[int, ...]
    added_error: float = 0.0


def worthwhile(rows: int, cols: int, rank: int) -> bool:
    """Whether two factors hold fewer numbers than the matrix."""
    return rank * (rows + cols) < rows * cols


def truncate(
    tensor: Tensor,
    rank: int,
    *,
    seed: int = 0,
    exact_below: int = EXACT_BELOW,
    oversampling: int = 32,
    power_iterations: int = 3,
) -> Truncation:
    """Best (or nearly best) approximation of ``tensor`` by ``rank`` directions.

    Args:
        tensor: any shape. Vectors and scalars are kept as they are, and so is every matrix whose factors would hold
            no fewer numbers than itself.
        rank: r. Above min(m, n) it is clipped, which always ends in a dense tensor.
        seed: of the random test matrix; the same seed gives the same factors on the same device.
        exact_below: the exact SVD is used up to this min(m, n), and where r is more than a quarter of it.
        oversampling: extra random directions, dropped at the end.
        power_iterations: passes A·Aᵀ that separate slowly decaying singular values.

    Raises:
        DBAError: for a rank below 1, or NaN or Inf in the tensor.
    """
    if rank < 1:
        raise DBAError("The rank of the anchor cannot be used.", expected="1 or more", found=rank)
    full = _compute(tensor)
    norm_full = float(torch.linalg.vector_norm(full, dtype=torch.float64))
    if not _finite(norm_full, full):
        raise DBAError("A tensor to be truncated has NaN or Inf in it.", expected="finite numbers", found=full.shape)
    shape = tuple(tensor.shape)
    if tensor.dim() < 2 or tensor.numel() == 0:
        return Truncation(tensor.detach(), norm_full, 1.0, 0, True, shape)
    matrix = full.reshape(-1, full.shape[-1])
    rows, cols = matrix.shape
    rank = min(rank, rows, cols)
    if not worthwhile(rows, cols, rank):
        return Truncation(tensor.detach(), norm_full, 1.0, 0, True, shape)

    small = min(rows, cols)
    exact = small <= exact_below or 4 * (rank + oversampling) > small
    if exact:
        u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    else:
        u, s, vh = _randomised(matrix, rank + oversampling, power_iterations, seed)
    value = LowRank((u[:, :rank] * s[:rank]).contiguous(), vh[:rank].contiguous())
    kept = float(torch.sum(s[:rank].double() ** 2))
    energy = min(1.0, kept / norm_full**2) if norm_full > 0 else 1.0
    return Truncation(value, norm_full, energy, rank, exact, shape)


def _compute(tensor: Tensor) -> Tensor:
    full = tensor.detach()
    return full if full.dtype == torch.float64 else full.float()


def _finite(norm_full: float, full: Tensor) -> bool:
    # a finite sum of squares settles it in one pass; only an overflowing one needs the second
    return norm_full < float("inf") or bool(torch.isfinite(full).all())


def _randomised(matrix: Tensor, columns: int, power_iterations: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Halko et al. 2011: an orthonormal basis of the range of (A·Aᵀ)^q·A·Ω, then the SVD of the small matrix."""
    # drawn on the CPU, so that a seed means the same everywhere
    test = torch.randn(matrix.shape[1], columns, generator=torch.Generator().manual_seed(seed), dtype=matrix.dtype)
    basis = torch.linalg.qr(matrix @ test.to(matrix.device)).Q
    for _ in range(power_iterations):
        # QR after each half step: without it the small directions drown in rounding after one or two passes
        basis = torch.linalg.qr(matrix @ torch.linalg.qr(matrix.T @ basis).Q).Q
    u, s, vh = torch.linalg.svd(basis.T @ matrix, full_matrices=False)
    return basis @ u, s, vh


def reconstruct(value: AnchorTensor, rows: slice | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """The tensor, or a block of its rows, as a matrix (-1, last); vectors and scalars stay 1-D.

    Args:
        value: dense or factored.
        rows: which rows (elements of a vector); all by default.
        dtype: of the result *and* of the product; by default that of ``value``.
    """
    if isinstance(value, LowRank):
        left = value.left if rows is None else value.left[rows]
        return left.to(dtype or left.dtype) @ value.right.to(dtype or value.right.dtype)
    matrix = value.reshape(-1, value.shape[-1]) if value.dim() > 1 else value.reshape(-1)
    block = matrix if rows is None else matrix[rows]
    return block.to(dtype or block.dtype)


def inner(grad: Tensor, value: AnchorTensor) -> Tensor:
    """⟨grad, value⟩ as a 0-d tensor, in factored form: Σ (G·rightᵀ) ∘ left, nothing of the size of G is built."""
    work = torch.float64 if grad.dtype == torch.float64 else torch.float32
    if isinstance(value, LowRank):
        matrix = grad.reshape(-1, grad.shape[-1]).to(work)
        return torch.sum((matrix @ value.right.T.to(work)) * value.left.to(work))
    return torch.sum(grad.to(work) * value.to(work).reshape(grad.shape))


def norm(value: AnchorTensor) -> float:
    """Frobenius norm; of factors by ‖LR‖² = Σ (LᵀL) ∘ (RRᵀ), in fp64: squares of small numbers underflow."""
    if isinstance(value, LowRank):
        left, right = value.left.double(), value.right.double()
        return float(torch.sum((left.T @ left) * (right @ right.T)).clamp_min(0).sqrt())
    return float(torch.linalg.vector_norm(value, dtype=torch.float64))
