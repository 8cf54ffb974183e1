"""Weights of two gradients: against the papers' formulas in float64, against torchjd, and at the edges."""

import math

import numpy as np
import pytest
import reference
import torch

from llamafactory_dba.core.conflict import UNCHANGED, Products, Weights, agem, cosine, equal_norms, pcgrad
from llamafactory_dba.core.correction import similarity
from llamafactory_dba.errors import DBAError


RULES = {"agem": agem, "pcgrad": pcgrad, "equal_norms": equal_norms}


def pair(sign, seed=0, scale=3.0):
    """Two gradients of two tensors each, whose product has this sign; angles near neither 0 nor 90 degrees."""
    source = torch.Generator().manual_seed(seed)
    grads = [torch.randn(5, 4, generator=source, dtype=torch.float64), torch.randn(7, generator=source).double()]
    other = [torch.randn(5, 4, generator=source, dtype=torch.float64), torch.randn(7, generator=source).double()]
    return grads, [scale * (0.7 * sign * g + o) for g, o in zip(grads, other, strict=True)]


def flat(tensors):
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def products(grads, anchors):
    g, a = flat(grads), flat(anchors)
    return Products(float(g @ a), float(g @ g), float(a @ a))


def apply(weights, grads, anchors):
    return weights.grad * flat(grads) + weights.anchor * flat(anchors)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("sign", [-1, 1])
def test_agem_is_equation_11(sign, seed):
    grads, anchors = pair(sign, seed)
    weights = agem(products(grads, anchors))
    np.testing.assert_allclose(apply(weights, grads, anchors), reference.agem(grads, anchors), rtol=1e-13, atol=1e-13)
    if sign < 0:
        # orthogonal to rounding: 27 products of numbers below 40
        assert abs(float(apply(weights, grads, anchors) @ flat(anchors))) < 1e-12
    else:
        assert weights == UNCHANGED


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0, 2.0])
@pytest.mark.parametrize("sign", [-1, 1])
def test_pcgrad_is_algorithm_1(sign, weight):
    grads, anchors = pair(sign)
    found = apply(pcgrad(products(grads, anchors), weight), grads, anchors)
    np.testing.assert_allclose(found, reference.pcgrad(grads, anchors, weight), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("sign", [-1, 1])
def test_pcgrad_without_the_general_term_is_agem(sign):
    found = products(*pair(sign))
    assert pcgrad(found, 0.0) == agem(found)


@pytest.mark.parametrize("sign", [-1, 1])
def test_pcgrad_is_torchjds(sign):
    aggregation = pytest.importorskip("torchjd.aggregation", reason="torchjd is not installed")
    grads, anchors = pair(sign)
    expected = aggregation.PCGrad()(torch.stack([flat(grads), flat(anchors)]))
    found = apply(pcgrad(products(grads, anchors)), grads, anchors)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [0.05, 1.0, 40.0])
def test_equal_norms_is_where_gradnorm_ends_at_alpha_zero(scale):
    grads, anchors = pair(-1, scale=scale)
    weights = equal_norms(products(grads, anchors))
    assert sum(weights) == pytest.approx(2, rel=1e-15)
    sizes = weights.grad * flat(grads).norm(), weights.anchor * flat(anchors).norm()
    assert float(sizes[0]) == pytest.approx(float(sizes[1]), rel=1e-14)
    # 20,000 steps of descent at a rate of 0.5/t end within about one last step of the minimum
    expected = reference.gradnorm_equal(grads, anchors)
    np.testing.assert_allclose(apply(weights, grads, anchors), expected, rtol=0, atol=1e-3 * max(scale, 1))


@pytest.mark.parametrize("name", RULES)
def test_a_gradient_without_direction_makes_no_conflict(name):
    for found in (Products(0.0, 0.0, 4.0), Products(0.0, 4.0, 0.0), Products(-1e-300, 0.0, 4.0)):
        assert cosine(found) == 0.0
        expected = Weights(1.0, 1.0) if name == "pcgrad" else UNCHANGED
        assert RULES[name](found) == expected


@pytest.mark.parametrize("name", RULES)
def test_no_jump_where_the_sign_changes(name):
    below, above = (RULES[name](Products(d, 2.0, 8.0)) for d in (-1e-9, 1e-9))
    # slopes of the weights in d are at most 1/2 here
    assert below == pytest.approx(above, abs=1e-9)


def test_cosine_has_a_sign_and_a_bound():
    assert cosine(Products(-2.0, 1.0, 16.0)) == -0.5
    assert cosine(Products(2.0, 1.0, 16.0)) == 0.5
    assert cosine(Products(-1.0000001, 1.0, 1.0)) == -1.0
    assert abs(cosine(Products(-2.0, 1.0, 16.0))) == similarity(-2.0, 1.0, 4.0)


@pytest.mark.parametrize("name", ["agem", "pcgrad"])
def test_sums_that_are_no_numbers_are_refused(name):
    for found in (Products(math.nan, 1.0, 1.0), Products(1.0, math.inf, 1.0), Products(1.0, -1.0, 1.0)):
        with pytest.raises(DBAError):
            RULES[name](found)


@pytest.mark.parametrize("weight", [-0.1, math.nan, math.inf])
def test_a_weight_out_of_range_is_refused(weight):
    with pytest.raises(DBAError, match="weight of the anchor"):
        pcgrad(Products(1.0, 1.0, 1.0), weight)
