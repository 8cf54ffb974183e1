"""The step hooks on plain torch optimizers: the edit reaches the weights, the learning rate comes back, limits."""

import copy
import math

import pytest
import reference
import torch
from torch import nn

from llamafactory_dba.core.lowrank import LowRank
from llamafactory_dba.errors import DBAError
from llamafactory_dba.training.hooks import Settings, StepHook, Target, attach, innermost
from llamafactory_dba.training.views import canonical_name, trainable_tensors


OPTIMIZERS = {
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
    "adamw fused": lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "sgd momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.01),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.05),
    "adafactor": lambda p: torch.optim.Adafactor(p, lr=0.01),
    "adamax": lambda p: torch.optim.Adamax(p, lr=0.01),
}


def make_model(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def make_anchor(model, seed=1):
    source = torch.Generator().manual_seed(seed)
    anchor = {}
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2:
            left = torch.randn(parameter.shape[0], 2, generator=source, dtype=torch.float64)
            anchor[name] = LowRank(left, torch.randn(2, parameter.shape[1], generator=source, dtype=torch.float64))
        else:
            anchor[name] = torch.randn(parameter.shape, generator=source, dtype=torch.float64)
    return anchor


def dense(value):
    return value.left @ value.right if isinstance(value, LowRank) else value


def make_hook(model, anchor, records, steps=10, magnitude=5.0, use_correction=True, **changes):
    targets = [Target(name, parameter, anchor[name]) for name, parameter in trainable_tensors(model).items()]
    settings = Settings(magnitude, use_correction, 0.1, steps)
    return StepHook(targets, settings, lambda: len(records), records.append, **changes)


def backward(model, step):
    source = torch.Generator().manual_seed(100 + step)
    x = torch.randn(5, 6, generator=source, dtype=torch.float64)
    model.zero_grad()
    model(x).square().mean().backward()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_equals_the_same_optimizer_fed_by_hand(name):
    """Against the formulas in numpy, followed by the same optimizer with the scaled learning rate."""
    model, twin = make_model(), make_model()
    anchor, records = make_anchor(model), []
    optimizer, plain = OPTIMIZERS[name](model.parameters()), OPTIMIZERS[name](twin.parameters())
    attach(optimizer, make_hook(model, anchor, records))
    for step in range(10):
        backward(model, step)
        optimizer.step()
        backward(twin, step)
        gamma = reference.boost_weight(step, 10, 5.0)
        s = reference.similarity(
            [p.grad for p in twin.parameters()], [dense(anchor[n]) for n, _ in twin.named_parameters()]
        )
        for key, parameter in twin.named_parameters():
            blended = reference.blend(parameter.grad, dense(anchor[key]), gamma)
            parameter.grad.copy_(torch.from_numpy(blended))
        rate = plain.param_groups[0]["lr"]
        plain.param_groups[0]["lr"] = rate * reference.correction(s, 0.1)
        plain.step()
        plain.param_groups[0]["lr"] = rate
        assert records[step].similarity == pytest.approx(s, rel=1e-12)
        assert records[step].gamma == gamma
    for left, right in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)  # float64; order of sums differs


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_everything_off_is_bit_identical(name):
    model, twin = make_model(), make_model()
    optimizer, plain = OPTIMIZERS[name](model.parameters()), OPTIMIZERS[name](twin.parameters())
    attach(optimizer, make_hook(model, make_anchor(model), [], magnitude=0.0, use_correction=False))
    for step in range(4):
        for network, stepper in ((model, optimizer), (twin, plain)):
            backward(network, step)
            stepper.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


SCHEDULERS = {
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 - step / 10),
    # chained: computes the next rate from the group's present one, so it would drift without the restore
    "chained cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=10),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_see_only_true_rates(name):
    rates = []
    for hooked in (False, True):
        model = make_model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        scheduler = SCHEDULERS[name](optimizer)
        if hooked:
            attach(optimizer, make_hook(model, make_anchor(model), []))
        rates.append([])
        for step in range(6):
            backward(model, step)
            optimizer.step()
            rates[-1].append(optimizer.param_groups[0]["lr"])
            scheduler.step()
    assert rates[0] == rates[1]


def test_learning_rate_may_be_a_tensor():
    model, records = make_model(), []
    rate = torch.tensor(0.01)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, foreach=False)
    attach(optimizer, make_hook(model, make_anchor(model), records))
    backward(model, 0)
    optimizer.step()
    assert optimizer.param_groups[0]["lr"] is rate
    assert float(rate) == pytest.approx(0.01)
    assert records[0].learning_rate == pytest.approx(0.01)


