"""Runs with `dba_variant: ewc` and `l2sp` through the host: limits, resume, logs, refusals."""

import json
import shutil
from types import SimpleNamespace

import pytest
import support
import torch

from llamafactory_dba.errors import AnchorError, DBAError
from llamafactory_dba.training.holding_callback import HoldingCallback


LOG = "dba_penalty.jsonl"
# strong enough that the penalty's gradient leads on the tiny model
CASES = {"ewc": {"dba_ewc_strength": 1e4}, "l2sp": {"dba_l2sp_strength": 1e2, "dba_anchor_path": None}}
FREE = {"ewc": {"dba_ewc_strength": 0.0}, "l2sp": {"dba_l2sp_strength": 0.0, "dba_anchor_path": None}}
FORM = {"ewc": "predicted_kl", "l2sp": "half_square_distance"}


@pytest.fixture(scope="module")
def anchors(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("curved")
    for kind in ("diagonal", "kronecker"):
        changes = {"dba_anchor_curvature": True, "dba_curvature_kind": kind}
        support.run_here(support.anchor_arguments(world, folder / kind, **changes))
    return folder


def run(world, out, anchor, variant, **changes):
    settings = {"dba_anchor_path": str(anchor), "dba_variant": variant, **changes}
    support.run_here(support.arguments(world, out, **settings))
    return out


def log(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def plain(world, out, **changes):
    support.run_here(support.arguments(world, out, use_dba=None, dba_anchor_path=None, **changes))
    return out


def distance(world, folder):
    base = support.weights(world / "model")
    return sum(float((value - base[name]).square().sum()) for name, value in support.weights(folder).items()) ** 0.5


@pytest.mark.parametrize("variant", CASES)
def test_holds_and_logs(world, anchors, tmp_path, variant):
    changes = {**CASES[variant], "num_train_epochs": 2, "dba_record": True}
    out = run(world, tmp_path / "run", anchors / "diagonal", variant, **changes)
    free = run(world, tmp_path / "free", anchors / "diagonal", variant, **FREE[variant], num_train_epochs=2)
    records = log(out)
    assert [record["step"] for record in records] == list(range(12))
    assert records[0][FORM[variant]] == 0 < records[-1][FORM[variant]] < log(free)[-1][FORM[variant]]
    logged = [entry[f"dba_{FORM[variant]}"] for entry in support.log_history(out) if f"dba_{FORM[variant]}" in entry]
    assert logged[-1] == records[-1][FORM[variant]]
    facts = json.loads((out / "dba_run.json").read_text())
    assert (facts["variant"], facts["matched_tensors"], facts["unmatched_tensors"]) == (variant, 24, [])
    assert ("anchor" in facts) == (variant == "ewc")
    record = json.loads((out / "run_record.json").read_text())
    assert record["method"] == variant
    assert (record["anchor"] is None) == (variant == "l2sp")
    if variant == "l2sp":
        assert distance(world, out) < 0.9 * distance(world, free)


@pytest.mark.parametrize("variant", CASES)
def test_strength_zero_is_plain_training_bit_for_bit(world, anchors, tmp_path, variant):
    out = run(world, tmp_path / "run", anchors / "diagonal", variant, **FREE[variant])
    assert support.same_weights(out, plain(world, tmp_path / "plain"))
    assert log(out)[-1][FORM[variant]] > 0


@pytest.mark.parametrize("variant", CASES)
def test_resume_is_exact(world, tmp_path, variant):
    model = support.without_dropout(world / "model", tmp_path / "model")
    anchor = tmp_path / "anchor"
    curved = {"dba_anchor_curvature": True, "dba_curvature_kind": "diagonal"}
    support.run_here(support.anchor_arguments(world, anchor, model_name_or_path=str(model), **curved))
    steps = {"save_strategy": "steps", "save_steps": 2, "model_name_or_path": str(model), **CASES[variant]}
    whole = run(world, tmp_path / "whole", anchor, variant, **steps)
    shutil.copytree(whole, tmp_path / "again")
    for folder in ("checkpoint-4", "checkpoint-6"):
        shutil.rmtree(tmp_path / "again" / folder)
    (tmp_path / "again" / "model.safetensors").unlink()
    run(world, tmp_path / "again", anchor, variant, **steps)
    assert support.same_weights(whole, tmp_path / "again")
    assert log(whole) == log(tmp_path / "again")


def test_kronecker_factors_are_refused(world, anchors, tmp_path):
    with pytest.raises(DBAError, match="needs a diagonal"):
        run(world, tmp_path / "run", anchors / "kronecker", "ewc")


def test_an_anchor_without_curvature_is_refused_before_the_model_loads(world, tmp_path):
    with pytest.raises(AnchorError, match="has no curvature"):
        run(world, tmp_path / "run", world / "anchor", "ewc")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"dba_variant": "ewc", "dba_anchor_path": None}, "needs `dba_anchor_path`"),
        ({"dba_variant": "ewc", "dba_ewc_strength": -1}, "`dba_ewc_strength` must be >= 0"),
        ({"dba_variant": "l2sp", "dba_l2sp_strength": float("nan")}, "`dba_l2sp_strength` must be >= 0"),
        ({"dba_variant": "l2-sp"}, "Did you mean `l2sp`"),
    ],
)
def test_bad_settings_are_refused(world, anchors, tmp_path, changes, message):
    settings = {"dba_anchor_path": str(anchors / "diagonal"), **changes}
    with pytest.raises(DBAError, match=message):
        support.run_here(support.arguments(world, tmp_path / "run", **settings))


def test_l2sp_says_that_it_reads_no_anchor(world, anchors, tmp_path, monkeypatch):
    from llamafactory_dba.training import checks

    said = []
    monkeypatch.setattr(checks.logger, "warning_rank0", said.append)
    run(world, tmp_path / "run", anchors / "diagonal", "l2sp", max_steps=1)
    assert any("reads no anchor" in text for text in said)


@pytest.mark.parametrize("clipping, expected", [(0.0, [3.0]), (1.0, [24.0])])
def test_fp16_gradients_are_unscaled_where_clipping_has_not_done_it(clipping, expected):
    """The penalty has the scale of the loss, not of the scaled loss."""
    weight = torch.nn.Parameter(torch.zeros(1))
    weight.grad = torch.tensor([24.0])
    optimizer = torch.optim.SGD([weight], lr=1.0)

    class Scaler:  # torch's own needs a CUDA device
        def unscale_(self, found):
            for group in found.param_groups:
                for parameter in group["params"]:
                    parameter.grad /= 8

    callback = HoldingCallback(SimpleNamespace(dba_variant="ewc"), SimpleNamespace(scaler=Scaler()))
    callback.on_pre_optimizer_step(SimpleNamespace(max_grad_norm=clipping), None, None, optimizer=optimizer)
    assert weight.grad.tolist() == expected
