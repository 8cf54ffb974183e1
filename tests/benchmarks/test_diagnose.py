"""Controls and measurements of benchmarks/diagnose*.py, on tensors small enough to know the answer."""

from pathlib import Path

import pytest
import torch

from llamafactory_dba.core.lowrank import LowRank
from llamafactory_dba.training.hooks import Settings, StepHook, Target, attach


STEPS = 12
ANCHOR = torch.tensor([[3.0, -2.0, 1.0], [0.5, 0.1, -4.0]])


@pytest.fixture(scope="module")
def hooks():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")  # where the scripts find their neighbours
        import diagnose_hooks

        yield diagnose_hooks


def train(hooks, wish, *, grads=None, stop_at=STEPS, magnitude=6.0, control=True):
    """Adam on one matrix with given domain gradients; the parameter and the control around the paper's hook."""
    generator = torch.Generator().manual_seed(0)
    parameter = torch.nn.Parameter(torch.zeros(2, 3))
    optimizer = torch.optim.AdamW([parameter], lr=0.01, weight_decay=0.0)
    target = Target("w", parameter, LowRank(ANCHOR, torch.eye(3)))
    step = 0
    settings = Settings(magnitude, True, 0.1, STEPS)
    inner = StepHook([target], settings, lambda: step, lambda record: None)
    made = hooks.Control(inner, wish, lambda: step >= stop_at) if control else inner
    attach(optimizer, made)
    while step < STEPS:
        parameter.grad = torch.randn(2, 3, generator=generator) if grads is None else grads.clone()
        optimizer.step()
        step += 1
    return parameter.detach(), made


def test_a_control_that_is_asked_for_nothing_changes_nothing(hooks):
    plain, _ = train(hooks, None, control=False)
    assert torch.equal(train(hooks, hooks.Wish())[0], plain)
    assert torch.equal(train(hooks, hooks.Wish(split=True))[0], plain)


def test_the_parts_of_the_change(hooks):
    grads = torch.zeros(2, 3)
    grads[0, 0] = 1000.0  # here the anchor is as nothing, everywhere else it is alone
    change, control = train(hooks, hooks.Wish(split=True), grads=grads)
    quiet, loud = control.parts["w"][1].sum(0), control.parts["w"][0].sum(0)
    alone = torch.ones(2, 3, dtype=torch.bool)
    alone[0, 0] = False
    torch.testing.assert_close(quiet[alone], change[alone], rtol=1e-4, atol=0)  # fp32 sums of 12 Adam steps
    assert loud[alone].abs().max() == 0 and quiet[0, 0] == 0
    assert abs(loud[0, 0]) < 0.01 * abs(change[0, 0])
    assert control.zeros[0] == pytest.approx(5 / 6)


def test_edits_where_there_is_no_domain_gradient(hooks):
    grads = torch.zeros(2, 3)
    grads[1, 2] = 1.0
    idle = grads == 0
    assert train(hooks, hooks.Wish(), grads=grads)[0][idle].abs().min() > 0.01
    for edit in ("nonzero", "loud", "capped"):
        assert train(hooks, hooks.Wish(edit=edit), grads=grads)[0][idle].abs().max() == 0, edit


def test_edits_of_one_step(hooks):
    grad, rms = torch.tensor([[0.1, 4.0]]), torch.tensor([[0.2, 5.0]])
    anchor = torch.tensor([[3.0, -4.0]])
    edits = {name: edit(grad, anchor, rms, 0.5) for name, edit in hooks.EDITS.items()}
    length = torch.linalg.vector_norm(grad) / 5
    torch.testing.assert_close(edits["scaled"], (grad + anchor * length) / 2)
    torch.testing.assert_close(edits["nonzero"], (grad + anchor) / 2)
    torch.testing.assert_close(edits["loud"], torch.tensor([[0.05, 0.0]]))  # 3 > 0.2, but 4 < 5
    torch.testing.assert_close(edits["capped"], torch.tensor([[0.15, 0.0]]))


@pytest.mark.parametrize("content", ["flipped", "signs", "normal"])
def test_other_contents_have_the_same_norm(hooks, content):
    made = hooks.other_content(ANCHOR, content, 1)
    torch.testing.assert_close(made.norm(), ANCHOR.norm())
    assert not torch.equal(made, ANCHOR)
    if content == "signs":
        assert torch.equal(made.abs(), ANCHOR.abs())


def test_a_stopped_boost_is_off(hooks):
    off, _ = train(hooks, hooks.Wish(stop="measured"), stop_at=0)
    assert torch.equal(off, train(hooks, hooks.Wish(), magnitude=0.0)[0])
    assert not torch.equal(off, train(hooks, hooks.Wish(stop="measured"), stop_at=3)[0])


def test_where_a_curve_turns(hooks):
    assert hooks.turn([(0, 0.0), (4, -1.0), (8, -2.0), (12, -1.9), (16, -1.8)], 2) == 16
    assert hooks.turn([(0, 0.0), (4, -1.0), (8, -2.0), (12, -1.9)], 2) is None
    assert hooks.turn([(0, 0.0), (8, 0.5)], 1) == 8
    lines = [[4, -1.0, 0.1, 0.9], [8, -2.0, 0.2, 2.5], [12, -3.0, 0.3, 4.5]]
    # the second curve goes -0.1, 0.5, 1.5: two predictions after its lowest
    assert hooks.predicted_turn(lines, 0) is None and hooks.predicted_turn(lines, 1) == 12
