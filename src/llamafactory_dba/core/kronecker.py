r"""Curvature of the general loss as Kronecker factors, and the proximal step that keeps it small.

Around the base model W0 the general data forget by about ½ ΔWᵀ F ΔW, F the Fisher matrix. For the weight of a linear
layer y = W x, with g the gradient of the loss by y,

    F ≈ c · A ⊗ G,   A = E[x xᵀ] over tokens,   G = E[Σ_tokens g gᵀ] over sequences

(Martens and Grosse 2015, "Optimizing Neural Networks with Kronecker-factored Approximate Curvature", eq. 1; as a
penalty against forgetting: Ritter, Botev and Barber 2018, "Online Structured Laplace Approximations for Overcoming
Catastrophic Forgetting"). c makes the trace exact: tr F = E‖Σ_tokens g xᵀ‖² is measured on the way (`square_norm`).
With A = V_a diag(l_a) V_aᵀ and G = V_g diag(l_g) V_gᵀ the proximal step

    argmin_W' ½‖W' − W‖² + ½ μ · vec(W' − W0)ᵀ F vec(W' − W0)

has the closed form of `restore_`: W ← W − V_g [ S ∘ (V_gᵀ (W − W0) V_a) ] V_aᵀ, S = μ l_g l_aᵀ / (1 + μ l_g l_aᵀ). Of
both matrices the r largest eigenvalues are kept, and the mean of the others for all the rest of the space (``rest``,
as in probabilistic PCA). The rest matters: without it nothing holds the weights there, where Adam's step is as large
as anywhere (docs/elastic.md). There are four blocks, then: both sides within the r directions (of W0 only V_gᵀ W0 V_a
is needed), one of them (V_gᵀ W0 and W0 V_a), or none (W0 itself, and left out where that is not kept).

Memory. n × n sums are out of reach for wide layers: an 8 B model (32 layers, 4096/14336) would need 92 GB of them in
fp32. Above n = `SKETCH_ABOVE`·r only Y = A Ω with a fixed orthonormal Ω of 2 r columns is summed, and the eigenvalues
come from the Nyström approximation Y (Ωᵀ Y)⁻¹ Yᵀ (Tropp, Yurtsever, Udell and Cevher 2017, "Fixed-Rank Approximation
of a Positive-Semidefinite Matrix from Streaming Data", algorithm 3). At r = 512 that is 1024 numbers per row: inputs
3·4096 + 14336 and output gradients 3·4096 + 2·1024 + 2·14336 rows per layer, 9.1 GB in all, during the anchor run
only. A training run keeps 512 numbers in bf16 for each of these rows, 2.3 GB, and W0 in the base model's own dtype,
16 GB in bf16; or, without W0, V_gᵀ W0 and W0 V_a in fp32, another 7.6 GB.

Precision: products and sums in fp32 (fp64 for fp64), eigenvalues in fp64, traces in fp64. An eigenvalue below about
1e-6 of the largest is rounding.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import DBAError
from .fisher import Change, shrink


SKETCH_ABOVE = 4  # at n = 4r the sketch takes half the memory of the full matrix
OVERSAMPLING = 2  # columns of Ω per direction that is kept; Tropp et al. recommend 2r + 1


class Spectrum(NamedTuple):
    """A positive semi-definite matrix by its largest eigenvalues.

    Attributes:
        values: (r,) ≥ 0, falling; all n values of a diagonal matrix, in order.
        vectors: (n, r), orthonormal columns; None for a diagonal matrix.
        rest: eigenvalue of all directions beyond these, the mean of what was cut off; 0 where r = n.
    """

    values: Tensor
    vectors: Tensor | None
    rest: float = 0.0


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


class MomentSum:
    """Streaming Σ x xᵀ of vectors of one size: the full matrix, a sketch of it, or its diagonal.

    Args:
        size: n.
        rank: r, eigenvalues that will be asked for.
        device: where the sums live.
        omega: (n, 2r) of `probe_matrix`, shared by all sums of one size; None: the full matrix is kept.
        diagonal: keep the diagonal only.
    """

    def __init__(
        self,
        size: int,
        rank: int,
        device: torch.device | str = "cpu",
        *,
        omega: Tensor | None = None,
        diagonal: bool = False,
    ) -> None:
        self.size, self.rank, self.diagonal = size, min(rank, size), diagonal
        self.omega = None if diagonal else omega
        shape = (size,) if diagonal else (size, size if omega is None else omega.shape[1])
        self.total = torch.zeros(shape, device=device)
        self.trace = torch.zeros((), dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, rows: Tensor) -> None:
        """Adds vectors, given as rows (tokens, n) of any dtype."""
        rows = rows.detach().float()
        squares = rows.square().sum(0)
        self.trace += squares.sum(dtype=torch.float64)
        if self.diagonal:
            self.total += squares
        elif self.omega is None:
            self.total.addmm_(rows.T, rows)
        else:
            self.total.addmm_(rows.T, rows @ self.omega)

    @torch.no_grad()
    def add_places(self, places: Tensor) -> None:
        """Adds unit vectors, given by the place of their 1; for a diagonal only."""
        self.total += torch.bincount(places.reshape(-1), minlength=self.size).to(self.total)
        self.trace += places.numel()

    def spectrum(self, count: float) -> Spectrum:
        """Of the mean over ``count`` vectors (of any unit): fp32, on the sums' device."""
        if self.diagonal:
            return Spectrum(self.total / count, None)
        if self.omega is None:
            values, vectors = torch.linalg.eigh(self.total.double())
            values, vectors = values.flip(0)[: self.rank], vectors.flip(1)[:, : self.rank]
        else:
            values, vectors = nystrom(self.total.double(), self.omega.double(), self.rank)
        values = values.clamp_min(0)
        beyond = max(0.0, float(self.trace) - float(values.sum())) / max(1, self.size - self.rank)
        rest = beyond / count if self.rank < self.size else 0.0
        return Spectrum((values / count).float(), vectors.float().contiguous(), rest)

    def state_dict(self) -> dict[str, Tensor]:
        """What `load_state_dict` needs; not copied."""
        return {"total": self.total, "trace": self.trace}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a saved state into place."""
        if tuple(state["total"].shape) != tuple(self.total.shape):
            raise DBAError(
                "The saved curvature belongs to another model or rank.",
                expected=tuple(self.total.shape),
                found=tuple(state["total"].shape),
            )
        self.total.copy_(state["total"])
        self.trace.copy_(state["trace"])

    def average(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Replaces the sums by their means over processes; ``reduce`` as in `mean.RunningMean.average`."""
        self.total.copy_(reduce(self.total.clone()))
        self.trace.copy_(reduce(self.trace.clone()))


