r"""Diagonal of the Fisher matrix of a linear layer from single tokens: whole, or as a product of row and column sums.

For y = W x with the gradient g of the loss by y, the square of a token's gradient is (g xᵀ)² = g² (x²)ᵀ, so that

    F_ij = E[Σ_t g_ti² x_tj²]            (m·n numbers: `square_products`)
    F_ij ≈ r_i c_j / Σ_i r_i,   r_i = E[Σ_t g_ti² ‖x_t‖²],  c_j = E[Σ_t ‖g_t‖² x_tj²]     (m + n: `FactoredSum`)

E over sequences, Σ over their tokens. The product has the right sums over rows and over columns; it is what Adafactor
keeps of squared gradients (Shazeer and Stern 2018, "Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
section 3, the rank-1 matrix of least generalised Kullback–Leibler divergence). Both leave out the products of
different tokens of one sequence. An embedding is the case of unit vectors x. As a penalty against forgetting:
Kirkpatrick et al. 2017, "Overcoming catastrophic forgetting in neural networks" (EWC), eq. 3.

Precision: products in fp32, the sums of `FactoredSum` in fp64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor


BLOCK = 2**22  # numbers of a matrix that are restored at a time: three fp32 copies of them are made


class Product(NamedTuple):
    """A diagonal F of a matrix (m, n) as ``rows[i] * columns[j]``."""

    rows: Tensor
    columns: Tensor


class Change(NamedTuple):
    """½ ΔWᵀ F ΔW before and after a restoration: 0-d fp64 tensors, in nats per sequence."""

    before: Tensor
    after: Tensor


class FactoredSum:
    """Streaming r and c of one matrix; several uses of it (tied embeddings) add up.

    Args:
        rows: m.
        columns: n.
        device: where the sums live.
    """

    def __init__(self, rows: int, columns: int, device: torch.device | str = "cpu") -> None:
        self.rows = torch.zeros(rows, dtype=torch.float64, device=device)
        self.columns = torch.zeros(columns, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, inputs: Tensor, grads: Tensor) -> None:
        """Adds tokens: x (t, n), or ids (t,) of an embedding, and g (t, m), or (t, n) of an embedding."""
        squares = grads.detach().float().square()
        lengths = squares.sum(1)
        if inputs.dim() == 1:
            self.rows.index_add_(0, inputs, lengths.double())
            self.columns += squares.sum(0)
            return
        given = inputs.detach().float().square()
        self.rows += given.sum(1) @ squares
        self.columns += lengths @ given

    def product(self, sequences: float) -> Product:
        """F, fp32."""
        total = self.rows.sum()
        columns = self.columns / total if float(total) > 0 else self.columns
        return Product((self.rows / sequences).float(), columns.float())

    def state_dict(self) -> dict[str, Tensor]:
        """What `load_state_dict` needs; not copied."""
        return {"rows": self.rows, "columns": self.columns}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a saved state into place."""
        self.rows.copy_(state["rows"])
        self.columns.copy_(state["columns"])

    def average(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Replaces the sums by their means over processes; ``reduce`` as in `mean.RunningMean.average`."""
        self.rows.copy_(reduce(self.rows.clone()))
        self.columns.copy_(reduce(self.columns.clone()))


@torch.no_grad()
def square_products(inputs: Tensor, grads: Tensor, rows: int) -> Tensor:
    """Σ_t g_t² (x_t²)ᵀ, (m, n) in fp32.

    Args:
        inputs: x (t, n), or ids (t,) of an embedding.
        grads: g (t, m), or (t, n) of an embedding.
        rows: m.
    """
    squares = grads.detach().float().square()
    if inputs.dim() == 1:
        return squares.new_zeros(rows, squares.shape[1]).index_add_(0, inputs, squares)
    return squares.T @ inputs.detach().float().square()


def diagonal_of(first: Tensor, second: Tensor, *, samples: float, pairs: float) -> Tensor:
    """E[g²] of single sequences from the gradients of whole batches, G_b = Σ of B_b sequences.

    E[G_b²] = B_b Var(g) + B_b² E[g]², hence Var = (Σ_b G_b² − Σ_b B_b² E[g]²) / Σ_b B_b. Unbiased; noisy where there
    are few batches, and never below E[g]².

    Args:
        first: Σ_b G_b.
        second: Σ_b G_b².
        samples: Σ_b B_b.
        pairs: Σ_b B_b².
    """
    mean_squared = (first / samples).square()
    return (second / samples - mean_squared * (pairs / samples - 1)).clamp_min(mean_squared)


@torch.no_grad()
def restore_diagonal_(
    weight: Tensor, curvature: Tensor | Product, start: Tensor, strength: float, *, block: int = BLOCK
) -> Change:
    """The proximal step argmin_W' ½‖W' − W‖² + ½ μ Σ F (W' − W0)² in place: W ← W − μF/(1 + μF) (W − W0).

    Args:
        weight: W, a vector or matrix of any dtype; computed in fp32 (fp64 for fp64) and rounded once.
        curvature: F ≥ 0, of W's shape or as a product.
        start: W0, of any dtype, on any device.
        strength: μ ≥ 0; at 0 nothing is written.
        block: numbers at a time.
    """
    before = torch.zeros((), dtype=torch.float64, device=weight.device)
    after = before.clone()
    for rows, wide, difference, values in _blocks(weight, curvature, start, block):
        lost = (difference * difference).mul_(values)
        before += lost.sum(dtype=torch.float64) / 2
        if strength > 0:
            # in place wherever that is no one else's memory: of a small model, allocations cost more than arithmetic
            scaled = values.mul_(strength) if isinstance(curvature, Product) else values * strength
            kept = scaled.add_(1).reciprocal_()  # of the difference: 1 / (1 + μF), also for μF = Inf
            after += lost.mul_(kept).mul_(kept).sum(dtype=torch.float64) / 2
            removed = kept.neg_().add_(1)
            if weight.dtype == wide.dtype:
                wide.addcmul_(removed, difference, value=-1)  # a view of the weight
            else:  # of a parameter in bf16, the difference must be rounded after the subtraction
                _rows(weight)[rows].copy_(torch.addcmul(wide, removed, difference, value=-1))
    return Change(before, after if strength > 0 else before)


@torch.no_grad()
def add_penalty_gradient_(
    grad: Tensor, weight: Tensor, curvature: Tensor | Product, start: Tensor, strength: float, *, block: int = BLOCK
) -> Tensor:
    """The gradient of ½ λ Σ F (W − W0)² added to another, in place: g ← g + λ F (W − W0) (EWC, eq. 3).

    Args:
        grad: g, of W's shape and any dtype; the sum is rounded once.
        weight: W, a vector or matrix of any dtype; computed in fp32 (fp64 for fp64).
        curvature: F ≥ 0, of W's shape or as a product.
        start: W0, of any dtype, on any device.
        strength: λ ≥ 0; at 0 nothing is written.
        block: numbers at a time.

    Returns:
        ½ Σ F (W − W0)², a 0-d fp64 tensor.
    """
    lost = torch.zeros((), dtype=torch.float64, device=weight.device)
    for rows, _, difference, values in _blocks(weight, curvature, start, block):
        slope = difference * values
        lost += (slope * difference).sum(dtype=torch.float64) / 2
        if strength > 0:
            part = _rows(grad)[rows]
            part.copy_(torch.add(part.to(slope.dtype), slope, alpha=strength))
    return lost


def _rows(tensor: Tensor) -> Tensor:
    """A view as a matrix; of a vector, with one row."""
    return tensor.view(1, -1) if tensor.dim() < 2 else tensor.view(-1, tensor.shape[-1])


def brought(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """A tensor on another device in another dtype: moved first, then converted.

    In one call torch would convert on the host, slowly, and move the wider numbers. Towards the host it waits: what is
    read there before the copy has ended is not defined.
    """
    return tensor.to(device, non_blocking=device.type != "cpu").to(dtype)


def _blocks(
    weight: Tensor, curvature: Tensor | Product, start: Tensor, block: int
) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """Some rows at a time: which, W, W − W0 and F there, all in fp32 (fp64 for a weight in fp64)."""
    work = torch.float64 if weight.dtype == torch.float64 else torch.float32
    matrix, base = _rows(weight), _rows(start)
    dense = None if isinstance(curvature, Product) else curvature.reshape(matrix.shape)
    step = max(1, block // max(1, matrix.shape[1]))
    for first in range(0, len(matrix), step):
        part = slice(first, first + step)
        values = (
            curvature.rows[part].to(work).unsqueeze(1) * curvature.columns.to(work)
            if isinstance(curvature, Product)
            else brought(dense[part], weight.device, work)  # type: ignore[index]
        )
        wide = matrix[part].to(work)
        begin = brought(base[part], weight.device, work)
        fresh = begin.data_ptr() != base[part].data_ptr()
        yield part, wide, torch.sub(wide, begin, out=begin) if fresh else wide - begin, values
