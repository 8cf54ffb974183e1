"""The step hook on plain torch optimizers against dense float64 twins, over several steps; what `every` means."""

import math
from types import SimpleNamespace

import pytest
import reference
import torch
from small_network import OPTIMIZERS, STEPS, backward, base_of, make_curvature, make_model, random, spectrum
from torch import nn

from llamafactory_dba.anchor.curvature import TensorCurvature
from llamafactory_dba.core.fisher import Product
from llamafactory_dba.core.kronecker import Term
from llamafactory_dba.errors import DBAError
from llamafactory_dba.methods.elastic import METHOD, ElasticHook
from llamafactory_dba.methods.held import bytes_in_memory, make_targets
from llamafactory_dba.methods.holding import HoldingWiring
from llamafactory_dba.training.hooks import attach


STRENGTH = 40.0


def dense(curvature, *, outside=True):
    if curvature.terms:
        return reference.kronecker_curvature(*curvature.terms[0], outside=outside)
    d = curvature.diagonal
    flat = torch.outer(d.rows, d.columns).flatten() if isinstance(d, Product) else d.flatten()
    return torch.diag(flat).numpy()


def hooked(model, curvature, records, *, keep="device", strength=STRENGTH, every=3, total=STEPS, start=0, base=None):
    parameters = dict(model.named_parameters())
    targets = make_targets(curvature, parameters, base or base_of(model), keep=keep)
    steps = {"made": start}
    hook = ElasticHook(
        targets,
        strength=strength,
        every=every,
        total_steps=total,
        current_step=lambda: steps["made"],
        on_restored=records.append,
    )
    return hook, steps


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("kind", ["factored", "diagonal", "kronecker"])
@pytest.mark.parametrize("every", [1, 3])
def test_equals_a_dense_twin(kind, optimizer, every):
    model, twin, records = make_model(), make_model(), []
    curvature, base = make_curvature(kind), base_of(make_model())
    stepper, plain = (OPTIMIZERS[optimizer](list(network.parameters())) for network in (model, twin))
    hook, steps = hooked(model, curvature, records, every=every)
    attach(stepper, hook)
    schedules = [torch.optim.lr_scheduler.LambdaLR(o, lambda step: 1 - step / STEPS) for o in (stepper, plain)]
    pending, expected = [0.0] * len(plain.param_groups), []
    for step in range(STEPS):
        backward(model, step)
        stepper.step()
        steps["made"] += 1
        backward(twin, step)
        plain.step()
        pending = [sum_ + group["lr"] for sum_, group in zip(pending, plain.param_groups, strict=True)]
        if (step + 1) % every == 0 or step + 1 == STEPS:
            forms = []
            for name, parameter in twin.named_parameters():
                group = next(n for n, g in enumerate(plain.param_groups) if any(p is parameter for p in g["params"]))
                matrix = dense(curvature[name])
                value, form = reference.proximal_step(parameter, base[name], matrix, STRENGTH * pending[group])
                parameter.data.copy_(torch.from_numpy(value))
                forms.append(form)
            expected.append((step, pending[0], *(math.fsum(form[i] for form in forms) for i in (0, 1))))
            pending = [0.0] * len(pending)
        for schedule in schedules:
            schedule.step()
    for left, right in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=1e-10)  # float64, ten steps, solves of condition 100
    assert len(records) == len(expected) == (STEPS if every == 1 else 4)
    for record, line in zip(records, expected, strict=True):
        assert tuple(record) == pytest.approx(line, rel=1e-7)


def test_without_the_base_the_block_outside_is_free():
    model, twin, records = make_model(), make_model(), []
    curvature, base = make_curvature("kronecker"), base_of(make_model())
    hook, _ = hooked(model, curvature, records, keep="none", every=1)
    stepper, plain = (torch.optim.SGD(list(network.parameters()), lr=0.05) for network in (model, twin))
    attach(stepper, hook)
    for network, optimizer in ((model, stepper), (twin, plain)):
        backward(network, 0)
        optimizer.step()
    for name, parameter in twin.named_parameters():
        matrix = dense(curvature[name], outside=False)
        value, _ = reference.proximal_step(parameter, base[name], matrix, STRENGTH * 0.05)
        torch.testing.assert_close(
            dict(model.named_parameters())[name].data, torch.from_numpy(value), rtol=0, atol=1e-10
        )


