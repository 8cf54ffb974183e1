r"""Second moments of a layer's inputs and output gradients, streamed, and their leading eigenvectors.

Memory. n × n sums are out of reach for wide layers: an 8 B model (32 layers, 4096/14336) would need 92 GB of them in
fp32. Above n = `SKETCH_ABOVE`·r only Y = A Ω with a fixed orthonormal Ω of 2 r columns is summed, and the eigenvalues
come from the Nyström approximation Y (Ωᵀ Y)⁻¹ Yᵀ (Tropp, Yurtsever, Udell and Cevher 2017, "Fixed-Rank Approximation
of a Positive-Semidefinite Matrix from Streaming Data", algorithm 3). At r = 512 that is 1024 numbers per row: inputs
3·4096 + 14336 and output gradients 3·4096 + 2·1024 + 2·14336 rows per layer, 9.1 GB in all, during the anchor run
only. A training run keeps 512 numbers in bf16 for each of these rows, 2.3 GB, and W0 in the base model's own dtype,
16 GB in bf16; or, without W0, V_gᵀ W0 and W0 V_a in fp32, another 7.6 GB.

Precision: products and sums in fp32 (fp64 for fp64), eigenvalues and traces in fp64.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..errors import DBAError


SKETCH_ABOVE = 4  # at n = 4r the sketch takes half the memory of the full matrix
OVERSAMPLING = 2  # columns of Ω per direction that is kept; Tropp et al. recommend 2r + 1


class Spectrum(NamedTuple):
    """A positive semi-definite matrix by its largest eigenvalues.

    Attributes:
        values: (r,) ≥ 0, falling; all n values of a diagonal matrix, in order.
        vectors: (n, r), orthonormal columns; None for a diagonal matrix.
        rest: eigenvalue of all directions beyond these, the mean of what was cut off; 0 where r = n. A tensor only of
            several matrices together (`kronecker.stacked`).
    """

    values: Tensor
    vectors: Tensor | None
    rest: float | Tensor = 0.0


def truncated(spectrum: Spectrum, rank: int) -> Spectrum:
    """The largest ``rank`` eigenvalues alone; the others count in the mean of the rest. A diagonal matrix is left."""
    values, vectors, rest = spectrum
    if vectors is None or rank >= len(values):
        return spectrum
    beyond = float(values[rank:].sum(dtype=torch.float64)) + rest * (len(vectors) - len(values))
    return Spectrum(values[:rank], vectors[:, :rank].contiguous(), beyond / (len(vectors) - rank))


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


def energy_kept(spectrum: Spectrum, trace: float, count: float) -> float:
    """Σ of the eigenvalues that are kept, as a share of all."""
    if spectrum.vectors is None or trace <= 0:
        return 1.0
    kept = float(spectrum.values.sum(dtype=torch.float64)) * count / trace
    return min(1.0, kept) if math.isfinite(kept) else 0.0
