"""The hook of A-GEM, PCGrad and GradNorm on plain torch optimizers: the edit reaches the weights where it is due."""

import copy
import math
from types import SimpleNamespace

import numpy as np
import pytest
import reference
import torch
from torch import nn

from llamafactory_dba.core.lowrank import LowRank
from llamafactory_dba.errors import DBAError
from llamafactory_dba.methods.interface import Wiring
from llamafactory_dba.methods.registry import load_method
from llamafactory_dba.training.hooks import Target, attach


TWINS = {
    "agem": (reference.agem, {}),
    "pcgrad": (reference.pcgrad, {}),
    "pcgrad, domain only": (lambda g, a: reference.pcgrad(g, a, 0.0), {"dba_pcgrad_weight": 0.0}),
    "pcgrad, half": (lambda g, a: reference.pcgrad(g, a, 0.5), {"dba_pcgrad_weight": 0.5}),
    "gradnorm_equal": (None, {}),
}
OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "sgd momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
}


def make_model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def backward(model, step):
    source = torch.Generator().manual_seed(100 + step)
    x = torch.randn(5, 6, generator=source, dtype=torch.float64)
    model.zero_grad()
    model(x).square().mean().backward()


def make_anchor(model, sign, rank=2):
    """Along a gradient of the model (or against it), plus noise, matrices in factors."""
    twin, source = copy.deepcopy(model), torch.Generator().manual_seed(1)
    backward(twin, 0)
    anchor = {}
    for name, parameter in twin.named_parameters():
        noise = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
        value = sign * parameter.grad + 0.2 * abs(sign) * parameter.grad.abs().mean() * noise
        if value.dim() == 2:
            u, s, vh = torch.linalg.svd(value, full_matrices=False)
            value = LowRank(u[:, :rank] * s[:rank], vh[:rank])
        anchor[name] = value
    return anchor


def dense(value):
    return value.left @ value.right if isinstance(value, LowRank) else value


def make_hook(name, model, anchor, records, **changes):
    values = {
        "targets": [Target(key, parameter, anchor[key]) for key, parameter in model.named_parameters()],
        "total_steps": 10,
        "current_step": lambda: len(records),
        "on_step": records.append,
        "tolerate_overflow": lambda: False,
        "on_sums": lambda step, present, rows: None,
    }
    settings = {"dba_pcgrad_weight": 1.0, **TWINS[name][1]}
    return load_method(name.split(",")[0]).make_hook(SimpleNamespace(**settings), Wiring(**{**values, **changes}))


def expected_gradient(name, grads, anchors):
    twin = TWINS[name][0]
    if twin is not None:
        return twin(grads, anchors)
    g, a = (np.concatenate([item.numpy().ravel() for item in items]) for items in (grads, anchors))
    shared = 2 * np.linalg.norm(g) * np.linalg.norm(a) / (np.linalg.norm(g) + np.linalg.norm(a))
    return shared * (g / np.linalg.norm(g) + a / np.linalg.norm(a))


@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
@pytest.mark.parametrize("sign", [-1, 1], ids=["conflicts", "agrees"])
@pytest.mark.parametrize("name", TWINS)
def test_equals_the_same_optimizer_fed_by_hand(name, sign, optimizer_name):
    model, twin, records = make_model(), make_model(), []
    anchor = make_anchor(model, sign)
    optimizer, plain = (OPTIMIZERS[optimizer_name](item.parameters()) for item in (model, twin))
    attach(optimizer, make_hook(name, model, anchor, records))
    for step in range(6):
        backward(model, step)
        optimizer.step()
        backward(twin, step)
        grads, anchors = [p.grad for p in twin.parameters()], [dense(anchor[n]) for n, _ in twin.named_parameters()]
        whole, start = torch.from_numpy(expected_gradient(name, grads, anchors)), 0
        cosine = reference.cosine(
            np.concatenate([g.numpy().ravel() for g in grads]), np.concatenate([a.numpy().ravel() for a in anchors])
        )
        assert records[step].cosine == pytest.approx(cosine, rel=1e-12)
        assert records[step].conflict == (cosine < 0)
        for parameter in twin.parameters():
            parameter.grad.copy_(whole[start : start + parameter.numel()].reshape(parameter.shape))
            start += parameter.numel()
        plain.step()
    for left, right in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)  # float64; order of sums differs
    assert records[0].conflict == (sign < 0), "or the test would show nothing"


