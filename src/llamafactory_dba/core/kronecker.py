r"""Curvature of the general loss as Kronecker factors, and the proximal step that keeps it small.

Around the base model W0 the general data forget by about ½ ΔWᵀ F ΔW, F the Fisher matrix. For the weight of a linear
layer y = W x, with g the gradient of the loss by y,

    F ≈ c · A ⊗ G,   A = E[x xᵀ] over tokens,   G = E[Σ_tokens g gᵀ] over sequences

(Martens and Grosse 2015, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature", eq. 1; as a
penalty against forgetting: Ritter, Botev and Barber 2018, "Online Structured Laplace Approximations for Overcoming
Catastrophic Forgetting"). c makes the trace exact: tr F = E‖Σ_tokens g xᵀ‖² is measured on the way
(`moments.square_norm`). With A = V_a diag(l_a) V_aᵀ and G = V_g diag(l_g) V_gᵀ the proximal step

    argmin_W' ½‖W' − W‖² + ½ μ · vec(W' − W0)ᵀ F vec(W' − W0)

has the closed form of `restore_`: W ← W − V_g [ S ∘ (V_gᵀ (W − W0) V_a) ] V_aᵀ, S = μ l_g l_aᵀ / (1 + μ l_g l_aᵀ). Of
both matrices the r largest eigenvalues are kept, and the mean of the others for all the rest of the space (``rest``,
as in probabilistic PCA). The rest matters: without it nothing holds the weights there, where Adam's step is as large
as anywhere (docs/elastic.md). There are four blocks, then: both sides within the r directions (of W0 only V_gᵀ W0 V_a
is needed), one of them (V_gᵀ W0 and W0 V_a), or none (W0 itself, and left out where that is not kept).

Precision: products and sums in fp32 (fp64 for fp64), eigenvalues in fp64, traces in fp64. An eigenvalue below about
1e-6 of the largest is rounding.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from .fisher import Change, shrink
from .moments import Spectrum


class Term(NamedTuple):
    """F of one matrix (m, n) as ``rows`` ⊗ ``columns``; all constants are in the values of ``rows``."""

    rows: Spectrum
    columns: Spectrum


class Start(NamedTuple):
    """What is needed of the base weights W0 (m, n): the whole of them, or no more than three products.

    Attributes:
        whole: W0, in any dtype; the others are None then.
        both: V_gᵀ W0 V_a (r_g, r_a), where neither of the next two is there.
        left: V_gᵀ W0 (r_g, n), where the columns have a rest.
        right: W0 V_a (m, r_a), where the rows have a rest.
    """

    whole: Tensor | None = None
    both: Tensor | None = None
    left: Tensor | None = None
    right: Tensor | None = None


@torch.no_grad()
def start_of(weight: Tensor, term: Term, *, whole: bool) -> Start:
    """What `restore_` needs of the base weights.

    Args:
        weight: W0 (m, n). It is kept as bf16 where that is exact, as it is for a model that was stored so.
        term: F.
        whole: whether W0 may be kept; it is where the block beyond both ranks, or the rest of a vocabulary matrix,
            needs it.
    """
    rows, columns = term
    if whole and columns.rest > 0 and (rows.rest > 0 or rows.vectors is None):
        return Start(whole=exact_copy(weight))
    matrix = weight.detach().to(_work(weight))
    left = _left(rows, matrix) if columns.rest > 0 and rows.vectors is not None else None
    right = matrix @ _vectors(columns, matrix.dtype) if rows.rest > 0 else None
    if left is None and right is None:
        return Start(both=_left(rows, matrix @ _vectors(columns, matrix.dtype)))
    return Start(left=left, right=right)


def exact_copy(weight: Tensor) -> Tensor:
    """A copy in bf16 where that is exact, else in the weight's own dtype."""
    small = weight.detach().to(torch.bfloat16, copy=True)
    return small if torch.equal(small.to(weight.dtype), weight) else weight.detach().clone()


class _Parts(NamedTuple):
    """The difference D = W − W0 as far as it is known, and the curvature of each of its four blocks."""

    whole: Tensor | None  # D
    left: Tensor | None  # V_gᵀ D
    right: Tensor | None  # D V_a
    both: Tensor  # V_gᵀ D V_a
    curvature: tuple[Tensor, Tensor, Tensor, Tensor]  # (r_g, r_a), (r_g, 1), (1, r_a), (1, 1)


