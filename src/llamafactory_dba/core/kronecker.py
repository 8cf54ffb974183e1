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

Precision: products and sums in fp32 (fp64 for fp64), or products of factors in bf16 where that is asked for;
eigenvalues and traces in fp64. An eigenvalue below about 1e-6 of the largest is rounding.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .fisher import Change, brought
from .moments import Spectrum


# numbers of a matrix that are restored at a time where rows do not mix
BLOCK = 2**18  # on a CPU: 1 MiB in fp32, so that what is made of them stays in its cache
DEVICE_BLOCK = 2**24


class Term(NamedTuple):
    """F of one matrix (m, n) as ``rows`` ⊗ ``columns``; all constants are in the values of ``rows``.

    Of b matrices together (`stacked`) values are (b, r), vectors (b, m, r) and rest (b, 1), or 0 where none has one.
    """

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


def layout(term: Term, start: Start) -> tuple[object, ...] | None:
    """What has to be equal between matrices that are to be `stacked`; None of a vocabulary, which is not."""
    if term.rows.vectors is None:
        return None
    tensors = (*term.rows[:2], *term.columns[:2], *start)
    shapes = (None if item is None else (item.shape, item.dtype, item.device) for item in tensors)
    return (term.rows.rest > 0, term.columns.rest > 0, *shapes)


def stacked(
    parts: Sequence[tuple[Term, Start]], stack: Callable[[Sequence[Tensor]], Tensor] = torch.stack
) -> tuple[Term, Start]:
    """Term and start of b matrices of one `layout`, for `restore_each_` of all of them as (b, m, n).

    Args:
        parts: b of them.
        stack: makes one tensor of b; of a caller who keeps what it has stacked before.
    """
    terms, starts = zip(*parts, strict=True)
    term = Term(*(_stacked_side(sides, stack) for sides in zip(*terms, strict=True)))
    return term, Start(*(None if items[0] is None else stack(items) for items in zip(*starts, strict=True)))


def _stacked_side(sides: Sequence[Spectrum], stack: Callable[[Sequence[Tensor]], Tensor]) -> Spectrum:
    vectors = stack([side.vectors for side in sides if side.vectors is not None])
    rest = vectors.new_tensor([[side.rest] for side in sides], dtype=torch.float64) if sides[0].rest > 0 else 0.0
    return Spectrum(stack([side.values for side in sides]), vectors, rest)


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
    work = _work(weight)
    matrix, times = weight.detach().to(work), _products(term, work, work)
    left = times.left(matrix) if columns.rest > 0 and rows.vectors is not None else None
    right = times.right(matrix) if rows.rest > 0 else None
    if left is None and right is None:
        return Start(both=times.left(times.right(matrix)))
    return Start(left=left, right=right)


def exact_copy(weight: Tensor) -> Tensor:
    """A copy in bf16 where that is exact, else in the weight's own dtype."""
    small = weight.detach().to(torch.bfloat16, copy=True)
    return small if torch.equal(small.to(weight.dtype), weight) else weight.detach().clone()


@torch.no_grad()
def quadratic_form(weight: Tensor, term: Term, start: Start) -> Tensor:
    """½ vec(W − W0)ᵀ F vec(W − W0), as far as W0 is known: what the general data lose, in nats per sequence."""
    return restore_(weight, term, start, 0.0).before


@torch.no_grad()
def restore_(
    weight: Tensor, term: Term, start: Start, strength: float, *, products: torch.dtype | None = None
) -> Change:
    """The proximal step, in place.

    Args:
        weight: W (m, n), or several (b, m, n).
        term: F, `stacked` for several.
        start: from `start_of` W0, `stacked` for several.
        strength: μ ≥ 0; at 0 nothing is written.
        products: dtype of the factors of matrix products, where ``start`` is the whole of W0 (elsewhere W itself would
            be rounded, and not the small W − W0); fp32 by default (fp64 for a weight in fp64).
    """
    return restore_each_(weight, [(term, start)], strength, products=products)


@torch.no_grad()
def restore_each_(
    weight: Tensor, terms: Sequence[tuple[Term, Start]], strength: float, *, products: torch.dtype | None = None
) -> Change:
    """`restore_` of several terms of one matrix, one after the other.

    Returns:
        The sum over terms of the quadratic form before and after the term's own step.
    """
    forms = _Forms([], [])
    for part in _parts(weight, terms):
        for term, start in terms:
            _step(weight, term, start, strength, products, part, forms)
    return Change(*(torch.stack(items).double().sum() / 2 for items in forms))


