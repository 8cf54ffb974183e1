import math

import pytest
import reference
import torch

from llamafactory_dba.core import factors
from llamafactory_dba.core.factors import combine, product
from llamafactory_dba.core.lowrank import LowRank, reconstruct
from llamafactory_dba.errors import DBAError


# fp64 through QR, a small SVD and two products: a few hundred roundings of 1.1e-16 at most
FP64 = 1e-13


def factored(rows, cols, rank, dtype=torch.float64):
    """Neither orthogonal nor sorted: nothing may rest on that."""
    return LowRank(torch.randn(rows, rank, dtype=dtype), torch.randn(rank, cols, dtype=dtype))


def relative(found, expected):
    found, expected = reconstruct(found).double().numpy(), expected.reshape(-1, expected.shape[-1])
    return float(abs(found - expected).max() / abs(expected).max())


def dense_of(values):
    return [reconstruct(value) for value in values]


@pytest.mark.parametrize("ranks", [(3, 4), (1, 1, 1), (5,), (2, 9)])
def test_exact_where_the_ranks_suffice(ranks):
    values = [factored(40, 30, rank) for rank in ranks]
    weights = [0.5 + number for number in range(len(ranks))]
    result = combine(values, weights, sum(ranks), (40, 30))
    expected = reference.weighted_mean(dense_of(values), weights) * sum(weights)
    assert isinstance(result.value, LowRank) and result.value.right.shape[0] == sum(ranks)
    assert result.error == 0.0 and result.optimal
    assert relative(result.value, expected) < FP64
    assert result.norm == pytest.approx(float((expected**2).sum()) ** 0.5, rel=FP64)


@pytest.mark.parametrize("rank", [1, 3, 6])
def test_cut_as_well_as_the_dense_svd_does(rank):
    values, weights = [factored(50, 30, 4), factored(50, 30, 5)], [0.7, 0.3]
    result = combine(values, weights, rank, (50, 30))
    expected, energy = reference.best_rank(reference.weighted_mean(dense_of(values), weights), rank)
    assert relative(result.value, expected) < FP64
    assert result.error == pytest.approx(math.sqrt(1 - energy), rel=1e-10)  # the difference of two numbers near 1
    assert isinstance(result.value, LowRank) and result.value.right.shape[0] == rank
    # as `truncate` leaves them: orthonormal rows, directions sorted
    assert torch.allclose(result.value.right @ result.value.right.T, torch.eye(rank, dtype=torch.float64), atol=FP64)
    norms = result.value.left.norm(dim=0)
    assert bool((norms[:-1] >= norms[1:]).all())


def test_a_rank_above_that_of_the_sum_adds_nothing():
    """20 columns and 30 directions: the sum has rank 20 at most, and 20 * (400 + 20) numbers would save nothing."""
    values = [factored(400, 20, 15), factored(400, 20, 15)]
    result = combine(values, [0.5, 0.5], 100, (400, 20))
    assert isinstance(result.value, torch.Tensor) and result.value.shape == (400, 20) and result.error == 0.0
    assert relative(result.value, reference.weighted_mean(dense_of(values), [1, 1])) < FP64


@pytest.mark.parametrize("kinds", ["df", "fd", "dd", "ffd"])
@pytest.mark.parametrize("rank", [4, 100])
def test_dense_and_factored_ones_mixed(kinds, rank):
    values = [factored(60, 40, 6) if kind == "f" else torch.randn(60, 40, dtype=torch.float64) for kind in kinds]
    weights = [1.0, 2.0, 0.5][: len(kinds)]
    result = combine(values, weights, rank, (60, 40))
    mean = reference.weighted_mean(dense_of(values), weights) * sum(weights)
    if rank == 100:
        assert isinstance(result.value, torch.Tensor) and result.error == 0.0
        assert relative(result.value, mean) < FP64
    else:
        expected, energy = reference.best_rank(mean, rank)
        assert isinstance(result.value, LowRank) and relative(result.value, expected) < FP64
        assert result.error == pytest.approx(math.sqrt(1 - energy), rel=1e-10)


