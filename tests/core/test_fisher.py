"""The diagonal Fisher matrix: its sums against single tokens, the proximal step against a dense solve, the limits."""

import itertools

import pytest
import reference
import torch

from llamafactory_dba.core.fisher import FactoredSum, Product, diagonal_of, restore_diagonal_, square_products


M, N = 6, 9


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("product", [True, False])
@pytest.mark.parametrize("strength", [0.1, 3.0, 1e3])
@pytest.mark.parametrize("block", [1, 4 * N, 10**6])  # row by row; blocks of four rows; all at once
def test_restoration_is_the_proximal_step(product, strength, block):
    weight, base = random(M, N, seed=7), random(M, N, seed=8)
    curvature = Product(random(M).abs(), random(N, seed=1).abs()) if product else random(M, N).abs()
    dense = curvature.rows[:, None] * curvature.columns if product else curvature
    expected, forms = reference.proximal_step(weight, base, torch.diag(dense.flatten()).numpy(), strength)
    change = restore_diagonal_(weight, curvature, base, strength, block=block)
    torch.testing.assert_close(weight, torch.from_numpy(expected), rtol=0, atol=1e-12)  # float64
    assert [float(form) for form in change] == pytest.approx(forms, rel=1e-10)


def test_diagonal():
    curvature, base, weight = random(M, seed=2).abs(), random(M, seed=3), random(M, seed=4)
    expected, (before, after) = reference.proximal_step(weight, base, torch.diag(curvature).numpy(), 3.0)
    change = restore_diagonal_(weight, curvature, base, 3.0)
    torch.testing.assert_close(weight, torch.from_numpy(expected), rtol=0, atol=1e-12)
    assert float(change.before) == pytest.approx(before)
    assert float(change.after) == pytest.approx(after)


@pytest.mark.parametrize("strength", [0.0, 1e30])
def test_limits(strength):
    """Strength 0 writes nothing; without limit all goes back, but for numbers without any curvature."""
    weight, base = random(M, N).float(), random(M, N, seed=1).float()
    before, curvature = weight.clone(), random(M, N, seed=2).abs().float()
    curvature[0] = 0
    change = restore_diagonal_(weight, curvature, base, strength)
    assert torch.equal(weight[0], before[0])
    if strength:
        torch.testing.assert_close(weight[1:], base[1:], rtol=0, atol=1e-6)  # one subtraction of numbers of about 1
        assert float(change.after) == 0.0
    else:
        assert torch.equal(weight, before) and float(change.after) == float(change.before) > 0


def test_bf16_weights_are_computed_in_fp32_and_rounded_once():
    weight, base, curvature = random(M, N).bfloat16(), random(M, N, seed=1).bfloat16(), random(M, N, seed=2).abs()
    twin = weight.float()
    restore_diagonal_(twin, curvature, base, 2.0)
    restore_diagonal_(weight, curvature, base, 2.0)
    assert torch.equal(weight, twin.bfloat16())


def test_squares_are_those_of_single_tokens():
    x, g = random(20, N), random(20, M, seed=1)
    expected = sum(torch.outer(one, other).square() for one, other in zip(g, x, strict=True))
    torch.testing.assert_close(square_products(x, g, M).double(), expected, rtol=1e-5, atol=0)  # fp32
    ids = torch.arange(20) % 4
    one_hot = torch.nn.functional.one_hot(ids, 5)
    torch.testing.assert_close(square_products(ids, x, 5), square_products(x, one_hot, 5))


def test_the_product_has_the_sums_of_the_whole():
    total, whole = FactoredSum(M, N), torch.zeros(M, N)
    for seed in range(3):
        x, g = random(7, N, seed=seed), random(7, M, seed=seed + 10)
        total.add(x, g)
        whole += square_products(x, g, M)
    found = total.product(sequences=3.0)
    dense = found.rows[:, None] * found.columns
    for side in (0, 1):
        torch.testing.assert_close(dense.sum(side), whole.sum(side) / 3, rtol=1e-5, atol=0)


def test_tied_uses_add_up():
    total, ids, grads = FactoredSum(5, N), torch.tensor([0, 3, 3]), random(3, N)
    x, g = random(4, N, seed=1), random(4, 5, seed=2)
    total.add(ids, grads)
    total.add(x, g)
    found, whole = total.product(1.0), square_products(ids, grads, 5) + square_products(x, g, 5)
    dense = found.rows[:, None] * found.columns
    torch.testing.assert_close(dense.sum(0), whole.sum(0), rtol=1e-5, atol=0)
    torch.testing.assert_close(dense.sum(1), whole.sum(1), rtol=1e-5, atol=0)


def test_no_gradient_at_all_is_no_curvature():
    total = FactoredSum(M, N)
    total.add(random(3, N), torch.zeros(3, M))
    found = total.product(1.0)
    assert not found.rows.any() and torch.isfinite(found.columns).all()


def test_diagonal_from_batches_is_unbiased():
    """E over all ways to draw batches of two from four sequences gives exactly the mean of squares."""
    grads = random(4, 3)
    pairs = list(itertools.product(range(4), repeat=2))
    whole = torch.stack([grads[list(pair)].sum(0) for pair in pairs])
    found = diagonal_of(whole.sum(0), whole.square().sum(0), samples=32.0, pairs=64.0)
    torch.testing.assert_close(found, grads.square().mean(0), rtol=1e-10, atol=0)


def test_diagonal_of_single_sequences_is_the_mean_of_squares():
    grads = random(5, 3)
    found = diagonal_of(grads.sum(0), grads.square().sum(0), samples=5.0, pairs=5.0)
    torch.testing.assert_close(found, grads.square().mean(0), rtol=1e-10, atol=0)
