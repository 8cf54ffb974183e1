"""What is restored together is what would be restored alone; what is not put together; what it takes in memory."""

import gc
import weakref

import pytest
import torch
from small_network import base_of, random, spectrum
from torch import nn

from llamafactory_dba.anchor.curvature import TensorCurvature
from llamafactory_dba.core.fisher import Product
from llamafactory_dba.core.kronecker import Term
from llamafactory_dba.methods import together as module
from llamafactory_dba.methods.elastic import ElasticHook
from llamafactory_dba.methods.held import make_targets
from llamafactory_dba.methods.together import MOST, Alone, Row, Stack, together


LAYERS = 10


def make_model():
    """Layers with two matrices of one shape and one input, and a norm."""
    torch.manual_seed(0)
    layers = [
        nn.ModuleDict({"q": nn.Linear(6, 4, bias=False), "k": nn.Linear(6, 4, bias=False), "norm": nn.LayerNorm(6)})
        for _ in range(LAYERS)
    ]
    return nn.ModuleDict({"embed": nn.Embedding(9, 6), "layers": nn.ModuleList(layers)}).double()


def make_curvature():
    found = {
        "embed.weight": TensorCurvature((Term(spectrum(9, 9, 1)._replace(vectors=None), spectrum(6, 2, 2)),), None)
    }
    for i in range(LAYERS):
        inputs = spectrum(6, 2, 10 + i)
        for seed, name in enumerate(("q", "k")):
            term = Term(spectrum(4, 2, 30 + 2 * i + seed), inputs)
            found[f"layers.{i}.{name}.weight"] = TensorCurvature((term,), None)
        for seed, name in enumerate(("weight", "bias")):
            found[f"layers.{i}.norm.{name}"] = TensorCurvature((), random(6, seed=50 + 2 * i + seed).abs())
    return found


def moved(model):
    with torch.no_grad():
        for seed, parameter in enumerate(model.parameters()):
            parameter += random(*parameter.shape, seed=100 + seed)
    return model


def make(keep="device"):
    model = make_model()
    targets = make_targets(make_curvature(), dict(model.named_parameters()), base_of(model), keep=keep)
    return moved(model), targets


@pytest.mark.parametrize("keep", ["device", "host", "none"])
@pytest.mark.parametrize("strength", [0.0, 0.3, 1e6])
def test_together_is_alone(keep, strength):
    (model, targets), (twin, others) = make(keep), make(keep)
    parts = together(targets)
    assert len(parts) < len(targets)
    changes = [part.restore_(strength) for part in parts]
    expected = [Alone(target).restore_(strength) for target in others]
    for one, two in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
    for side in ("before", "after"):
        found, wanted = (sum(float(getattr(item, side)) for item in items) for items in (changes, expected))
        assert found == pytest.approx(wanted, rel=1e-9)


def test_vectors_are_equal_bit_for_bit():
    (model, targets), (twin, others) = make(), make()
    (row,) = [part for part in together(targets) if isinstance(part, Row)]
    assert len(row.parameters) == 2 * LAYERS
    row.restore_(0.3)
    for target in others:
        if target.diagonal is not None:
            Alone(target).restore_(0.3)
    before = dict(make()[0].named_parameters())
    for (name, one), two in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, two)
        assert torch.equal(one, before[name]) != (".norm." in name)


def test_stacks_are_of_one_matrix_of_several_layers_and_share_what_their_inputs_share():
    model, targets = make()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parts = together(targets)
    stacks = [part for part in parts if isinstance(part, Stack)]
    found = [[names[id(parameter)] for parameter in part.parameters] for part in stacks]
    expected = [
        [f"layers.{i}.{name}.weight" for i in range(first, min(first + MOST, LAYERS))]
        for name in ("q", "k")
        for first in range(0, LAYERS, MOST)
    ]
    assert sorted(found) == sorted(expected)
    first = {names[id(part.parameters[0])]: part for part in stacks}
    q, k = first["layers.0.q.weight"], first["layers.0.k.weight"]
    assert q.term.columns.vectors is k.term.columns.vectors and q.term.rows.vectors is not k.term.rows.vectors
    assert [names[id(part.target.parameter)] for part in parts if isinstance(part, Alone)] == ["embed.weight"]


def test_what_stays_alone(monkeypatch):
    _, targets = make(keep="host")
    assert any(isinstance(part, Stack) for part in together(targets)), "the host is the device here"
    monkeypatch.setattr(module, "SMALL", 23)  # less than 4 x 6
    assert not any(isinstance(part, Stack) for part in together(targets))
    # one of a kind
    assert not any(isinstance(part, Stack) for part in together(targets[:2]))
    # tied: two terms
    curvature = make_curvature()
    tied = {name: item._replace(terms=item.terms * 2) for name, item in curvature.items() if ".q." in name}
    model = make_model()
    monkeypatch.undo()
    targets = make_targets(tied, dict(model.named_parameters()), base_of(model))
    assert all(isinstance(part, Alone) for part in together(targets))
    # row and column sums
    sums = {name: TensorCurvature((), Product(torch.ones(4), torch.ones(6))) for name in tied}
    targets = make_targets(sums, dict(model.named_parameters()), base_of(model))
    assert all(isinstance(part, Alone) for part in together(targets))


def test_the_hook_keeps_no_second_copy():
    """Once they are stacked, the single eigenvectors are gone."""
    model, targets = make()
    single = {t.name: weakref.ref(t.terms[0][0].columns.vectors) for t in targets if t.terms}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    hook = ElasticHook(
        targets, strength=1.0, every=1, total_steps=1, current_step=lambda: 0, on_restored=lambda record: None
    )
    del targets
    made = []
    for step in range(2):
        hook.pending = [0.1]
        hook.restore(optimizer, step)
        made.append(hook.parts)
    assert made[0] is made[1]
    gc.collect()
    assert {name for name, reference in single.items() if reference() is not None} == {"embed.weight"}


def test_groups_with_rates_of_their_own_are_not_put_together():
    model, targets = make()
    parameters = dict(model.named_parameters())
    fast = [item for name, item in parameters.items() if name.startswith(("layers.0", "embed"))]
    slow = [item for name, item in parameters.items() if not name.startswith(("layers.0", "embed"))]
    optimizer = torch.optim.SGD([{"params": fast, "lr": 0.2}, {"params": slow, "lr": 0.1}], lr=0.1)
    hook = ElasticHook(
        targets, strength=1.0, every=1, total_steps=1, current_step=lambda: 0, on_restored=lambda record: None
    )
    hook.pending = [0.2, 0.1]
    hook.restore(optimizer, 0)
    twin, others = make()
    for target in others:
        Alone(target).restore_(0.2 if target.name.startswith(("layers.0", "embed")) else 0.1)
    for one, two in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)