def wants_sketch(size: int, rank: int) -> bool:
    """Whether a sum of this size is kept as a sketch."""
    return size > SKETCH_ABOVE * rank


def probe_matrix(size: int, rank: int, seed: int = 0) -> Tensor:
    """Ω: (size, 2·rank) with orthonormal columns, fp32, drawn on the CPU so that a seed means the same everywhere."""
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(size, OVERSAMPLING * rank, generator=generator)).Q


def nystrom(sketch: Tensor, omega: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Eigenvalues (falling) and eigenvectors of the best rank-r part of Y (Ωᵀ Y)⁻¹ Yᵀ, Y = A Ω.

    Args:
        sketch: Y (n, k), fp64.
        omega: Ω (n, k), orthonormal columns, fp64.
        rank: r ≤ k.

    Source: Tropp et al. 2017, algorithm 3, with its shift ν against a singular ΩᵀY.
    """
    shift = float(torch.linalg.vector_norm(sketch)) * 1e-7  # the sums are fp32; the paper's machine epsilon is fp64's
    if shift == 0.0:
        return sketch.new_zeros(rank), omega[:, :rank].clone()
    shifted = sketch + shift * omega
    core = omega.T @ shifted
    lower, broken = torch.linalg.cholesky_ex((core + core.T) / 2)
    if int(broken):
        # rounding left a negative eigenvalue: the pseudo-root does as well
        values, vectors = torch.linalg.eigh((core + core.T) / 2)
        keep = values > values[-1] * 1e-7
        root = shifted @ (vectors[:, keep] / values[keep].sqrt())
    else:
        root = torch.linalg.solve_triangular(lower, shifted.T, upper=False).T
    q, r = torch.linalg.qr(root)
    u, s, _ = torch.linalg.svd(r, full_matrices=False)
    values, vectors = (s.square() - shift).clamp_min(0), q @ u
    if len(values) < rank:
        values = torch.cat([values, values.new_zeros(rank - len(values))])
        vectors = torch.cat([vectors, vectors.new_zeros(len(vectors), rank - vectors.shape[1])], 1)
    return values[:rank], vectors[:, :rank]


def square_norm(inputs: Tensor, grads: Tensor) -> Tensor:
    """Σ over sequences of ‖Σ_t g_t x_tᵀ‖², the squared gradients of single sequences, as an fp64 scalar.

    Either by the products of tokens with each other, (x_s·x_t)(g_s·g_t) (Goodfellow 2015, "Efficient Per-Example
    Gradient Computations"), or by building the gradient, whichever is cheaper.

    Args:
        inputs: x (B, T, n), or token ids (B, T) of an embedding.
        grads: g (B, T, m), zero where there is no token.
    """
    grads = grads.detach().float()
    if inputs.dim() == 2:
        same = (inputs.unsqueeze(1) == inputs.unsqueeze(2)).to(grads.dtype)
        return ((grads @ grads.mT) * same).sum(dtype=torch.float64)
    inputs = inputs.detach().float()
    tokens, cols, rows = inputs.shape[1], inputs.shape[2], grads.shape[2]
    if tokens * (rows + cols) < rows * cols:
        return ((grads @ grads.mT) * (inputs @ inputs.mT)).sum(dtype=torch.float64)
    total = torch.zeros((), dtype=torch.float64, device=grads.device)
    for x, g in zip(inputs, grads, strict=True):  # one gradient in memory at a time
        total += (g.T @ x).square().sum(dtype=torch.float64)
    return total


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


def energy_kept(spectrum: Spectrum, trace: float, count: float) -> float:
    """Σ of the eigenvalues that are kept, as a share of all."""
    if spectrum.vectors is None or trace <= 0:
        return 1.0
    kept = float(spectrum.values.sum(dtype=torch.float64)) * count / trace
    return min(1.0, kept) if math.isfinite(kept) else 0.0
