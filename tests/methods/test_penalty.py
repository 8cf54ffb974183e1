"""EWC and L2-SP as pre-hooks on plain torch optimizers, against a twin whose loss has the penalty in it."""

import pytest
import torch
from small_network import OPTIMIZERS, STEPS, backward, base_of, make_curvature, make_model, random
from torch import nn

from llamafactory_dba.core.fisher import Product, add_penalty_gradient_
from llamafactory_dba.errors import DBAError
from llamafactory_dba.methods.held import even_curvature, make_targets
from llamafactory_dba.methods.penalty import PenaltyHook
from llamafactory_dba.training.hooks import attach


STRENGTH = 0.7


def dense(curvature, parameter):
    found = curvature.diagonal
    whole = torch.outer(found.rows, found.columns) if isinstance(found, Product) else found
    return whole.reshape(parameter.shape).double()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["factored", "diagonal", "even"])
def test_equals_training_on_the_loss_with_the_penalty(kind, optimizer):
    model, twin, records = make_model(), make_model(), []
    base = base_of(model)
    curvature = even_curvature(dict(model.named_parameters())) if kind == "even" else make_curvature(kind)
    stepper, plain = (OPTIMIZERS[optimizer](list(network.parameters())) for network in (model, twin))
    targets = make_targets(curvature, dict(model.named_parameters()), base)
    made = iter(range(STEPS))
    attach(stepper, PenaltyHook(targets, strength=STRENGTH, current_step=lambda: next(made), on_record=records.append))
    expected = []
    for step in range(STEPS):
        backward(model, step)
        stepper.step()
        twin.zero_grad()
        penalty = torch.stack(
            [
                (dense(curvature[name], parameter) * (parameter - base[name]).square()).sum() / 2
                for name, parameter in twin.named_parameters()
            ]
        ).sum()
        (twin(random(5, 6, seed=100 + step)).square().mean() + STRENGTH * penalty).backward()
        expected.append(float(penalty.detach()))
        plain.step()
    for name, parameter in model.named_parameters():
        # fp64 on both sides; Adam's division by a small second moment enlarges the last digit
        torch.testing.assert_close(parameter, twin.get_parameter(name), rtol=1e-8, atol=1e-12)
    assert [record.step for record in records] == list(range(STEPS))
    assert [record.form for record in records] == pytest.approx(expected, rel=1e-8, abs=1e-15)
    assert expected[0] == 0 < expected[-1]


def test_strength_zero_only_measures():
    model, twin, records = make_model(), make_model(), []
    targets = make_targets(make_curvature("factored"), dict(model.named_parameters()), base_of(model))
    stepper, plain = (torch.optim.AdamW(network.parameters(), lr=0.01) for network in (model, twin))
    attach(stepper, PenaltyHook(targets, strength=0.0, current_step=lambda: 0, on_record=records.append))
    for step in range(3):
        for network, optimizer in ((model, stepper), (twin, plain)):
            backward(network, step)
            optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))
    assert records[-1].form > 0


def test_a_large_strength_keeps_the_weights_near_the_base():
    distances = []
    for strength in (0.0, 1e4):
        model = make_model()
        base = base_of(model)
        targets = make_targets(even_curvature(dict(model.named_parameters())), dict(model.named_parameters()), base)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)  # below 2 / strength
        hook = PenaltyHook(targets, strength=strength, current_step=lambda: 0, on_record=lambda record: None)
        attach(optimizer, hook)
        for step in range(20):
            backward(model, step)
            optimizer.step()
        distances.append(sum(float((p.detach() - base[n]).square().sum()) for n, p in model.named_parameters()) ** 0.5)
    assert distances[1] < 0.1 * distances[0]


def test_a_tensor_without_a_gradient_is_left_alone():
    model, records = make_model(), []
    targets = make_targets(make_curvature("factored"), dict(model.named_parameters()), base_of(model))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    attach(optimizer, PenaltyHook(targets, strength=1.0, current_step=lambda: 0, on_record=records.append))
    before = base_of(model)
    optimizer.step()
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert [record.form for record in records] == [0.0]


def test_kronecker_factors_are_refused():
    model = make_model()
    targets = make_targets(make_curvature("kronecker"), dict(model.named_parameters()), base_of(model))
    with pytest.raises(DBAError, match="needs a diagonal"):
        PenaltyHook(targets, strength=1.0, current_step=lambda: 0, on_record=print)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(7,), (5, 4), (3, 2, 4)])
def test_in_blocks_and_in_every_dtype(dtype, shape):
    weight, start, grad = (random(*shape, seed=seed).to(dtype) for seed in (1, 2, 3))
    curvature = random(*shape, seed=4).abs()
    result = grad.clone()
    form = add_penalty_gradient_(result, weight, curvature, start, 2.5, block=4)
    difference = weight.double() - start.double()
    exact = grad.double() + 2.5 * curvature * difference
    eps = torch.finfo(dtype).eps  # of the rounding of the sum, once; fp32's of the arithmetic before
    rounded = max(eps, torch.finfo(torch.float32).eps if dtype != torch.float64 else eps)
    torch.testing.assert_close(result.double(), exact, rtol=2 * rounded, atol=8 * rounded)
    assert form.dtype == torch.float64
    assert float(form) == pytest.approx(float((curvature * difference.square()).sum() / 2), rel=1e-6)


def test_even_curvature_is_one_everywhere():
    model = nn.Sequential(nn.Embedding(5, 3), nn.LayerNorm(3))
    for name, found in even_curvature(dict(model.named_parameters())).items():
        assert torch.equal(
            dense(found, model.get_parameter(name)), torch.ones_like(model.get_parameter(name)).double()
        )