def test_vectors_scalars_and_three_dimensions():
    vector = [torch.randn(7, dtype=torch.float64) for _ in range(2)]
    result = combine(vector, [0.25, 0.75], 3, (7,))
    assert torch.allclose(result.value, 0.25 * vector[0] + 0.75 * vector[1], rtol=0, atol=FP64) and result.error == 0.0
    assert combine([torch.tensor(2.0)], [0.5], 3, ()).value == 1.0
    values = [factored(40, 20, 2), torch.randn(4, 10, 20, dtype=torch.float64)]
    assert combine(values, [1.0, 1.0], 100, (4, 10, 20)).value.shape == (4, 10, 20)
    assert combine([factored(40, 20, 12)] * 2, [1.0, 1.0], 100, (4, 10, 20)).value.shape == (4, 10, 20)


def test_zeros():
    zero = LowRank(torch.zeros(30, 2), torch.zeros(2, 20))
    result = combine([zero, zero], [0.5, 0.5], 3, (30, 20))
    assert (result.norm, result.error) == (0.0, 0.0) and not reconstruct(result.value).any()


def test_bf16_factors_are_summed_in_fp32():
    value = factored(40, 30, 3, torch.bfloat16)
    result = combine([value, value], [0.5, 0.5], 6, (40, 30))
    assert isinstance(result.value, LowRank) and result.value.left.dtype == torch.float32
    # the bf16 numbers are taken as they are, so only fp32 rounding remains: 2^-23 times some tens
    assert relative(result.value, (value.left.double() @ value.right.double()).numpy()) < 1e-5


def test_the_weighted_sum_is_associative():
    a, b, c = (factored(50, 40, 3) for _ in range(3))
    inner = combine([a, b], [0.25, 0.75], 6, (50, 40)).value
    nested = combine([inner, c], [0.4, 0.6], 9, (50, 40)).value
    flat = combine([a, b, c], [0.1, 0.3, 0.6], 9, (50, 40)).value
    assert relative(nested, reconstruct(flat).numpy()) < FP64


@pytest.mark.parametrize("values, weights, rank", [([], [], 3), ([torch.ones(2)], [1.0], 0), ([torch.ones(2)], [], 3)])
def test_what_makes_no_sense(values, weights, rank):
    with pytest.raises(DBAError, match="cannot be combined"):
        combine(values, weights, rank, (2,))


@pytest.mark.parametrize("block", [1, 7, 8192])
@pytest.mark.parametrize("kinds", ["ff", "fd", "df", "dd"])
def test_products_equal_dense_ones(monkeypatch, kinds, block):
    monkeypatch.setattr(factors, "BLOCK_ROWS", block)
    a, b = (factored(33, 20, 4) if kind == "f" else torch.randn(33, 20, dtype=torch.float64) for kind in kinds)
    expected = float((reconstruct(a) * reconstruct(b)).sum())
    scale = float(reconstruct(a).norm() * reconstruct(b).norm())
    assert abs(product(a, b) - expected) < FP64 * scale
    assert product(a, a) == pytest.approx(float(reconstruct(a).norm()) ** 2, rel=FP64)


def test_products_of_vectors_scalars_and_shapes():
    vector = torch.randn(9)
    assert product(vector, vector) == pytest.approx(float(vector.double() @ vector.double()), rel=FP64)
    assert product(torch.tensor(2.0), torch.tensor(3.0)) == 6.0
    whole = torch.randn(4, 10, 20, dtype=torch.float64)
    value = factored(40, 20, 2)
    assert product(whole, value) == pytest.approx(float((whole.view(40, 20) * reconstruct(value)).sum()), rel=1e-11)


def test_products_of_tiny_numbers_do_not_underflow():
    value = LowRank(torch.full((3, 1), 1e-30), torch.ones(1, 5))
    assert product(value, value) == pytest.approx(15e-60, rel=1e-6)  # fp32 has 24 bits of 1e-30