def _parts(weight: Tensor, term: Term, start: Start) -> _Parts:
    work, (rows, columns) = _work(weight), term
    matrix, vectors = weight.detach().to(work), _vectors(columns, work)
    whole = left = right = None
    if start.whole is not None:
        whole = matrix - start.whole.to(matrix.device, work)
        left = _left(rows, whole)
        both = left @ vectors
        right = whole @ vectors if rows.rest > 0 else None
    elif start.both is not None:
        both = _left(rows, matrix @ vectors) - start.both
    else:
        left = None if start.left is None else _left(rows, matrix) - start.left
        right = None if start.right is None else matrix @ vectors - start.right
        both = left @ vectors if left is not None else _left(rows, right)
    row, column = rows.values.to(work).unsqueeze(1), columns.values.to(work).unsqueeze(0)
    none = row.new_zeros(1, 1)
    curvature = (
        row * column,
        row * columns.rest if left is not None else none,
        column * rows.rest if right is not None else none,
        none + rows.rest * columns.rest if whole is not None else none,
    )
    return _Parts(whole, left, right, both, curvature)


def _squares(parts: _Parts) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Squared lengths of the four blocks, each in its curvature's shape (r_g, r_a), (r_g, 1), (1, r_a), (1, 1)."""
    both = parts.both.square()
    none = both.new_zeros(1, 1)
    left = none if parts.left is None else (parts.left.square().sum(1, keepdim=True) - both.sum(1, keepdim=True))
    right = none if parts.right is None else (parts.right.square().sum(0, keepdim=True) - both.sum(0, keepdim=True))
    outside = none
    if parts.whole is not None:
        outside = parts.whole.square().sum() - both.sum() - left.clamp_min(0).sum() - right.clamp_min(0).sum()
    return both, left.clamp_min(0), right.clamp_min(0), outside.clamp_min(0).reshape(1, 1)


@torch.no_grad()
def quadratic_form(weight: Tensor, term: Term, start: Start) -> Tensor:
    """½ vec(W − W0)ᵀ F vec(W − W0), as far as W0 is known: what the general data lose, in nats per sequence."""
    parts = _parts(weight, term, start)
    return _half_sum(parts.curvature, _squares(parts))


@torch.no_grad()
def restore_(weight: Tensor, term: Term, start: Start, strength: float) -> Change:
    """The proximal step, in place.

    Args:
        weight: W (m, n).
        term: F.
        start: from `start_of` W0.
        strength: μ ≥ 0; at 0 nothing is written.
    """
    parts = _parts(weight, term, start)
    squares = _squares(parts)
    before = _half_sum(parts.curvature, squares)
    if strength == 0:
        return Change(before, before)
    shrinks = [shrink(item, strength) for item in parts.curvature]
    inside, left, right, outside = shrinks
    kept = [item * (1 - share).square() for item, share in zip(squares, shrinks, strict=True)]
    after = _half_sum(parts.curvature, kept)
    # Each block's own share of the step, written with projections that overlap: D, V_g V_gᵀ D, D V_a V_aᵀ, and both
    work, vectors = parts.both.dtype, _vectors(term.columns, parts.both.dtype)
    result = weight if weight.dtype == work else weight.to(work)
    core = (inside - left - right + outside) * parts.both
    rank_rows = None
    if parts.left is None:
        rank_rows = _back(term.rows, core)
    else:
        inner = torch.addmm((left - outside) * parts.left, core, vectors.T)
        result.sub_(_back(term.rows, inner))
    if parts.right is not None:
        step = (right - outside) * parts.right
        rank_rows = step if rank_rows is None else rank_rows + step
    if rank_rows is not None:
        result.addmm_(rank_rows, vectors.T, alpha=-1)
    if parts.whole is not None and term.rows.vectors is not None:
        result.sub_(outside * parts.whole)
    if result is not weight:
        weight.copy_(result)
    return Change(before, after)


def _half_sum(curvature: tuple[Tensor, ...], squares: Any) -> Tensor:
    pairs = zip(curvature, squares, strict=True)
    return torch.stack([(c * q).sum(dtype=torch.float64) for c, q in pairs]).sum() / 2


def _left(rows: Spectrum, matrix: Tensor) -> Tensor:
    """V_gᵀ M; M itself where the rows are diagonal."""
    return matrix if rows.vectors is None else rows.vectors.to(matrix.dtype).T @ matrix


def _back(rows: Spectrum, matrix: Tensor) -> Tensor:
    """V_g M."""
    return matrix if rows.vectors is None else rows.vectors.to(matrix.dtype) @ matrix


def _vectors(spectrum: Spectrum, work: torch.dtype) -> Tensor:
    assert spectrum.vectors is not None
    return spectrum.vectors.to(work)


def _work(weight: Tensor) -> torch.dtype:
    return torch.float64 if weight.dtype == torch.float64 else torch.float32