@pytest.mark.parametrize("name", ["agem", "pcgrad, domain only"])
def test_without_a_conflict_bit_for_bit_plain(name):
    model, twin, records = make_model(), make_model(), []
    optimizer, plain = (torch.optim.AdamW(item.parameters(), lr=0.01) for item in (model, twin))
    attach(optimizer, make_hook(name, model, make_anchor(model, 1), records))
    for step in range(6):
        for network, stepper in ((model, optimizer), (twin, plain)):
            backward(network, step)
            stepper.step()
    assert not any(record.conflict for record in records)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("name", TWINS)
def test_a_zero_anchor_is_plain_training(name):
    model, twin, records = make_model(), make_model(), []
    optimizer, plain = (torch.optim.AdamW(item.parameters(), lr=0.01) for item in (model, twin))
    attach(optimizer, make_hook(name, model, make_anchor(model, 0), records))
    for step in range(3):
        for network, stepper in ((model, optimizer), (twin, plain)):
            backward(network, step)
            stepper.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))
    assert {record.cosine for record in records} == {0.0}


def test_what_has_no_gradient_is_not_projected_on():
    """A layer that the step leaves out: the others' gradient ends orthogonal to their part of the anchor."""
    model, records = make_model(), []
    anchor = make_anchor(model, -1)
    hook = make_hook("agem", model, anchor, records)
    backward(model, 0)
    model[0].weight.grad = None
    hook.before(torch.optim.SGD(model.parameters(), lr=0.0), (), {})
    left = sum(float((p.grad * dense(anchor[n])).sum()) for n, p in model.named_parameters() if p.grad is not None)
    # float64: about 40 products of gradients below 1
    assert abs(left) < 1e-13
    assert model[0].weight.grad is None


def test_learning_rates_and_the_anchor_stay():
    model, records = make_model(), []
    anchor = make_anchor(model, -1)
    before = copy.deepcopy(anchor)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attached = attach(optimizer, make_hook("pcgrad", model, anchor, records))
    backward(model, 0)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] == records[0].learning_rate == 0.1
    assert all(torch.equal(dense(anchor[name]), dense(before[name])) for name in anchor)
    attached.remove()
    backward(model, 1)
    optimizer.step()
    assert len(records) == 1


def test_every_tensor_is_reported():
    model, seen = make_model(), []
    anchor = make_anchor(model, -1)
    hook = make_hook("agem", model, anchor, [], on_sums=lambda *found: seen.append(found))
    backward(model, 0)
    before = {name: p.grad.clone() for name, p in model.named_parameters()}
    hook.before(torch.optim.SGD(model.parameters(), lr=0.0), (), {})
    ((step, present, rows),) = seen
    assert (step, [target.name for target in present]) == (0, list(before))
    for target, (dot, square) in zip(present, rows, strict=True):
        assert dot == pytest.approx(float((before[target.name] * dense(anchor[target.name])).sum()), rel=1e-12)
        assert square == pytest.approx(float(before[target.name].square().sum()), rel=1e-12)


def test_nan_raises_and_leaves_the_weights():
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    attach(optimizer, make_hook("agem", model, make_anchor(model, -1), []))
    backward(model, 0)
    model[2].weight.grad[0, 0] = math.nan
    with pytest.raises(DBAError, match="NaN or Inf") as error:
        optimizer.step()
    assert "2.weight" in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_fp16_overflow_is_left_to_the_scaler():
    model, records = make_model(), []
    hook = make_hook("pcgrad", model, make_anchor(model, -1), records, tolerate_overflow=lambda: True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    backward(model, 0)
    model[0].bias.grad.fill_(math.inf)
    kept = model[2].weight.grad.clone()
    hook.before(optimizer, (), {})
    hook.after(optimizer, (), {})
    assert records == []
    assert hook.calls == 1
    assert torch.equal(model[2].weight.grad, kept)


def test_a_step_without_any_gradient_is_an_error():
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    attach(optimizer, make_hook("agem", model, make_anchor(model, 1), []))
    with pytest.raises(DBAError, match="no tensor of the anchor has a gradient"):
        optimizer.step()