@pytest.mark.parametrize("kind", ["factored", "diagonal", "kronecker"])
def test_the_base_on_the_host_is_the_same(kind):
    found = []
    for keep in ("device", "host"):
        model = make_model()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        hook, _ = hooked(model, make_curvature(kind), [], keep=keep, every=1)
        attach(optimizer, hook)
        backward(model, 0)
        optimizer.step()
        found.append(base_of(model))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


@pytest.mark.parametrize("kind", ["factored", "diagonal", "kronecker"])
def test_strength_zero_is_bit_identical(kind):
    model, twin, records = make_model(), make_model(), []
    stepper, plain = (torch.optim.AdamW(network.parameters(), lr=0.01) for network in (model, twin))
    attach(stepper, hooked(model, make_curvature(kind), records, strength=0.0, every=2)[0])
    for step in range(4):
        for network, optimizer in ((model, stepper), (twin, plain)):
            backward(network, step)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


def test_tied_terms_are_restored_one_after_the_other():
    """Two terms: each an exact step, and what is logged is the sum over both of their form around their own."""
    model, records = make_model(), []
    name = "0.weight"
    terms = tuple(Term(spectrum(8, 3, seed), spectrum(6, 2, seed + 1)) for seed in (1, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    base = base_of(model)
    hook, _ = hooked(model, {name: TensorCurvature(terms, None)}, records, every=1, total=1)
    attach(optimizer, hook)
    with torch.no_grad():
        model[0].weight += random(8, 6, seed=3)
    moved = model[0].weight.detach().clone()
    optimizer.step()
    curvatures = [reference.kronecker_curvature(*term) for term in terms]
    value, forms = moved, []
    for curvature in curvatures:
        value, form = reference.proximal_step(torch.as_tensor(value), base[name], curvature, STRENGTH * 0.1)
        forms.append(form)
    torch.testing.assert_close(model[0].weight.data, torch.from_numpy(value), rtol=0, atol=1e-10)
    assert records[0].predicted_kl_before == pytest.approx(sum(form[0] for form in forms))
    assert records[0].predicted_kl == pytest.approx(sum(form[1] for form in forms))


def test_fewer_directions_than_the_anchor_has():
    """The others count by their mean; matrices with one input still share its eigenvectors, in memory, too."""
    columns = spectrum(6, 4, 1)
    curvature = {name: TensorCurvature((Term(spectrum(8, 3, 2), columns),), None) for name in ("a", "b")}
    parameters = {name: nn.Parameter(random(8, 6)) for name in curvature}
    base = {name: item.detach() for name, item in parameters.items()}
    first, second = (target.terms[0][0] for target in make_targets(curvature, parameters, base, rank=2))
    assert first.columns.vectors is second.columns.vectors and first.columns.vectors.shape == (6, 2)
    assert torch.equal(first.columns.values, columns.values[:2])
    assert first.columns.rest == pytest.approx((float(columns.values[2:].sum()) + 2 * columns.rest) / 4)
    unlimited = make_targets(curvature, parameters, base, rank=512)[0].terms[0][0]
    assert unlimited.columns.vectors.shape == (6, 4) and unlimited.columns.rest == columns.rest


def test_the_whole_of_the_base_is_kept_where_it_is_asked_for():
    curvature = {"a": TensorCurvature((Term(spectrum(8, 8, 2), spectrum(6, 6, 1)),), None)}
    parameters = {"a": nn.Parameter(random(8, 6))}
    base = {"a": random(8, 6)}
    assert make_targets(curvature, parameters, base)[0].terms[0][1].whole is None
    kept = make_targets(curvature, parameters, base, whole=True)[0].terms[0][1]
    assert torch.equal(kept.whole, base["a"]) and kept.both is None


def test_rows_that_the_base_lacks_are_free():
    grown = nn.Embedding(8, 4).double()
    curvature = {"weight": TensorCurvature((), Product(torch.ones(6).double(), torch.ones(4).double()))}
    base = {"weight": grown.weight.detach().clone()}
    targets = make_targets(curvature, dict(grown.named_parameters()), base)
    hook = ElasticHook(
        targets, strength=1e20, every=1, total_steps=1, current_step=lambda: 0, on_restored=lambda record: None
    )
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.1)
    attach(optimizer, hook)
    grown(torch.arange(8)).square().sum().backward()
    optimizer.step()
    assert torch.equal(grown.weight[:6], base["weight"][:6])
    assert (grown.weight[6:] != base["weight"][6:]).all()


def test_memory_counts_shared_tensors_once():
    model = make_model()
    curvature = make_curvature("kronecker")
    shared = curvature["0.weight"].terms[0].columns
    both = {"0.weight": TensorCurvature((curvature["0.weight"].terms[0]._replace(columns=shared),), None)}
    targets = make_targets(both, dict(model.named_parameters()), base_of(model))
    rows = both["0.weight"].terms[0].rows
    expected = 8 * (sum(t.numel() for t in (rows.values, rows.vectors, shared.values, shared.vectors)) + 48)
    assert bytes_in_memory(targets) == expected
    assert bytes_in_memory([*targets, *targets]) == expected


def test_an_optimizer_of_other_tensors_is_refused():
    model, other = make_model(), make_model()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    attach(optimizer, hooked(model, make_curvature("factored"), [], every=1)[0])
    with pytest.raises(DBAError, match="none of the tensors"):
        optimizer.step()


def test_the_base_is_needed_for_diagonals():
    model = make_model()
    with pytest.raises(DBAError, match="needs the base weights"):
        make_targets(make_curvature("factored"), dict(model.named_parameters()), base_of(model), keep="none")


@pytest.mark.parametrize("kind", ["factored", "kronecker"])
def test_strength_is_relative_to_the_size_of_the_curvature(kind):
    """A base model whose gradients are a thousand times larger is held alike; at the same absolute μ it is not."""

    def trained(scale, mean):
        model, made = make_model(), {"steps": 0}
        curvature = {name: scaled(item, scale) for name, item in make_curvature(kind).items()}
        targets = make_targets(curvature, dict(model.named_parameters()), base_of(model))
        arguments = SimpleNamespace(dba_elastic_strength=40.0, dba_elastic_every=2)
        stepper = OPTIMIZERS["sgd"](list(model.parameters()))
        attach(
            stepper,
            METHOD.make_hook(arguments, targets, HoldingWiring(STEPS, lambda: made["steps"], lambda line: None, mean)),
        )
        for step in range(STEPS):
            backward(model, step)
            stepper.step()
            made["steps"] += 1
        return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])

    # fp32 rounding of F and of the step, nothing else
    torch.testing.assert_close(trained(1024.0, 1024.0), trained(1.0, 1.0), rtol=1e-5, atol=1e-6)
    assert (trained(1024.0, 1.0) - trained(1.0, 1.0)).abs().max() > 1e-3


def scaled(curvature, factor):
    """The same curvature in another unit."""
    if curvature.terms:
        return curvature._replace(
            terms=tuple(item._replace(rows=larger(item.rows, factor)) for item in curvature.terms)
        )
    diagonal = curvature.diagonal
    if isinstance(diagonal, Product):
        return curvature._replace(diagonal=diagonal._replace(rows=diagonal.rows * factor))
    return curvature._replace(diagonal=diagonal * factor)


def larger(side, factor):
    return side._replace(values=side.values * factor, rest=side.rest * factor)


def test_a_curvature_of_zero_is_refused():
    model = make_model()
    targets = make_targets(make_curvature("factored"), dict(model.named_parameters()), base_of(model))
    arguments = SimpleNamespace(dba_elastic_strength=1.0, dba_elastic_every=2)
    with pytest.raises(DBAError, match="curvature is zero everywhere"):
        METHOD.make_hook(arguments, targets, HoldingWiring(4, lambda: 0, lambda line: None, 0.0))