def _parts(weight: Tensor, terms: Sequence[tuple[Term, Start]]) -> Iterator[slice | None]:
    """Some rows at a time where they do not mix, so that a vocabulary needs no copies of its size; else everything."""
    return iter([None]) if any(term.rows.vectors is not None for term, _ in terms) else _row_blocks(weight)


def _row_blocks(matrix: Tensor) -> Iterator[slice]:
    if matrix.dim() > 2:
        yield slice(None)
        return
    step = max(1, (BLOCK if matrix.device.type == "cpu" else DEVICE_BLOCK) // max(1, matrix.shape[1]))
    for first in range(0, len(matrix), step):
        yield slice(first, first + step)


class _Forms(NamedTuple):
    """Σ F d² of parts of a matrix before and after its step, in the dtype of the work: added up at the end."""

    before: list[Tensor]
    after: list[Tensor]


class _Difference(NamedTuple):
    """D = W − W0 as far as it is known and used; none of it is W's own memory."""

    whole: Tensor | None  # D
    left: Tensor | None  # V_gᵀ D
    right: Tensor | None  # D V_a
    both: Tensor  # V_gᵀ D V_a


class _Products(NamedTuple):
    """Products with the eigenvectors of one term, with factors of one dtype and results of another."""

    rows: Tensor | None
    columns: Tensor
    work: torch.dtype

    def left(self, matrix: Tensor) -> Tensor:
        """V_gᵀ M; M itself where the rows are diagonal."""
        return matrix if self.rows is None else self._times(self.rows.mT, matrix)

    def right(self, matrix: Tensor) -> Tensor:
        """M V_a."""
        return self._times(matrix, self.columns)

    def left_back(self, matrix: Tensor) -> Tensor:
        """V_g M; M itself where the rows are diagonal."""
        return matrix if self.rows is None else self._times(self.rows, matrix)

    def left_back_(self, total: Tensor, matrix: Tensor, alpha: float) -> Tensor:
        """Adds α V_g M; not for diagonal rows."""
        assert self.rows is not None
        return self._add_(total, self.rows, matrix, alpha)

    def right_back_(self, total: Tensor, matrix: Tensor, alpha: float) -> Tensor:
        """Adds α M V_aᵀ."""
        return self._add_(total, matrix, self.columns.mT, alpha)

    def _times(self, first: Tensor, second: Tensor) -> Tensor:
        return (first.to(self.columns.dtype) @ second.to(self.columns.dtype)).to(self.work)

    def _add_(self, total: Tensor, first: Tensor, second: Tensor, alpha: float) -> Tensor:
        if self.columns.dtype == self.work:
            return (total.addmm_ if total.dim() == 2 else total.baddbmm_)(first, second, alpha=alpha)
        return total.add_(self._times(first, second), alpha=alpha)


def _products(term: Term, work: torch.dtype, dtype: torch.dtype) -> _Products:
    rows, columns = term.rows.vectors, term.columns.vectors
    assert columns is not None
    return _Products(None if rows is None else rows.to(dtype), columns.to(dtype), work)


def _difference(matrix: Tensor, term: Term, start: Start, times: _Products) -> _Difference:
    if start.whole is not None:
        whole = matrix - brought(start.whole, matrix.device, matrix.dtype)
        left = times.left(whole)
        right = times.right(whole) if _has_rest(term.rows) else None
        if _has_rest(term.columns):
            return _Difference(whole if right is not None else None, left, right, times.right(left))
        return _Difference(None, None, right, times.right(left) if right is None else times.left(right))
    if start.both is not None:
        return _Difference(None, None, None, times.left(times.right(matrix)).sub_(start.both))
    left = None if start.left is None else times.left(matrix) - start.left
    right = None if start.right is None else times.right(matrix).sub_(start.right)
    return _Difference(None, left, right, times.right(left) if left is not None else times.left(right))


def _step(
    weight: Tensor,
    term: Term,
    start: Start,
    strength: float,
    products: torch.dtype | None,
    part: slice | None,
    forms: _Forms,
) -> None:
    if part is not None:
        weight, start = weight[part], Start(*(None if item is None else item[part] for item in start))
        term = term._replace(rows=term.rows._replace(values=term.rows.values[part]))
    work = _work(weight)
    matrix = weight.detach().to(work)  # the weight itself where that is its dtype
    times = _products(term, work, (products or work) if start.whole is not None else work)
    difference = _difference(matrix, term, start, times)
    known = difference.left is not None or difference.right is not None
    outer = _outer(difference, term, strength, forms) if known else None
    _shrink_inside_(difference.both, term, strength, outer, forms)
    if strength > 0:
        _take_(matrix, difference, outer, times)
        if weight.dtype != work:
            weight.copy_(matrix)


class _Outer(NamedTuple):
    """Of the blocks beyond the rows' or the columns' directions: what is to be taken of V_gᵀ D (r_g, 1), of D V_a
    (1, r_a), and of D (1, 1), each (b, ...) of several; 0 where that block is not known.
    """

    left: Tensor | float
    right: Tensor | float
    whole: Tensor | float


def _outer(difference: _Difference, term: Term, strength: float, forms: _Forms) -> _Outer:
    whole, left, right, both = difference
    curvature, squares = [], []
    if left is not None:
        curvature.append(term.rows.values.to(both.dtype) * _rest(term.columns, both))
        squares.append((_squares(left, -1) - _squares(both, -1)).clamp_min_(0))
    if right is not None:
        curvature.append(term.columns.values.to(both.dtype) * _rest(term.rows, both))
        squares.append((_squares(right, -2) - _squares(both, -2)).clamp_min_(0))
    if whole is not None:
        product = term.rows.rest * term.columns.rest
        curvature.append(product.to(both.dtype) if isinstance(product, Tensor) else both.new_full((1,), product))
        inside = torch.stack([_squares(both, (-2, -1)), *(item.sum(-1) for item in squares)]).sum(0)
        squares.append((_squares(whole, (-2, -1)) - inside).clamp_min_(0).unsqueeze(-1))
    values, lengths = torch.cat(curvature, -1), torch.cat(squares, -1)
    kept = (values * strength).add_(1).reciprocal_()
    forms.before.append(_dot(values, lengths))
    forms.after.append(_dot(values, lengths.mul_(kept).mul_(kept)))
    parts = list(kept.neg_().add_(1).split([item.shape[-1] for item in curvature], -1))
    return _Outer(
        0.0 if left is None else parts.pop(0).unsqueeze(-1),
        0.0 if right is None else parts.pop(0).unsqueeze(-2),
        0.0 if whole is None else parts.pop(0).unsqueeze(-1),
    )


def _has_rest(side: Spectrum) -> bool:
    return isinstance(side.rest, Tensor) or side.rest > 0


def _rest(side: Spectrum, like: Tensor) -> Tensor | float:
    return side.rest.to(like.dtype) if isinstance(side.rest, Tensor) else side.rest


def _shrink_inside_(both: Tensor, term: Term, strength: float, outer: _Outer | None, forms: _Forms) -> None:
    """Replaces V_gᵀ D V_a by what is to be taken of it, less what the outer blocks' steps take of it.

    A few rows at a time: of a small model, memory costs more than arithmetic.
    """
    row, column = term.rows.values.to(both.dtype).unsqueeze(-1), term.columns.values.to(both.dtype).unsqueeze(-2)
    for part in _row_blocks(both):
        values = both[part]
        curvature = row[part] * column
        kept = (curvature * strength).add_(1).reciprocal_().mul_(values)  # 1 / (1 + μF), also for μF = Inf
        forms.after.append(_dot(curvature * kept, kept))
        forms.before.append(_dot(curvature.mul_(values), values))
        if outer is not None:
            left = outer.left if isinstance(outer.left, float) else outer.left[part]
            kept.addcmul_(values, left + outer.right - outer.whole)
        values.sub_(kept)


def _take_(matrix: Tensor, difference: _Difference, outer: _Outer | None, times: _Products) -> None:
    """Each block's own share of the step, by projections that overlap: of D, V_g V_gᵀ D, D V_a V_aᵀ, and of both."""
    whole, left, right, core = difference
    if outer is None:
        times.right_back_(matrix, times.left_back(core), -1)
        return
    if times.rows is None and left is not None:  # it is D itself
        times.right_back_(matrix, core, -1).addcmul_(left, outer.left, value=-1)
        return
    if whole is not None:
        matrix.addcmul_(whole, outer.whole, value=-1)
    if right is not None:
        right.mul_(outer.right - outer.whole)
    if left is not None:
        times.left_back_(matrix, times.right_back_(left.mul_(outer.left - outer.whole), core, 1), -1)
    else:
        times.left_back_(right, core, 1)
    if right is not None:
        times.right_back_(matrix, right, -1)


def _squares(matrix: Tensor, dim: int | tuple[int, int]) -> Tensor:
    return torch.linalg.vector_norm(matrix, dim=dim).square()


def _dot(first: Tensor, second: Tensor) -> Tensor:
    return torch.dot(first.reshape(-1), second.reshape(-1))


def _work(weight: Tensor) -> torch.dtype:
    return torch.float64 if weight.dtype == torch.float64 else torch.float32