def test_boost_one_follows_the_anchor_alone():
    """γ_0 = 1 when the magnitude reaches T: the first step is along the anchor whatever the domain says."""
    model = make_model()
    before = copy.deepcopy(model)
    anchor = make_anchor(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(optimizer, make_hook(model, anchor, [], steps=10, magnitude=200.0, use_correction=False))
    backward(model, 0)
    optimizer.step()
    for (name, after), start in zip(model.named_parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(start - after, 0.1 * dense(anchor[name]))


def test_two_groups_are_both_scaled_and_restored():
    model, records, seen = make_model(), [], []
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD([{"params": parameters[:2], "lr": 0.1}, {"params": parameters[2:], "lr": 0.3}])
    attach(optimizer, make_hook(model, make_anchor(model), records))
    optimizer.register_step_pre_hook(lambda o, a, k: seen.append([g["lr"] for g in o.param_groups]))
    backward(model, 0)
    optimizer.step()
    factor = records[0].correction
    assert seen[0] == pytest.approx([0.1 * factor, 0.3 * factor])
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.3]


def test_nan_raises_and_leaves_the_weights():
    model = make_model()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    attach(optimizer, make_hook(model, make_anchor(model), []))
    backward(model, 0)
    model[2].weight.grad[0, 0] = math.nan
    with pytest.raises(DBAError, match=r"NaN or Inf") as error:
        optimizer.step()
    assert "2.weight" in str(error.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("signs", [(1, 1), (1, -1)], ids=["all of one sign", "Inf and -Inf"])
def test_fp16_overflow_is_skipped_as_the_scaler_skips_it(signs):
    """A scaler that found Inf does not update; the hook stays out of its way and logs nothing for that step."""
    model, records = make_model().float(), []
    anchor = {
        name: LowRank(*(part.float() for part in value)) if isinstance(value, LowRank) else value.float()
        for name, value in make_anchor(make_model()).items()
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    # a step counter as the trainer's: it goes on when the update is skipped
    steps = iter(range(10))
    hook = make_hook(model, anchor, records, tolerate_overflow=lambda: True)
    hook.current_step = lambda: next(steps)
    attach(optimizer, hook)
    before = copy.deepcopy(model.state_dict())
    for number, target in enumerate(hook.targets):
        # along the anchor or against it, so that the tensors' dot products are infinite with the given signs
        direction = dense(anchor[target.name]).reshape(target.parameter.shape).sign()
        target.parameter.grad = signs[number % 2] * math.inf * direction
    hook.before(optimizer, (), {})
    hook.after(optimizer, (), {})
    assert records == []
    assert optimizer.param_groups[0]["lr"] == 0.1
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_gradient_scaler_end_to_end():
    model, records = make_model().float(), []
    anchor = {
        n: (LowRank(*(p.float() for p in v)) if isinstance(v, LowRank) else v.float())
        for n, v in make_anchor(make_model()).items()
    }
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    attach(optimizer, make_hook(model, anchor, records, tolerate_overflow=lambda: True))
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(3):
        model.zero_grad()
        loss = model(torch.ones(2, 6) * (math.inf if step == 1 else 1.0)).square().mean()
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
    assert len(records) == 2  # the overflowing step never reached the optimizer
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_a_step_without_any_gradient_is_an_error():
    """What an engine with gradients of its own looks like from here: silently doing nothing would be worse."""
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    attach(optimizer, make_hook(model, make_anchor(model), []))
    with pytest.raises(DBAError, match="no tensor of the anchor has a gradient"):
        optimizer.step()


def test_zero_domain_gradient():
    """No direction, no similarity: s = 0, λ = 1/λ_0, and the boost acts alone."""
    model, records = make_model(), []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    attach(optimizer, make_hook(model, make_anchor(model), records))
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert records[0].similarity == 0.0
    assert records[0].correction == pytest.approx(10.0)


def test_hooks_come_off():
    model, records = make_model(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    attach(optimizer, make_hook(model, make_anchor(model), records)).remove()
    backward(model, 0)
    optimizer.step()
    assert records == []


def test_innermost_goes_through_wrappers_and_refuses_dummies():
    from accelerate.optimizer import AcceleratedOptimizer
    from llamafactory.train.trainer_utils import DummyOptimizer

    real = torch.optim.SGD(make_model().parameters(), lr=0.1)

    class Wrapper:
        optimizer = real

    assert innermost(Wrapper()) is real
    assert innermost(real) is real
    assert AcceleratedOptimizer is not None
    with pytest.raises(DBAError, match="cannot hook"):
        innermost(DummyOptimizer(lr=0.1, optimizer_dict={}))
    with pytest.raises(DBAError, match="cannot hook"):
        innermost(object())


@pytest.mark.parametrize(
    ("wrapped", "bare"),
    [
        ("module.model.layers.0.q.weight", "model.layers.0.q.weight"),
        ("_orig_mod.module.model.norm.weight", "model.norm.weight"),
        ("pretrained_model.model.norm.weight", "model.norm.weight"),
        ("model.layers.0._checkpoint_wrapped_module.q.weight", "model.layers.0.q.weight"),
        ("model.layers.0.module.weight", "model.layers.0.module.weight"),  # a real submodule of that name
    ],
)
def test_canonical_names(wrapped, bare):
    assert canonical_name(wrapped) == bare


def test_tied_tensors_count_once():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    assert sorted(trainable_tensors(model)) == ["0.bias", "0.weight", "1.bias"]


def test_sharded_parameters_are_refused():
    model = nn.Linear(2, 2)
    model.weight.ds_id = 1
    with pytest.raises(DBAError, match="sharded"):
        trainable_tensors(model)
