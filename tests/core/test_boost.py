import math

import pytest
import reference
import torch

from llamafactory_dba.core.boost import blend, boost_weight, initial_weight
from llamafactory_dba.errors import DBAError


@pytest.mark.parametrize("total", [1, 7, 199, 200, 201, 5000])
@pytest.mark.parametrize("magnitude", [0.0, 0.5, 5.0, 200.0, 1e4])
def test_schedule_matches_the_formula(total, magnitude):
    assert initial_weight(magnitude, total) == reference.initial_weight(magnitude, total)
    for step in (0, 1, total // 2, total - 1, total, total + 3):
        # the same few float64 operations, possibly in another order
        assert boost_weight(step, total, magnitude) == pytest.approx(
            reference.boost_weight(step, total, magnitude), rel=1e-15, abs=0
        )


@pytest.mark.parametrize("total", [250, 2_000, 50_000])
def test_the_total_pull_is_the_same_for_every_length(total):
    """Equation 6: Σ γ_t = k0 (T + 1)/2, that is 100 + 100/T for magnitude 200."""
    pull = sum(boost_weight(step, total, 200.0) for step in range(total))
    assert pull == pytest.approx(100 + 100 / total, rel=1e-12)  # rounding of a sum of T numbers


def test_adams_average_of_the_schedule_stays_near_it():
    """Equation 6: the moving average of γ lags by at most k0 β1 / ((1 − β1) T)."""
    total, magnitude, beta = 2000, 200.0, 0.9
    average, bound = 0.0, initial_weight(magnitude, 2000) * beta / ((1 - beta) * total)
    for step in range(total):
        average = beta * average + (1 - beta) * boost_weight(step, total, magnitude)
        if step > 200:  # 0.9^200 = 7e-10: the start of the average is forgotten
            assert abs(average - boost_weight(step, total, magnitude)) <= bound * (1 + 1e-6)


def test_k0_is_capped_and_the_weight_never_leaves_its_range():
    assert initial_weight(200.0, 50) == 1.0
    weights = [boost_weight(step, 50, 200.0) for step in range(60)]
    assert weights[0] == 1.0 and all(0 <= weight <= 1 for weight in weights)
    assert weights == sorted(weights, reverse=True) and weights[50:] == [0.0] * 10


def test_magnitude_zero_switches_off():
    assert all(boost_weight(step, 100, 0.0) == 0.0 for step in range(100))


@pytest.mark.parametrize("magnitude", [-1.0, math.nan, math.inf])
def test_unusable_magnitudes(magnitude):
    with pytest.raises(DBAError, match="magnitude"):
        initial_weight(magnitude, 10)


def test_unusable_steps():
    with pytest.raises(DBAError, match="optimizer steps"):
        initial_weight(200.0, 0)
    with pytest.raises(DBAError, match="step number"):
        boost_weight(-1, 10, 200.0)


@pytest.mark.parametrize("weight", [0.0, 1e-6, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(5,), (4, 6), (2, 3, 4)])
def test_blend_matches_equation_2(shape, weight):
    grad, anchor = torch.randn(shape), torch.randn(shape)
    expected = torch.from_numpy(reference.blend(grad, anchor, weight))
    # one fused multiply-add in fp32: two roundings of numbers of order 4
    torch.testing.assert_close(blend(grad, anchor, weight).double(), expected, rtol=0, atol=1e-6)


def test_blend_is_exact_at_both_ends_and_leaves_its_arguments_alone():
    grad, anchor = torch.tensor([1.0, -0.0, 1e-38]), torch.tensor([5.0, 6.0, 7.0])
    before = grad.clone()
    result = blend(grad, anchor, 0.0)
    assert torch.equal(result.view(torch.int32), grad.view(torch.int32)) and result.data_ptr() != grad.data_ptr()
    assert torch.equal(blend(grad, anchor, 1.0), anchor)
    assert torch.equal(grad, before)


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_blend_refuses_weights_out_of_range(weight):
    with pytest.raises(DBAError, match="boost weight"):
        blend(torch.ones(1), torch.ones(1), weight)
