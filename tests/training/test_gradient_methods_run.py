"""Runs with `dba_variant: agem`, `pcgrad`, `gradnorm_equal` through the host: effect, logs, resume, refusals, DDP."""

import json
import shutil

import pytest
import support
import torch
from safetensors.torch import load_file, save_file

from llamafactory_dba.errors import DBAError
from llamafactory_dba.methods.registry import load_method


METHODS = ("agem", "pcgrad", "gradnorm_equal")
FIELDS = ["step", "cosine", "conflict", "grad_weight", "anchor_weight", "domain_grad_norm", "learning_rate"]


@pytest.fixture(scope="module")
def conflicting(world, tmp_path_factory):
    """The world's anchor turned round: the domain's gradient runs along the general one there, so against this."""
    folder = tmp_path_factory.mktemp("turned") / "anchor"
    shutil.copytree(world / "anchor", folder)
    tensors = load_file(folder / "anchor.safetensors")
    # of two factors only one changes its sign
    turned = {key: value if key.endswith(".right") else -value for key, value in tensors.items()}
    save_file(turned, folder / "anchor.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def model(world, tmp_path_factory):
    return support.without_dropout(world / "model", tmp_path_factory.mktemp("model") / "model")


@pytest.fixture(scope="module")
def plain(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("plain") / "run"
    support.run_here(support.arguments(world, out, use_dba=None, dba_anchor_path=None))
    return out


def run(world, out, variant, **changes):
    support.run_here(support.arguments(world, out, dba_variant=variant, **changes))
    return out


@pytest.mark.parametrize("variant", METHODS)
def test_changes_the_weights_and_says_what_it_did(world, conflicting, plain, tmp_path, variant):
    out = run(world, tmp_path / "run", variant, dba_anchor_path=str(conflicting), plot_loss=True, dba_record=True)
    records = support.step_log(out)
    assert [list(record) for record in records] == [FIELDS] * 6
    assert [record["step"] for record in records] == list(range(6))
    assert records[0]["conflict"] is True
    assert not support.same_weights(plain, out)
    metrics = load_method(variant).metrics
    first = next(row for row in support.log_history(out) if "loss" in row)
    for key, name in metrics.items():
        assert first[key] == pytest.approx((records[0][name] + records[1][name]) / 2)  # logged every second step
        assert (out / f"training_{key}.png").stat().st_size > 1000
    facts = json.loads((out / "dba_run.json").read_text())
    assert (facts["variant"], facts["matched_tensors"], facts["unmatched_tensors"]) == (variant, 24, [])
    assert ("dba_pcgrad_weight" in facts) == (variant == "pcgrad")
    record = json.loads((out / "run_record.json").read_text())
    assert record["method"] == variant


@pytest.mark.parametrize("changes", [{"dba_variant": "agem"}, {"dba_variant": "pcgrad", "dba_pcgrad_weight": 0.0}])
def test_without_conflicts_bit_for_bit_plain_training(world, plain, tmp_path, changes):
    out = tmp_path / "run"
    support.run_here(support.arguments(world, out, **changes))
    records = support.step_log(out)
    assert len(records) == 6
    assert all(record["cosine"] > 0 and not record["conflict"] for record in records)
    assert support.same_weights(plain, out)


def test_pcgrads_domain_part_is_agem_bit_for_bit(world, conflicting, tmp_path):
    anchor = {"dba_anchor_path": str(conflicting)}
    first = run(world, tmp_path / "agem", "agem", **anchor)
    second = run(world, tmp_path / "pcgrad", "pcgrad", dba_pcgrad_weight=0.0, **anchor)
    whole = run(world, tmp_path / "whole", "pcgrad", **anchor)
    assert support.same_weights(first, second)
    assert not support.same_weights(first, whole)
    assert support.step_log(first) == support.step_log(second)


@pytest.mark.parametrize("variant", METHODS)
def test_resume_is_exact(world, conflicting, tmp_path, variant):
    changes = {"dba_anchor_path": str(conflicting), "save_strategy": "steps", "save_steps": 2}
    whole, again = run(world, tmp_path / "whole", variant, **changes), tmp_path / "again"
    again.mkdir()
    shutil.copytree(whole / "checkpoint-4", again / "checkpoint-4")
    shutil.copy(whole / "dba_log.jsonl", again)  # has lines of the steps that will be made again
    run(world, again, variant, **changes)
    assert support.same_weights(whole, again)
    assert support.step_log(whole) == support.step_log(again)


STAGES = {
    "freeze": {"finetuning_type": "freeze", "freeze_trainable_layers": 1},
    "accumulation": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 4},
    "bf16": {"bf16": True},
    "dpo": {"stage": "dpo", "dataset": "pairs", "pref_beta": 0.1, "pref_loss": "sigmoid"},
    "adafactor": {"optim": "adafactor"},
}


@pytest.mark.parametrize("name", STAGES)
def test_stages_precisions_and_optimizers(world, conflicting, tmp_path, name):
    out = run(world, tmp_path / "run", "pcgrad", dba_anchor_path=str(conflicting), max_steps=2, **STAGES[name])
    records = support.step_log(out)
    assert len(records) == 2
    assert all(record["domain_grad_norm"] > 0 and -1 <= record["cosine"] <= 1 for record in records)


def test_layers_are_logged_as_ever(world, conflicting, tmp_path):
    out = run(world, tmp_path / "run", "agem", dba_anchor_path=str(conflicting), max_steps=1)
    (line,) = (out / "dba_layers.jsonl").read_text().splitlines()
    assert len(json.loads(line)["similarity"]) == 24


def test_the_projection_in_a_real_run(world, conflicting, model, tmp_path):
    """One SGD step of A-GEM: the weights' change is orthogonal to the anchor, and that of plain training is not."""
    from llamafactory_dba.anchor.format import load_anchor
    from llamafactory_dba.core.lowrank import reconstruct

    changes = {"model_name_or_path": str(model), "optim": "sgd", "max_steps": 1, "learning_rate": 0.1}
    anchor = load_anchor(conflicting).tensors
    base, cosines = support.weights(model), {}
    for name, extra in (("agem", {"dba_anchor_path": str(conflicting)}), ("paper", {"dba_boost_magnitude": 0.0})):
        extra = extra if name == "agem" else {**extra, "dba_use_correction": False}
        after = support.weights(run(world, tmp_path / name, name, **changes, **extra))
        moved = {key: (after[key] - base[key]).double() for key in anchor}
        full = {
            key: reconstruct(value, dtype=torch.float64).reshape(moved[key].shape) for key, value in anchor.items()
        }
        product = sum(float((moved[key] * full[key]).sum()) for key in anchor)
        norms = [sum(float(item.square().sum()) for item in group.values()) ** 0.5 for group in (moved, full)]
        cosines[name] = product / norms[0] / norms[1]
    # weights are stored in fp32: their rounding (6e-8 of about 0.02) against steps of about 1e-4
    assert abs(cosines["agem"]) < 1e-3
    assert cosines["paper"] > 0.02  # a step down the domain's loss runs against its gradient, hence up this anchor's


def test_wrong_settings_come_together_before_the_model_loads(world, tmp_path):
    with pytest.raises(DBAError) as caught:
        run(world, tmp_path / "run", "pc-grad", dba_pcgrad_weight=-1.0, finetuning_type="lora")
    text = str(caught.value)
    assert "Did you mean `pcgrad`?" in text
    assert "`dba_pcgrad_weight` must be >= 0, found -1.0" in text
    assert "found `lora`" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.distributed
@pytest.mark.parametrize("variant", METHODS)
def test_two_processes_equal_one(world, conflicting, model, tmp_path, variant):
    logs = {}
    for name, variables, batch in (("one", {}, 8), ("two", {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2"}, 4)):
        folder = tmp_path / name
        folder.mkdir()
        args = support.arguments(
            world,
            folder / "run",
            model_name_or_path=str(model),
            dba_variant=variant,
            dba_anchor_path=str(conflicting),
            per_device_train_batch_size=batch,
        )
        result = support.run_cli(args, folder, **variables)
        assert result.returncode == 0, result.stderr[-2000:]
        logs[name] = support.step_log(folder / "run")
    assert len(logs["one"]) == len(logs["two"]) == 6
    for left, right in zip(logs["one"], logs["two"], strict=True):
        # fp32 gradients of about 1e5 entries summed in another order: a few 1e-6, growing over the steps
        for key in ("cosine", "grad_weight", "anchor_weight", "domain_grad_norm"):
            assert left[key] == pytest.approx(right[key], rel=1e-3, abs=1e-6)
